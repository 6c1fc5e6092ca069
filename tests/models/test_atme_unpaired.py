"""ATME without pairs: what each direction remembers, saves and takes in a test."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import train
from models import MODELS
from models.atme.maps import owner_of
from tests.conftest import trainable_args
from tests.models.test_atme import MAP, N, make_batch, run
from util.run.engine import Engine


def build(*argv):
    return train.build_model(["--model", "atme_unpaired", *trainable_args("atme_unpaired"), *argv], dataset_size=N)


def unpaired(A, B):
    """A batch of these images of both domains."""
    batch = make_batch(A)
    return {**batch, "A_index": torch.tensor(A), "B_index": torch.tensor(B), "B_paths": [f"trainB/{i}.png" for i in B]}


@pytest.fixture(scope="module")
def trained():
    model = build("--n_save_noisy", "7")
    run(model, unpaired([1, 4], [2, 0]))
    return model


def memories(model):
    return [model.directions[side].maps.memory.maps for side in "AB"]


def test_one_side_alone_is_refused() -> None:
    batch = {key: value for key, value in unpaired([0], [0]).items() if not key.startswith("B")}
    with pytest.raises(ValueError, match=r"no side B.*--dataset_mode unaligned"):
        build().set_input(batch)


def test_each_direction_has_the_rows_of_its_own_images(trained):
    before, after = memories(build()), memories(trained)
    assert not torch.equal(*before), "the two start from other numbers"
    for side, rows, old, new in zip("AB", ([1, 4], [2, 0]), before, after):
        assert (new - old).abs().flatten(1).amax(1).nonzero().flatten().tolist() == sorted(rows)
        maps = trained.directions[side].maps
        assert torch.equal(new[rows], maps.judged)
        folder = {"A": "train", "B": "trainB"}[side]
        assert maps.memory.owners[rows].tolist() == [owner_of(f"{folder}/{row}.png") for row in rows]


def test_only_images_of_A_are_tracked(trained):
    records = trained.tracked_maps()
    assert trained.tracked_indices == list(range(N)) and [record.index for record in records] == [1, 4]
    assert torch.equal(records[0].logits, memories(trained)[0][1, 0]) and records[0].path == "train/1.png"
    assert torch.equal(records[0].W, trained.directions["A"].W_t[0, 0].detach())


def test_a_state_that_comes_before_the_size_is_used_when_the_size_is_known(trained):
    state = trained.extra_state()
    assert set(state) == {"fake_pool_A", "fake_pool_B", "monitor", "tracked", "memory"} and set(state["memory"]) == {
        "A",
        "B",
    }
    other = build("--preprocess", "none", "--seed", "3", "--n_save_noisy", "2")
    other.load_extra_state(state)
    other.check_size(64, 64)
    other.check_size(32, 32)  # nothing was trained on yet
    assert all(map(torch.equal, memories(other), memories(trained)))
    assert len(other.tracked_indices) == 2


def for_test(trained, test_map):
    return MODELS.get("atme_unpaired")(dataclasses.replace(trained.options, test_map=test_map), Engine())


def test_a_test_takes_the_memories_of_both_directions(trained):
    model = for_test(trained, "memory")
    model.load_extra_state(trained.extra_state())
    model.set_input({**unpaired([4], [5]), "B_paths": ["elsewhere/9.png"]})
    A, B = memories(trained)
    assert torch.equal(model.directions["A"].maps.current, A[[4]])
    torch.testing.assert_close(model.directions["B"].maps.current, B.mean(0, keepdim=True))
    with pytest.raises(ValueError, match=r"^--test_map memory: this checkpoint has no memory"):
        model.load_extra_state({"memory": {"A": trained.extra_state()["memory"]["A"]}})


def test_before_an_evaluation_the_main_process_knows_the_maps_of_all(monkeypatch):
    model = build("--test_map", "memory")
    run(model, unpaired([0], [1]))
    elsewhere = (torch.tensor([5]), torch.full((1, 1, *MAP), 9.0), torch.tensor([7]))

    def gather(self, value):
        return [value, elsewhere] if isinstance(value, tuple) else [value, None]

    monkeypatch.setattr(Engine, "gather", gather)
    model.diagnostics()
    assert all(float(maps[5].min()) == 9.0 for maps in memories(model))

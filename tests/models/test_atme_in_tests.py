"""ATME in inference: what ``--test_map`` puts in the place of the memory."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch

from models import MODELS
from models.atme.maps import owner_of
from tests.models.test_atme import BATCHES, MAP, build, make_batch, run
from util.run.engine import Engine
from util.run.inference import Snapshot, held_out_pictures
from util.run.sides import Storage


def for_test(trained, test_map):
    """The model as test.py builds it, with the networks of ``trained``."""
    model = MODELS.get("atme")(dataclasses.replace(trained.options, test_map=test_map), Engine())
    for name, net in model.networks.items():
        net.load_state_dict(trained.networks[name].state_dict())
    return model


@pytest.fixture(scope="module")
def trained():
    model = build()
    run(model, *BATCHES)
    return model


def maps_of(model, batch, seed=0):
    torch.manual_seed(seed)
    model.set_input(batch)
    return model.disc_B


def test_reference_is_a_half_with_a_little_noise_by_the_seed(trained):
    model = for_test(trained, "reference")
    maps = maps_of(model, make_batch(range(50)))
    assert maps.shape == (50, 1, *MAP)
    assert float(maps.mean()) == pytest.approx(0.5, abs=3e-4) and float(maps.std()) == pytest.approx(0.001, rel=0.3)
    assert torch.equal(maps_of(model, make_batch(range(50))), maps)
    assert not torch.equal(maps_of(model, make_batch(range(50)), seed=1), maps)


def test_zero_is_zero(trained):
    assert float(maps_of(for_test(trained, "zero"), BATCHES[0]).abs().max()) == 0


def test_the_memory_has_the_rows_of_training_images_and_the_mean_for_others(trained):
    model = for_test(trained, "memory")
    model.load_extra_state(trained.extra_state())
    batch = make_batch([4, 0, 6])
    paths = ["/moved/train/4.png", "/moved/test/0.png", "/moved/train/0.png"]
    maps = maps_of(model, {**batch, "A_paths": paths, "index": torch.tensor([0, 1, 2])})
    rows = trained.memory.maps
    torch.testing.assert_close(maps, torch.stack([rows[4], rows.mean(0), rows[0]]), rtol=0, atol=1e-7)


def test_the_module_of_translate_has_the_mean_of_the_memory_for_every_image_of_any_size(trained):
    """Of an image that was not trained on it gives what a test gives; of one that was, what its map makes another."""
    model = for_test(trained, "memory")
    model.load_extra_state(trained.extra_state())
    batch = make_batch([4, 0])
    paths = ["/moved/train/4.png", "/moved/test/0.png"]
    module = model.generator_module("AtoB")
    with torch.no_grad():
        model.set_input({**batch, "A_paths": paths, "index": torch.tensor([0, 1])})
        model.forward()
        fake, W_t = module(batch["A"])
        assert module(torch.zeros(1, 3, 48, 64))[0].shape == (1, 3, 48, 64)
    torch.testing.assert_close(fake[1], model.fake_B[1])
    torch.testing.assert_close(W_t[1], model.W_t[1])
    assert float((W_t[0] - model.W_t[0]).abs().max()) > 1e-4


def test_images_that_were_never_seen_in_training_have_no_row_of_their_own():
    fresh = build()
    run(fresh, make_batch([1]))
    model = for_test(fresh, "memory")
    model.load_extra_state(fresh.extra_state())
    maps = maps_of(model, make_batch([0, 1]))
    assert torch.equal(maps[1], fresh.memory.maps[1])
    torch.testing.assert_close(maps[0], fresh.memory.maps.mean(0))


def test_the_memory_must_be_there_and_fit(trained):
    model = for_test(trained, "memory")
    assert model.test_reads_state and not for_test(trained, "zero").test_reads_state
    with pytest.raises(ValueError, match=r"^--test_map memory: .*no memory of D's maps; use --test_map reference"):
        model.load_extra_state({"fake_pool": []})
    model.load_extra_state(trained.extra_state())
    with pytest.raises(ValueError, match=r"\(2, 2\), these images need \(6, 6\); test at the size of the training"):
        model.set_input(make_batch([0], size=64))


def test_two_passes_are_two_passes(trained):
    model = for_test(trained, "two_pass")
    batch = BATCHES[0]
    model.set_input(batch)
    with torch.no_grad():
        model.forward()
        G, W, D, A = *(copy.deepcopy(trained.networks[name]) for name in "GWD"), batch["A"]
        W_t = W(torch.zeros(3, 1, *MAP), (32, 32))
        first = G(A * (1 + W_t), W_t)
        judged = D(torch.cat([A, first], 1))
        W_t = W(judged, (32, 32))
        second = G(A * (1 + W_t), W_t)
    torch.testing.assert_close(model.disc_B, judged, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.fake_B, second, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.W_t, W_t, rtol=1e-4, atol=1e-5)


def test_only_two_passes_load_D(trained):
    for test_map, names in (("reference", "GW"), ("zero", "GW"), ("memory", "GW"), ("two_pass", "GWD")):
        assert list(for_test(trained, test_map).networks) == list(names)


def test_training_reads_the_memory_whatever_the_test_shall_do():
    losses = [run(build("--test_map", test_map), *BATCHES[:3]) for test_map in ("reference", "two_pass", "memory")]
    assert losses[0] == losses[1] == losses[2]


def test_inference_changes_nothing_and_takes_any_size(trained):
    before = trained.memory.maps.clone()
    for test_map in ("reference", "two_pass"):
        model = for_test(trained, test_map)
        for size, shape in ((32, MAP), (64, (6, 6))):
            model.set_input(make_batch([0], size=size))
            model.forward()
            assert model.disc_B.shape == (1, 1, *shape) and model.fake_B.shape == (1, 3, size, size)
        assert model.memory is None
    assert torch.equal(trained.memory.maps, before)


def test_images_without_a_target_are_translated(trained):
    model = for_test(trained, "reference")
    model.set_input({key: value for key, value in make_batch([0]).items() if not key.startswith("B")})
    model.forward()
    assert list(model.visuals()) == ["real_A", "Disc_B", "noisy_A", "fake_B"]


def test_images_too_small_for_D_are_refused_with_the_size_that_it_needs(trained):
    """They have no map, although W and G could work on them."""
    model = for_test(trained, "reference")
    with pytest.raises(ValueError, match=r"train/0\.png at 16: PatchDiscriminator needs .* at least 24 pixels"):
        model.set_input(make_batch([0], size=16))


class Images:
    """What ``held_out_pictures`` wants of a loader."""

    num_images = 2

    def batches(self, epoch, done=0):
        yield from (make_batch([index]) for index in (1, 2))


@pytest.mark.parametrize("test_map", ["reference", "zero", "memory", "two_pass"])
def test_pictures_in_mid_training_are_those_of_a_test(test_map, tmp_path):
    training = build("--test_map", test_map)
    run(training, *BATCHES[:2])
    before = (training.memory.maps.clone(), copy.deepcopy(training.networks["G"].state_dict()))
    found = []
    for _ in range(2):
        torch.manual_seed(len(found))
        made = lambda: MODELS.get("atme")(training.options, training.engine.alone())  # noqa: E731
        snapshot = Snapshot(training.networks, training.extra_state())
        pictures = held_out_pictures(made, Images(), snapshot, root=tmp_path, seed=3, storage=Storage())
        found.append(dict(pictures))
    assert torch.equal(training.memory.maps, before[0])
    assert all(map(torch.equal, before[1].values(), training.networks["G"].state_dict().values()))
    names = ["real_A", "fake_B", "real_B"]
    assert all(list(each) == names for each in found[0].values())
    for key, visuals in found[0].items():
        for name, pixels in visuals.items():
            assert pixels.tobytes() == found[1][key][name].tobytes(), (key, name)


def test_before_an_evaluation_the_main_process_knows_the_maps_of_all(monkeypatch):
    """``diagnostics`` is the last thing that every process does in an epoch; then one of them evaluates."""
    model = build("--test_map", "memory")
    run(model, make_batch([0]))
    elsewhere = (torch.tensor([5]), torch.full((1, 1, *MAP), 9.0), torch.tensor([owner_of("train/5.png")]))

    def gather(value):
        return [value, elsewhere] if isinstance(value, tuple) else [value, None]

    monkeypatch.setattr(type(model.engine), "gather", lambda self, value: gather(value))
    model.diagnostics()
    state = model.extra_state()
    assert float(state["disc_maps"][5].min()) == 9.0 and state["disc_map_owners"][5] == owner_of("train/5.png")

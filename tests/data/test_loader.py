"""Order, split over processes, workers, errors."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from itertools import chain
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data import DATASETS
from data.base_dataset import BaseDataset
from data.loader import Loader, _next, check_batch_size, collate, create_loader, part_of_batch
from options.base_options import DataOptions

Make = Callable[..., Loader]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pairs, 24x12 pixels."""
    (tmp_path / "train").mkdir()
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 256, (12, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "train" / f"{number}.png")
    return tmp_path


def dataset_of(folder: Path, **options: Any) -> BaseDataset:
    built = DataOptions(dataroot=str(folder), load_size=12, crop_size=8, **options)
    return DATASETS.get("aligned")(built, input_nc=3, output_nc=3, seed=1)


@pytest.fixture
def loader(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes loaders on the ten pairs and ends their workers afterwards."""
    monkeypatch.setattr("data.loader._usable_cpus", lambda: 2)
    made: list[Loader] = []

    def make(cache: str = "none", **settings: Any) -> Loader:
        defaults = {"batch_size": 4, "num_threads": 0, "serial_batches": False, "direction": "AtoB", "seed": 1}
        made.append(create_loader(dataset_of(folder, cache=cache), **{**defaults, **settings}))
        return made[-1]

    yield make
    for each in made:
        each.close()


def images(loader: Loader, epoch: int, done: int = 0) -> list[torch.Tensor]:
    return [torch.cat([batch["A"], batch["B"]]) for batch in loader.batches(epoch, done)]


def indices(loader: Loader, epoch: int) -> list[list[int]]:
    return [batch["index"].tolist() for batch in loader.batches(epoch)]


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return len(first) == len(second) and all(torch.equal(a, b) for a, b in zip(first, second))


def test_an_epoch_is_a_permutation_of_its_own(loader: Make) -> None:
    one = loader()
    assert len(one) == 3 and one.num_images == 10
    epochs = [indices(one, epoch) for epoch in (1, 2)]
    assert [len(batch) for batch in epochs[0]] == [4, 4, 2]
    assert [sorted(chain(*epoch)) for epoch in epochs] == [list(range(10))] * 2
    assert epochs[0] != epochs[1]
    assert indices(loader(), 1) == epochs[0]
    assert indices(loader(seed=2), 1) != epochs[0]
    assert list(chain(*indices(loader(serial_batches=True), 5))) == list(range(10))


@pytest.mark.parametrize("cache", ["none", "ram"])
def test_workers_change_nothing_over_epochs_and_restarts(loader: Make, cache: str) -> None:
    plain, parallel = loader(), loader(num_threads=2, cache=cache)
    assert parallel.num_workers == 2
    for epoch, done in ((1, 0), (2, 2), (2, 0), (3, 4)):
        assert same(images(plain, epoch, done), images(parallel, epoch, done))
    next(parallel.batches(4))  # given up after one batch
    assert same(images(plain, 5), images(parallel, 5))


@pytest.mark.parametrize(("cache", "given", "expected"), [("none", None, 2), ("ram", None, 0), ("ram", 1, 1)])
def test_a_cache_needs_no_workers_unless_they_are_asked_for(
    loader: Make, cache: str, given: int | None, expected: int
) -> None:
    """Four are wanted without a cache; there are two processors."""
    assert loader(num_threads=given, cache=cache).num_workers == expected


def test_start_skips_without_reading(loader: Make, folder: Path) -> None:
    whole, late = loader(), loader()
    expected = images(whole, 3)
    for batch in list(whole.batches(3))[:2]:
        for path in batch["A_paths"]:
            Path(path).unlink()
    assert same(images(late, 3, done=2 * late.batch_size), expected[2:])


@pytest.mark.parametrize("world", [2, 4])
def test_processes_share_each_global_batch(loader: Make, world: int) -> None:
    whole = [batch["A"] for batch in loader().batches(2)]
    ranks = [list(loader(rank=rank, world_size=world).batches(2)) for rank in range(world)]
    assert {len(batches) for batches in ranks} == {3}
    for number, full in enumerate(whole[:2]):
        parts = [ranks[rank][number] for rank in range(world)]
        assert torch.equal(torch.cat([part["A"] for part in parts]), full)
        assert [part["share"] for part in parts] == [1 / world] * world
        assert {part["global_size"] for part in parts} == {4}
    # The last global batch has two images: with four processes each of them is computed twice.
    last = [ranks[rank][2] for rank in range(world)]
    weighted = sum(part["A"].mean(0) * part["share"] for part in last)
    torch.testing.assert_close(weighted, whole[2].mean(0))


@pytest.mark.parametrize(
    ("count", "world", "expected"),
    [
        (4, 2, [([0, 1], 0.5), ([2, 3], 0.5)]),
        (3, 2, [([0, 1], 2 / 3), ([2], 1 / 3)]),
        (2, 3, [([0], 0.25), ([1], 0.5), ([0], 0.25)]),
        (1, 2, [([0], 0.5), ([0], 0.5)]),
    ],
)
def test_part_of_batch(count: int, world: int, expected: list[tuple[list[int], float]]) -> None:
    parts = [part_of_batch(list(range(count)), rank, world) for rank in range(world)]
    assert parts == expected
    assert sum(share for _, share in parts) == pytest.approx(1)


def test_batch_size_must_fit_the_processes() -> None:
    check_batch_size(8, 4)
    with pytest.raises(ValueError, match=r"--batch_size 6 .* 4 processes: use 4 or 8$"):
        check_batch_size(6, 4)
    with pytest.raises(ValueError, match=r"--batch_size 1 .*: use 4$"):
        check_batch_size(1, 4)


def test_direction_swaps_every_key(loader: Make) -> None:
    forward = next(loader(serial_batches=True).batches(1))
    backward = next(loader(serial_batches=True, direction="BtoA").batches(1))
    assert torch.equal(forward["A"], backward["B"]) and torch.equal(forward["B"], backward["A"])
    assert forward["index"].dtype == torch.int64
    sample = {"A": torch.zeros(1), "B": torch.ones(1), "A_paths": "a", "B_paths": "b", "index": 3}
    swapped = collate([sample], swap=True)
    assert (swapped["A_paths"], swapped["B_paths"], swapped["A"].item()) == (["b"], ["a"], 1)
    assert collate([{"A": torch.zeros(1), "A_paths": "a"}], swap=True)["A_paths"] == ["a"]  # nothing to swap with


def test_global_random_state_is_left_alone(loader: Make) -> None:
    torch.manual_seed(0), random.seed(0), np.random.seed(0)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    images(loader(num_threads=2), 1)
    images(loader(), 1)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]


@pytest.mark.parametrize("threads", [0, 2])
def test_a_broken_file_is_one_line(loader: Make, folder: Path, threads: int) -> None:
    broken = loader(num_threads=threads)
    (folder / "train" / "7.png").write_bytes((folder / "train" / "7.png").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"^\S+7\.png: cannot be read as an image .*check_data") as error:
        images(broken, 1)
    assert "\n" not in str(error.value)
    Image.new("RGB", (24, 12)).save(folder / "train" / "7.png")
    assert len(images(broken, 2)) == 3  # the loader still works


@pytest.mark.parametrize("threads", [0, 2])
def test_unequal_sizes_name_two_files(folder: Path, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (48, 20)).save(folder / "train" / "1.png")
    dataset = dataset_of(folder, preprocess="none")
    loader = create_loader(dataset, batch_size=2, num_threads=threads, serial_batches=True, direction="AtoB", seed=0)
    with pytest.raises(ValueError, match=r"0\.png is 12x12, \S+1\.png is 24x20 pixels: .*--batch_size 1"):
        list(loader.batches(1))
    loader.close()


@pytest.fixture
def workers() -> Callable[[], list[BaseProcess]]:
    """The children that this test has started; other tests of the same process may have left some."""
    before = {child.pid for child in multiprocessing.active_children()}
    return lambda: [child for child in multiprocessing.active_children() if child.pid not in before]


def test_a_killed_worker_is_explained(loader: Make, workers: Callable[[], list[BaseProcess]]) -> None:
    victim = loader(num_threads=1, batch_size=1)
    batches = victim.batches(1)
    next(batches)
    (worker,) = workers()
    with pytest.raises(RuntimeError, match=r"(killed by signal|--num_threads)"):
        os.kill(worker.pid or 0, signal.SIGKILL)
        time.sleep(0.2)
        list(batches)


def test_ctrl_c_does_not_end_workers_and_close_does(loader: Make, workers: Callable[[], list[BaseProcess]]) -> None:
    one = loader(num_threads=2)
    batches = one.batches(1)
    next(batches)
    both = workers()
    assert len(both) == 2
    for worker in both:
        os.kill(worker.pid or 0, signal.SIGINT)
    assert len(list(batches)) == 2
    assert all(worker.is_alive() for worker in both)
    one.close()
    assert not any(worker.is_alive() for worker in both)


def test_sigterm_to_a_worker_leaves_it_to_the_main_process(
    loader: Make, workers: Callable[[], list[BaseProcess]]
) -> None:
    one = loader(num_threads=1, batch_size=1)
    batches = one.batches(1)
    next(batches)
    (worker,) = workers()
    os.kill(worker.pid or 0, signal.SIGTERM)
    assert len(list(batches)) == len(one) - 1
    one.close()
    assert not worker.is_alive()


SPAWNED = """
import sys, multiprocessing
sys.path.insert(0, sys.argv[1])
from data import DATASETS
from data.loader import create_loader
from options.base_options import DataOptions

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    options = DataOptions(dataroot=sys.argv[2], load_size=12, crop_size=8, cache=sys.argv[3])
    dataset = DATASETS.get("aligned")(options, input_nc=3, output_nc=3, seed=1)
    loader = create_loader(dataset, batch_size=4, num_threads=1, serial_batches=False, direction="AtoB", seed=1)
    print(loader.num_workers, *(batch["A"].double().sum().item() for batch in loader.batches(2)))
"""


def test_spawned_workers_give_the_same(loader: Make, folder: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    script = tmp_path / "spawned.py"
    script.write_text(SPAWNED)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(script), str(root), str(folder), "ram"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    expected = [batch["A"].double().sum().item() for batch in loader().batches(2)]
    assert [float(word) for word in done.stdout.split()] == [1, *expected]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("DataLoader worker (pid 7) is killed by signal: Killed. Details are lost", r"out of memory.*--num_threads"),
        ("DataLoader worker (pid 7) is killed by signal: Bus error. It is out of shared memory.", "--shm-size"),
    ],
)
def test_the_end_of_a_worker_comes_with_a_remedy(message: str, words: str) -> None:
    def ended() -> Iterator[None]:
        raise RuntimeError(message)
        yield

    with pytest.raises(RuntimeError, match=words) as error:
        _next(ended())
    assert "\n" not in str(error.value)
    with pytest.raises(RuntimeError, match=r"^something else$"):
        message = "something else"
        _next(ended())


class _ThreadCounts:
    """Samples whose image is the number of threads that torch computes with where they are read."""

    def sample(self, epoch: int, index: int) -> dict[str, torch.Tensor]:
        return {"A": torch.full((1, 1, 1), float(torch.get_num_threads()))}


def test_workers_compute_with_one_thread(loader: Make) -> None:
    parallel = loader(num_threads=2)
    parallel._loader.dataset._dataset = _ThreadCounts()  # type: ignore[attr-defined]
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        batches = list(parallel.batches(1))
    finally:
        torch.set_num_threads(before)
    assert len(batches) == 3 and all((batch["A"] == 1).all() for batch in batches)

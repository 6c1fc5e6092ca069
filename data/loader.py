"""Batches for one process: the order is drawn by seed and epoch, the split over processes loses and repeats nothing."""

from __future__ import annotations

import logging
import math
import os
import random
import re
import signal
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from data.base_dataset import BaseDataset
from data.check import quick_check
from data.pixels import Cut, PixelBatch, alike
from options.base_options import DataOptions
from options.test_options import as_in_test

logger = logging.getLogger(__name__)

Key = tuple[int, int]  # epoch, index
OnBroken = Callable[[int, Exception], None]
"""Gets the place of a sample in the order of the epoch, and why a file of it cannot be read."""

_WORKERS = 4
"""Worker processes where ``--num_threads`` does not say how many, and no cache has the pictures."""
_PREFETCH = 4  # batches that each worker prepares ahead
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SIDE = re.compile(r"^([AB])(?=$|_)")
_BOXES = "_boxes"  # ending of the keys whose tensors have as many rows as their image has objects


@dataclass(frozen=True)
class _Failure:
    """An error of the data, carried out of a worker without torch's wrapping of its text."""

    error: Exception


@dataclass(frozen=True)
class _Partial:
    """What could be read of a batch.

    Attributes:
        batch: of the samples that could; None where there is none.
        rows: their numbers in the whole batch.
        errors: number in the whole batch -> why a file of it could not be read.
    """

    batch: dict[str, Any] | None
    rows: list[int]
    errors: list[tuple[int, Exception]]


class _Batches(Dataset[Any]):
    """Turns a list of keys into a batch inside the worker."""

    def __init__(self, dataset: BaseDataset, swap: bool, leave_out: bool, pixels: bool) -> None:
        self._dataset, self._swap, self._leave_out, self._pixels = dataset, swap, leave_out, pixels

    def __getitems__(self, keys: list[Key]) -> dict[str, Any] | _Partial | _Failure:
        try:
            if self._leave_out:
                return self._readable(keys)
            return self._collated([self._dataset.sample(*key) for key in keys])
        except (ValueError, OSError) as error:
            return _Failure(error)

    def _collated(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        return collate(samples, swap=self._swap, pixels=self._pixels)

    def _readable(self, keys: list[Key]) -> _Partial:
        found, errors = {}, []
        for row, key in enumerate(keys):
            sample, broken = self._dataset.readable(*key)
            errors += [(row, error) for error in broken]
            if sample is not None:
                found[row] = sample
        return _Partial(self._collated(list(found.values())) if found else None, list(found), errors)


class _Plan:
    """What torch's DataLoader takes for a batch sampler: the keys of the batches that are due."""

    def __init__(self) -> None:
        self.keys: list[list[Key]] = []

    def __iter__(self) -> Iterator[list[Key]]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)


class Loader:
    """The batches of one process; made by ``create_loader``.

    Attributes:
        num_images: samples of an epoch, all processes together.
        batch_size: images of a full global batch.
        num_workers: worker processes in use.
    """

    def __init__(
        self,
        dataset: BaseDataset,
        *,
        batch_size: int,
        num_threads: int,
        serial_batches: bool,
        swap: bool,
        seed: int,
        rank: int,
        world_size: int,
        pin_memory: bool,
        on_broken: OnBroken | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.num_images, self.batch_size = len(dataset), batch_size
        self._on_broken, self._device = on_broken, device
        self._dataset = dataset
        self._serial, self._seed, self._rank, self._world_size = serial_batches, seed, rank, world_size
        # More workers than processors or batches only cost memory; the result does not depend on their number.
        self.num_workers = min(num_threads, _usable_cpus(), len(self))
        self._plan = _Plan()
        self._said = False  # that --transform_on_device has no effect
        workers: dict[str, Any] = {}
        if self.num_workers:
            workers = {
                "persistent_workers": True,
                "prefetch_factor": _PREFETCH,
                "worker_init_fn": _start_worker,
            }
        self._loader: DataLoader[Any] = DataLoader(
            _Batches(dataset, swap, on_broken is not None, pixels=device is not None),
            batch_sampler=self._plan,
            num_workers=self.num_workers,
            collate_fn=_unchanged,
            pin_memory=pin_memory and torch.cuda.is_available(),
            # Of its own: DataLoader draws a number at every start, and the global state must not depend on that.
            generator=torch.Generator(),
            **workers,
        )
        # At the program's end, before multiprocessing waits for children that it asks to end by a SIGTERM.
        weakref.finalize(self, _end_workers, self._loader)

    def __len__(self) -> int:
        """Global batches of an epoch, a last smaller one included."""
        return math.ceil(self.num_images / self.batch_size)

    def order(self, epoch: int) -> list[int]:
        """The indices of an epoch in the order of use."""
        if self._serial:
            return list(range(self.num_images))
        return self._dataset.epoch_order(random.Random(f"{self._seed}/{epoch}/order"))

    def batches(self, epoch: int, done: int = 0) -> Iterator[dict[str, Any]]:
        """This process's part of each global batch of an epoch, after its first ``done`` images; they are not read.

        Yields:
            The batch of ``util.types.Batch`` with ``share``, the weight of this part (all parts sum to 1),
            ``global_size``, the images of the global batch, and ``full_size``, those of a complete one. With
            ``on_broken`` also ``places``, the numbers of its images in the order of the epoch.

        Raises:
            ValueError: a file is broken or does not fit, and there is no ``on_broken``.
            RuntimeError: the system ended a worker process.
        """
        order = self.order(epoch)[done:]
        groups = [order[at : at + self.batch_size] for at in range(0, len(order), self.batch_size)]
        parts = [part_of_batch(group, self._rank, self._world_size) for group in groups]
        self._plan.keys = [[(epoch, index) for index in indices] for indices, _ in parts]
        with _signals_held():
            loaded = iter(self._loader)
        for number, (group, (_, share)) in enumerate(zip(groups, parts)):
            batch = _next(loaded)
            if isinstance(batch, _Failure):
                raise batch.error
            if isinstance(batch, _Partial):
                first = done + number * self.batch_size
                if self._on_broken:
                    for row, error in batch.errors:
                        self._on_broken(first + row, error)
                if batch.batch is None:
                    continue
                batch = {**batch.batch, "places": [first + row for row in batch.rows]}
            shares = {"share": share, "global_size": len(group), "full_size": self.batch_size}
            yield {**self._on_device(batch), **shares}

    def _on_device(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch with tensors in place of the pixels that the workers have left as they are."""
        if self._device is None:
            return batch
        device, waiting = self._device, {key: each for key, each in batch.items() if isinstance(each, PixelBatch)}
        if not waiting and not self._said:
            self._said = True
            logger.warning(
                "warning: --transform_on_device: the workers make the tensors of these images, as without it; it is "
                "for images that are only cropped, flipped and scaled, and batches of one type of file"
            )
        return {**batch, **{key: each.to(device).tensor() for key, each in waiting.items()}}

    def close(self) -> None:
        """End the worker processes; the next ``batches`` would start new ones."""
        _end_workers(self._loader)


def _end_workers(loader: DataLoader[Any]) -> None:
    iterator, loader._iterator = loader._iterator, None
    if iterator is not None and loader.num_workers:
        iterator._shutdown_workers()  # type: ignore[attr-defined]


def loader_of(
    dataset: BaseDataset,
    *,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
    batch_size: int = 0,
    on_broken: OnBroken | None = None,
    device: torch.device | None = None,
) -> Loader:
    """``create_loader`` with the options and the seed of the data set; ``batch_size`` other than 0 wins over them.

    ``device`` is that of the model, used with ``--transform_on_device``.
    """
    o = dataset.options
    return create_loader(
        dataset,
        batch_size=batch_size or o.batch_size,
        num_threads=o.num_threads,
        serial_batches=o.serial_batches,
        direction=o.direction,
        seed=dataset.seed,
        rank=rank,
        world_size=world_size,
        pin_memory=pin_memory,
        on_broken=on_broken,
        device=device if o.transform_on_device else None,
    )


def create_loader(
    dataset: BaseDataset,
    *,
    batch_size: int,
    num_threads: int | None,
    serial_batches: bool,
    direction: str,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
    on_broken: OnBroken | None = None,
    device: torch.device | None = None,
) -> Loader:
    """The loader of one process; fills the cache first where ``--cache ram`` asks for it.

    Order, crops, flips and pairings depend on ``seed``, the epoch and the index only: not on the number of workers, nor
    on that of processes.

    Args:
        dataset: what to read.
        batch_size: images of a global batch, all processes together.
        num_threads: worker processes wanted; 0 reads in the calling process, and so does any number where a cache has
            all pictures and ``device`` computes with them. None: no workers where a cache has all pictures, else 4.
        serial_batches: indices in order instead of shuffled.
        direction: ``BtoA`` swaps the sides A and B, here and nowhere else.
        seed: of the order; that of the augmentation is the data set's.
        rank: number of this process.
        world_size: number of processes.
        pin_memory: batches in page-locked memory, for faster copies to a GPU.
        on_broken: of a test by a single process: called for a file that cannot be read, whose sample is left out; the
            cache, which needs all files, is not filled then. None: such a file is an error.
        device: flip and scale there, in the calling process; None: in the workers. The numbers are equal.

    Raises:
        ValueError: ``batch_size`` cannot be split over the processes, or the cache does not fit into memory.
    """
    check_batch_size(batch_size, world_size)
    local = min(world_size, int(os.environ.get("LOCAL_WORLD_SIZE", world_size)))
    cached = on_broken is None and dataset.options.cache != "none"
    if num_threads is None:
        num_threads = 0 if cached else _WORKERS  # to cut and scale takes less time than to hand a batch over
    if on_broken is None:
        dataset.fill_cache(copies=local)
        if cached and device is not None and _is_cut(dataset.sample(1, 0)):
            num_threads = 0  # only copying is left for workers
    return Loader(
        dataset,
        batch_size=batch_size,
        num_threads=num_threads,
        serial_batches=serial_batches,
        swap=direction == "BtoA",
        seed=seed,
        rank=rank,
        world_size=world_size,
        pin_memory=pin_memory,
        on_broken=on_broken,
        device=device,
    )


def _is_cut(sample: dict[str, Any]) -> bool:
    """Whether nothing is left to compute with the pictures of a sample but what a ``PixelBatch`` does."""
    return any(isinstance(value, Cut) for value in sample.values())


def check_batch_size(batch_size: int, world_size: int) -> None:
    """Refuse a global batch that the processes cannot share equally.

    Raises:
        ValueError: with the nearest sizes that work.
    """
    rest = batch_size % world_size
    if rest:
        below, above = batch_size - rest, batch_size - rest + world_size
        good = f"{below} or {above}" if below else f"{above}"
        raise ValueError(
            f"--batch_size {batch_size} is the global batch and cannot be split over {world_size} processes: use {good}"
        )


def part_of_batch(indices: list[int], rank: int, world_size: int) -> tuple[list[int], float]:
    """The part of a global batch that process ``rank`` computes, and its weight in the mean over the batch.

    Parts are contiguous and differ by one image at most. Where there are fewer images than processes, image
    ``rank % n`` is computed by several processes that share its weight, so that all do the same number of steps.
    """
    count = len(indices)
    if count < world_size:
        mine = rank % count
        holders = len(range(mine, world_size, count))
        return [indices[mine]], 1.0 / (count * holders)
    size, extra = divmod(count, world_size)
    begin = rank * size + min(rank, extra)
    part = indices[begin : begin + size + (rank < extra)]
    return part, len(part) / count


def collate(samples: list[dict[str, Any]], *, swap: bool = False, pixels: bool = False) -> dict[str, Any]:
    """One batch from samples: pictures and tensors stacked, numbers to int64, everything else, boxes too, as lists.

    Args:
        samples: dicts with the same keys.
        swap: exchange A and B in all keys, if there are both.
        pixels: leave pictures as ``PixelBatch``, where those of a side are alike, for another device to flip and scale.

    Raises:
        ValueError: tensors of unequal size.
    """
    first = samples[0]
    swap = swap and "A" in first and "B" in first
    batch: dict[str, Any] = {}
    for key in first:
        values = [sample[key] for sample in samples]
        name = _SIDE.sub(lambda found: "B" if found[1] == "A" else "A", key) if swap else key
        if isinstance(values[0], Cut):
            _check_sizes(key, samples)
            if alike(values):
                whole = PixelBatch.of(values)
                batch[name] = whole if pixels else whole.tensor()
            else:
                batch[name] = torch.stack([each.tensor() for each in values])
        elif isinstance(values[0], torch.Tensor) and not key.endswith(_BOXES):
            _check_sizes(key, samples)
            batch[name] = torch.stack(values)
        elif isinstance(values[0], int):
            batch[name] = torch.tensor(values, dtype=torch.int64)
        else:
            batch[name] = values
    return batch


def _check_sizes(key: str, samples: list[dict[str, Any]]) -> None:
    for sample in samples[1:]:
        if sample[key].shape != samples[0][key].shape:
            named = [
                f"{each.get(f'{key}_paths', each.get('path'))} is {each[key].shape[-1]}x{each[key].shape[-2]}"
                for each in (samples[0], sample)
            ]
            raise ValueError(
                f"images of one batch differ in size: {', '.join(named)} pixels: "
                f"use --preprocess resize_and_crop, or --batch_size 1 without --accum_grad"
            )


def _next(loaded: Iterator[Any]) -> Any:
    try:
        return next(loaded)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        cause = str(error).splitlines()[0]
        remedy = "the machine ran out of memory, most likely: lower --num_threads or --batch_size, or use --cache none"
        if "shared memory" in str(error):
            remedy = "shared memory is full: enlarge /dev/shm (docker: --shm-size) or use --num_threads 0"
        raise RuntimeError(f"a process that reads images was ended from outside ({cause}): {remedy}") from None


@contextmanager
def _signals_held() -> Iterator[None]:
    """Keep SIGINT and SIGTERM waiting: a worker that is just being started could not ignore them yet."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(number: int) -> None:
    """Settings of a worker process: one thread, stopping left to the main process.

    A signal to the whole group must let the main process finish its step and save, which needs the workers alive; they
    end when it closes them, or by torch's watchdog when it dies.
    """
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _unchanged(batch: Any) -> Any:
    return batch


def _usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


HELD_OUT_PHASES = ("val", "test")


def held_out_set(
    dataset_class: type[BaseDataset],
    options: DataOptions,
    *,
    phase: str,
    max_images: float,
    input_nc: int,
    output_nc: int,
    seed: int,
) -> tuple[str, BaseDataset, Loader]:
    """The held-out images as test.py would read them: one at a time, in order.

    Args:
        dataset_class: that of the training.
        options: data options of the training.
        phase: ``--eval_phase``; empty for the first of ``val`` and ``test`` that is there.
        max_images: at most this many.
        input_nc: channels of the model's input.
        output_nc: channels of its output.
        seed: ``--seed``.

    Returns:
        the phase, its data set, and its loader.

    Raises:
        ValueError: no such phase, or a file that cannot be read.
    """
    reasons: list[str] = []
    for name in (phase,) if phase else HELD_OUT_PHASES:
        data = as_in_test(options, name, max_images)
        try:
            dataset = dataset_class(data, input_nc=input_nc, output_nc=output_nc, seed=seed)
        except FileNotFoundError as error:
            reasons.append(str(error))
            continue
        for warning in quick_check(dataset):
            logger.warning("warning: %s", warning)
        return name, dataset, loader_of(dataset)
    flag = f"--eval_phase {phase}" if phase else "--eval_freq: neither val nor test is there to evaluate on"
    raise ValueError(f"{flag}: {reasons[-1]}")

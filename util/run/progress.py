"""How far a run is, and the running means of its losses."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from util.run.distributed import sum_over_processes
from util.types import EpochRecord, ScalarRecord

T = TypeVar("T")


@dataclass
class Progress:
    """Counters of a run. ``epoch`` counts from 1; ``*_iter`` and ``total_iters`` count images, ``steps`` batches."""

    epoch: int = 1
    epoch_iter: int = 0
    total_iters: int = 0
    steps: int = 0
    last_size: int = field(default=0, compare=False)

    def advance(self, num_images: int) -> None:
        """One batch of this many images was trained on."""
        self.epoch_iter += num_images
        self.total_iters += num_images
        self.steps += 1
        self.last_size = num_images

    def crossed(self, freq: int) -> bool:
        """Whether the last batch reached or passed a multiple of ``freq`` images, whatever the batch size."""
        return self.total_iters // freq > (self.total_iters - self.last_size) // freq

    def next_epoch(self) -> None:
        """The epoch is complete."""
        self.epoch += 1
        self.epoch_iter = 0
        self.last_size = 0

    def state(self) -> dict[str, int]:
        """Plain numbers for the checkpoint."""
        return {key: value for key, value in asdict(self).items() if key != "last_size"}


class NonFiniteLoss(RuntimeError):
    """A loss became NaN or infinite; the message names it, the iteration and the files of the batch."""

    one_line = True  # foreseen: no traceback


class Meter:
    """Collects the losses of every step without waiting for the device, and the time that steps and data take.

    Everything stays in one small tensor on the device: sums over the epoch, and the number of the first step with a
    loss that is not finite. Reading it (``check``, ``record``, ``epoch_record``) is the only synchronisation.
    """

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self._sums = torch.zeros(0)
        self._last = torch.zeros(0)
        self._images = 0.0
        self._first_bad: Tensor | None = None
        self._recent: dict[int, list[str]] = {}
        self._start_epoch = self._mark = time.perf_counter()
        self._wait = 0.0
        self._since = 0
        self._started = False

    def waiting(self, batches: Iterable[T]) -> Iterator[T]:
        """Iterate over the batches, taking the time that each keeps us waiting."""
        source = iter(batches)
        if not self._started:  # what was prepared before the first batch is not training
            self._start_epoch = self._mark = time.perf_counter()
            self._started = True
        while True:
            begin = time.perf_counter()
            try:
                batch = next(source)
            except StopIteration:
                return
            self._wait += time.perf_counter() - begin
            yield batch

    def update(self, losses: Mapping[str, Tensor], progress: Progress, *, share: float, paths: list[str]) -> None:
        """Add one step's losses, after ``progress.advance``. On the CPU they are checked at once, which costs nothing.

        Args:
            losses: 0-dim tensors, the same names in every step.
            progress: counters after this step.
            share: weight of this process's losses in the global ones.
            paths: files of this process's part of the batch.

        Raises:
            NonFiniteLoss: as ``check``.
        """
        last = torch.stack([loss.detach().float() for loss in losses.values()]) * share
        if self.names != tuple(losses):
            self.names = tuple(losses)
            if self._sums.numel() != len(self.names):
                self._sums, self._images = torch.zeros(len(self.names)), 0.0
        if self._first_bad is None:
            self._first_bad = torch.full((), -1, dtype=torch.int64, device=last.device)
            self._sums = self._sums.to(last.device)
        self._last = last
        self._sums += last * progress.last_size
        bad = (self._first_bad < 0) & ~torch.isfinite(last.sum())
        self._first_bad = torch.where(bad, progress.steps, self._first_bad)
        self._recent[progress.steps] = paths
        self._images += progress.last_size
        self._since += progress.last_size
        if last.device.type == "cpu" and share == 1.0:
            self.check()

    def check(self) -> None:
        """Raise when any step since the last check had a loss that is not finite, in any process.

        Raises:
            NonFiniteLoss: with the first such step, its files, and the last losses.
        """
        if self._first_bad is None:
            return
        first = int(self._first_bad)
        if float(sum_over_processes(torch.tensor([float(first >= 0)], device=self._first_bad.device))):
            if first < 0:
                raise NonFiniteLoss("a loss is not finite in another process; see its message")
            shown = ", ".join(f"{name} {value:.4g}" for name, value in zip(self.names, self._last.tolist()))
            files = ", ".join(self._recent.get(first, [])) or "unknown"
            raise NonFiniteLoss(
                f"a loss is not finite: {shown}; first in step {first}, files: {files}. The last good checkpoint is "
                "untouched. Try a lower learning rate or --precision fp32, and look at these files"
            )
        self._recent.clear()

    def check_weights(self, networks: Mapping[str, nn.Module]) -> None:
        """Raise when a network has a weight that is not finite. Waits for the device; for use before a save.

        Raises:
            NonFiniteLoss: with the network's name.
        """
        for name, net in networks.items():
            if not any(True for _ in net.parameters()):
                continue
            sums = torch.stack([parameter.detach().float().sum() for parameter in net.parameters()])
            if not bool(torch.isfinite(sums).all()):
                raise NonFiniteLoss(
                    f"network {name} has a weight that is not finite; the last good checkpoint is untouched. "
                    "Try a lower learning rate or --precision fp32"
                )

    def record(self, progress: Progress, lr: float, memory_mb: float) -> ScalarRecord:
        """The last step's losses over all processes, with the speed since the last record."""
        values = sum_over_processes(self._last).tolist()
        now = time.perf_counter()
        seconds, images, wait = now - self._mark, max(self._since, 1), self._wait
        self._mark, self._since, self._wait = now, 0, 0.0
        return ScalarRecord(
            epoch=progress.epoch,
            epoch_iter=progress.epoch_iter,
            total_iters=progress.total_iters,
            losses=dict(zip(self.names, values)),
            lr=lr,
            t_comp=max(seconds - wait, 0.0) / images,
            t_data=wait / images,
            images_per_s=images / seconds if seconds > 0 else 0.0,
            data_wait=min(wait / seconds, 1.0) if seconds > 0 else 0.0,
            memory_mb=memory_mb,
        )

    def epoch_record(self, progress: Progress, lr: float) -> EpochRecord:
        """Means over the images of the epoch; starts the next epoch's sums."""
        sums = sum_over_processes(self._sums).tolist()
        now = time.perf_counter()
        means = {name: value / max(self._images, 1) for name, value in zip(self.names, sums)}
        seconds, self._start_epoch = now - self._start_epoch, now
        self._sums, self._images = torch.zeros_like(self._sums), 0.0
        return EpochRecord(progress.epoch, progress.total_iters, means, lr, seconds)

    def leave_out(self, seconds: float) -> None:
        """Time that was not spent training, such as an evaluation's, does not count as such."""
        self._start_epoch += seconds
        self._mark += seconds

    def state(self) -> dict[str, Any]:
        """The epoch's sums over all processes so far, for a checkpoint in mid-epoch. Every process must call it."""
        return {"sums": sum_over_processes(self._sums).cpu(), "images": self._images}

    def load_state(self, state: Mapping[str, Any], share: float) -> None:
        """Go on with the sums of ``state``; ``share`` = 1 / number of processes."""
        self._sums, self._images = state["sums"] * share, state["images"]

"""``--max_minutes``: a training that ends in time, with its learning rate as far down as the schedule brings it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from util.run.distributed import World, sum_over_processes
from util.run.progress import Progress
from util.run.schedule import TrainingSchedule

AGREE_EVERY = 10
"""Several processes go by the clock of the first, and ask for it only every few steps."""


class TimeLimit:
    """How much of the time is used, and where the schedule must be for that.

    Args:
        minutes: for the training, from now on; 0 for no limit.
        plan: of the training.
        progress: where it begins.
        world: all processes end after the same step.
        device: where the processes exchange messages.
        clock: seconds.
    """

    def __init__(
        self,
        minutes: float,
        plan: TrainingSchedule,
        progress: Progress,
        world: World,
        device: torch.device,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.minutes = minutes
        self._plan, self._first, self._world, self._device = plan, replace(progress), world, device
        self._clock, self._begin, self._used = clock, clock(), 0.0

    def used(self, step: int) -> float:
        """Share of the time that is used, from 0 on; all processes get the same answer."""
        if not self.minutes:
            return 0.0
        if self._world.size == 1 or step % AGREE_EVERY == 0:
            share = (self._clock() - self._begin) / (60 * self.minutes)
            if self._world.size > 1:
                own = torch.tensor([share if self._world.is_main else 0.0], device=self._device)
                share = float(sum_over_processes(own))
            self._used = share
        return self._used

    def is_over(self, step: int) -> bool:
        """Whether to end after this step."""
        return self.used(step) >= 1

    def due(self, progress: Progress) -> Progress:
        """Where the schedule is: at ``progress``, or further on where the time runs faster than the steps.

        A training that needs less than its time is that without a limit, to the bit.
        """
        used = min(self.used(progress.steps), 1.0)
        if self._plan.by_steps:
            first = self._first.steps
            steps = first + int(used * (self._plan.total_steps - first))
            return replace(progress, steps=min(max(progress.steps, steps), self._plan.total_steps - 1))
        first = self._first.epoch
        epoch = first + int(used * (self._plan.last_epoch + 1 - first))
        return replace(progress, epoch=max(progress.epoch, min(epoch, self._plan.last_epoch)))

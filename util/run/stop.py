"""Ctrl-C and SIGTERM while training: finish the step, save, say how to go on."""

from __future__ import annotations

import logging
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

import torch

from util.exit_code import Terminated
from util.run.distributed import World, sum_over_processes

logger = logging.getLogger(__name__)

AGREE_EVERY = 10
"""Several processes on GPUs agree on stopping only every few steps, because asking waits for the GPU."""

ECHO_SECONDS = 5.0
"""torchrun passes on the Ctrl-C that the terminal gave its processes already: a second one so soon is the same."""


class StopSignal:
    """Context that turns the first SIGINT or SIGTERM into a request; a second one ends the program at once.

    Args:
        world: all processes stop after the same step, whichever got the signal.
        device: where the processes exchange messages.
    """

    def __init__(self, world: World, device: torch.device) -> None:
        self.number = 0
        self._first = 0.0
        self._every = AGREE_EVERY if device.type == "cuda" else 1
        self._world, self._device = world, device
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def requested(self, step: int) -> bool:
        """Whether to stop after this step; all processes get the same answer."""
        if self._world.size == 1:
            return self.number > 0
        if step % self._every:
            return False
        number = sum_over_processes(torch.tensor([float(self.number)], device=self._device))
        self.number = self.number or (signal.SIGTERM if float(number) else 0)
        return self.number > 0

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as shells report it."""
        return 128 + self.number

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number and self._world.size > 1 and time.monotonic() - self._first < ECHO_SECONDS:
            return
        if self.number:
            signal.signal(number, signal.SIG_DFL)
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
        self.number, self._first = number, time.monotonic()
        if self._world.is_main:
            logger.warning("stopping after this step and saving; once more stops at once")

"""Where the time of some training steps goes: a trace, the operations that cost most, and the wait for data."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import torch
from torch.profiler import ProfilerActivity, profile

from util.wording import counted

logger = logging.getLogger(__name__)

TRACE_FILE = "profile_trace.json"
WARMUP = 3
ROWS = 12
HARMLESS = re.compile(rb"USDT:.*profiler_(start|stop)|ERROR:.* DeviceProperties\.cpp:\d+\] gpuGetDeviceCount failed")
"""What torch's profiler writes in every run, and, as a build with CUDA asks for GPUs, in those without one."""

T = TypeVar("T")


class StepProfiler:
    """Profiles ``steps`` steps after ``WARMUP`` others, reports once, and does nothing from then on.

    Args:
        steps: how many; 0 profiles nothing.
        folder: gets the trace, for chrome://tracing or https://ui.perfetto.dev.
        device: of the run; None for the CPU.
    """

    def __init__(self, steps: int = 0, folder: Path = Path(), device: torch.device | None = None) -> None:
        self._steps, self._folder, self._device = steps, folder, device or torch.device("cpu")
        self._seen, self._begin, self._waited = 0, 0.0, 0.0
        self._profile: profile | None = None

    def steps(self, batches: Iterable[T]) -> Iterator[T]:
        """The batches, with the time that each of them was waited for, and what is done until the next, measured."""
        iterator = iter(batches)
        while True:
            if self._steps and self._seen == WARMUP:
                self._start()
            before = time.perf_counter()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            self._waited += time.perf_counter() - before
            yield batch
            self._seen += 1
            if self._profile and self._seen == WARMUP + self._steps:
                self._report(self._profile)

    def close(self) -> None:
        """Report what there is of a run that ended earlier, or that there is nothing."""
        if self._profile and self._seen > WARMUP:
            self._report(self._profile)
        elif self._steps:
            logger.warning(
                "warning: --profile %d: the run ended after %s, and the first %d are not profiled",
                *(self._steps, counted(self._seen, "step"), WARMUP),
            )
            if self._profile:
                with harmless_left_out():
                    self._profile.stop()

    def _start(self) -> None:
        if self._profile:
            return
        kinds = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * (self._device.type == "cuda")]
        self._profile = profile(activities=kinds)
        with harmless_left_out():
            self._profile.start()
        self._begin, self._waited = time.perf_counter(), 0.0

    def _report(self, found: profile) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        seconds, steps = time.perf_counter() - self._begin, self._seen - WARMUP
        trace = self._folder / TRACE_FILE
        with harmless_left_out():
            found.stop()
            found.export_chrome_trace(str(trace))
        self._profile, self._steps = None, 0
        key = "self_device_time_total" if self._device.type == "cuda" else "self_cpu_time_total"
        rows = sorted(found.key_averages(), key=lambda row: -getattr(row, key))
        total = sum(getattr(row, key) for row in rows) or 1.0
        lines = [
            f"profile of {counted(steps, 'step')}: {seconds / steps:.3f} s each with the profiler, trace in {trace}"
        ]
        for row in rows[:ROWS]:
            spent = getattr(row, key)
            lines.append(
                f"  {row.key[:48]:48} {spent / steps / 1000:9.2f} ms/step {100 * spent / total:5.1f} %  "
                f"{counted(row.count // steps, 'call')}"
            )
        logger.info("%s", "\n".join([*lines, waiting_advice(self._waited / seconds)]))


@contextlib.contextmanager
def harmless_left_out() -> Iterator[None]:
    """Take the ``HARMLESS`` lines out of what is written to standard error meanwhile, by C++ too; the others follow."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as written:
        own = os.dup(2)
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(own, 2)
            os.close(own)
            written.seek(0)
            for line in written:
                if not HARMLESS.match(line):
                    os.write(2, line)


def waiting_advice(share: float) -> str:
    """What the share of time that a step waited for its batch means, and the flag to change."""
    text = f"  waiting for data: {100 * share:.1f} % of the time"
    if share < 0.05:
        return f"{text}; faster data would change nothing"
    return f"{text}: raise --num_threads, or keep decoded images by --cache disk or ram"

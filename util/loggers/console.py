"""The console: a progress bar on a terminal, plain lines in a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TextIO

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from util.loggers.base import Logger
from util.loggers.loss_log import loss_line
from util.metrics.measurement import metrics_line
from util.types import EpochRecord, ScalarRecord

_BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {rate_noinv_fmt}, left {remaining}{postfix}"


class ConsoleLogger(Logger):
    """Shows the run on ``stream``.

    On a terminal: a bar with images/s, the time left of the epoch and of the run and the share of the time that is
    spent waiting for data, under it the learning rate and the losses; a finished epoch leaves one line. Log messages to
    the terminal appear above the bar. Elsewhere: the lines of ``loss_log.txt`` and one line an epoch. The metrics of an
    evaluation are a line of their own after that of the epoch.

    Args:
        stream: default standard error.
        clock: seconds; its origin does not matter.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._clock = clock
        self._bar: tqdm | None = None
        self._losses: tqdm | None = None  # the line under the bar
        self._redirection = ExitStack()
        if self._terminal:
            self._redirection.enter_context(logging_redirect_tqdm())
        self._started = clock()
        self._seen = 0  # images since this process began, for the time left
        self._left = 0  # images that the run still has to see
        self._last_epoch = 0

    def start_epoch(self, epoch: int, last_epoch: int, num_images: int, done: int) -> None:
        self._last_epoch = last_epoch
        self._left = (last_epoch - epoch + 1) * num_images - done
        if self._seen == 0:
            self._started = self._clock()
        if self._terminal:
            self._close_bar()
            self._bar = tqdm(
                desc=f"epoch {epoch}/{last_epoch}",
                total=num_images,
                initial=done,
                unit=" img",
                leave=False,
                dynamic_ncols=True,
                bar_format=_BAR,
                position=0,
                file=self._stream,
            )
            self._losses = tqdm(
                total=0, bar_format="{desc}", leave=False, dynamic_ncols=True, position=1, file=self._stream
            )

    def advance(self, num_images: int) -> None:
        self._seen += num_images
        self._left -= num_images
        if self._bar is not None:
            self._bar.update(num_images)

    def log_scalars(self, record: ScalarRecord) -> None:
        if self._bar is not None and self._losses is not None:
            losses = " ".join(f"{name} {value:.3f}" for name, value in record.losses.items())
            self._bar.set_postfix_str(f"run {self.time_left()}, data wait {record.data_wait:.0%}", refresh=False)
            self._losses.set_description_str(f"  lr {record.lr:.3g}  {losses}", refresh=True)
        else:
            self._say(loss_line(record))

    def log_epoch(self, record: EpochRecord) -> None:
        self._close_bar()
        means = " ".join(f"{name} {value:.3f}" for name, value in record.means.items())
        of = f" / {self._last_epoch}" if self._last_epoch else ""
        self._say(
            f"End of epoch {record.epoch}{of}  time {_clock_time(record.seconds)}  lr {record.lr:.3g}  mean: {means}"
        )
        if record.metrics:
            self._say(metrics_line(record))

    def close(self) -> None:
        self._close_bar()
        self._redirection.close()

    def time_left(self) -> str:
        """The time that the rest of the run takes at the mean speed so far: ``1:02:03``, ``02:03``, or ``?``."""
        if self._seen == 0:
            return "?"
        return _clock_time((self._clock() - self._started) / self._seen * max(0, self._left))

    def _say(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()

    def _close_bar(self) -> None:
        for line in (self._losses, self._bar):  # the lower one first: the cursor ends where the bar stood
            if line is not None:
                line.close()
        self._bar = self._losses = None


def _clock_time(seconds: float) -> str:
    minutes, secs = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes:02d}:{secs:02d}"

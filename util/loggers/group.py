"""The loggers that a run asked for, opened together and called as one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from options.schema import build
from util.loggers import LOGGERS
from util.loggers.base import Logger, RunLog
from util.loggers.console import ConsoleLogger
from util.loggers.jsonl import FILE_NAME, ImageEvent, JsonlLogger, read_metrics
from util.types import EpochRecord, ImageRecord, ScalarRecord


def build_loggers(
    run_dir: str | os.PathLike[str],
    *,
    name: str,
    resume_iters: int | None,
    options: Mapping[str, object],
    console: bool = True,
) -> LoggerGroup:
    """Open the loggers of a run: ``metrics.jsonl``, those of ``LOGGERS`` that the options switch on, and the console.

    Log an event before the checkpoint of the same place is saved: what the files hold up to ``resume_iters`` is then
    exactly what the resumed run does not log again.

    Args:
        run_dir: folder of the run; made when missing.
        name: name of the experiment, for titles.
        resume_iters: None starts new files; else the ``total_iters`` of the checkpoint from which the run goes on: what
            the files hold beyond it is dropped.
        options: all options of the run, flag -> value; those of a logger that are missing have their defaults.
        console: bar or lines on standard error.

    Raises:
        ValueError: a package that a flag asks for is missing, or a log file of the resumed run is corrupt.
        OSError: a file cannot be written.
    """
    folder = Path(run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    old_metrics = resume_iters is not None and (folder / FILE_NAME).exists()
    loggers: list[Logger] = [JsonlLogger(folder, resume_iters)]  # first: it drops what the others must not read
    records = read_metrics(folder / FILE_NAME) if old_metrics else ()
    past = [record for record in records if not isinstance(record, ImageEvent)]
    run = RunLog(folder, name, resume_iters, options, past)
    for cls in map(LOGGERS.get, LOGGERS.names()):
        logger = cls.open(run, build(cls.Options, options) if cls.Options else None)
        loggers += [logger] if logger else []
    return LoggerGroup([*loggers, *([ConsoleLogger()] if console else [])])


class LoggerGroup(Logger):
    """Hands every event to each of its loggers, in order."""

    def __init__(self, loggers: Sequence[Logger]) -> None:
        self.loggers = tuple(loggers)

    def start_epoch(self, epoch: int, last_epoch: int, num_images: int, done: int) -> None:
        for logger in self.loggers:
            logger.start_epoch(epoch, last_epoch, num_images, done)

    def advance(self, num_images: int) -> None:
        for logger in self.loggers:
            logger.advance(num_images)

    def log_scalars(self, record: ScalarRecord) -> None:
        for logger in self.loggers:
            logger.log_scalars(record)

    def log_images(self, record: ImageRecord) -> None:
        for logger in self.loggers:
            logger.log_images(record)

    def log_epoch(self, record: EpochRecord) -> None:
        for logger in self.loggers:
            logger.log_epoch(record)

    def close(self) -> None:
        """Close every logger, also when one of them fails; then raise the first failure."""
        failures: list[Exception] = []
        for logger in self.loggers:
            _try_to(logger.close, failures)
        if failures:
            raise failures[0]


def _try_to(action: Callable[[], None], failures: list[Exception]) -> None:
    try:
        action()
    except Exception as error:
        failures.append(error)

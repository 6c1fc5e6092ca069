"""What a logger is, and how several become one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from util.types import EpochRecord, ImageRecord, ScalarRecord


class Logger:
    """A passive sink of what happens in a run; the loop calls it when something is due.

    Every method does nothing here, so a sink overrides only what it draws. A sink that writes files of the run raises
    when it cannot (``OSError``); a sink that talks to a server never raises and never waits (``util.loggers.live``).
    Records are never changed by a sink, and a caller does not change a record's arrays after it gave them away.
    """

    def start_epoch(self, epoch: int, last_epoch: int, num_images: int, done: int) -> None:
        """An epoch begins.

        Args:
            epoch: its number, from 1.
            last_epoch: the number of the run's last epoch.
            num_images: images in one epoch.
            done: images of this epoch that were already seen: above 0 only when a run goes on in mid-epoch.
        """

    def advance(self, num_images: int) -> None:
        """``num_images`` more images were trained on. Called after every batch, so it costs microseconds."""

    def log_scalars(self, record: ScalarRecord) -> None:
        """The losses of one batch, every ``--print_freq`` images."""

    def log_images(self, record: ImageRecord) -> None:
        """The visuals of one sample, every ``--display_freq`` images."""

    def log_epoch(self, record: EpochRecord) -> None:
        """An epoch is over."""

    def close(self) -> None:
        """The run ends, well or badly. Returns within seconds; further calls do nothing."""


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

"""What a logger is, and what it is given of its run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from util.types import EpochRecord, ImageRecord, ScalarRecord


@dataclass(frozen=True)
class RunLog:
    """The run that a logger is opened for.

    Attributes:
        folder: of the run; it exists.
        name: of the experiment, for titles.
        resume_iters: None starts new files; else the ``total_iters`` of the checkpoint from which the run goes on: what
            the files hold beyond it is to be dropped.
        options: all options of the run, flag -> value, to be shown.
        history: losses and metrics of the run up to ``resume_iters``, in order.
    """

    folder: Path
    name: str
    resume_iters: int | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    history: Sequence[ScalarRecord | EpochRecord] = ()


class Logger:
    """A passive sink of what happens in a run; the loop calls it when something is due.

    Every method does nothing here, so a sink overrides only what it draws. A sink that writes files of the run raises
    when it cannot (``OSError``); a sink that talks to a server never raises and never waits (``util.loggers.live``).
    Records are never changed by a sink, and a caller does not change a record's arrays after it gave them away.

    Class attributes:
        Options: dataclass of the logger's flags, made with ``options.schema.arg``; None for a logger without flags. Its
            file is read for every ``--help``, so it imports torch, numpy and other packages where they are used.
    """

    Options: ClassVar[type | None] = None

    @classmethod
    def open(cls, run: RunLog, options: Any) -> Logger | None:
        """The logger of a run, or None where the options switch it off.

        Args:
            run: see ``RunLog``.
            options: an instance of ``Options``.

        Raises:
            ValueError: a package that a flag asks for is missing, or a log file of the resumed run is corrupt.
            OSError: a file cannot be written.
        """
        return cls()

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

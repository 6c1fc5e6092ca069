"""``loss_log.txt``: the console's loss lines in the format that tools for pix2pix/CycleGAN logs read."""

from __future__ import annotations

import re
import time
from pathlib import Path

from util.files import LineFile, replace_text
from util.loggers import LOGGERS
from util.loggers.base import Logger, RunLog
from util.types import ScalarRecord

FILE_NAME = "loss_log.txt"

_PLACE = re.compile(r"\(epoch: (\d+), iters: (\d+),")


def loss_line(record: ScalarRecord) -> str:
    """Return ``(epoch: E, iters: I, time: T, data: T) G_GAN: v G_L1: v `` as published: I counts the images of the
    epoch, times are seconds, three decimals, a blank at the end."""
    place = (
        f"(epoch: {record.epoch}, iters: {record.epoch_iter}, time: {record.t_comp:.3f}, data: {record.t_data:.3f}) "
    )
    return place + "".join(f"{name}: {value:.3f} " for name, value in record.losses.items())


@LOGGERS.register("loss")
class LossLogger(Logger):
    """Writes ``loss_log.txt``: a header with the date at each start, then one line an event.

    Args:
        run_dir: folder of the run; it exists.
        resume_at: None starts a new file; else epoch and images of that epoch of the last line that stays, ``(0, 0)``
            when none does. Later lines and a cut last line are dropped, the headers of all starts stay.
    """

    def __init__(self, run_dir: Path, resume_at: tuple[int, int] | None = None) -> None:
        path = run_dir / FILE_NAME
        kept = _lines_until(path, resume_at) if resume_at is not None and path.exists() else []
        replace_text(path, kept)
        self._resume_at = resume_at or (0, 0)
        self._file = LineFile(path)
        self._file.append(f"================ Training Loss ({time.strftime('%c')}) ================")

    @classmethod
    def open(cls, run: RunLog, options: None) -> LossLogger:
        places = ((each.epoch, each.epoch_iter) for each in reversed(run.history) if isinstance(each, ScalarRecord))
        return cls(run.folder, None if run.resume_iters is None else next(places, (0, 0)))

    def log_scalars(self, record: ScalarRecord) -> None:
        if (record.epoch, record.epoch_iter) > self._resume_at:
            self._file.append(loss_line(record))

    def close(self) -> None:
        self._file.close()


def _lines_until(path: Path, resume_at: tuple[int, int]) -> list[str]:
    kept = []
    with open(path, encoding="utf-8", newline="") as file:
        for line in file:
            place = _PLACE.match(line)
            late = place is not None and (int(place[1]), int(place[2])) > resume_at
            if line.endswith("\n") and not late:
                kept.append(line)
    return kept

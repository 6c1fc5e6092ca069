"""``loss_log.csv``: losses and metrics, one row per epoch, for spreadsheets and plots."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from util.files import LineFile, replace_text
from util.loggers import LOGGERS
from util.loggers.base import Logger, RunLog
from util.metrics.measurement import short_name
from util.types import EpochRecord

FILE_NAME = "loss_log.csv"

_FIRST, _LAST = ("epoch", "total_iters"), ("lr", "seconds")


@LOGGERS.register("csv")
class CsvLogger(Logger):
    """Writes ``loss_log.csv``: ``epoch,total_iters,<mean of every loss>,<every metric>,lr,seconds`` under one header.

    What first comes in a later epoch (a metric with the first evaluation, a loss when a flag changed on resume) gets a
    column, empty in the older rows; so are the metrics of an epoch without evaluation. Metrics stand under their full
    name, in their own units.

    Args:
        run_dir: folder of the run; it exists.
        resume_iters: None starts a new file; else rows with more ``total_iters`` and a cut last row are dropped, and
            then the columns that no row fills. An epoch whose row stayed is not written twice.
    """

    def __init__(self, run_dir: Path, resume_iters: int | None = None) -> None:
        self._path = run_dir / FILE_NAME
        self._losses: list[str] = []
        self._metrics: list[str] = []
        self._rows: list[dict[str, str]] = []
        if resume_iters is not None and self._path.exists():
            names, rows = _read(self._path)
            self._rows = [row for row in rows if int(row["total_iters"]) <= resume_iters]
            # a run that was never interrupted has not measured at this place what comes later
            self._losses, self._metrics = _split([name for name in names if any(row[name] for row in self._rows)])
        self._last_epoch = int(self._rows[-1]["epoch"]) if self._rows else 0
        self._file = self._rewrite()

    @classmethod
    def open(cls, run: RunLog, options: None) -> CsvLogger:
        return cls(run.folder, run.resume_iters)

    def log_epoch(self, record: EpochRecord) -> None:
        if record.epoch <= self._last_epoch:
            return
        self._last_epoch = record.epoch
        ends = {"epoch": record.epoch, "total_iters": record.total_iters, "lr": record.lr, "seconds": record.seconds}
        row = {name: repr(value) for name, value in {**ends, **record.metrics, **record.means}.items()}
        self._rows.append(row)
        before = self._columns()
        self._losses = list(dict.fromkeys([*self._losses, *record.means]))
        # _split may have taken a loss for a metric; its own record says what it is
        metrics = dict.fromkeys([*self._metrics, *record.metrics])
        self._metrics = [name for name in metrics if name not in self._losses]
        if self._columns() != before or len(self._rows) == 1:  # the header comes with the first row
            self._file.close()
            self._file = self._rewrite()
        else:
            self._file.append(_line(row.get(name, "") for name in self._columns()))

    def close(self) -> None:
        self._file.close()

    def _columns(self) -> list[str]:
        return [*_FIRST, *self._losses, *self._metrics, *_LAST]

    def _rewrite(self) -> LineFile:
        header = [_line(self._columns())] if self._rows else []
        lines = header + [_line(row.get(name, "") for name in self._columns()) for row in self._rows]
        replace_text(self._path, (line + "\n" for line in lines))
        return LineFile(self._path)


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(list(cells))
    return text.getvalue()


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    rows = list(csv.reader(line for line in lines if line.endswith("\n")))
    if not rows:
        return [], []
    header = rows[0]
    if tuple(header[:2]) != _FIRST or tuple(header[-2:]) != _LAST:
        raise ValueError(f"{path}: the header {','.join(header)!r} is not one of this program; move the file away")
    for number, row in enumerate(rows[1:], start=2):
        if not _fits(row, header):
            raise ValueError(f"{path}: row {number} does not fit the header; remove the row")
    return header[2:-2], [dict(zip(header, row)) for row in rows[1:]]


def _split(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Losses and metrics of a header: the metrics are the names at its end that are those of known metrics."""
    end = len(names)
    while end and short_name(names[end - 1]):
        end -= 1
    return list(names[:end]), list(names[end:])


def _fits(row: Sequence[str], header: Sequence[str]) -> bool:
    return len(row) == len(header) and row[0].isdigit() and row[1].isdigit()

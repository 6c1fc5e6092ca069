"""``loss_log.csv``: one row an epoch, for spreadsheets and plots."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from util.loggers.base import Logger
from util.text_file import LineFile, replace_text
from util.types import EpochRecord

FILE_NAME = "loss_log.csv"

_FIRST, _LAST = ("epoch", "total_iters"), ("lr", "seconds")


class CsvLogger(Logger):
    """Writes ``loss_log.csv``: ``epoch,total_iters,<mean of every loss>,lr,seconds`` under one header.

    A loss that first comes in a later epoch (a flag changed on resume) gets a column, empty in the older rows.

    Args:
        run_dir: folder of the run; it exists.
        resume_iters: None starts a new file; else rows with more ``total_iters`` and a cut last row are dropped. An
            epoch whose row stayed is not written twice.
    """

    def __init__(self, run_dir: Path, resume_iters: int | None = None) -> None:
        self._path = run_dir / FILE_NAME
        self._losses: list[str] = []
        self._rows: list[dict[str, str]] = []
        if resume_iters is not None and self._path.exists():
            self._losses, rows = _read(self._path)
            self._rows = [row for row in rows if int(row["total_iters"]) <= resume_iters]
        self._last_epoch = int(self._rows[-1]["epoch"]) if self._rows else 0
        self._file = self._rewrite()

    def log_epoch(self, record: EpochRecord) -> None:
        if record.epoch <= self._last_epoch:
            return
        self._last_epoch = record.epoch
        ends = {"epoch": record.epoch, "total_iters": record.total_iters, "lr": record.lr, "seconds": record.seconds}
        row = {name: repr(value) for name, value in {**ends, **record.means}.items()}
        self._rows.append(row)
        new = [name for name in record.means if name not in self._losses]
        if new:
            self._losses += new
            self._file.close()
            self._file = self._rewrite()
        else:
            self._file.append(_line(row.get(name, "") for name in self._columns()))

    def close(self) -> None:
        self._file.close()

    def _columns(self) -> list[str]:
        return [*_FIRST, *self._losses, *_LAST]

    def _rewrite(self) -> LineFile:
        header = [_line(self._columns())] if self._losses else []
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


def _fits(row: Sequence[str], header: Sequence[str]) -> bool:
    return len(row) == len(header) and row[0].isdigit() and row[1].isdigit()

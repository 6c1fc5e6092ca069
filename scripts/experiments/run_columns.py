"""Columns of a table beside the metrics: a number of every run, read from what it left behind."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from util.loggers.csv_log import FILE_NAME


@dataclass(frozen=True)
class RunEnd:
    """What a run left behind.

    Attributes:
        checkpoints: folder of its checkpoints and logs.
        trained: whether its training came to its end.
        error: the line of error of the step that failed; empty where none failed, or none was heard.
    """

    checkpoints: Path
    trained: bool = True
    error: str = ""


@dataclass(frozen=True)
class Column:
    """A number that a table has for every run.

    Attributes:
        name: heading in ``table.csv``.
        title: heading in ``table.md``.
        read: the number of a run; None where it has none.
        decimals: how many of them are shown.
        share: the numbers are 0 or 1, and shown as ``2 of 6``, with the runs of the 1s in the remarks; in
            ``table.csv`` their mean.
        note: a line below the table.
    """

    name: str
    title: str
    read: Callable[[RunEnd], float | None]
    decimals: int = 3
    share: bool = False
    note: str = ""


def epoch_values(checkpoints: Path, name: str) -> list[float]:
    """A column of the run's ``loss_log.csv``, epoch by epoch; empty without the file or the column."""
    file = checkpoints / FILE_NAME
    if not file.is_file():
        return []
    with open(file, encoding="utf-8", newline="") as stream:
        cells = [row.get(name) for row in csv.DictReader(stream)]
    return [float(cell) for cell in cells if cell]

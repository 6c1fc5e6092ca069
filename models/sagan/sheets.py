"""Sheets of samples by class: one column per class, its name below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from util.images.draw import column_sheet

COLUMNS, ROWS = 10, 6


@dataclass(frozen=True)
class Columns:
    """Which samples a sheet shows.

    Attributes:
        classes: of every column; the same one in all of them where there are no classes.
        rows: samples in a column.
    """

    classes: tuple[int, ...]
    rows: int = ROWS

    def numbers(self) -> list[tuple[int, int]]:
        """Class and number of every sample, a column after the other; no two are equal."""
        repeated = len(set(self.classes)) < len(self.classes)
        return [
            (number, (column * self.rows if repeated else 0) + row)
            for column, number in enumerate(self.classes)
            for row in range(self.rows)
        ]

    def labels(self) -> Tensor:
        """int64, the class of every sample in that order."""
        return torch.tensor([number for number, _ in self.numbers()])

    def by_class(self, samples: Tensor) -> dict[int, Tensor]:
        """Class -> its samples of ``[N, ...]`` in that order."""
        labels = self.labels()
        return {number: samples[labels == number] for number in dict.fromkeys(self.classes)}


def columns_for(num_classes: int, *, first: int | None = None) -> Columns:
    """The classes of a sheet; a full sheet of one class where there is no other.

    Args:
        num_classes: how many there are.
        first: of too many for a sheet, those from this one on, from the last one to the first again; None: spread
            evenly over all.
    """
    if num_classes == 1:
        return Columns((0,) * COLUMNS)
    count = min(num_classes, COLUMNS)
    if first is None or count == num_classes:
        return Columns(tuple(number * num_classes // count for number in range(count)))
    return Columns(tuple((first + number) % num_classes for number in range(count)))


def sample_sheet(samples: Tensor, columns: Columns, names: Sequence[str]) -> NDArray[np.uint8]:
    """The sheet.

    Args:
        samples: ``[N, C, S, S]`` in [-1, 1], C 1 or 3, in the order of ``columns.numbers()``.
        columns: what they are.
        names: below each column; none where all columns are of the same class.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    return column_sheet(samples, columns.rows, names if len(set(columns.classes)) > 1 else ())

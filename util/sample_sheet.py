"""A sheet of samples by class: a column a class, its name below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from util.image_io import to_display

COLUMNS, ROWS = 10, 6
SMALLEST = 64  # pixels of a picture on the sheet; smaller ones are enlarged by a whole factor
_TEXT = 16
_GAP = 2


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


def column_sheet(samples: Tensor, rows: int, names: Sequence[str], *, smallest: int = SMALLEST) -> NDArray[np.uint8]:
    """Pictures in columns of one height, with a name below each column.

    Args:
        samples: ``[N, C, S, S]`` in [-1, 1], C 1 or 3, a column after the other.
        rows: pictures in a column.
        names: of the columns, or none at all.
        smallest: pixels; smaller pictures are enlarged by a whole factor.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    factor, width = _enlarged(samples, smallest)
    cell = width + _GAP
    height = rows * cell + _GAP + (_TEXT if names else 0)
    sheet = Image.new("RGB", (len(samples) // rows * cell + _GAP, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for place, sample in enumerate(samples):
        column, row = divmod(place, rows)
        sheet.paste(_picture(sample, factor), (_GAP + column * cell, _GAP + row * cell))
    for column, name in enumerate(names):
        left = _GAP + column * cell
        draw.text((left, height - _TEXT), fitted(name, cell - _GAP, font), fill="black", font=font)
    return np.asarray(sheet)


def captioned_grid(samples: Tensor, captions: Sequence[str], across: int = 0) -> NDArray[np.uint8]:
    """A grid, row by row, with a caption below each picture.

    Args:
        samples: ``[N, C, S, S]`` in [-1, 1], C 1 or 3.
        captions: one a picture.
        across: pictures in a row; 0 for as square a grid as possible.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    across = across or math.ceil(math.sqrt(len(samples)))
    factor, width = _enlarged(samples, SMALLEST)
    down = -(-len(samples) // across)
    sheet = Image.new("RGB", (across * (width + _GAP) + _GAP, down * (width + _TEXT + _GAP) + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for place, (sample, caption) in enumerate(zip(samples, captions, strict=True)):
        row, column = divmod(place, across)
        left, top = _GAP + column * (width + _GAP), _GAP + row * (width + _TEXT + _GAP)
        sheet.paste(_picture(sample, factor), (left, top))
        draw.text((left, top + width), fitted(caption, width, font), fill="black", font=font)
    return np.asarray(sheet)


def _enlarged(samples: Tensor, smallest: int) -> tuple[int, int]:
    """By which whole factor pictures are enlarged, and how wide they are then."""
    side = samples.shape[-1]
    factor = max(1, -(-smallest // side))
    return factor, side * factor


def _picture(sample: Tensor, factor: int) -> Image.Image:
    picture = Image.fromarray(to_display(sample))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def fitted(text: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """The text, cut where it is wider than so many pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "..") > width:
        text = text[:-1]
    return text + ".."

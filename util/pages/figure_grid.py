"""The qualitative grid of a paper: rows of test images, columns of input, results and target, with zoomed crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from util.images.io import read_image, scale_of
from util.pages.charts import printable, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("pdf", "png", "svg")

BOX_COLOURS = ("#e6194b", "#1f9ede", "#3cb44b")
"""Of the first, second and third crop: frame in the picture and around the enlarged piece."""

_GAP = 0.03  # inches between pictures
_ROW_GAP = 0.08  # between rows with enlarged pieces
_EDGE = 0.01  # around all, so that no frame is cut
_HEADROOM = 1.7  # line heights for a caption
_POINTS = 72.0  # per inch


def load_pixels(file: Path) -> np.ndarray:
    """A picture of any depth as it is drawn: ``uint8 [H, W, 3]``, or ``[H, W]`` where it is grey.

    Raises:
        FileNotFoundError, ValueError: as ``read_image``.
    """
    picture = read_image(file)
    low, high = scale_of(picture.format)
    pixels = ((picture.array.astype(np.float32) - low) * (255 / (high - low))).round().clip(0, 255).astype(np.uint8)
    return pixels[..., 0] if pixels.shape[2] < 3 else pixels[..., :3]


@dataclass(frozen=True)
class Box:
    """A piece of a picture, in shares of its width and height, so that it fits pictures of every size.

    Attributes:
        left: 0 to 1.
        top: 0 to 1.
        width: above 0; ``left + width`` is at most 1.
        height: likewise.
    """

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class FigureGrid:
    """What is drawn.

    Attributes:
        captions: above the columns.
        labels: beside the rows; empty texts for none.
        pictures: row by row a picture per column, ``uint8 [H, W, 3]`` or ``[H, W]``; None leaves the place empty.
        boxes: of each row, the pieces that are enlarged below or beside every picture.
        width: of the figure in inches.
        font_size: of the captions in points.
        beside: the pieces stand to the right of the picture, one above the other; else below it, side by side.
    """

    captions: Sequence[str]
    labels: Sequence[str]
    pictures: Sequence[Sequence[np.ndarray | None]]
    boxes: Sequence[Sequence[Box]] = ()
    width: float = 7.0
    font_size: float = 8.0
    beside: bool = False

    def save(self, file: Path) -> None:
        """Write the figure; a reader never sees a part of it. Text stays text in PDF and SVG.

        Args:
            file: ends in one of ``FORMATS``.

        Raises:
            OSError: it cannot be written.
        """
        save_figure(self.figure, file, salt="figure", dpi=300)

    def figure(self) -> Figure:
        """Draw with matplotlib."""
        from matplotlib.figure import Figure

        line = self.font_size / _POINTS * _HEADROOM
        margin = line if any(self.labels) else 0.0
        columns = len(self.captions)
        gap = _ROW_GAP if any(self.boxes) else _GAP
        cell = (self.width - margin - 2 * _EDGE - (columns - 1) * _GAP) / columns
        plans = [self._plan(row, cell) for row in range(len(self.pictures))]
        height = line + sum(plan.height for plan in plans) + gap * (len(plans) - 1) + _EDGE
        drawn = Figure(figsize=(self.width, height), facecolor="white")

        def place(picture: np.ndarray, left: float, top: float, width: float, tall: float) -> Any:
            axes = drawn.add_axes((left / self.width, 1 - (top + tall) / height, width / self.width, tall / height))
            grey: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 255} if picture.ndim == 2 else {}
            axes.imshow(picture, aspect="auto", interpolation="nearest", **grey)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            return axes

        for column, caption in enumerate(self.captions):
            left = margin + _EDGE + column * (cell + _GAP)
            drawn.text(
                (left + cell / 2) / self.width,
                1 - 0.5 * line / height,
                printable(caption),
                ha="center",
                va="center",
                size=self.font_size,
            )
        top = line
        for row, plan in enumerate(plans):
            if self.labels[row]:
                middle = 1 - (top + plan.tall / 2) / height
                drawn.text(
                    0.4 * margin / self.width,
                    middle,
                    printable(self.labels[row]),
                    rotation=90,
                    ha="center",
                    va="center",
                    size=self.font_size,
                )
            for column, picture in enumerate(self.pictures[row]):
                if picture is None:
                    continue
                left = margin + _EDGE + column * (cell + _GAP)
                axes = place(picture, left, top, plan.wide, plan.tall)
                for number, box in enumerate(plan.boxes):
                    _frame(axes, picture, box, BOX_COLOURS[number % len(BOX_COLOURS)])
                    x, y, wide, tall = plan.pieces[number]
                    piece = place(_cut(picture, box), left + x, top + y, wide, tall)
                    piece.spines[:].set(visible=True, color=BOX_COLOURS[number % len(BOX_COLOURS)], linewidth=1.2)
            top += plan.height + gap
        return drawn

    def _plan(self, row: int, cell: float) -> _RowPlan:
        """Where things of one row lie within their cell, in inches."""
        first = next(picture for picture in self.pictures[row] if picture is not None)
        aspect = first.shape[0] / first.shape[1]
        boxes = tuple(self.boxes[row]) if self.boxes else ()
        if not boxes:
            return _RowPlan(cell, cell * aspect, cell * aspect, (), ())
        ratios = [box.height * first.shape[0] / (box.width * first.shape[1]) for box in boxes]  # tall by wide
        if self.beside:  # the pieces' column is as tall as the picture: wide + narrow = cell - gap
            stacked = sum(ratios)
            gaps = _GAP * (len(boxes) - 1)
            wide = ((cell - _GAP) * stacked + gaps) / (aspect + stacked)
            narrow = cell - _GAP - wide
            pieces, y = [], 0.0
            for ratio in ratios:
                pieces.append((wide + _GAP, y, narrow, narrow * ratio))
                y += narrow * ratio + _GAP
            return _RowPlan(wide, wide * aspect, wide * aspect, boxes, tuple(pieces))
        tall = (cell - _GAP * (len(boxes) - 1)) / sum(1 / ratio for ratio in ratios)
        pieces, x = [], 0.0
        for ratio in ratios:
            pieces.append((x, cell * aspect + _GAP, tall / ratio, tall))
            x += tall / ratio + _GAP
        return _RowPlan(cell, cell * aspect, cell * aspect + _GAP + tall, boxes, tuple(pieces))


@dataclass(frozen=True)
class _RowPlan:
    wide: float  # of the picture
    tall: float
    height: float  # of the row
    boxes: tuple[Box, ...]
    pieces: tuple[tuple[float, float, float, float], ...]  # left, top, width, height within the cell


def _pixels(picture: np.ndarray, box: Box) -> tuple[int, int, int, int]:
    """Left, top, right, bottom: one pixel at least."""
    height, width = picture.shape[:2]
    left, top = min(round(box.left * width), width - 1), min(round(box.top * height), height - 1)
    right = min(max(round((box.left + box.width) * width), left + 1), width)
    bottom = min(max(round((box.top + box.height) * height), top + 1), height)
    return left, top, right, bottom


def _cut(picture: np.ndarray, box: Box) -> np.ndarray:
    left, top, right, bottom = _pixels(picture, box)
    return picture[top:bottom, left:right]


def _frame(axes: Any, picture: np.ndarray, box: Box, colour: str) -> None:
    from matplotlib.patches import Rectangle

    left, top, right, bottom = _pixels(picture, box)
    axes.add_patch(
        Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=1.2)
    )

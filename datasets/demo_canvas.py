"""A floating-point canvas, drawn larger than the picture and averaged down, and textures for it: numpy and Pillow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Array = npt.NDArray[Any]  # of float32
Colour = tuple[float, float, float]
Box = tuple[float, float, float, float]
Point = tuple[float, float]

DESIGN_SIZE = 256
"""Sizes of details are given in units of a picture of 256 pixels, whatever the size drawn."""

_MIN_CANVAS = 512
_BLACK: Colour = (0.0, 0.0, 0.0)


def rgb(colour: str) -> Colour:
    """``"ff8000"`` as three numbers in [0, 1]."""
    return int(colour[0:2], 16) / 255, int(colour[2:4], 16) / 255, int(colour[4:6], 16) / 255


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """``first`` at share 0, ``second`` at share 1."""
    a, b = np.asarray(first), np.asarray(second)
    red, green, blue = (a + (b - a) * share).tolist()
    return red, green, blue


def tint(colour: Colour, factor: float) -> Colour:
    """The colour made darker (factor below 1) or lighter."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def inset(box: Box, x: float, y: float | None = None) -> Box:
    """The box with its sides moved in by ``x`` and its top and bottom by ``y`` (or ``x``)."""
    y = x if y is None else y
    return box[0] + x, box[1] + y, box[2] - x, box[3] - y


def resized(values: Array, height: int, width: int) -> Array:
    """A 2-D array brought to [height, width] by bicubic interpolation."""
    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)


def soft_noise(rng: np.random.Generator, height: int, width: int, cell: float) -> Array:
    """Smooth noise [height, width], about -1 to 1, with blobs of about ``cell`` pixels."""
    rows, columns = max(2, round(height / cell) + 1), max(2, round(width / cell) + 1)
    return resized(rng.uniform(-1, 1, (rows, columns)).astype(np.float32), height, width)


def blurred(values: Array, radius: float) -> Array:
    """A [H, W] or [H, W, C] array after three box blurs, which is nearly a Gaussian of this standard deviation."""
    width = max(1, round(radius * 2)) | 1
    for axis in (0, 1):
        for _ in range(3):
            pad = [(0, 0)] * values.ndim
            pad[axis] = (width // 2 + 1, width // 2)
            sums = np.cumsum(np.pad(values, pad, mode="edge"), axis=axis, dtype=np.float64)
            upper = np.take(sums, range(width, sums.shape[axis]), axis=axis)
            lower = np.take(sums, range(sums.shape[axis] - width), axis=axis)
            values = ((upper - lower) / width).astype(np.float32)
    return values


class Canvas:
    """A square picture being drawn; all coordinates are pixels of the picture, fractions allowed.

    Attributes:
        size: width and height of the picture in pixels.
        scale: canvas pixels per picture pixel.
        pixels: float32 [size * scale, size * scale, 3], 0 to 1.
        unit: picture pixels per design unit; thickness of details is a multiple of it.
    """

    def __init__(self, size: int, *, detail: float = 1.0) -> None:
        self.size = size
        self.scale = max(2, -(-_MIN_CANVAS // size))
        self.unit = size / DESIGN_SIZE * detail
        self.pixels: Array = np.zeros((size * self.scale, size * self.scale, 3), dtype=np.float32)

    def view(self, box: Box) -> Array:
        """The canvas pixels [h, w, 3] in the box, to read or write; empty where it lies outside."""
        x0, y0, x1, y1 = (min(max(round(v * self.scale), 0), len(self.pixels)) for v in box)
        return self.pixels[y0:y1, x0:x1]

    def fill(self, box: Box, colour: Colour, alpha: float = 1.0) -> None:
        """Paint a flat colour."""
        part = self.view(box)
        if alpha >= 1:
            part[:] = np.asarray(colour, dtype=np.float32)
        else:
            part += (np.asarray(colour, dtype=np.float32) - part) * np.float32(alpha)

    def blend_down(self, box: Box, top: Colour, bottom: Colour) -> None:
        """Paint a gradient from top to bottom."""
        part = self.view(box)
        share = np.linspace(0, 1, part.shape[0], dtype=np.float32)[:, None, None]
        part[:] = np.asarray(top, np.float32) * (1 - share) + np.asarray(bottom, np.float32) * share

    def blend_across(self, box: Box, colour: Colour, profile: Sequence[float]) -> None:
        """Paint a colour times a brightness that runs through ``profile`` from left to right."""
        part = self.view(box)
        at = np.linspace(0, len(profile) - 1, part.shape[1])
        factor = np.interp(at, range(len(profile)), profile).astype(np.float32)[None, :, None]
        part[:] = np.asarray(colour, np.float32) * factor

    def shade(self, box: Box, start: float, end: float | None = None, *, across: bool = False) -> None:
        """Multiply by a factor that goes from ``start`` (top, or left if ``across``) to ``end``."""
        part = self.view(box)
        length = part.shape[1] if across else part.shape[0]
        factor = np.linspace(start, start if end is None else end, length, dtype=np.float32)
        part *= factor[None, :, None] if across else factor[:, None, None]

    def bars(self, box: Box, colour: Colour, *, step: float, width: float, across: bool = False) -> None:
        """Paint evenly spaced upright bars, or level ones if ``across``; ``step`` and ``width`` in design units."""
        low, high = (box[1], box[3]) if across else (box[0], box[2])
        count = max(1, round((high - low) / (step * self.unit)))
        pitch, half = (high - low) / count, width * self.unit / 2
        for middle in (low + (i + 0.5) * pitch for i in range(count)):
            bar = (box[0], middle - half, box[2], middle + half)
            self.fill(bar if across else (middle - half, box[1], middle + half, box[3]), colour)

    def mask(self, points: Sequence[Point]) -> tuple[slice, slice, Array]:
        """Rows and columns of a polygon's bounding box on the canvas, and its coverage [h, w, 1], 0 to 1."""
        s, n = self.scale, len(self.pixels)
        xs, ys = [x * s for x, _ in points], [y * s for _, y in points]
        x0, x1 = max(int(min(xs)), 0), min(int(max(xs)) + 2, n)
        y0, y1 = max(int(min(ys)), 0), min(int(max(ys)) + 2, n)
        if x1 <= x0 or y1 <= y0:
            return slice(0, 0), slice(0, 0), np.zeros((0, 0, 1), np.float32)
        image = Image.new("L", (2 * (x1 - x0), 2 * (y1 - y0)))
        ImageDraw.Draw(image).polygon([(2 * (x - x0), 2 * (y - y0)) for x, y in zip(xs, ys)], fill=255)
        coverage = np.asarray(image.reduce(2), dtype=np.float32)[:, :, None] / 255
        return slice(y0, y1), slice(x0, x1), coverage

    def polygon(self, points: Sequence[Point], colour: Colour, alpha: float = 1.0) -> None:
        """Paint a polygon with a flat colour."""
        rows, columns, coverage = self.mask(points)
        part = self.pixels[rows, columns]
        part += (np.asarray(colour, np.float32) - part) * coverage * np.float32(alpha)

    def ellipse(self, centre: Point, radius: Point, colour: Colour, alpha: float = 1.0) -> None:
        """Paint an ellipse with a flat colour."""
        self.polygon(ellipse_points(centre, radius), colour, alpha)

    @contextmanager
    def clipped(self, points: Sequence[Point]) -> Iterator[None]:
        """Keeps only what the block paints inside the polygon; it must stay inside the polygon's bounding box."""
        rows, columns, coverage = self.mask(points)
        part = self.pixels[rows, columns]
        before = part.copy()
        yield
        part -= before
        part *= coverage
        part += before

    def picture(self, grain: Array | None = None) -> npt.NDArray[np.uint8]:
        """The picture, uint8 [size, size, 3], averaged from the canvas.

        Args:
            grain: relative change of each pixel's brightness, [size, size].
        """
        n, s = self.size, self.scale
        rows = self.pixels.reshape(n, s, n * s, 3).sum(axis=1)
        mean = np.sum([rows[:, i::s] for i in range(s)], axis=0) / (s * s)
        if grain is not None:
            mean *= 1 + grain[:, :, None]
        return (np.clip(mean, 0, 1) * 255 + 0.5).astype(np.uint8)


def ellipse_points(centre: Point, radius: Point, start: float = 0.0, end: float = 2.0) -> list[Point]:
    """Points on an ellipse between two angles in units of pi, clockwise from the right."""
    angles = np.linspace(start, end, 33) * np.pi
    return [(centre[0] + radius[0] * float(np.cos(a)), centre[1] + radius[1] * float(np.sin(a))) for a in angles]


def arch_points(box: Box) -> list[Point]:
    """A box whose top is half an ellipse, no higher than a third of the box."""
    x0, y0, x1, y1 = box
    rise = min((x1 - x0) / 2, (y1 - y0) / 3)
    return [(x0, y1), *ellipse_points(((x0 + x1) / 2, y0 + rise), ((x1 - x0) / 2, rise), 1.0, 2.0), (x1, y1)]

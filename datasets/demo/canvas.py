"""A floating-point canvas, drawn larger than the picture and averaged down, and textures for it: numpy and Pillow."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Array = npt.NDArray[Any]  # float32
Picture = npt.NDArray[np.uint8]  # [height, width, 3]
Colour = tuple[float, float, float]  # 0 to 1; of light also more
Box = tuple[float, float, float, float]  # left, top, right, bottom
Point = tuple[float, float]

UNITS = 256
"""Width and height of every canvas in its own units, whatever the size of the picture."""

BLACK: Colour = (0.0, 0.0, 0.0)
WHITE: Colour = (1.0, 1.0, 1.0)


def rgb(colour: str) -> Colour:
    """``"ff8000"`` as three numbers in [0, 1]."""
    return int(colour[0:2], 16) / 255, int(colour[2:4], 16) / 255, int(colour[4:6], 16) / 255


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """``first`` at share 0, ``second`` at share 1."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second))
    return red, green, blue


def tint(colour: Colour, factor: float) -> Colour:
    """The colour made darker (factor below 1) or lighter."""
    return mix(BLACK, colour, factor)


def resized(values: Array, height: int, width: int) -> Array:
    """A [H, W, C] array brought to [height, width, C] by bicubic interpolation."""
    channels = [Image.fromarray(np.ascontiguousarray(values[:, :, i], np.float32)) for i in range(values.shape[2])]
    return np.stack([np.asarray(each.resize((width, height), Image.Resampling.BICUBIC)) for each in channels], axis=2)


def noise(rng: np.random.Generator, like: Array, cell: float, aspect: float = 1.0) -> Array:
    """Smooth noise [H, W, 1], about -1 to 1, for an array [H, W, C]; ``cell`` is the height of its blobs in pixels."""
    height, width = like.shape[:2]
    grid = max(2, round(height / cell) + 1), max(2, round(width / cell / aspect) + 1)
    return resized(rng.uniform(-1, 1, (*grid, 1)), height, width)


def blurred(values: Array, radius: float) -> Array:
    """A [H, W, C] array after a Gaussian blur with standard deviation ``radius`` pixels; edges are not darkened."""
    for axis in (0, 1):
        at = np.arange(values.shape[axis], dtype=np.float32)
        kernel = np.exp(-(((at[:, None] - at) / radius) ** 2) / 2)
        values = np.tensordot(kernel / kernel.sum(axis=1, keepdims=True), values, (1, axis)).swapaxes(0, axis)
    return values


def ellipse_points(centre: Point, radius: Point, start: float = 0.0, end: float = 2.0) -> list[Point]:
    """Points on an ellipse between two angles in units of pi, clockwise from the right."""
    angles = np.linspace(start, end, 33) * np.pi
    return [(centre[0] + radius[0] * float(np.cos(a)), centre[1] + radius[1] * float(np.sin(a))) for a in angles]


def outline(box: Box, *, slope: float = 0.0, arched: bool = False) -> list[Point]:
    """The corners of a box with sides that lean in by ``slope``; or, if ``arched``, a box under half an ellipse."""
    x0, y0, x1, y1 = box
    radius = (x1 - x0) / 2, min((x1 - x0) / 2, (y1 - y0) / 3)
    top = ellipse_points(((x0 + x1) / 2, y0 + radius[1]), radius, 1.0, 2.0)
    return [(x0, y1), *(top if arched else [(x0 + slope, y0), (x1 - slope, y0)]), (x1, y1)]


class Canvas:
    """A square picture being drawn; coordinates are in units of 1 / ``UNITS`` of its width.

    Attributes:
        size: width and height of the picture in pixels.
        oversampling: canvas pixels per picture pixel.
        scale: canvas pixels per unit.
        pixels: float32 [size * oversampling, size * oversampling, 7]: the colour by day (3 channels), the light given
            off by night (3), and the surface: 1 open sky, -1 wet ground, 0 all else. Whatever is painted covers all
            seven, so that lamps and sky are hidden by what stands before them.
    """

    def __init__(self, size: int, at_least: int = 512) -> None:
        self.size = size
        self.oversampling = max(2, -(-at_least // size))
        self.scale = size * self.oversampling / UNITS
        self.pixels: Array = np.zeros((size * self.oversampling, size * self.oversampling, 7), dtype=np.float32)

    def zoomed(self, factor: float) -> Canvas:
        """The same canvas with a unit ``factor`` times as large."""
        other = copy.copy(self)
        other.scale *= factor
        return other

    def view(self, box: Box) -> Array:
        """The canvas pixels [h, w, 7] in the box, to read or write; empty where it lies outside."""
        x0, y0, x1, y1 = (min(max(round(v * self.scale), 0), len(self.pixels)) for v in box)
        return self.pixels[y0:y1, x0:x1]

    def fill(
        self,
        box: Box,
        colour: Colour,
        bottom: Colour | None = None,
        *,
        alpha: float = 1.0,
        light: Colour = BLACK,
        surface: float = 0.0,
    ) -> None:
        """Paint a flat colour, or one that changes downwards to ``bottom``."""
        part = self.view(box)
        first, last = (np.array((*end, *light, surface), np.float32) for end in (colour, bottom or colour))
        share = np.linspace(0, 1, part.shape[0], dtype=np.float32)[:, None, None]
        part += (first + (last - first) * share - part) * np.float32(alpha)

    def shade(self, box: Box, *factors: float, across: bool = False) -> None:
        """Multiply colours by a brightness that runs through ``factors`` downwards, or to the right if ``across``."""
        part = self.view(box)[:, :, :3]
        at = np.linspace(0, len(factors) - 1, part.shape[1 if across else 0])
        factor = np.interp(at, range(len(factors)), factors).astype(np.float32)
        part *= factor[None, :, None] if across else factor[:, None, None]

    def bars(self, box: Box, colour: Colour, *, step: float, width: float, across: bool = False) -> None:
        """Paint evenly spaced upright bars, or level ones if ``across``."""
        low, high = (box[1], box[3]) if across else (box[0], box[2])
        count = max(1, round((high - low) / step))
        for i in range(count):
            middle = low + (i + 0.5) * (high - low) / count
            start, end = middle - width / 2, middle + width / 2
            self.fill((box[0], start, box[2], end) if across else (start, box[1], end, box[3]), colour)

    def mask(self, points: Sequence[Point]) -> tuple[Array, Array]:
        """The canvas pixels [h, w, 7] in a polygon's bounding box, and its coverage of each [h, w, 1], 0 to 1."""
        corners, n = np.asarray(points) * self.scale, len(self.pixels)
        x0, y0 = (max(int(v), 0) for v in corners.min(axis=0))
        x1, y1 = (min(int(v) + 2, n) for v in corners.max(axis=0))
        if x1 <= x0 or y1 <= y0:
            return self.pixels[:0, :0], np.zeros((0, 0, 1), np.float32)
        image = Image.new("L", (2 * (x1 - x0), 2 * (y1 - y0)))
        ImageDraw.Draw(image).polygon(((corners - (x0, y0)) * 2).ravel().tolist(), fill=255)
        return self.pixels[y0:y1, x0:x1], np.asarray(image.reduce(2), dtype=np.float32)[:, :, None] / 255

    def polygon(self, points: Sequence[Point], colour: Colour, alpha: float = 1.0, light: Colour = BLACK) -> None:
        """Paint a polygon with a flat colour."""
        part, coverage = self.mask(points)
        part += (np.array((*colour, *light, 0), np.float32) - part) * coverage * np.float32(alpha)

    def ellipse(self, centre: Point, radius: Point, colour: Colour, alpha: float = 1.0, light: Colour = BLACK) -> None:
        """Paint an ellipse with a flat colour."""
        self.polygon(ellipse_points(centre, radius), colour, alpha, light)

    @contextmanager
    def clipped(self, points: Sequence[Point]) -> Iterator[None]:
        """Keeps only what the block paints inside the polygon; it must stay inside the polygon's bounding box."""
        part, coverage = self.mask(points)
        before = part.copy()
        yield
        part[:] = before + (part - before) * coverage

    def picture(self, rng: np.random.Generator, grain: float) -> Picture:
        """The colours as a picture, uint8 [size, size, 3]; ``grain`` is the noise of its brightness."""
        n, s = self.size, self.oversampling
        mean = self.pixels[:, :, :3].reshape(n, s, n, s, 3).mean(axis=(1, 3))
        mean = mean * (1 + rng.normal(0, grain, (n, n, 1)))
        return (np.clip(mean, 0, 1) * 255 + 0.5).astype(np.uint8)

"""Drawn shapes: one coloured, softly lit shape on a patterned ground; the class is colour and shape."""

from __future__ import annotations

import numpy as np

from datasets.demo.canvas import UNITS, WHITE, Array, Canvas, Picture, blurred, ellipse_points, mix, noise, resized, rgb

_COLOURS = {"red": rgb("d8342c"), "green": rgb("2f9e4f"), "blue": rgb("2b62cf")}
_SHAPES = ("circle", "square", "triangle", "star")
CLASSES = tuple(f"{colour}_{shape}" for colour in _COLOURS for shape in _SHAPES)
"""Names of the classes, colour by colour."""

_GROUNDS = [rgb(ground) for ground in ("d9d3c7", "b9c3c9", "8f8a86", "e6e2da", "5f666d", "c7b9a4")]


def draw_shape(rng: np.random.Generator, size: int, label: int) -> Picture:
    """A picture of class ``CLASSES[label]``, uint8 [size, size, 3]: place, size, angle and ground are random."""
    colour, shape = CLASSES[label].split("_")
    canvas = Canvas(size, 256)
    picture = canvas.pixels[:, :, :3]
    picture[:] = _ground(rng, len(picture), canvas.scale)
    canvas.shade((0, 0, UNITS, UNITS), 1.05, 0.92)
    radius = rng.uniform(0.22, 0.36) * UNITS
    centre = rng.uniform(radius + 0.04 * UNITS, 0.96 * UNITS - radius, 2)
    outline = radius * _outline(shape, rng.uniform(-0.6, 0.6))

    def cover(points: Array) -> Array:
        layer = Canvas(size, 256)
        layer.polygon(points.tolist(), WHITE)
        return layer.pixels[:, :, :1]

    shadow = cover(centre + radius * np.array((0.12, 0.17)) + outline)[:: canvas.oversampling, :: canvas.oversampling]
    picture *= 1 - 0.45 * resized(blurred(shadow, max(0.08 * radius * size / UNITS, 0.6)), *picture.shape[:2])
    # Lit from the upper left, with a bright spot and a darker rim.
    v, u = (np.mgrid[0 : len(picture), 0 : len(picture)] / canvas.scale - centre[::-1, None, None]) / radius
    paint = mix(_COLOURS[colour], WHITE if rng.random() < 0.5 else rgb("101018"), rng.uniform(0, 0.16))
    lit = np.multiply.outer(1.02 - 0.2 * (u + v) - 0.1 * (u * u + v * v), paint)
    lit += 0.4 * np.exp(-((u + 0.32) ** 2 + (v + 0.36) ** 2) / 0.09)[:, :, None]
    lit *= 0.72 + 0.28 * cover(centre + 0.94 * outline)
    picture += (lit - picture) * cover(centre + outline)
    return canvas.picture(rng, 0.012)


def _outline(shape: str, turn: float) -> Array:
    """Corners [n, 2] of a shape about as large as the unit circle, turned by an angle."""
    if shape == "circle":
        return np.array(ellipse_points((0, 0), (0.92, 0.92)))
    corners, first = {"square": (4, 0.25), "triangle": (3, -0.5), "star": (10, -0.5)}[shape]
    angle = np.pi * first + turn + 2 * np.pi * np.arange(corners) / corners
    far = np.where((shape == "star") & (np.arange(corners) % 2 == 1), 0.46, 1.05)
    return np.stack([far * np.cos(angle), far * np.sin(angle)], axis=1)


def _ground(rng: np.random.Generator, n: int, scale: float) -> Array:
    """A ground of two colours [n, n, 3]: stripes, checks, dots, clouds, or plain and brighter on one side."""
    first = _GROUNDS[rng.integers(len(_GROUNDS))]
    second = mix(first, WHITE if sum(first) < 1.9 else rgb("4a4640"), rng.uniform(0.12, 0.28))
    angle, step = rng.uniform(0, np.pi), rng.uniform(22, 44) * scale
    y, x = np.mgrid[0:n, 0:n] / step
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    clouds, fine = (noise(rng, x[:, :, None], cell * scale) for cell in (30, 5))
    share = (
        (np.abs(u % 1 - 0.5) - 0.25) * step / 2 + 0.5,  # an edge is about two canvas pixels wide
        np.sin(np.pi * u) * np.sin(np.pi * v) * step / (2 * np.pi) + 0.5,
        (0.28 - np.hypot(u % 1 - 0.5, v % 1 - 0.5)) * step / 2 + 0.5,
        0.5 + 0.5 * clouds[:, :, 0],
        (u - u.min()) / np.ptp(u),
    )[rng.integers(5)]
    return (first + np.multiply.outer(share.clip(0, 1), np.subtract(second, first))) * (1 + 0.03 * fine)

"""Drawn shapes: one coloured, softly lit shape on a patterned ground; the class is colour and shape."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from datasets.demo_canvas import (
    DESIGN_SIZE,
    Array,
    Canvas,
    Colour,
    Point,
    blurred,
    ellipse_points,
    mix,
    rgb,
    soft_noise,
)

_COLOURS = {"red": rgb("d8342c"), "green": rgb("2f9e4f"), "blue": rgb("2b62cf")}
_SHAPES = ("circle", "square", "triangle", "star")
CLASSES = tuple(f"{colour}_{shape}" for colour in _COLOURS for shape in _SHAPES)
"""Names of the classes, colour by colour."""

_COLOURFUL, _LEAST_SHARE = 60, 0.01  # between the channels of a pixel; such pixels in a picture with a shape
_ANGLES, _CORNERED = 24, 0.04  # angles at which an outline is measured; how much of it repeats, from when on
_GROUNDS = (rgb("d9d3c7"), rgb("b9c3c9"), rgb("8f8a86"), rgb("e6e2da"), rgb("5f666d"), rgb("c7b9a4"))


def draw_shape(rng: np.random.Generator, size: int, label: int) -> npt.NDArray[np.uint8]:
    """A picture of class ``CLASSES[label]``, uint8 [size, size, 3]: place, size, angle and ground are random."""
    colour_name, shape = CLASSES[label].split("_")
    canvas = Canvas(size)
    _ground(canvas, rng)
    radius = float(rng.uniform(0.22, 0.36)) * size
    x, y = (float(rng.uniform(radius + 0.04 * size, size - radius - 0.04 * size)) for _ in range(2))
    points = _outline(shape, (x, y), radius, float(rng.uniform(-0.6, 0.6)))
    colour = mix(
        _COLOURS[colour_name], rgb("ffffff") if rng.random() < 0.5 else rgb("101018"), float(rng.uniform(0, 0.16))
    )
    _cast_shadow(canvas, points, radius)
    _paint(canvas, points, (x, y), radius, colour)
    return canvas.picture(grain=rng.normal(0, 0.012, (size, size)).astype(np.float32))


def seen_class(picture: npt.NDArray[np.uint8]) -> str:
    """The class that a picture shows, by colour and outline: for judging pictures that a network has drawn.

    The colour is the strongest channel of the most colourful pixels. Their outline, as a distance from their centre by
    angle, repeats three times a turn in a triangle, four times in a square, five times in a star, and not in a circle.

    Args:
        picture: uint8 ``[size, size, 3]`` with one shape.

    Returns:
        One of ``CLASSES``, or an empty string where nothing is colourful.
    """
    pixels = picture.astype(np.float64)
    strength = pixels.max(axis=2) - pixels.min(axis=2)
    coloured = strength > max(_COLOURFUL, 0.5 * float(np.quantile(strength, 0.98)))
    if coloured.sum() < _LEAST_SHARE * coloured.size:
        return ""
    colour = ("red", "green", "blue")[int(pixels[coloured].sum(axis=0).argmax())]
    y, x = np.nonzero(coloured)
    x, y = x - x.mean(), y - y.mean()
    step = 2 * np.pi / _ANGLES
    distance = np.zeros(_ANGLES)
    np.maximum.at(distance, np.floor(np.arctan2(y, x) / step).astype(int) % _ANGLES, np.hypot(x, y))
    repeats = np.abs(np.fft.rfft(distance)[3:6]) / distance.sum()
    shape = ("triangle", "square", "star")[int(repeats.argmax())] if repeats.max() > _CORNERED else "circle"
    return f"{colour}_{shape}"


def _outline(shape: str, centre: Point, radius: float, turn: float) -> list[Point]:
    if shape == "circle":
        return ellipse_points(centre, (0.92 * radius, 0.92 * radius))
    corners = {"square": 4, "triangle": 3, "star": 10}[shape]
    start = {"square": 0.25, "triangle": -0.5, "star": -0.5}[shape] * np.pi + turn
    points = []
    for i in range(corners):
        far = radius * (0.46 if shape == "star" and i % 2 else 1.05)
        angle = start + 2 * np.pi * i / corners
        points.append((centre[0] + far * float(np.cos(angle)), centre[1] + far * float(np.sin(angle))))
    return points


def _ground(canvas: Canvas, rng: np.random.Generator) -> None:
    n, unit = len(canvas.pixels), canvas.size / DESIGN_SIZE * canvas.scale
    first = _GROUNDS[int(rng.integers(len(_GROUNDS)))]
    second = mix(first, rgb("ffffff") if sum(first) < 1.9 else rgb("4a4640"), float(rng.uniform(0.12, 0.28)))
    angle, step = float(rng.uniform(0, np.pi)), float(rng.uniform(22, 44)) * unit
    y, x = np.mgrid[0:n, 0:n].astype(np.float32)
    u = (x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))) / step
    v = (y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle))) / step
    pattern = int(rng.integers(5))
    if pattern == 0:  # stripes
        share = _edge(np.abs(u % 1 - 0.5) - 0.25, step)
    elif pattern == 1:  # checks
        share = _edge(np.sin(np.pi * u) * np.sin(np.pi * v) / np.pi, step)
    elif pattern == 2:  # dots
        share = _edge(0.28 - np.hypot(u % 1 - 0.5, v % 1 - 0.5), step)
    elif pattern == 3:  # clouds
        share = 0.5 + 0.5 * soft_noise(rng, n, n, 30 * unit)
    else:  # plain, brighter on one side
        share = (u - u.min()) / (u.max() - u.min())
    share = share[:, :, None]
    canvas.pixels[:] = np.asarray(first, np.float32) * (1 - share) + np.asarray(second, np.float32) * share
    canvas.pixels *= 1 + 0.03 * soft_noise(rng, n, n, 5 * unit)[:, :, None]
    canvas.shade((0, 0, canvas.size, canvas.size), 1.05, 0.92)


def _edge(distance: Array, step: float) -> Array:
    """1 inside (positive distance, in pattern steps), 0 outside, over about two canvas pixels."""
    return np.clip(distance * step / 2 + 0.5, 0, 1).astype(np.float32)


def _cast_shadow(canvas: Canvas, points: list[Point], radius: float) -> None:
    reach = 0.12 * radius
    cover = Canvas(canvas.size)
    cover.polygon([(x + reach, y + 1.4 * reach) for x, y in points], (1.0, 1.0, 1.0))
    step = cover.scale
    small = cover.pixels[::step, ::step, :1]
    soft = blurred(small, max(0.08 * radius, 0.6)).repeat(step, axis=0).repeat(step, axis=1)
    canvas.pixels *= 1 - np.float32(0.45) * soft


def _paint(canvas: Canvas, points: list[Point], centre: Point, radius: float, colour: Colour) -> None:
    """The shape, lit from the upper left, with a bright spot and a darker rim."""
    rows, columns, coverage = canvas.mask(points)
    y, x = np.mgrid[rows, columns].astype(np.float32) / canvas.scale
    u, v = (x - centre[0]) / radius, (y - centre[1]) / radius
    light = 1.02 - 0.2 * (u + v) - 0.1 * (u * u + v * v)
    spot = 0.4 * np.exp(-((u + 0.32) ** 2 + (v + 0.36) ** 2) / 0.09)
    paint = np.asarray(colour, np.float32) * light[:, :, None] + spot[:, :, None].astype(np.float32)
    part = canvas.pixels[rows, columns]
    part += (paint - part) * coverage
    inner = [(centre[0] + (px - centre[0]) * 0.94, centre[1] + (py - centre[1]) * 0.94) for px, py in points]
    rim = coverage.copy()
    inner_rows, inner_columns, inside = canvas.mask(inner)
    y0, x0 = inner_rows.start - rows.start, inner_columns.start - columns.start
    rim[y0 : y0 + inside.shape[0], x0 : x0 + inside.shape[1]] -= inside
    part *= 1 - 0.28 * np.clip(rim, 0, 1)

"""Drawn facades: a photo-like picture beside its label map, in the manner of the CMP facades."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from datasets.demo_canvas import DESIGN_SIZE, Canvas, resized, rgb, soft_noise, tint
from datasets.demo_houses import PALETTE, STYLES, House, Part, Style, build_house
from datasets.demo_masonry import outline_points, paint_house

Picture = npt.NDArray[np.uint8]

_SKY_TOP, _SKY_LOW = rgb("6f9fd0"), rgb("d5e3ec")
_PAVEMENT, _ASPHALT = rgb("a8a49c"), rgb("62646a")


def draw_facade(rng: np.random.Generator, size: int) -> Picture:
    """One pair, uint8 [size, 2 * size, 3]: the photo (A) on the left, the label map (B) on the right."""
    unit = size / DESIGN_SIZE
    houses, street = _plan(rng, unit)
    return np.concatenate([_photo(rng, houses, street, size), label_map(houses, street, size)], axis=1)


def _plan(rng: np.random.Generator, unit: float) -> tuple[list[House], float]:
    """The houses of a picture, neighbours first, and where the street begins (pixels)."""
    base = round(float(rng.uniform(224, 238)) * unit) / unit
    wide = bool(rng.random() < 0.55)
    x0 = float(rng.uniform(8, 30)) if wide else float(rng.uniform(34, 62))
    x1 = DESIGN_SIZE - (float(rng.uniform(8, 30)) if wide else float(rng.uniform(34, 62)))
    main = STYLES[int(rng.integers(len(STYLES)))]
    height = float(rng.uniform(118, 178))
    houses = []
    for left, right in ((-60.0, x0), (x1, DESIGN_SIZE + 60.0)):
        if rng.random() < 0.6:
            other = _other_style(rng, main)
            top = float(rng.uniform(80, 150))
            houses.append(build_house(rng, other, x0=left, x1=right, base=base, height=top, unit=unit))
    houses.append(build_house(rng, main, x0=x0, x1=x1, base=base, height=height, unit=unit))
    return houses, base * unit


def _other_style(rng: np.random.Generator, style: Style) -> Style:
    others = [other for other in STYLES if other is not style]
    return others[int(rng.integers(len(others)))]


def label_map(houses: list[House], street: float, size: int) -> Picture:
    """The label map, uint8 [size, size, 3]: flat colours of ``PALETTE``, no mixed edges."""
    image = Image.new("RGB", (size, size), "#" + PALETTE["background"])
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, round(street), size, size), fill="#" + PALETTE["street"])
    for house in houses:
        for part in house.parts:
            _draw_label(draw, part)
    return np.asarray(image, dtype=np.uint8)


def _draw_label(draw: ImageDraw.ImageDraw, part: Part) -> None:
    colour = "#" + PALETTE[part.kind]
    if part.points or part.arched:
        draw.polygon([(x - 0.5, y - 0.5) for x, y in outline_points(part)], fill=colour)
    else:
        x0, y0, x1, y1 = part.box
        draw.rectangle((x0, y0, x1 - 1, y1 - 1), fill=colour)


def _photo(rng: np.random.Generator, houses: list[House], street: float, size: int) -> Picture:
    canvas = Canvas(size)
    paint_sky(canvas, rng, street)
    _paint_street(canvas, rng, street)
    for house in houses[:-1]:
        paint_house(canvas, house, rng)
    x1, base = houses[-1].wall[2:]
    for house in houses[:-1]:  # the main house stands a little in front of its neighbours
        top = max(house.wall[1], houses[-1].wall[1])
        if house.wall[0] >= x1:
            canvas.shade((x1, top, x1 + 9 * canvas.unit, base), 0.5, 0.8, across=True)
    paint_house(canvas, houses[-1], rng)
    canvas.shade((0, 0, size, size), 1.04, 0.95, across=True)
    return canvas.picture(grain=rng.normal(0, 0.012, (size, size)).astype(np.float32))


def paint_sky(canvas: Canvas, rng: np.random.Generator, horizon: float) -> None:
    """A clear sky that brightens towards the horizon, with thin clouds."""
    box = (0.0, 0.0, float(canvas.size), horizon)
    canvas.blend_down(box, _SKY_TOP, _SKY_LOW)
    view = canvas.view(box)
    height, width = view.shape[:2]
    low, cell = (max(height // 2, 1), max(width // 5, 1)), canvas.unit * canvas.scale
    cloud = np.clip(soft_noise(rng, *low, 13 * cell) + 0.4 * soft_noise(rng, *low, 5 * cell) - 0.05, 0, 1)
    view += (1.0 - view) * (resized(cloud, height, width) * np.float32(0.55))[:, :, None]


def _paint_street(canvas: Canvas, rng: np.random.Generator, street: float) -> None:
    u, size = canvas.unit, float(canvas.size)
    kerb = street + (size - street) * 0.42
    canvas.blend_down((0, street, size, kerb), tint(_PAVEMENT, 0.86), tint(_PAVEMENT, 1.05))
    canvas.bars((0, street, size, kerb), tint(_PAVEMENT, 0.8), step=13, width=0.7)
    canvas.fill((0, kerb, size, kerb + 1.6 * u), tint(_PAVEMENT, 1.2))
    canvas.blend_down((0, kerb + 1.6 * u, size, size), tint(_ASPHALT, 0.7), _ASPHALT)
    grain = canvas.view((0, street, size, size))
    grain *= 1 + rng.normal(0, 0.04, grain.shape[:2]).astype(np.float32)[:, :, None]
    canvas.shade((0, street, size, street + 3.5 * u), 0.6, 1.0)

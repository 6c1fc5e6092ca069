"""Painting a house like a photograph: brick and plaster, glass, shadows; lit from the upper left."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from datasets.demo_canvas import (
    Array,
    Box,
    Canvas,
    Colour,
    arch_points,
    inset,
    mix,
    rgb,
    soft_noise,
    tint,
)
from datasets.demo_houses import House, Part

_GLASS_TOP, _GLASS_BOTTOM = rgb("8fa9bd"), rgb("2a3643")
_CURTAIN = rgb("e8e2d2")
_IRON = rgb("2b2f33")
_STONE = rgb("cfc6b6")


def paint_house(canvas: Canvas, house: House, rng: np.random.Generator) -> None:
    """Paint all parts of the house in their order, each with its cast shadow."""
    for part in house.parts:
        _PAINTERS[part.kind](canvas, part, house, rng)
    x0, _, x1, y1 = house.wall
    canvas.shade((x0, y1 - 7 * canvas.unit, x1, y1), 1.0, 0.78)  # dirt and the shadow near the ground


def wall_colour(house: House) -> Colour:
    """The wall's colour with the house's own small deviation."""
    red, green, blue = tint(house.style.wall_colour, house.tone)
    return red * (1 + 0.035 * house.hue), green, blue * (1 - 0.035 * house.hue)


# --- walls and roofs --------------------------------------------------------------------------------------------------


def _blocks(canvas: Canvas, box: Box, width: float, height: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Brightness of each pixel's block, about -1 to 1, and where the joints are, both [h, w, 1]; running bond."""
    part = canvas.view(box)
    bw, bh = width * canvas.unit * canvas.scale, height * canvas.unit * canvas.scale
    y = np.arange(part.shape[0], dtype=np.float32)[:, None]
    x = np.arange(part.shape[1], dtype=np.float32)[None, :]
    row = np.floor(y / bh).astype(int)
    shifted = x + (row % 2) * bw / 2
    column = np.floor(shifted / bw).astype(int)
    tones = rng.uniform(-1, 1, (int(row.max(initial=0)) + 1, int(column.max(initial=0)) + 1)).astype(np.float32)
    joint_width = max(0.55 * canvas.unit * canvas.scale, 0.7)
    depth = np.maximum(_joint(y % bh, joint_width), _joint(shifted % bw, joint_width))
    return tones[row, column][:, :, None], depth[:, :, None].astype(np.float32)


def _joint(position: Array, width: float) -> Array:
    """How much of a pixel that starts at ``position`` lies in a joint from 0 to ``width``."""
    return np.clip(width - position, 0, 1)


def _facade(canvas: Canvas, part: Part, house: House, rng: np.random.Generator) -> None:
    if part.points:  # the front of a dormer
        with canvas.clipped(part.points):
            canvas.fill(part.box, wall_colour(house))
            canvas.shade(part.box, 1.04, 0.9, across=True)
        for start, end in zip(part.points[1:4], part.points[2:4]):
            across = 1.6 * canvas.unit
            edge = [start, end, (end[0], end[1] + across), (start[0], start[1] + across)]
            canvas.polygon(edge, tint(house.style.roof_colour, 0.7))
        return
    view, colour = canvas.view(part.box), np.asarray(wall_colour(house), np.float32)
    if not view.size:
        return
    height, width = view.shape[:2]
    grime = soft_noise(rng, height, width, 40 * canvas.unit * canvas.scale)[:, :, None]
    if house.style.wall == "brick":
        tone, joint = _blocks(canvas, part.box, 8.5, 3.6, rng)
        brick = colour * (1 + 0.13 * tone)
        view[:] = brick + (np.asarray(rgb("c9b8a6"), np.float32) - brick) * joint * 0.75
    elif house.style.wall == "panel":
        tone, joint = _blocks(canvas, part.box, 30, 15, rng)
        view[:] = colour * (1 + 0.02 * tone) * (1 - 0.2 * joint)
    else:
        fine = soft_noise(rng, height, width, 2.2 * canvas.unit * canvas.scale)[:, :, None]
        view[:] = colour * (1 + 0.022 * fine)
    view *= 1 + 0.035 * grime
    canvas.shade(part.box, 1.03, 0.95)
    canvas.shade(part.box, 1.02, 0.97, across=True)


def _roof(canvas: Canvas, part: Part, house: House, rng: np.random.Generator) -> None:
    u = canvas.unit
    with canvas.clipped(part.points):
        tone, joint = _blocks(canvas, part.box, 4.2, 4.0, rng)
        view = canvas.view(part.box)
        step = 4.0 * u * canvas.scale
        overlap = (np.arange(view.shape[0], dtype=np.float32)[:, None, None] % step) / step
        view[:] = np.asarray(house.style.roof_colour, np.float32) * (1 + 0.09 * tone) * (0.8 + 0.35 * overlap)
        view *= 1 - 0.22 * joint
        canvas.shade(part.box, 1.12, 0.9)
    (x0, y0), (x1, y1) = part.points[1], part.points[2]
    canvas.fill((x0 - u, y0 - 0.4 * u, x1 + u, y1 + 1.1 * u), tint(house.style.roof_colour, 0.72))


# --- openings ---------------------------------------------------------------------------------------------------------


def _outline(part: Part) -> list[tuple[float, float]]:
    x0, y0, x1, y1 = part.box
    return arch_points(part.box) if part.arched else [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def _glass(canvas: Canvas, box: Box, rng: np.random.Generator, curtains: float = 0.3) -> None:
    canvas.blend_down(box, _GLASS_TOP, _GLASS_BOTTOM)
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    if rng.random() < curtains:
        for left in (x0, x1 - 0.24 * width):
            canvas.blend_across((left, y0, left + 0.24 * width, y1), _CURTAIN, (0.62, 0.74, 0.6, 0.7))
    at, lean = x0 + width * float(rng.uniform(0.2, 0.6)), height * 0.35
    streak = [(at, y1), (at + 0.22 * width, y1), (at + 0.22 * width + lean, y0), (at + lean, y0)]
    clipped = [(min(max(x, x0), x1), y) for x, y in streak]
    canvas.polygon(clipped, rgb("dfe9f0"), 0.22)


def _window(canvas: Canvas, part: Part, house: House, rng: np.random.Generator) -> None:
    u, box = canvas.unit, part.box
    x0, y0, x1, y1 = box
    frame, rail = house.style.frame, 1.4 * u
    width, height = x1 - x0, y1 - y0
    with canvas.clipped(_outline(part)):
        canvas.fill(box, frame)
        _glass(canvas, inset(box, rail), rng)
        panes = 1 if width < 0.4 * height else 2 if width < 1.05 * height else 3
        for i in range(1, panes):
            x = x0 + width * i / panes
            canvas.fill((x - 0.6 * rail, y0, x + 0.6 * rail, y1), frame)
        if height > 1.25 * width:
            y = y0 + height * 0.34
            canvas.fill((x0, y - 0.5 * rail, x1, y + 0.5 * rail), frame)
        canvas.shade((x0, y0, x1, y0 + 4 * u), 0.45, 1.0)  # the wall's shadow on the recessed window
        canvas.shade((x0, y0, x0 + 2.2 * u, y1), 0.6, 1.0, across=True)
    canvas.fill((x0, y1 - 0.5 * u, x1, y1), tint(frame, 0.8), 0.7)


def _door(canvas: Canvas, part: Part, house: House, rng: np.random.Generator) -> None:
    u, box, wood = canvas.unit, part.box, house.style.door
    x0, y0, x1, y1 = box
    middle, light = (x0 + x1) / 2, y0 + (y1 - y0) * 0.26
    with canvas.clipped(_outline(part)):
        canvas.fill(box, house.style.trim)
        inner = (x0 + 1.8 * u, y0 + 1.8 * u, x1 - 1.8 * u, y1)
        canvas.fill(inner, wood)
        _glass(canvas, (inner[0], inner[1], inner[2], light), rng, curtains=0)
        canvas.fill((inner[0], light, inner[2], light + 1.4 * u), tint(wood, 0.7))
        for left, right in ((inner[0], middle), (middle, inner[2])):
            for top, bottom in ((light + 3 * u, (light + y1) / 2), ((light + y1) / 2 + 1.5 * u, y1 - 3 * u)):
                panel = (left + 1.4 * u, top, right - 1.4 * u, bottom)
                canvas.fill(panel, tint(wood, 0.74))
                canvas.fill(inset(panel, 0.8 * u), tint(wood, 1.12))
        canvas.fill((middle - 0.4 * u, light, middle + 0.4 * u, y1), tint(wood, 0.5))
        canvas.shade((x0, y0, x1, y0 + 5 * u), 0.5, 1.0)
        canvas.shade((x0, y0, x0 + 2.5 * u, y1), 0.7, 1.0, across=True)
    canvas.ellipse((middle + 1.8 * u, (light + y1) / 2 + 2 * u), (0.9 * u, 0.9 * u), rgb("d9b65c"))
    canvas.fill((x0 - 1.5 * u, y1 - 2.2 * u, x1 + 1.5 * u, y1), _STONE)
    canvas.fill((x0 - 1.5 * u, y1 - 0.8 * u, x1 + 1.5 * u, y1), tint(_STONE, 0.7))


def _shop(canvas: Canvas, part: Part, house: House, rng: np.random.Generator) -> None:
    u, box, colour = canvas.unit, part.box, house.style.awning
    x0, y0, x1, y1 = box
    height = y1 - y0
    sign, awning, riser = y0 + height * 0.17, y0 + height * 0.42, y1 - height * 0.13
    canvas.fill(box, tint(colour, 0.55))
    window = (x0 + 2 * u, sign, x1 - 2 * u, riser)
    canvas.blend_down(window, rgb("5d6468"), rgb("b39a6c"))
    third = (window[2] - window[0]) / 3
    for i in range(3):
        left = window[0] + i * third
        top = riser - height * float(rng.uniform(0.12, 0.24))
        canvas.fill((left + 0.25 * third, top, left + 0.75 * third, riser), rgb("4c4238"), 0.8)
        canvas.fill((left - 0.5 * u, sign, left + 0.5 * u, riser), tint(colour, 0.5))
    canvas.fill((x0, riser, x1, y1), tint(colour, 0.62))
    canvas.fill((x0 + 2 * u, riser + 1.5 * u, x1 - 2 * u, y1 - 1.2 * u), tint(colour, 0.8))
    canvas.fill((x0, y0, x1, sign), tint(colour, 0.8))
    letters = (x0 + 0.28 * (x1 - x0), y0 + 0.05 * height, x1 - 0.28 * (x1 - x0), sign - 0.04 * height)
    canvas.bars(letters, rgb("f3ead2"), step=3.2, width=1.7)
    stripes = max(2, round((x1 - x0) / (5 * u)))
    pitch = (x1 - x0) / stripes
    for i in range(stripes):
        paint = colour if i % 2 == 0 else rgb("efe7da")
        left = x0 + i * pitch
        canvas.blend_down((left, sign, left + pitch, awning), tint(paint, 1.08), tint(paint, 0.82))
        canvas.ellipse((left + pitch / 2, awning), (pitch / 2, 1.6 * u), tint(paint, 0.8))
    canvas.shade((x0, awning + 1.6 * u, x1, awning + 9 * u), 0.5, 1.0)


# --- ornament ---------------------------------------------------------------------------------------------------------


def _ledge(canvas: Canvas, box: Box, colour: Colour, shadow: float, house: House) -> None:
    """A stone that juts out: bright above, dark below, with its shadow on the wall under it."""
    x0, y0, x1, y1 = box
    u, height = canvas.unit, y1 - y0
    canvas.shade((max(x0 + u, house.wall[0]), y1, min(x1 + u, house.wall[2]), y1 + shadow * u), 0.52, 1.0)
    canvas.fill(box, colour)
    canvas.fill((x0, y0, x1, y0 + 0.3 * height), tint(colour, 1.1))
    canvas.fill((x0, y1 - 0.3 * height, x1, y1), tint(colour, 0.74))


def _cornice(canvas: Canvas, part: Part, house: House, rng: np.random.Generator) -> None:
    x0, y0, x1, y1 = part.box
    _ledge(canvas, part.box, house.style.trim, 5.5, house)
    if y1 - y0 > 4 * canvas.unit:
        canvas.bars((x0, y0 + 0.5 * (y1 - y0), x1, y1), tint(house.style.trim, 0.55), step=3.6, width=1.4)


def _sill(canvas: Canvas, part: Part, house: House, rng: np.random.Generator) -> None:
    _ledge(canvas, part.box, house.style.trim, 3.5, house)


def _molding(canvas: Canvas, part: Part, house: House, rng: np.random.Generator) -> None:
    x0, y0, x1, y1 = part.box
    stone = mix(house.style.trim, wall_colour(house), 0.35)
    _ledge(canvas, part.box, stone, 3.0, house)
    if y1 - y0 > 3.5 * canvas.unit:
        canvas.bars((x0, y0, x1, y1), tint(stone, 0.72), step=11, width=0.7)


def _pillar(canvas: Canvas, part: Part, house: House, rng: np.random.Generator) -> None:
    x0, y0, x1, y1 = part.box
    u, stone = canvas.unit, house.style.trim
    canvas.shade((x1, y0, min(x1 + 2.5 * u, house.wall[2]), y1), 0.62, 1.0, across=True)
    canvas.blend_across(part.box, stone, (0.82, 1.06, 1.04, 0.9, 0.6))
    for top, bottom in ((y0, y0 + 2.6 * u), (y1 - 2.6 * u, y1)):
        cap = (x0 - 0.8 * u, top, x1 + 0.8 * u, bottom)
        canvas.blend_across(cap, stone, (0.95, 1.1, 0.8))
        canvas.fill((cap[0], bottom - 0.7 * u, cap[2], bottom), tint(stone, 0.66))


def _deco(canvas: Canvas, part: Part, house: House, rng: np.random.Generator) -> None:
    x0, y0, x1, y1 = part.box
    u, stone = canvas.unit, house.style.trim
    canvas.fill(part.box, tint(stone, 0.84))
    canvas.fill((x0, y0, x1, y0 + 0.8 * u), tint(stone, 1.06))
    canvas.bars((x0, y0 + 0.9 * u, x1, y1), tint(stone, 0.6), step=5.2, width=3.0)
    canvas.bars((x0, y0 + 1.5 * u, x1, y1 - 0.5 * u), tint(stone, 1.04), step=5.2, width=2.0)


def _blind(canvas: Canvas, part: Part, house: House, rng: np.random.Generator) -> None:
    x0, _, x1, _ = part.box
    u, colour = canvas.unit, house.style.door
    canvas.shade((x1, part.box[1] + u, min(x1 + 2 * u, house.wall[2]), part.box[3] + u), 0.65, 1.0, across=True)
    canvas.fill(part.box, colour)
    canvas.bars(inset(part.box, 1.0 * u), tint(colour, 0.6), step=2.4, width=1.1, across=True)
    middle = (part.box[1] + part.box[3]) / 2
    canvas.fill((x0, middle - 0.7 * u, x1, middle + 0.7 * u), colour)
    canvas.fill((x0, part.box[1], x0 + 0.7 * u, part.box[3]), tint(colour, 1.2))


def _balcony(canvas: Canvas, part: Part, house: House, rng: np.random.Generator) -> None:
    x0, y0, x1, y1 = part.box
    u, style = canvas.unit, house.style
    slab = y1 - max(0.2 * (y1 - y0), 2 * u)
    canvas.shade((x0 + 2 * u, y1, min(x1 + 3 * u, house.wall[2]), y1 + 8 * u), 0.42, 1.0)
    canvas.shade((x0, y0, x1, slab), 0.72)
    if style.wall == "panel":
        canvas.fill((x0, y0, x1, slab), rgb("9db9c4"), 0.62)
        canvas.bars((x0, y0, x1, slab), rgb("6f7d85"), step=14, width=0.9)
        canvas.fill((x0, y0, x1, y0 + 1.2 * u), rgb("e4e8ea"))
    else:
        canvas.bars((x0, y0, x1, slab), _IRON, step=2.9, width=0.9)
        canvas.fill((x0, y0, x1, y0 + 1.3 * u), _IRON)
    stone = (x0 - u, slab, x1 + u, y1)
    canvas.fill(stone, mix(style.trim, _STONE, 0.4))
    canvas.fill((stone[0], y1 - 0.35 * (y1 - slab), stone[2], y1), tint(style.trim, 0.62))


def outline_points(part: Part) -> list[tuple[float, float]]:
    """The outline of a part as a polygon."""
    return list(part.points) or _outline(part)


_PAINTERS: dict[str, Callable[[Canvas, Part, House, np.random.Generator], None]] = {
    "facade": _facade,
    "roof": _roof,
    "window": _window,
    "door": _door,
    "shop": _shop,
    "cornice": _cornice,
    "sill": _sill,
    "molding": _molding,
    "pillar": _pillar,
    "deco": _deco,
    "blind": _blind,
    "balcony": _balcony,
}

"""Drawn facades: houses as lists of labelled parts, painted like a photograph and as a label map in the CMP manner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

from datasets.demo.canvas import UNITS, Array, Box, Canvas, Colour, Picture, Point, mix, noise, outline, rgb, tint

PALETTE = {
    "background": "0000de", "facade": "002fff", "window": "0080ff", "door": "00cfff", "cornice": "1fffe0",
    "sill": "70fe8e", "balcony": "c0ff3e", "blind": "fff000", "deco": "ff9f00", "molding": "ff5000",
    "pillar": "fe0000", "shop": "ae0000", "roof": "8c1aa8", "street": "505a64",
}  # fmt: skip
"""Label colours: the twelve of the CMP facades and two more, because here roofs and streets are drawn, too."""

_SKY_TOP, _SKY_LOW, _PAVEMENT, _ASPHALT = rgb("6f9fd0"), rgb("d5e3ec"), rgb("aca79e"), rgb("64666c")
_GLASS_TOP, _GLASS_BOTTOM, _CURTAIN = rgb("8fa9bd"), rgb("2a3643"), rgb("e8e2d2")
_IRON, _STONE, _MORTAR = rgb("2b2f33"), rgb("cfc6b6"), rgb("c9b8a6")
WINDOW_LIGHTS = (rgb("ffd27a"), rgb("ffb858"), rgb("ffe3a8"), rgb("ffcf8f"))


@dataclass(frozen=True)
class Style:
    """What a kind of house looks like. What decides the look (roof, shutters, columns) shows in the label map."""

    wall: str  # texture: brick, plaster or panel
    roof: str  # gable, hip, mansard or flat
    wall_colour: Colour
    trim: Colour
    frame: Colour
    tiles: Colour
    awning: Colour
    door: Colour
    _: KW_ONLY
    window_width: float = 0.48  # share of a bay
    arches: bool = False  # doors, and some floors of windows
    shutters: bool = False
    heads: bool = False  # a ledge over each window
    pillars: bool = False  # on the first floor, and a band of stone between the floors


def _colours(words: str) -> Iterator[Colour]:
    return map(rgb, words.split())


STYLES = (
    Style("brick", "gable", *_colours("a8543f ddd2bf f2efe8 6d4038 2f6b4f 2d5a49"), arches=True),
    Style("plaster", "mansard", *_colours("dcbf86 f1e6cf f4efe4 59646f 8f2f38 6b4329"), heads=True, pillars=True),
    Style("plaster", "hip", *_colours("ece3d0 cdbb9d fbf9f4 b4593a c8872e 49703f"), window_width=0.36, shutters=True),
    Style("panel", "flat", *_colours("b9bec2 dfe2e3 3a4148 70767b 33506e 39424c"), window_width=0.68),
    Style("plaster", "hip", *_colours("c98a78 f2e2d3 fbf6ef 77514a 3f6d8c 35506b"), arches=True, heads=True),
)


@dataclass(frozen=True)
class Part:
    """One labelled thing; the corners of its box lie on whole pixels of the picture."""

    kind: str  # a key of PALETTE
    box: Box
    outline: list[Point]


class House:
    """A house that stands on ``base`` between ``x0`` and ``x1``; the roof comes on top of ``height``.

    Args:
        pixel: units (of the canvas that it will be painted on) per pixel of the picture.
    """

    def __init__(
        self, rng: np.random.Generator, style: Style, x0: float, x1: float, base: float, height: float, pixel: float
    ) -> None:
        self.pixel = pixel
        self.parts: list[Part] = []  # in the order in which they are painted
        (red, green, blue), warm = tint(style.wall_colour, rng.uniform(0.94, 1.04)), rng.uniform(-0.035, 0.035)
        self.style = style = replace(style, wall_colour=(red * (1 + warm), green, blue * (1 - warm)))

        top, floors = base - height, int(np.clip(round(height / rng.uniform(36, 46)), 2, 5))
        rise, bays = (height - 8) / floors, int(np.clip(round((x1 - x0) / rng.uniform(28, 42)), 1, 6))
        bay = (x1 - x0) / bays
        middles = [x0 + (i + 0.5) * bay for i in range(bays)]
        self._roof(x0, x1, top, middles, rng)
        self._add("facade", x0, top, x1, base)
        self.wall = self.parts[-1].box
        self._add("molding", x0, base - 5, x1, base)
        arched, balcony = rng.integers(1, 2 * floors, 2)  # these floors, if the house is so high
        arched, every = arched * style.arches, rng.integers(1, 3)  # every bay, or every second one
        all_floors = style.roof == "flat" and rng.random() < 0.5
        width = min(bay * style.window_width * rng.uniform(0.88, 1.12), 0.95 * rise)
        entrance, shops = rng.choice([0, bays // 2, bays - 1]), rng.random() < 0.4
        for level in range(floors):
            low = base - level * rise
            if level == 1 or (level and style.pillars):
                self._add("molding", x0, low - 2, x1, low + 2)
            for i, x in enumerate(middles):
                if level == 0 and i == entrance:
                    half = min(bay * 0.27, 11)
                    self._add("door", x - half, low - rise * 0.78, x + half, low, arched=style.arches)
                elif level == 0 and shops:
                    self._add("shop", x - bay * 0.43, low - rise + 6, x + bay * 0.43, low - 1)
                else:
                    outside = level > 0 and (level == balcony or all_floors) and min(i, bays - 1 - i) % every == 0
                    self._window(x, low, rise, width, arched=level > 0 and level == arched, balcony=bool(outside))
            if style.pillars and level == 1:
                for x in [x0 + 3, *(middle + bay / 2 for middle in middles[:-1]), x1 - 3]:
                    self._add("pillar", x - 2.5, low - rise + 2, x + 2.5, low - 2)
        out = 3 if style.roof == "mansard" else 1
        self._add("molding" if style.roof == "flat" else "cornice", x0 - out, top - 3, x1 + out, top + 4)
        if style.roof == "mansard":
            self._add("deco", x0, top + 4, x1, top + 8)

    def _add(
        self, kind: str, x0: float, y0: float, x1: float, y1: float, *, slope: float = 0.0, arched: bool = False
    ) -> None:
        left, top, right, bottom = (round(v / self.pixel) for v in (x0, y0, x1, y1))
        x1, y1 = max(right, left + 1) * self.pixel, max(bottom, top + 1) * self.pixel
        box = (left * self.pixel, top * self.pixel, x1, y1)
        self.parts.append(Part(kind, box, outline(box, slope=slope, arched=arched)))

    def _roof(self, x0: float, x1: float, top: float, middles: list[float], rng: np.random.Generator) -> None:
        kind, width = self.style.roof, x1 - x0
        if kind == "flat":
            return
        height = min(width * 0.42, 52) if kind == "gable" else rng.uniform(24, 32)
        chimney, smoke = x0 + width * rng.choice([0.2, 0.8]), height * (0.72 if kind == "gable" else 1.25)
        self._add("facade", chimney - 4, top - smoke, chimney + 4, top - 2)
        slope = {"gable": width / 2 + 2.5, "hip": height * 0.8, "mansard": height * 0.28}[kind]
        self._add("roof", x0 - 2.5, top - height, x1 + 2.5, top, slope=slope)
        for x in middles if kind == "mansard" else []:
            self._add("deco", x - 7, top - height * 0.74, x + 7, top - height * 0.74 + 4)
            self._add("window", x - 5, top - height * 0.74 + 4, x + 5, top - 4)

    def _window(self, x: float, low: float, rise: float, width: float, *, arched: bool, balcony: bool) -> None:
        style, half, top, bottom = self.style, width / 2, low - rise * 0.79, low - (5 if balcony else rise * 0.24)
        self._add("window", x - half, top, x + half, bottom, arched=arched)
        if style.shutters:
            self._add("blind", x - half * 1.72, top, x - half, bottom)
            self._add("blind", x + half, top, x + half * 1.72, bottom)
        if style.heads and not arched:
            self._add("cornice", x - half - 2.5, top - 5, x + half + 2.5, top - 2)
        if balcony:
            self._add("balcony", x - half - 6, low - rise * 0.38, x + half + 6, low - 1)
        elif style.wall != "panel":
            self._add("sill", x - half - 2, bottom, x + half + 2, bottom + 2.5)


def draw_facade(rng: np.random.Generator, size: int) -> Picture:
    """One pair, uint8 [size, 2 * size, 3]: the photo (A) on the left, the label map (B) on the right."""
    pixel = UNITS / size
    base = round(rng.uniform(224, 238) / pixel) * pixel
    margin = (8, 30) if rng.random() < 0.55 else (34, 62)
    x0, x1 = rng.uniform(*margin), UNITS - rng.uniform(*margin)
    main, *others = (STYLES[i] for i in rng.permutation(len(STYLES)))
    houses = [
        House(rng, style, left, right, base, rng.uniform(80, 150), pixel)
        for style, left, right in zip(others, (-60.0, x1), (x0, UNITS + 60.0))
        if rng.random() < 0.6
    ]
    houses.append(House(rng, main, x0, x1, base, rng.uniform(118, 178), pixel))
    canvas = Canvas(size)
    paint_sky(canvas, rng, base)
    paint_ground(canvas, rng, base, base + (UNITS - base) * 0.42)
    for house in houses:
        paint_house(canvas, house, rng)
    canvas.shade((0, 0, UNITS, UNITS), 1.04, 0.95, across=True)
    return np.concatenate([canvas.picture(rng, 0.012), _label_map(houses, base, size)], axis=1)


def _label_map(houses: list[House], base: float, size: int) -> Picture:
    """The label map, uint8 [size, size, 3]: flat colours of ``PALETTE``, no mixed edges."""
    image = Image.new("RGB", (size, size), "#" + PALETTE["background"])
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, round(base * size / UNITS), size, size), fill="#" + PALETTE["street"])
    for part in (part for house in houses for part in house.parts):
        first, end = np.reshape(part.box, (2, 2)) * size / UNITS
        points = np.asarray(part.outline) * size / UNITS
        points = first + (points - first) * (1 - 1 / (end - first))  # Pillow paints the last row and column, too
        draw.polygon(points.round().ravel().tolist(), fill="#" + PALETTE[part.kind])
    return np.asarray(image, dtype=np.uint8)


# --- painting, lit from the upper left --------------------------------------------------------------------------------


def paint_sky(canvas: Canvas, rng: np.random.Generator, horizon: float) -> None:
    """A clear sky that brightens towards the horizon, with thin clouds."""
    box = (0, 0, UNITS, horizon)
    canvas.fill(box, _SKY_TOP, _SKY_LOW, surface=1)
    sky = canvas.view(box)[:, :, :3]
    clouds = noise(rng, sky, 26 * canvas.scale, 2.5) + 0.4 * noise(rng, sky, 10 * canvas.scale, 2.5)
    sky += (1 - sky) * 0.55 * (clouds - 0.05).clip(0, 1)


def paint_ground(canvas: Canvas, rng: np.random.Generator, base: float, kerb: float) -> None:
    """The pavement from ``base`` to ``kerb``, and the road below."""
    canvas.fill((0, base, UNITS, kerb), tint(_PAVEMENT, 0.86), tint(_PAVEMENT, 1.05), surface=-1)
    canvas.bars((0, base, UNITS, kerb), tint(_PAVEMENT, 0.8), step=15, width=0.8)
    canvas.fill((0, kerb, UNITS, kerb + 1.5), tint(_PAVEMENT, 1.2), surface=-1)
    canvas.fill((0, kerb + 1.5, UNITS, UNITS), tint(_ASPHALT, 0.78), tint(_ASPHALT, 1.05), surface=-1)
    ground = canvas.view((0, base, UNITS, UNITS))[:, :, :3]
    ground *= 1 + rng.normal(0, 0.04, (*ground.shape[:2], 1))
    canvas.shade((0, base, UNITS, base + 3.5), 0.6, 1.0)
    canvas.shade((0, kerb + 1.5, UNITS, kerb + 5), 0.7, 1.0)


def paint_house(canvas: Canvas, house: House, rng: np.random.Generator) -> None:
    """Paint all parts of the house that are in the picture in their order, each with its cast shadow."""
    for part in house.parts:
        if canvas.view(part.box).size:
            _PAINTERS[part.kind](canvas, part, house, rng)
    x0, _, x1, y1 = house.wall
    canvas.shade((x0, y1 - 7, x1, y1), 1.0, 0.78)  # dirt and the shadow near the ground


def _blocks(view: Array, scale: float, width: float, height: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Brightness of each pixel's block, -1 to 1, and how much of it is joint, both [h, w, 1]; running bond."""
    y, x = (np.arange(length, dtype=np.float32) / scale for length in view.shape[:2])
    row = (y / height).astype(int)[:, None]
    shifted = x / width + row % 2 / 2
    column = shifted.astype(int)
    tones = rng.uniform(-1, 1, (row.max() + 1, column.max() + 1))[row, column]
    depth = np.maximum(0.55 - (y % height)[:, None], 0.55 - shifted % 1 * width) * scale
    return tones[:, :, None], depth.clip(0, 1)[:, :, None]


def _facade(canvas: Canvas, part: Part, house: House, rng: np.random.Generator) -> None:
    canvas.fill(part.box, house.style.wall_colour)
    view = canvas.view(part.box)[:, :, :3]
    if house.style.wall == "brick":
        tone, joint = _blocks(view, canvas.scale, 8.5, 3.6, rng)
        view *= 1 + 0.13 * tone
        view += (np.asarray(_MORTAR) - view) * joint * 0.75
    elif house.style.wall == "panel":
        tone, joint = _blocks(view, canvas.scale, 30, 15, rng)
        view *= (1 + 0.02 * tone) * (1 - 0.2 * joint)
    for cell, strength in ((2.2, 0.02), (40, 0.035)):  # roughness and grime
        view *= 1 + strength * noise(rng, view, cell * canvas.scale)
    canvas.shade(part.box, 1.03, 0.95)
    canvas.shade(part.box, 1.02, 0.97, across=True)


def _roof(canvas: Canvas, part: Part, house: House, rng: np.random.Generator) -> None:
    view, (x0, y0), (x1, _) = canvas.view(part.box)[:, :, :3], *part.outline[1:3]
    with canvas.clipped(part.outline):
        canvas.fill(part.box, house.style.tiles)
        tone, joint = _blocks(view, canvas.scale, 4.2, 4.0, rng)
        overlap = np.arange(len(view))[:, None, None] / (4.0 * canvas.scale) % 1
        view *= (1 + 0.09 * tone) * (0.8 + 0.35 * overlap) * (1 - 0.22 * joint)
        canvas.shade(part.box, 1.12, 0.9)
    canvas.fill((x0 - 1, y0 - 0.4, x1 + 1, y0 + 1.1), tint(house.style.tiles, 0.72))


def _lamp(rng: np.random.Generator, chance: float) -> Colour:
    """The light behind a window or door: none, if ``chance`` does not have it."""
    lamp, strength = WINDOW_LIGHTS[rng.integers(len(WINDOW_LIGHTS))], rng.uniform(0.6, 0.95)
    return tint(lamp, strength if rng.random() < chance else 0)


def _window(canvas: Canvas, part: Part, house: House, rng: np.random.Generator) -> None:
    (x0, y0, x1, y1), frame, light = part.box, house.style.frame, _lamp(rng, 0.46)
    width, height = x1 - x0, y1 - y0
    with canvas.clipped(part.outline):
        canvas.fill(part.box, _GLASS_TOP, _GLASS_BOTTOM, light=light)
        if rng.random() < 0.3:
            for left in (x0, x1 - 0.27 * width):
                canvas.fill(
                    (left, y0, left + 0.27 * width, y1),
                    tint(_CURTAIN, 0.7),
                    tint(_CURTAIN, 0.55),
                    light=tint(light, 0.6),
                )
        at = x0 + width * rng.uniform(0.1, 0.5)
        streak = [(at, y1), (at + 0.2 * width, y1), (at + 0.5 * width, y0), (at + 0.3 * width, y0)]
        canvas.polygon(streak, rgb("dfe9f0"), 0.22, light)
        panes = 1 if width < 0.4 * height else 2 if width < 1.05 * height else 3
        for x in np.linspace(x0, x1, panes + 1):
            canvas.fill((max(x - 1, x0), y0, min(x + 1, x1), y1), frame)
        for y in (y0 + 0.6, y0 + height * 0.34, y1 - 0.6) if height > 1.25 * width else (y0 + 0.6, y1 - 0.6):
            canvas.fill((x0, y - 0.7, x1, y + 0.7), frame)
        canvas.shade((x0, y0, x1, y0 + 4), 0.45, 1.0)  # the wall's shadow on the recessed window
        canvas.shade((x0, y0, x0 + 2.2, y1), 0.6, 1.0, across=True)


def _door(canvas: Canvas, part: Part, house: House, rng: np.random.Generator) -> None:
    (x0, y0, x1, y1), wood = part.box, house.style.door
    low = y0 + (y1 - y0) * 0.26
    with canvas.clipped(part.outline):
        canvas.fill(part.box, house.style.trim)
        canvas.fill((x0 + 1.8, y0 + 1.8, x1 - 1.8, low), _GLASS_TOP, _GLASS_BOTTOM, light=_lamp(rng, 0.6))
        canvas.fill((x0 + 1.8, low, x1 - 1.8, y1), wood)
        canvas.bars((x0 + 1.8, low + 1.5, x1 - 1.8, y1), tint(wood, 0.72), step=3.2, width=1)
        canvas.shade((x0, y0, x1, y0 + 5), 0.5, 1.0)
    canvas.fill((x0 - 1.5, y1 - 2.2, x1 + 1.5, y1), _STONE, tint(_STONE, 0.7))


def _shop(canvas: Canvas, part: Part, house: House, rng: np.random.Generator) -> None:
    (x0, y0, x1, y1), colour = part.box, house.style.awning
    width, height = x1 - x0, y1 - y0
    sign, awning, sill = y0 + height * 0.17, y0 + height * 0.42, y1 - height * 0.13
    canvas.fill(part.box, tint(colour, 0.75), tint(colour, 0.6))
    canvas.fill((x0 + 2, sign, x1 - 2, sill), rgb("5d6468"), rgb("b39a6c"), light=_lamp(rng, 0.8))
    canvas.bars(
        (x0 + 2, sill - rng.uniform(0.12, 0.24) * height, x1 - 2, sill), rgb("4c4238"), step=9, width=5
    )  # goods
    letters = (x0 + 0.28 * width, y0 + 0.05 * height, x1 - 0.28 * width, y0 + 0.13 * height)
    canvas.bars(letters, rgb("f3ead2"), step=3.2, width=1.7)
    canvas.fill((x0, sign, x1, awning), rgb("efe7da"))
    canvas.bars((x0, sign, x1, awning), colour, step=9, width=4.5)
    canvas.shade((x0, sign, x1, awning), 1.08, 0.8)
    canvas.shade((x0, awning, x1, awning + 8), 0.5, 1.0)


_LEDGES = {  # length of the shadow, share of trim in the colour, distance and width of its joints or teeth
    "cornice": (5.5, 1.0, 3.6, 1.4),
    "sill": (3.5, 1.0, 0, 0),
    "molding": (3.0, 0.65, 11, 0.7),
    "deco": (0.0, 0.9, 5.2, 2.4),
}


def _ledge(canvas: Canvas, part: Part, house: House, rng: np.random.Generator) -> None:
    """A stone that juts out: bright above, dark below, with its shadow on the wall under it."""
    x0, y0, x1, y1 = part.box
    shadow, share, step, width = _LEDGES[part.kind]
    stone, height = mix(house.style.wall_colour, house.style.trim, share), y1 - y0
    canvas.shade((max(x0 + 1, house.wall[0]), y1, min(x1 + 1, house.wall[2]), y1 + shadow), 0.52, 1.0)
    canvas.fill(part.box, stone)
    canvas.fill((x0, y0, x1, y0 + 0.3 * height), tint(stone, 1.1))
    canvas.fill((x0, y1 - 0.3 * height, x1, y1), tint(stone, 0.74))
    if step and height > 3.5:
        canvas.bars((x0, y0 + 0.5 * height, x1, y1), tint(stone, 0.6), step=step, width=width)


def _pillar(canvas: Canvas, part: Part, house: House, rng: np.random.Generator) -> None:
    (x0, y0, x1, y1), stone = part.box, house.style.trim
    canvas.shade((x1, y0, min(x1 + 2.5, house.wall[2]), y1), 0.62, 1.0, across=True)
    canvas.fill(part.box, stone)
    canvas.shade(part.box, 0.82, 1.06, 1.04, 0.9, 0.6, across=True)
    for top in (y0, y1 - 2.6):
        canvas.fill((x0 - 0.8, top, x1 + 0.8, top + 2.6), tint(stone, 1.06), tint(stone, 0.7))


def _blind(canvas: Canvas, part: Part, house: House, rng: np.random.Generator) -> None:
    (x0, y0, x1, y1), colour = part.box, house.style.door
    canvas.shade((x1, y0 + 1, min(x1 + 2, house.wall[2]), y1 + 1), 0.65, 1.0, across=True)
    canvas.fill(part.box, colour)
    canvas.bars((x0 + 1, y0 + 1, x1 - 1, y1 - 1), tint(colour, 0.6), step=2.4, width=1.1, across=True)


def _balcony(canvas: Canvas, part: Part, house: House, rng: np.random.Generator) -> None:
    x0, y0, x1, y1 = part.box
    slab = y1 - max(0.2 * (y1 - y0), 2)
    canvas.shade((x0 + 2, y1, min(x1 + 3, house.wall[2]), y1 + 8), 0.42, 1.0)
    canvas.shade((x0, y0, x1, slab), 0.72)
    if house.style.wall == "panel":
        canvas.fill((x0, y0, x1, slab), rgb("9db9c4"), alpha=0.62)
    else:
        canvas.bars((x0, y0, x1, slab), _IRON, step=2.9, width=0.9)
    canvas.fill((x0, y0, x1, y0 + 1.3), _IRON)
    stone = mix(house.style.trim, _STONE, 0.4)
    canvas.fill((x0 - 1, slab, x1 + 1, y1), stone, tint(stone, 0.65))


_PAINTERS: dict[str, Callable[[Canvas, Part, House, np.random.Generator], None]] = {
    "facade": _facade, "roof": _roof, "window": _window, "door": _door, "shop": _shop, "pillar": _pillar,
    "blind": _blind, "balcony": _balcony, **dict.fromkeys(_LEDGES, _ledge),
}  # fmt: skip

"""Houses as lists of labelled parts: where the floors, windows, balconies and shops of a facade are."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np

from datasets.demo_canvas import Box, Colour, Point, rgb

PALETTE = {
    "background": "0000de",
    "facade": "002fff",
    "window": "0080ff",
    "door": "00cfff",
    "cornice": "1fffe0",
    "sill": "70fe8e",
    "balcony": "c0ff3e",
    "blind": "fff000",
    "deco": "ff9f00",
    "molding": "ff5000",
    "pillar": "fe0000",
    "shop": "ae0000",
    "roof": "8c1aa8",
    "street": "505a64",
}
"""Label colours: the twelve of the CMP facades and two more, because here roofs and streets are drawn, too."""


@dataclass(frozen=True)
class Style:
    """What a kind of house looks like. What decides the look (roof, shutters, columns) shows in the label map."""

    name: str
    wall: str  # texture: brick, plaster or panel
    wall_colour: Colour
    trim: Colour
    frame: Colour
    roof: str  # gable, hip, mansard or flat
    roof_colour: Colour
    awning: Colour
    door: Colour
    window_width: tuple[float, float] = (0.42, 0.55)  # share of a bay
    shops: float = 0.3  # probability
    arches: float = 0.0
    balconies: float = 0.3
    shutters: bool = False
    heads: bool = False  # a ledge over each window
    bands: bool = False  # a band of stone between the floors
    pillars: bool = False


STYLES = (
    Style("brick", "brick", rgb("a8543f"), rgb("ddd2bf"), rgb("f2efe8"), "gable", rgb("6d4038"), rgb("2f6b4f"),
          rgb("2d5a49"), shops=0.35, arches=0.4, balconies=0.2),
    Style("palace", "plaster", rgb("dcbf86"), rgb("f1e6cf"), rgb("f4efe4"), "mansard", rgb("59646f"), rgb("8f2f38"),
          rgb("6b4329"), shops=0.4, arches=0.3, balconies=0.5, heads=True, bands=True, pillars=True),
    Style("country", "plaster", rgb("ece3d0"), rgb("cdbb9d"), rgb("fbf9f4"), "hip", rgb("b4593a"), rgb("c8872e"),
          rgb("49703f"), window_width=(0.32, 0.4), shops=0.15, balconies=0.25, shutters=True),
    Style("modern", "panel", rgb("b9bec2"), rgb("dfe2e3"), rgb("3a4148"), "flat", rgb("70767b"), rgb("33506e"),
          rgb("39424c"), window_width=(0.62, 0.74), shops=0.5, balconies=0.8),
    Style("terrace", "plaster", rgb("c98a78"), rgb("f2e2d3"), rgb("fbf6ef"), "hip", rgb("77514a"), rgb("3f6d8c"),
          rgb("35506b"), shops=0.7, arches=0.2, balconies=0.4, heads=True),
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One labelled thing: a box in whole pixels of the picture, or a polygon with its bounding box."""

    kind: str  # a key of PALETTE
    box: Box
    points: tuple[Point, ...] = ()
    arched: bool = False


@dataclass
class House:
    """A facade: its wall, and its parts in the order in which they are painted."""

    style: Style
    wall: Box
    parts: list[Part] = field(default_factory=list)
    tone: float = 1.0  # brightness of the wall
    hue: float = 0.0  # small shift of the wall's colour from blue to red


def build_house(
    rng: np.random.Generator, style: Style, *, x0: float, x1: float, base: float, height: float, unit: float
) -> House:
    """A house that stands on ``base`` between ``x0`` and ``x1``; ``height`` is that of its wall, the roof comes on top.

    Args:
        unit: pixels of the picture per design unit; all other lengths are in design units.
    """
    planner = _Planner(rng, style, unit)
    return planner.plan(x0, x1, base, height)


class _Planner:
    def __init__(self, rng: np.random.Generator, style: Style, unit: float) -> None:
        self.rng, self.style, self.unit = rng, style, unit
        self.parts: list[Part] = []

    def add(self, kind: str, x0: float, y0: float, x1: float, y1: float, *, arched: bool = False) -> None:
        left, top = round(x0 * self.unit), round(y0 * self.unit)
        right, bottom = round(x1 * self.unit), round(y1 * self.unit)
        box = (float(left), float(top), float(max(right, left + 1)), float(max(bottom, top + 1)))
        self.parts.append(Part(kind, box, arched=arched))

    def add_polygon(self, kind: str, points: list[Point]) -> None:
        scaled = tuple((float(round(x * self.unit)), float(round(y * self.unit))) for x, y in points)
        xs, ys = [x for x, _ in scaled], [y for _, y in scaled]
        self.parts.append(Part(kind, (min(xs), min(ys), max(xs), max(ys)), scaled))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def bays(self, x0: float, width: float) -> list[tuple[float, float]]:
        """(middle, width) of each bay from left to right: all alike, or mirrored with wider ones."""
        count = int(np.clip(round(width / self.rng.uniform(28, 42)), 1, 6))
        shares = np.ones(count)
        if count % 2 and self.chance(0.4):
            shares[count // 2] = self.rng.uniform(1.25, 1.6)
        elif count > 3 and self.chance(0.4):
            shares[[0, -1]] = self.rng.uniform(1.2, 1.5)
        edges = x0 + width * np.concatenate([[0], np.cumsum(shares) / shares.sum()])
        return [((a + b) / 2, b - a) for a, b in itertools.pairwise(edges.tolist())]

    def plan(self, x0: float, x1: float, base: float, height: float) -> House:
        rng, style = self.rng, self.style
        top = base - height
        num_floors = int(np.clip(round(height / rng.uniform(36, 46)), 2, 5))
        ground = (height - 8) * (1.2 / (num_floors + 0.2))
        floor = (height - 8 - ground) / (num_floors - 1)
        bays = self.bays(x0, x1 - x0)
        self.roof(x0, x1, top, bays)
        self.add("facade", x0, top, x1, base)
        wall = self.parts[-1].box

        arched_floor = int(rng.integers(1, num_floors)) if self.chance(style.arches) else 0
        balcony_floor = int(rng.integers(1, num_floors)) if self.chance(style.balconies) else 0
        all_balconies = style.name == "modern" and self.chance(0.5)
        every, first = int(rng.integers(1, 3)), int(rng.integers(0, 2))  # which bays of that floor have one
        share, rise = float(rng.uniform(*style.window_width)), float(rng.uniform(0.74, 0.84))
        narrow = float(np.mean([width for _, width in bays]))
        for level in range(1, num_floors):  # 1 is the first floor above the ground
            low = base - ground - (level - 1) * floor
            if style.bands or level == 1:
                self.add("molding", x0, low - 2, x1, low + (3 if level == 1 else 1))
            for i, (x, width) in enumerate(bays):
                chosen = min(i, len(bays) - 1 - i) % every == (first if len(bays) > 2 else 0) % every
                balcony = all_balconies or (level == balcony_floor and chosen)
                wide = width > 1.15 * narrow and style.name != "modern"
                for at in (x - width * 0.2, x + width * 0.2) if wide and not balcony else (x,):
                    glass = width * share * (0.62 if wide and not balcony else 1.0)
                    self.window(at, low, floor, glass, rise, arched=level == arched_floor, balcony=balcony)
            if style.pillars and level == 1 and len(bays) > 1:
                for x in [*(x - width / 2 for x, width in bays), x1]:
                    middle = min(max(x, x0 + 3), x1 - 3)
                    self.add("pillar", middle - 2.5, low - floor + 2, middle + 2.5, low - 2)
        self.ground_floor(bays, base, ground)
        self.eaves(x0, x1, top)
        return House(style, wall, self.parts, tone=float(rng.uniform(0.94, 1.04)), hue=float(rng.uniform(-1, 1)))

    def roof(self, x0: float, x1: float, top: float, bays: list[tuple[float, float]]) -> None:
        kind, width = self.style.roof, x1 - x0
        if kind == "flat":
            return
        over, rise = 2.0, float(self.rng.uniform(24, 32))
        chimney = x0 + width * float(self.rng.choice([0.2, 0.8]))
        if kind == "gable":
            over, rise = 3.0, min(width * 0.42, 52)
        self.add("facade", chimney - 4, top - rise * (0.72 if kind == "gable" else 1.25), chimney + 4, top - 2)
        slope = {"gable": width / 2 + over, "hip": rise * 0.8, "mansard": rise * 0.28}[kind]
        left, right, peak = x0 - over, x1 + over, top - rise
        self.add_polygon("roof", [(left, top), (left + slope, peak), (right - slope, peak), (right, top)])
        if kind == "mansard":
            for x, _ in bays:
                self.add("deco", x - 7, top - rise * 0.74, x + 7, top - rise * 0.74 + 4)
                self.add("window", x - 5, top - rise * 0.74 + 4, x + 5, top - 4)
        elif kind == "gable" and rise > 26:
            x = (x0 + x1) / 2
            self.add("window", x - 5, top - rise * 0.5, x + 5, top - rise * 0.5 + 12, arched=True)
        elif kind == "hip" and self.chance(0.5):
            for x, _ in bays[1:-1:2] or bays[:0]:
                self.add_polygon(
                    "facade", [(x - 8, top), (x - 8, top - 14), (x, top - 20), (x + 8, top - 14), (x + 8, top)]
                )
                self.add("window", x - 4.5, top - 13, x + 4.5, top - 2)

    def window(
        self, x: float, low: float, floor: float, width: float, rise: float, *, arched: bool, balcony: bool
    ) -> None:
        style, half = self.style, min(width, floor * 0.95) / 2
        top = low - floor * rise
        bottom = low - (5 if balcony else floor * 0.24)
        self.add("window", x - half, top, x + half, bottom, arched=arched)
        if style.shutters:
            for side in (-1, 1):
                inner, outer = x + side * half, x + side * (half * 1.72)
                self.add("blind", min(inner, outer), top, max(inner, outer), bottom)
        if style.heads and not arched:
            self.add("cornice", x - half - 2.5, top - 5, x + half + 2.5, top - 2)
        if balcony:
            reach = half + (7 if style.shutters else 5)
            self.add("balcony", x - reach, low - floor * 0.38, x + reach, low - 1)
        elif style.name != "modern":
            self.add("sill", x - half - 2, bottom, x + half + 2, bottom + 2.5)

    def ground_floor(self, bays: list[tuple[float, float]], base: float, ground: float) -> None:
        style, top = self.style, base - ground
        entrance = int(self.rng.choice([0, len(bays) // 2, len(bays) - 1]))
        shops = self.chance(style.shops) and len(bays) > 1
        self.add("molding", bays[0][0] - bays[0][1] / 2, base - 5, bays[-1][0] + bays[-1][1] / 2, base)
        for i, (x, bay) in enumerate(bays):
            if i == entrance:
                half = min(bay * 0.27, 10)
                self.add("door", x - half, top + ground * 0.22, x + half, base, arched=style.arches > 0)
            elif shops:
                self.add("shop", x - bay * 0.43, top + 7, x + bay * 0.43, base - 1)
            else:
                half = min(bay * 0.23, 12)
                self.add("window", x - half, top + ground * 0.26, x + half, base - ground * 0.3)
                self.add("sill", x - half - 2, base - ground * 0.3, x + half + 2, base - ground * 0.3 + 2.5)

    def eaves(self, x0: float, x1: float, top: float) -> None:
        kind = self.style.roof
        if kind == "mansard":
            self.add("cornice", x0 - 3, top - 3, x1 + 3, top + 4)
            self.add("deco", x0, top + 4, x1, top + 8)
        elif kind == "flat":
            self.add("molding", x0 - 1, top - 3, x1 + 1, top + 4)
        else:
            self.add("cornice", x0 - 1, top - 1, x1 + 1, top + 3)

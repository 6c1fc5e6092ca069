"""What stands in a drawn street: the road, trees, lamp posts, cars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.demo_canvas import Box, Canvas, Colour, Point, mix, rgb, tint

_PAVEMENT, _ASPHALT, _LINE = rgb("b0aaa0"), rgb("66686e"), rgb("dcdcd4")
_POST, _BARK = rgb("2e3438"), rgb("5a4636")
_LEAF_DARK, _LEAF_LIGHT = rgb("33552c"), rgb("8fb058")
_CAR_GLASS, _TYRE, _HUB = rgb("3a4a56"), rgb("1d1e20"), rgb("9aa0a4")


@dataclass(frozen=True)
class Tree:
    """A street tree; lengths in design units."""

    x: float
    height: float
    radius: float
    seed: int

    def leaves(self, foot: float, p: float) -> list[tuple[Point, float, float]]:
        """(centre, radius, light 0 to 1) of its clumps in pixels, back to front."""
        rng = np.random.default_rng(self.seed)
        clumps = []
        for i in range(90):
            angle, far = rng.uniform(0, 2 * np.pi), self.radius * np.sqrt(rng.uniform(0, 1))
            dx, dy = far * np.cos(angle), far * np.sin(angle) * 1.15
            light = np.clip(
                0.5 - 0.5 * (dx * 0.4 + dy) / self.radius + 0.5 * (i / 90 - 0.5) + rng.uniform(-0.12, 0.12), 0, 1
            )
            size = self.radius * rng.uniform(0.11, 0.3)
            clumps.append((((self.x + dx) * p, foot + (dy - self.height) * p), float(size * p), float(light)))
        return clumps


def paint_tree(canvas: Canvas, tree: Tree, foot: float, p: float) -> None:
    """Paint a tree that stands at ``foot`` (pixels); ``p`` is pixels per design unit."""
    x, top = tree.x * p, foot - tree.height * p
    canvas.ellipse((x + 6 * p, foot), (13 * p, 2.2 * p), (0.1, 0.1, 0.1), 0.35)
    canvas.polygon([(x - 1.8 * p, foot), (x - 1.0 * p, top), (x + 1.0 * p, top), (x + 1.8 * p, foot)], _BARK)
    for centre, radius, light in tree.leaves(foot, p):
        canvas.ellipse(centre, (radius, radius), mix(_LEAF_DARK, _LEAF_LIGHT, light))


def paint_lamp_post(
    canvas: Canvas, x: float, foot: float, height: float, side: int, p: float, *, silhouette: bool = False
) -> None:
    """Paint a lamp post with an arm to one side (-1 left, 1 right); as a silhouette it is black."""
    colour = (0.0, 0.0, 0.0) if silhouette else _POST
    top = foot - height
    if not silhouette:
        canvas.ellipse((x + 5 * p, foot), (7 * p, 1.2 * p), (0.1, 0.1, 0.1), 0.3)
    canvas.polygon([(x - 1.2 * p, foot), (x - 0.7 * p, top), (x + 0.7 * p, top), (x + 1.2 * p, foot)], colour)
    canvas.fill((x - 2 * p, foot - 5 * p, x + 2 * p, foot), colour)
    tip = x + 11 * side * p
    arm = [(x, top + 1.4 * p), (x, top), (tip, top - 2.2 * p), (tip, top - 1 * p)]
    canvas.polygon(arm, colour)
    canvas.polygon([(tip - 4 * p, top + 1 * p), (tip, top - 3 * p), (tip + 4 * p, top + 1 * p)], colour)
    if not silhouette:
        canvas.ellipse((tip, top + 1.2 * p), (3.4 * p, 1.4 * p), rgb("e8e4d8"))


@dataclass(frozen=True)
class Car:
    """A car seen from its side; lengths in design units, ``y`` is where its wheels stand."""

    x: float
    y: float
    scale: float
    way: int  # 1 drives to the right, -1 to the left
    colour: Colour

    def at(self, dx: float, dy: float, p: float) -> Point:
        """A point given in the car's own units, forward and up from the middle of its foot."""
        return (self.x + self.way * dx * self.scale) * p, (self.y - dy * self.scale) * p

    def body(self, p: float) -> list[Point]:
        """The outline of the car in pixels."""
        outline = [
            (-21, 2.5),
            (-21, 8),
            (-18, 9.5),
            (-13, 10),
            (-8, 15),
            (4, 15),
            (10, 10),
            (18, 8.5),
            (20.5, 6.5),
            (21, 2.5),
        ]
        return [self.at(dx, dy, p) for dx, dy in outline]

    def box(self, p: float) -> Box:
        """What holds body, wheels and lights, in pixels."""
        half = 21.6 * self.scale  # the lights stand out from the body, which is 21 long from its middle
        return (
            (self.x - half) * p,
            (self.y - 15.2 * self.scale) * p,
            (self.x + half) * p,
            (self.y + 0.8 * self.scale) * p,
        )

    def lights(self, p: float) -> tuple[Point, Point]:
        """Where the front light and the rear light are, in pixels."""
        return self.at(20, 6.2, p), self.at(-20.5, 7, p)


def paint_car(canvas: Canvas, car: Car, p: float) -> None:
    """Paint a car with its shadow."""
    s = car.scale * p
    canvas.ellipse((car.x * p, car.y * p), (22 * s, 2.2 * s), (0.05, 0.05, 0.06), 0.55)
    canvas.polygon(car.body(p), car.colour)
    lower = [(-21, 2.5), (-21, 5.4), (21, 5.4), (21, 2.5)]
    canvas.polygon([car.at(dx, dy, p) for dx, dy in lower], tint(car.colour, 0.66))
    canvas.polygon(
        [car.at(dx, dy, p) for dx, dy in [(-21, 7.6), (-20.5, 8.6), (18, 8.2), (20, 7)]], tint(car.colour, 1.22)
    )
    for pane in (
        [(-11.4, 10.2), (-7.4, 14), (-2.6, 14), (-2.6, 10.2)],
        [(-1.6, 10.2), (-1.6, 14), (3.4, 14), (7.8, 10.2)],
    ):
        points = [car.at(dx, dy, p) for dx, dy in pane]
        canvas.polygon(points, _CAR_GLASS)
        canvas.polygon([points[0], points[1], mix_point(points[1], points[2], 0.5)], rgb("a9bac6"), 0.55)
    for dx in (-12.5, 12.5):
        canvas.ellipse(car.at(dx, 3.2, p), (3.9 * s, 3.9 * s), _TYRE)
        canvas.ellipse(car.at(dx, 3.2, p), (2.0 * s, 2.0 * s), _HUB)
    front, rear = car.lights(p)
    canvas.ellipse(front, (1.5 * s, 1.1 * s), rgb("f1eeda"))
    canvas.ellipse(rear, (1.1 * s, 1.3 * s), rgb("9c2a22"))


def mix_point(first: Point, second: Point, share: float) -> Point:
    """A point on the way from the first to the second."""
    return first[0] + (second[0] - first[0]) * share, first[1] + (second[1] - first[1]) * share


def paint_road(canvas: Canvas, rng: np.random.Generator, base: float, kerb: float) -> None:
    """Paint the pavement from ``base`` to ``kerb`` and the road below, in pixels."""
    size = float(canvas.size)
    p = size / 256
    canvas.blend_down((0, base, size, kerb), tint(_PAVEMENT, 0.85), tint(_PAVEMENT, 1.04))
    canvas.bars((0, base, size, kerb), tint(_PAVEMENT, 0.8), step=22, width=1.0)
    canvas.fill((0, (base + kerb) / 2, size, (base + kerb) / 2 + 0.6 * p), tint(_PAVEMENT, 0.8))
    canvas.fill((0, kerb, size, kerb + 1.5 * p), tint(_PAVEMENT, 1.2))
    canvas.blend_down((0, kerb + 1.5 * p, size, size), tint(_ASPHALT, 0.82), tint(_ASPHALT, 1.05))
    road = canvas.view((0, kerb + 1.5 * p, size, size))
    road *= 1 + rng.normal(0, 0.045, road.shape[:2]).astype(np.float32)[:, :, None]
    middle, offset = kerb + (size - kerb) * 0.46, float(rng.uniform(0, 34)) * p
    for i in range(-1, 9):
        left = offset + i * 34 * p
        dash = [(left, middle), (left + 18 * p, middle), (left + 18.5 * p, middle + 1.8 * p), (left, middle + 1.8 * p)]
        canvas.polygon(dash, _LINE, 0.9)
    canvas.fill((0, size - 5 * p, size, size - 3 * p), _LINE, 0.75)
    canvas.shade((0, kerb + 1.5 * p, size, kerb + 5 * p), 0.7, 1.0)

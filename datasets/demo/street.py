"""A drawn street, by day in the sun, or on a rainy night with lit windows, lamps and a wet road."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from datasets.demo.canvas import UNITS, Array, Box, Canvas, Colour, Picture, Point, blurred, noise, resized, rgb, tint
from datasets.demo.facades import STYLES, WINDOW_LIGHTS, House, paint_ground, paint_house, paint_sky

_ZOOM = 0.62  # houses are smaller than in the facades
_LINE, _POST, _BARK, _LEAF, _HAZE = (rgb(colour) for colour in ("dcdcd4", "2e3438", "5a4636", "618242", "a9bbcd"))
_CAR_PAINTS = [rgb(paint) for paint in ("b23a33", "3d648f", "d5d7d9", "3f4347", "c9a13a", "4d7a5a")]
_HEADLIGHT, _TAILLIGHT, _LAMP = (2.0, 1.9, 1.6), (1.5, 0.3, 0.2), (2.2, 1.75, 1.1)
_AMBIENT, _LAMP_LIGHT = (0.19, 0.225, 0.345), (1.0, 0.72, 0.38)
_NIGHT_TOP, _NIGHT_LOW, _RAIN = rgb("0a1226"), rgb("3a4468"), rgb("b8ccf2")


@dataclass(frozen=True)
class Car:
    """A car seen from its side, 42 units long at scale 1; its wheels stand at ``y``."""

    x: float
    y: float
    scale: float
    way: int  # 1 drives to the right, -1 to the left
    paint: Colour

    def at(self, *points: Point) -> list[Point]:
        """Points given in the car's own units, forward and up from the middle of its foot."""
        return [(self.x + self.way * dx * self.scale, self.y - dy * self.scale) for dx, dy in points]


class Scene:
    """What stands in a street; lengths are canvas units."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.base = base = rng.uniform(166, 178)  # foot of the houses
        self.houses: list[House] = []  # in units of a canvas zoomed by _ZOOM
        x, style, z = -rng.uniform(5, 40), rng.integers(len(STYLES)), _ZOOM
        while x < UNITS:
            width, height = rng.uniform(52, 96), rng.uniform(78, 122)
            style = (style + rng.integers(1, len(STYLES))) % len(STYLES)
            place = x / z, (x + width) / z, base / z, height / z
            self.houses.append(House(rng, STYLES[style], *place, UNITS / size / z))
            x += width + (rng.uniform(12, 26) if rng.random() < 0.18 else 0)
        widths = rng.uniform(10, 30, 27)
        self.skyline = [(x - w, base - rng.uniform(60, 130), x, base) for x, w in zip(np.cumsum(widths) - 10, widths)]
        self.lamps: list[tuple[float, Point]] = []  # foot, lamp
        x = rng.uniform(18, 60)
        while x < UNITS - 10:
            self.lamps.append((x, (x + (11 if x < UNITS / 2 else -11), base + 10 - rng.uniform(66, 72))))
            x += rng.uniform(78, 110)
        self.trees = [  # foot, height, radius
            (x, rng.uniform(46, 60), rng.uniform(15, 21))
            for x in rng.uniform(10, 246, rng.integers(0, 3))
            if all(abs(x - foot) > 22 for foot, _ in self.lamps)
        ]
        self.cars = []
        for lane, way, x in zip((0.3, 0.66), (-1, 1), rng.permutation([rng.uniform(20, 95), rng.uniform(140, 215)])):
            if rng.random() < 0.55:
                paint = _CAR_PAINTS[rng.integers(len(_CAR_PAINTS))]
                self.cars.append(Car(x, base + 13 + (UNITS - base - 13) * lane, 0.85 + 0.5 * lane, way, paint))


def draw_street(rng: np.random.Generator, size: int, *, night: bool) -> Picture:
    """A street, uint8 [size, size, 3]; from equal generators the day and the night show the same street."""
    plan_rng, paint_rng, light_rng = rng.spawn(3)
    scene, canvas = Scene(plan_rng, size), Canvas(size)
    _paint(canvas, scene, paint_rng)
    if night:
        _turn_to_night(canvas, scene, light_rng)
    else:
        canvas.pixels[:, :, :3] *= (1.05, 1.02, 0.96)
        canvas.shade((0, 0, UNITS, UNITS), 1.03, 0.96, across=True)
    return canvas.picture(light_rng, 0.03 if night else 0.012)


def street_boxes(rng: np.random.Generator, size: int) -> list[tuple[str, Box]]:
    """What ``draw_street`` shows from an equal generator: ("car" or "lamp", box in pixels), inside the picture."""
    scene = Scene(rng.spawn(3)[0], size)
    found = []
    for car in scene.cars:
        half = 21.6 * car.scale  # the lights stand out from the body, which is 21 long from its middle
        found.append(("car", (car.x - half, car.y - 15.2 * car.scale, car.x + half, car.y + 0.8 * car.scale)))
    found += [("lamp", (x - 4.5, y - 3.5, x + 4.5, y + 3.8)) for _, (x, y) in scene.lamps]
    p = size / UNITS
    inside = [(name, (max(x0, 0) * p, y0 * p, min(x1, UNITS) * p, y1 * p)) for name, (x0, y0, x1, y1) in found]
    return [(name, box) for name, box in inside if box[2] - box[0] >= 1]


# --- by day -----------------------------------------------------------------------------------------------------------


def _paint(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    kerb = scene.base + 13
    paint_sky(canvas, rng, scene.base)
    for box in scene.skyline:
        canvas.fill(box, tint(_HAZE, rng.uniform(0.94, 1.04)), alpha=0.8, surface=0.5)
        for y in np.arange(box[1] + 4, scene.base - 40, 5):
            for x in np.arange(box[0] + 2.5, box[2] - 2, 4):
                if rng.random() < 0.3:
                    canvas.fill((x, y, x + 1.6, y + 2), tint(_HAZE, 0.9), light=tint(WINDOW_LIGHTS[0], 0.45))
    paint_ground(canvas, rng, scene.base, kerb)
    middle, offset = kerb + (UNITS - kerb) * 0.46, rng.uniform(0, 34)
    for x in offset + 34 * np.arange(-1, 9):
        canvas.fill((x, middle, x + 18, middle + 1.8), _LINE, alpha=0.9, surface=-1)
    canvas.fill((0, UNITS - 5, UNITS, UNITS - 3), _LINE, alpha=0.75, surface=-1)
    for house in scene.houses:
        paint_house(canvas.zoomed(_ZOOM), house, rng)
    for tree in scene.trees:
        _paint_tree(canvas, *tree, scene.base + 7, rng)
    for x, lamp in scene.lamps:
        _paint_lamp(canvas, x, scene.base + 10, lamp)
    for car in scene.cars:
        _paint_car(canvas, car)


def _paint_tree(canvas: Canvas, x: float, height: float, radius: float, foot: float, rng: np.random.Generator) -> None:
    top = foot - height
    canvas.ellipse((x + 6, foot), (13, 2.2), (0.1, 0.1, 0.1), 0.35)
    canvas.polygon([(x - 1.8, foot), (x - 1, top), (x + 1, top), (x + 1.8, foot)], _BARK)
    for i in range(90):  # clumps of leaves, back to front, the upper left ones bright
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1) ** 0.5
        dx, dy, size = far * np.cos(angle), far * np.sin(angle) * 1.15, radius * rng.uniform(0.11, 0.3)
        light = np.clip(0.83 - 0.16 * dx - 0.4 * dy + i / 225 + rng.uniform(-0.1, 0.1), 0.6, 1.4)
        canvas.ellipse((x + dx * radius, top + dy * radius), (size, size), tint(_LEAF, light))


def _paint_lamp(canvas: Canvas, x: float, foot: float, lamp: Point) -> None:
    tip, top = lamp
    canvas.ellipse((x + 5, foot), (7, 1.2), (0.1, 0.1, 0.1), 0.3)
    canvas.polygon([(x - 1.2, foot), (x - 0.7, top), (x + 0.7, top), (x + 1.2, foot)], _POST)
    canvas.fill((x - 2, foot - 5, x + 2, foot), _POST)
    canvas.polygon([(x, top + 1.4), (x, top), (tip, top - 2.2), (tip, top - 1)], _POST)
    canvas.polygon([(tip - 4, top + 1), (tip, top - 3), (tip + 4, top + 1)], _POST)
    canvas.ellipse((tip, top + 1.2), (3.7, 1.8), rgb("e8e4d8"), light=_LAMP)


def _paint_car(canvas: Canvas, car: Car) -> None:
    s = car.scale
    canvas.ellipse((car.x, car.y), (22 * s, 2.2 * s), (0.05, 0.05, 0.06), 0.55)
    window, glint = rgb("3a4a56"), rgb("6d7f8c")
    body = (-21, 2.5), (-21, 8), (-18, 9.5), (-13, 10), (-8, 15), (4, 15), (10, 10), (18, 8.5), (20.5, 6.5), (21, 2.5)
    for colour, points in (
        (car.paint, body),
        (tint(car.paint, 0.66), ((-21, 2.5), (-21, 5.4), (21, 5.4), (21, 2.5))),
        (tint(car.paint, 1.22), ((-21, 7.6), (-20.5, 8.6), (18, 8.2), (20, 7))),
        (window, ((-11.4, 10.2), (-7.4, 14), (3.4, 14), (7.8, 10.2))),
        (glint, ((-11.4, 10.2), (-7.4, 14), (-5, 14))),
        (glint, ((-1.6, 10.2), (-1.6, 14), (3.4, 14))),
        (car.paint, ((-2.6, 10.2), (-2.6, 14), (-1.6, 14), (-1.6, 10.2))),
    ):
        canvas.polygon(car.at(*points), colour)
    for wheel in car.at((-12.5, 3.2), (12.5, 3.2)):
        canvas.ellipse(wheel, (3.9 * s, 3.9 * s), rgb("1d1e20"))
        canvas.ellipse(wheel, (2 * s, 2 * s), rgb("9aa0a4"))
    front, rear = car.at((20, 6.2), (-20.5, 7))
    canvas.ellipse(front, (1.6 * s, 1.3 * s), rgb("f1eeda"), light=_HEADLIGHT)
    canvas.ellipse(rear, (1.1 * s, 1.3 * s), rgb("9c2a22"), light=_TAILLIGHT)


# --- by night ---------------------------------------------------------------------------------------------------------


def _turn_to_night(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    n, s = len(canvas.pixels), canvas.scale
    colour, light, surface = np.split(canvas.pixels, (3, 6), axis=2)
    sky = np.asarray(_NIGHT_TOP) + np.linspace(0, 1, n)[:, None, None] * (np.subtract(_NIGHT_LOW, _NIGHT_TOP))
    sky = sky * (1 + 0.25 * noise(rng, light, 40 * s, 2))
    colour *= _AMBIENT + _illumination(scene, n)
    colour += (sky - colour) * surface.clip(0, 1)
    colour *= 1 - light.sum(axis=2, keepdims=True).clip(0, 0.85)
    small = light.reshape(n // 4, 4, n // 4, 4, 3).mean(axis=(1, 3))  # sizes are multiples of 4
    glow = 0.6 * blurred(small, 0.6 * s) + 1.25 * blurred(small, 2.6 * s)  # of the wet air around lights
    bloom = resized(glow, n, n).clip(0)
    colour += light + bloom
    _wet_road(canvas, rng, round((scene.base + 2) * s))
    _rain(canvas, rng, bloom.mean(axis=2, keepdims=True))


def _illumination(scene: Scene, n: int) -> Array:
    """How strongly lamps and headlights light what stands around them, [n, n, 3]."""
    y, x = np.mgrid[2:UNITS:4, 2:UNITS:4]
    total = np.zeros(x.shape)
    for _, (lamp_x, lamp_y) in scene.lamps:
        down = y - lamp_y
        width = 16 + 0.42 * down.clip(0)
        total += 0.95 * np.exp(-(((x - lamp_x) / width) ** 2) + np.where(down > 0, -down / 90, down / 14))
    for car in scene.cars:
        ahead, side = car.way * (x - car.x) - 20 * car.scale, y - car.y
        total += np.exp(-(((ahead - 22) / 16) ** 2) - (side / 5) ** 2)
    return resized(total[:, :, None], n, n).clip(0, 1.3) * np.asarray(_LAMP_LIGHT, np.float32)


def _wet_road(canvas: Canvas, rng: np.random.Generator, start: int) -> None:
    """Mirrors what lies above row ``start`` of the canvas in the ground below, drawn out downwards and rippled."""
    n, s = len(canvas.pixels), canvas.scale
    rows = np.arange(n - start)
    mirrored = canvas.pixels[start - 1 - (rows / 1.35).astype(int), :, :3]
    mirrored = 0.55 * mirrored + 0.45 * blurred(mirrored, 2.6 * s)
    ripple, puddles = (noise(rng, mirrored, cell * s, 4) for cell in (3, 8))
    shift = ripple[:, :, 0] * (1 + 4 * rows[:, None] / len(rows)) * 1.3 * s
    columns = (np.arange(n) + shift.astype(int)).clip(0, n - 1)
    road = canvas.pixels[start:, :, :3]
    wet = (0.42 + 0.25 * puddles).clip(0.18, 0.72) * -canvas.pixels[start:, :, 6:].clip(-1, 0)
    road *= 0.72
    road += mirrored[rows[:, None], columns] * wet


def _rain(canvas: Canvas, rng: np.random.Generator, haze: Array) -> None:
    """Slanted streaks, brightest where light falls through them."""
    n, s = len(canvas.pixels), canvas.scale
    image = Image.new("L", (n, n))
    draw = ImageDraw.Draw(image)
    slant = rng.uniform(0.08, 0.3) * rng.choice([-1, 1])
    for x, y, length, grey in rng.uniform((-25, -25, 6, 60), (281, 256, 17, 255), (rng.integers(180, 300), 4)):
        ends = (x * s, y * s, (x + slant * length) * s, (y + length) * s)
        draw.line(ends, fill=int(grey), width=max(1, round(0.5 * s)))
    streaks = np.asarray(image, dtype=np.float32)[:, :, None] / 255
    canvas.pixels[:, :, :3] += streaks * (0.15 + 1.3 * haze.clip(0, 0.5)) * _RAIN

"""A drawn street, by day in the sun, or on a rainy night with lit windows, lamps and a wet road."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from datasets.demo_canvas import (
    DESIGN_SIZE,
    Array,
    Box,
    Canvas,
    blurred,
    inset,
    mix,
    resized,
    rgb,
    soft_noise,
    tint,
)
from datasets.demo_facades import paint_sky
from datasets.demo_houses import STYLES, House, build_house
from datasets.demo_masonry import outline_points, paint_house
from datasets.demo_street import Car, Tree, paint_car, paint_lamp_post, paint_road, paint_tree

_DETAIL = 0.62  # houses are smaller than in the facades
_AMBIENT = np.array((0.19, 0.225, 0.345), np.float32)
_LAMP_LIGHT = np.array((1.0, 0.72, 0.38), np.float32)
_WINDOW_LIGHTS = (rgb("ffd27a"), rgb("ffb858"), rgb("ffe3a8"), rgb("ffcf8f"))
_HEADLIGHT, _TAILLIGHT = rgb("fff2cf"), rgb("ff3420")
_NIGHT_TOP, _NIGHT_LOW = rgb("0a1226"), rgb("2c3350")
_RAIN = np.array((0.72, 0.80, 0.95), np.float32)


@dataclass(frozen=True)
class Scene:
    """A street; lengths are design units, pixels of a picture of 256."""

    houses: tuple[House, ...]  # in pixels of the picture
    base: float  # foot of the houses
    kerb: float  # far edge of the road
    lamps: tuple[tuple[float, float, int], ...]  # foot x, height, side of the arm
    trees: tuple[Tree, ...]
    cars: tuple[Car, ...]
    skyline: tuple[tuple[float, float, float], ...]  # left, right, top


def draw_street(rng: np.random.Generator, size: int, *, night: bool) -> npt.NDArray[np.uint8]:
    """A street, uint8 [size, size, 3]; from equal generators the day and the night show the same street."""
    scene_rng, paint_rng, night_rng = rng.spawn(3)
    scene = _plan(scene_rng, size / DESIGN_SIZE)
    canvas = Canvas(size, detail=_DETAIL)
    _paint_by_day(canvas, scene, paint_rng)
    if not night:
        _sunlight(canvas, scene)
        return canvas.picture(grain=night_rng.normal(0, 0.012, (size, size)).astype(np.float32))
    _turn_to_night(canvas, scene, night_rng)
    return canvas.picture(grain=night_rng.normal(0, 0.03, (size, size)).astype(np.float32))


def street_boxes(rng: np.random.Generator, size: int) -> list[tuple[str, Box]]:
    """What ``draw_street`` shows from an equal generator: ("car" or "lamp", box in pixels), inside the picture."""
    p = size / DESIGN_SIZE
    scene = _plan(rng.spawn(3)[0], p)
    found = [("car", car.box(p)) for car in scene.cars]
    for x, height, side in scene.lamps:
        middle, y = _lamp_head(scene, x, height, side, p)
        found.append(("lamp", (middle - 4.5 * p, y - 3.5 * p, middle + 4.5 * p, y + 3.8 * p)))
    inside = [(name, (max(x0, 0.0), y0, min(x1, float(size)), y1)) for name, (x0, y0, x1, y1) in found]
    return [(name, box) for name, box in inside if box[2] - box[0] >= 1]


def _plan(rng: np.random.Generator, unit: float) -> Scene:
    base = float(rng.uniform(166, 178))
    houses, x, last = [], -float(rng.uniform(5, 40)), -1
    while x < DESIGN_SIZE:
        width = float(rng.uniform(52, 96))
        style = int(rng.choice([i for i in range(len(STYLES)) if i != last]))
        height = float(rng.uniform(78, 122))
        d = _DETAIL  # the planner counts in its own, smaller units
        box = {"x0": x / d, "x1": (x + width) / d, "base": base / d, "height": height / d}
        houses.append(build_house(rng, STYLES[style], **box, unit=unit * d))
        x, last = x + width, style
        if rng.random() < 0.18:
            x += float(rng.uniform(12, 26))
    lamps, at = [], float(rng.uniform(18, 60))
    while at < DESIGN_SIZE - 10:
        lamps.append((at, float(rng.uniform(66, 72)), 1 if at < DESIGN_SIZE / 2 else -1))
        at += float(rng.uniform(78, 110))
    trees = [
        Tree(float(x), float(rng.uniform(46, 60)), float(rng.uniform(15, 21)), int(rng.integers(1 << 30)))
        for x in rng.uniform(10, 246, int(rng.integers(0, 3)))
        if all(abs(x - lamp[0]) > 22 for lamp in lamps)
    ]
    kerb = base + 13
    cars = []
    if rng.random() < 0.75:
        paint = (rgb("b23a33"), rgb("3d648f"), rgb("d5d7d9"), rgb("3f4347"), rgb("c9a13a"), rgb("4d7a5a"))
        for lane, x in zip((0.30, 0.66), rng.permutation([float(rng.uniform(20, 95)), float(rng.uniform(140, 215))])):
            if rng.random() < 0.7:
                y = kerb + (DESIGN_SIZE - kerb) * lane
                cars.append(Car(float(x), y, 0.85 + 0.5 * lane, 1 if lane > 0.5 else -1, paint[int(rng.integers(6))]))
    skyline, x = [], -5.0
    while x < DESIGN_SIZE:
        width = float(rng.uniform(10, 30))
        skyline.append((x, x + width, base - float(rng.uniform(60, 130))))
        x += width
    return Scene(tuple(houses), base, kerb, tuple(lamps), tuple(trees), tuple(cars), tuple(skyline))


# --- by day -----------------------------------------------------------------------------------------------------------


def _paint_by_day(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    p = canvas.size / DESIGN_SIZE
    paint_sky(canvas, rng, scene.base * p)
    for left, right, top in scene.skyline:
        shade = mix(rgb("9fb3c8"), rgb("b9c9d8"), float(rng.random()))
        canvas.fill((left * p, top * p, right * p, scene.base * p), shade, 0.8)
    paint_road(canvas, rng, scene.base * p, scene.kerb * p)
    for house in scene.houses:
        paint_house(canvas, house, rng)
    for tree in scene.trees:
        paint_tree(canvas, tree, (scene.base + 7) * p, p)
    for x, height, side in scene.lamps:
        paint_lamp_post(canvas, x * p, (scene.base + 10) * p, height * p, side, p)
    for car in sorted(scene.cars, key=lambda car: car.y):
        paint_car(canvas, car, p)


def _sunlight(canvas: Canvas, scene: Scene) -> None:
    """Warm light, and the shadows that the houses throw on the pavement."""
    p, size = canvas.size / DESIGN_SIZE, float(canvas.size)
    canvas.pixels *= np.array((1.05, 1.02, 0.96), np.float32)
    for house in scene.houses:
        x0, _, x1, y1 = house.wall
        canvas.shade((x0, y1, x1 + 4 * p, y1 + 5 * p), 0.72, 0.8)
    canvas.shade((0, 0, size, size), 1.03, 0.96, across=True)


# --- by night ---------------------------------------------------------------------------------------------------------


def _turn_to_night(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    p, n = canvas.size / DESIGN_SIZE, len(canvas.pixels)
    mask = _sky_mask(canvas, scene)
    light = _emission(canvas, scene, rng)
    pools = _lamp_pools(canvas, scene)
    share = np.linspace(0, 1, n, dtype=np.float32)[:, None, None]
    sky = np.asarray(_NIGHT_TOP, np.float32) * (1 - share) + np.asarray(_NIGHT_LOW, np.float32) * share * 1.4
    clouds = soft_noise(rng, n // 4, n // 8, 10 * p * canvas.scale)
    sky = sky * (1 + 0.25 * resized(clouds, n, n)[:, :, None])
    lit = canvas.pixels * (_AMBIENT + pools)
    canvas.pixels[:] = lit + (sky - lit) * mask
    canvas.pixels *= 1 - np.clip(light.sum(axis=2, keepdims=True), 0, 0.85)
    canvas.pixels += light
    bloom = _bloom(light, canvas.scale * p)
    canvas.pixels += bloom
    _wet_road(canvas, scene, rng)
    haze = resized(bloom.mean(axis=2), n, n)[:, :, None]
    _rain(canvas, rng, haze)


def _sky_mask(canvas: Canvas, scene: Scene) -> Array:
    """How much of the night sky shows, [h, w, 1]: 1 where nothing hides it, less through the hazy far houses."""
    p, size = canvas.size / DESIGN_SIZE, float(canvas.size)
    cover = Canvas(canvas.size)
    cover.fill((0, 0, size, scene.base * p), (1, 1, 1))
    for left, right, top in scene.skyline:
        cover.fill((left * p, top * p, right * p, scene.base * p), (0.62, 0.62, 0.62))
    for house in scene.houses:
        for part in house.parts:
            if part.kind in ("facade", "roof", "cornice", "molding", "deco"):
                cover.polygon(outline_points(part), (0, 0, 0))
    for tree in scene.trees:
        for centre, radius, _ in tree.leaves((scene.base + 7) * p, p):
            cover.ellipse(centre, (radius, radius), (0, 0, 0))
    for x, height, side in scene.lamps:
        paint_lamp_post(cover, x * p, (scene.base + 10) * p, height * p, side, p, silhouette=True)
    return cover.pixels[:, :, :1]


def _emission(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> Array:
    """Light that windows, lamps and cars give off, [h, w, 3]."""
    p = canvas.size / DESIGN_SIZE
    glow = Canvas(canvas.size, detail=_DETAIL)
    for left, right, top in scene.skyline:
        for y in np.arange(top + 4, scene.base - 40, 5).tolist():
            for x in np.arange(left + 2.5, right - 2, 4).tolist():
                if rng.random() < 0.3:
                    glow.fill((x * p, y * p, (x + 1.6) * p, (y + 2) * p), tint(_WINDOW_LIGHTS[0], 0.45))
    for house in scene.houses:
        _light_house(glow, house, rng)
    for tree in scene.trees:
        for centre, radius, _ in tree.leaves((scene.base + 7) * p, p):
            glow.ellipse(centre, (radius, radius), (0, 0, 0))
    for x, height, side in scene.lamps:
        paint_lamp_post(glow, x * p, (scene.base + 10) * p, height * p, side, p, silhouette=True)
        head = _lamp_head(scene, x, height, side, p)
        glow.ellipse((head[0], head[1] + 1.2 * p), (3.9 * p, 2.1 * p), (2.2, 1.75, 1.1))
    for car in sorted(scene.cars, key=lambda car: car.y):
        front, rear = car.lights(p)
        radius = 1.5 * car.scale * p
        glow.polygon(car.body(p), (0, 0, 0))
        glow.ellipse(front, (radius * 1.3, radius), _HEADLIGHT)
        glow.ellipse(rear, (radius * 0.8, radius), _TAILLIGHT)
        beam = [
            front,
            (front[0] + car.way * 44 * p, front[1] + 1 * p),
            (front[0] + car.way * 44 * p, front[1] + 14 * p),
        ]
        glow.polygon(beam, _HEADLIGHT, 0.13)
    return glow.pixels


def _light_house(glow: Canvas, house: House, rng: np.random.Generator) -> None:
    """Lit windows, shops and doors; walls and roofs hide what is behind them."""
    u = glow.unit
    for part in house.parts:
        if part.kind in ("facade", "roof"):
            glow.polygon(outline_points(part), (0.0, 0.0, 0.0))
        elif part.kind == "window" and rng.random() < 0.46:
            colour = tint(_WINDOW_LIGHTS[int(rng.integers(4))], float(rng.uniform(0.62, 0.95)))
            x0, y0, x1, y1 = box = inset(part.box, 1.4 * u)
            glow.blend_down(box, tint(colour, 0.82), colour)
            if rng.random() < 0.35:  # a blind half down
                glow.shade((x0, y0, x1, y0 + (y1 - y0) * float(rng.uniform(0.2, 0.5))), 0.55)
            middle = (part.box[0] + part.box[2]) / 2
            glow.fill((middle - 0.7 * u, part.box[1], middle + 0.7 * u, part.box[3]), (0.1, 0.07, 0.04))
        elif part.kind == "shop" and rng.random() < 0.8:
            x0, y0, x1, y1 = part.box
            height, colour = y1 - y0, tint(_WINDOW_LIGHTS[2], 0.95)
            glow.blend_down((x0 + 2 * u, y0 + 0.43 * height, x1 - 2 * u, y1 - 0.14 * height), tint(colour, 0.6), colour)
            glow.bars(
                (x0 + 2 * u, y0 + 0.6 * height, x1 - 2 * u, y1 - 0.14 * height), (0.2, 0.14, 0.08), step=9, width=4
            )
            sign = (x0 + 0.28 * (x1 - x0), y0 + 0.05 * height, x1 - 0.28 * (x1 - x0), y0 + 0.13 * height)
            glow.bars(sign, mix(house.style.awning, (1.0, 0.95, 0.85), 0.55), step=3.2, width=1.7)
        elif part.kind == "door" and rng.random() < 0.6:
            x0, y0, x1, y1 = part.box
            glow.fill((x0 + 2 * u, y0 + 2 * u, x1 - 2 * u, y0 + (y1 - y0) * 0.25), tint(_WINDOW_LIGHTS[0], 0.8))
        elif part.kind == "balcony":
            glow.bars(part.box, (0.0, 0.0, 0.0), step=2.9, width=1.2)


def _lamp_head(scene: Scene, x: float, height: float, side: int, p: float) -> tuple[float, float]:
    return (x + 11 * side) * p, (scene.base + 10 - height) * p


def _lamp_pools(canvas: Canvas, scene: Scene) -> Array:
    """How strongly the lamps light what stands around them, [h, w, 3]."""
    n, p = 64, 64 / DESIGN_SIZE
    y, x = np.mgrid[0:n, 0:n].astype(np.float32) + 0.5
    total = np.zeros((n, n), np.float32)
    for foot, height, side in scene.lamps:
        cx, cy = (foot + 11 * side) * p, (scene.base + 10 - height) * p
        down = (y - cy) / p
        spread = 16 + 0.42 * np.clip(down, 0, None)
        total += (
            np.exp(-(((x - cx) / p / spread) ** 2)) * np.where(down > 0, np.exp(-down / 90), np.exp(down / 14)) * 0.95
        )
    full = np.clip(resized(total, len(canvas.pixels), len(canvas.pixels)), 0, 1.3)
    return full[:, :, None] * _LAMP_LIGHT


def _bloom(light: Array, unit: float) -> Array:
    """The glow of wet air around lights: a narrow and a wide blur, computed small, [h, w, 3]."""
    n = len(light)
    step = 4  # divides any canvas: sizes are multiples of 4
    small = light.reshape(n // step, step, n // step, step, 3).mean(axis=(1, 3))
    glow = 0.6 * blurred(small, 2.2 * unit / step) + 1.25 * blurred(small, 10 * unit / step)
    return np.stack([resized(glow[:, :, i], n, n) for i in range(3)], axis=2).clip(0)


def _wet_road(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    """Mirrors the street in the pavement and road, drawn out downwards and rippled."""
    p, s, n = canvas.size / DESIGN_SIZE, canvas.scale, len(canvas.pixels)
    start = round((scene.base + 2) * p * s)
    depth = n - start
    rows = np.arange(depth)
    upward = np.clip(start - 1 - (rows * 1.35).astype(int), 0, n - 1)
    mirrored = canvas.pixels[upward]
    small = blurred(mirrored[: depth // 2 * 2].reshape(depth // 2, 2, n // 2, 2, 3).mean(axis=(1, 3)), 1.3 * p * s)
    soft = np.stack([resized(small[:, :, i], depth, n) for i in range(3)], axis=2)
    stretched = soft * 0.45 + mirrored * 0.55
    ripple = resized(soft_noise(rng, max(depth // 2, 2), n // 4, 3.0 * p * s), depth, n)
    shift = (ripple * (1 + 4.0 * rows[:, None] / max(depth, 1)) * 1.3 * p * s).astype(int)
    columns = np.clip(np.arange(n)[None, :] + shift, 0, n - 1)
    mirror = stretched[rows[:, None], columns]
    puddles = resized(soft_noise(rng, max(depth // 4, 2), n // 16, 4 * p * s), depth, n)
    strength = np.clip(0.42 + 0.25 * puddles, 0.18, 0.72)[:, :, None]
    road = canvas.pixels[start:]
    road *= 0.72
    road += mirror * strength * (1 - _cars_mask(canvas, scene)[start:])


def _cars_mask(canvas: Canvas, scene: Scene) -> Array:
    cover = Canvas(canvas.size)
    p = canvas.size / DESIGN_SIZE
    for car in scene.cars:
        cover.polygon(car.body(p), (1, 1, 1))
    return cover.pixels[:, :, :1]


def _rain(canvas: Canvas, rng: np.random.Generator, haze: Array) -> None:
    """Slanted streaks, brightest where light falls through them."""
    n, p = len(canvas.pixels), canvas.size / DESIGN_SIZE * canvas.scale
    image = Image.new("L", (n, n))
    draw = ImageDraw.Draw(image)
    slant = float(rng.uniform(0.08, 0.3)) * float(rng.choice([-1, 1]))
    drops = rng.uniform((-0.1, -0.1, 6, 60), (1.1, 1.0, 17, 255), (int(rng.integers(180, 300)), 4))
    for x, y, length, grey in drops:
        start = (x * n, y * n)
        end = (start[0] + slant * length * p, start[1] + length * p)
        draw.line((*start, *end), fill=int(grey), width=max(1, round(0.5 * p)))
    streaks = np.asarray(image, dtype=np.float32)[:, :, None] / 255
    canvas.pixels += streaks * (0.15 + 1.3 * np.clip(haze, 0, 0.5)) * _RAIN

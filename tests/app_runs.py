"""Small runs for the app, made without training, and the pictures that they know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasets.demo.facades import draw_facade
from tests.class_run import make_run as make_class_run
from tests.conftest import SIZE
from tests.untrained import make_run as make_untrained_run
from util.run.sides import SideFormat, write_sides

LABELS = {"background": "0000de", "facade": "002fff", "window": "0080ff", "door": "00cfff"}
"""The palette of the facades: four of the colours of datasets/make_demo.py."""


def facade_map(size: int = SIZE) -> NDArray[np.uint8]:
    """A label map of class ids: sky, a wall with a window, a door."""
    ids = np.zeros((size, size), np.uint8)
    ids[size // 4 :] = 1
    ids[size // 2 : size * 3 // 4, size // 8 : size // 3] = 2
    ids[size // 2 :, size // 2 : size * 3 // 4] = 3
    return ids


def colours_of(ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The map in the colours of ``LABELS``."""
    table = np.array([list(bytes.fromhex(colour)) for colour in LABELS.values()], np.uint8)
    return table[ids]


def draw_facades(root: Path, count: int = 2) -> Path:
    """Pairs, the photo left and the label map right, with a ``palette.json``; in testA and testB the sides alone."""
    for folder in ("test", "testA", "testB"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        photo = draw_facade(np.random.default_rng(number), SIZE)[:, :SIZE]
        pair = np.concatenate([photo, colours_of(np.roll(facade_map(), number, axis=1))], axis=1)
        Image.fromarray(pair).save(root / "test" / f"{number}.png")
        for side, half in zip("AB", np.split(pair, 2, axis=1)):
            Image.fromarray(half).save(root / f"test{side}" / f"{number}.png")
    lines = ", ".join(f'"{name}": "{colour}"' for name, colour in LABELS.items())
    (root / "palette.json").write_text("{" + lines + "}")
    return root


def make_run(folder: Path, name: str, model: str, data: Path, *flags: str) -> Path:
    """``folder/checkpoints/<name>`` with options and drawn weights."""
    argv = ["--dataroot", str(data), "--checkpoints_dir", str(folder / "checkpoints"), "--load_size", str(SIZE)]
    return make_untrained_run(folder, model, *argv, *flags, name=name)


def make_app_runs(folder: Path) -> Path:
    """Runs of every kind in ``folder/checkpoints``.

    ``facades`` and ``noise`` paint from label maps, ``noise`` draws at random; ``deep`` takes and makes 16-bit grey;
    ``zebra`` goes both ways with attention; ``run`` draws classes.
    """
    facades = draw_facades(folder / "facades")
    make_run(folder, "facades", "pix2pix", facades, "--direction", "BtoA", "--no_dropout")
    make_run(folder, "noise", "stochastic", facades, "--direction", "BtoA")
    deep = make_run(folder, "deep", "pix2pix", facades, "--input_nc", "1", "--output_nc", "1", "--no_dropout")
    write_sides(deep, {side: SideFormat("uint16", (), 1) for side in "AB"})
    make_run(folder, "zebra", "ugatit", facades)
    make_class_run(folder)
    return folder

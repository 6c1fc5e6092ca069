"""The commands of docs/data.md run on drawn data of their kind."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import train
from tests.conftest import trainable_args
from tests.test_docs import REPO, commands

SIZE = 40
Values = np.ndarray


def values(seed: int, channels: int, low: float, high: float, kind: str) -> Values:
    shape = (SIZE, SIZE, channels) if channels > 1 else (SIZE, SIZE)
    return np.random.default_rng(seed).integers(int(low), int(high), shape, endpoint=True).astype(kind)


def png(file: Path, pixels: Values) -> None:
    Image.fromarray(pixels).save(file.with_suffix(".png"))


def tif(file: Path, pixels: Values) -> None:
    layout = {"planarconfig": "contig", "photometric": "minisblack"} if pixels.ndim == 3 else {}
    tifffile.imwrite(file.with_suffix(".tif"), pixels, **layout)


def tif_with_gaps(file: Path, pixels: Values) -> None:
    tif(file, np.where(pixels < 250, np.nan, pixels).astype(np.float32))


Side = tuple[Callable[[Path, Values], None], int, float, float, str]
KINDS: dict[str, tuple[str, Side, Side]] = {
    "photos": ("train/{}", (png, 3, 0, 255, "uint8"), (png, 3, 0, 255, "uint8")),
    "labels": ("train/{}", (png, 3, 0, 4, "uint8"), (png, 3, 0, 255, "uint8")),
    "thermal": ("train/{}", (png, 3, 0, 255, "uint8"), (png, 1, 28990, 31010, "uint16")),
    "bands": ("train/{}", (tif, 6, 0, 10000, "uint16"), (tif, 6, 0, 10000, "uint16")),
    "classes": ("train/{}", (png, 1, 0, 4, "uint8"), (png, 3, 0, 255, "uint8")),
    "elevation": ("train/{}", (png, 3, 0, 255, "uint8"), (tif_with_gaps, 1, 0, 500, "float32")),
    "ct": ("train/{}", (tif, 1, 0, 1200, "uint16"), (tif, 1, -1100, 2100, "int16")),
    "cells": ("train{}", (png, 1, 0, 4095, "uint16"), (png, 1, 0, 4095, "uint16")),
}
COMMANDS = {words[words.index("--dataroot") + 1]: words for words in commands((REPO / "docs/data.md").read_text())}


def test_every_kind_has_a_command() -> None:
    assert COMMANDS.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_commands_run(kind: str, workdir: Path) -> None:
    place, *sides = KINDS[kind]
    for side, (write, *what) in zip("AB", sides):
        folder = Path(kind) / place.format(side)
        folder.mkdir(parents=True)
        for number in range(2):
            write(folder / str(number), values(number, *what))
    small = [*trainable_args("pix2pix"), *shlex.split("--n_epochs 1 --n_epochs_decay 0 --no_html")]
    assert train.main([*COMMANDS[kind][1:], *small]) == 0

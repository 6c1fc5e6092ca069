"""Small runs of a model that draws images of classes, made without training, and the images that they know."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.demo.shapes import CLASSES, draw_shape
from tests import untrained
from tests.conftest import SIZE
from util.run.class_names import CLASSES_FILE, write_class_names

NAMES = ("blue_star", "green_square", "red_circle")
COUNTS = (3, 4, 5)  # images of each

RUN = ["--name", "run", "--gpu_ids", "-1"]
"""Flags of a command about the first of ``make_runs``."""

WITHOUT_EFFECT = ["--dataroot", "nowhere", "--max_classes", "2", "--num_test", "3", "--load_size", "40"]
"""Flags of test.py that are about images which go in, and do not matter to a command that draws from noise."""


def draw_classes(root: Path) -> Path:
    """A class_folder data set of drawn shapes, ``train`` only."""
    for name, count in zip(NAMES, COUNTS):
        (root / "train" / name).mkdir(parents=True)
        for number in range(count):
            picture = draw_shape(np.random.default_rng(number), SIZE, CLASSES.index(name))
            Image.fromarray(picture).save(root / "train" / name / f"{number}.png")
    return root


def make_run(folder: Path, *flags: str, name: str = "run") -> None:
    """``folder/checkpoints/<name>`` with options, class names and drawn weights; the data are in ``folder/data``."""
    data = folder / "data"
    if not data.is_dir():
        draw_classes(data)
    argv = ["--dataroot", str(data), "--checkpoints_dir", str(folder / "checkpoints"), "--load_size", str(SIZE)]
    run = untrained.make_run(folder, "sagan", *argv, *flags, name=name, noise=0.3)
    write_class_names(run / CLASSES_FILE, NAMES)


def make_runs(folder: Path) -> Path:
    """``run``; ``plain``, which has no classes; and ``pairs``, of a model that translates images."""
    make_run(folder)
    make_run(folder, "--num_classes", "1", name="plain")
    pairs = folder / "checkpoints" / "pairs"
    pairs.mkdir()
    (pairs / "train_opt.json").write_text(json.dumps({"model": "pix2pix", "dataset_mode": "aligned"}))
    return folder


def bring(made: Path, workdir: Path) -> Path:
    """A copy of the runs in a current folder, free to be broken."""
    shutil.copytree(made / "checkpoints", workdir / "checkpoints")
    return workdir


def flags_without_effect(told: str) -> list[str]:
    """Those that the warnings name."""
    return [line.split("warning: ")[1].split()[0] for line in told.splitlines() if "has no effect" in line]

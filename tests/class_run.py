"""A small run of a model that draws images of classes, made without training, and the images that it knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from data import DATASETS
from data.class_names import CLASSES_FILE, write_class_names
from datasets.demo_shapes import CLASSES, draw_shape
from models import MODELS
from options.files import write_options
from options.parse import parse_train
from tests.conftest import SIZE, trainable_args
from util.engine import start_engine

NAMES = ("blue_star", "green_square", "red_circle")
COUNTS = (3, 4, 5)  # images of each


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
    data, place = folder / "data", folder / "checkpoints"
    if not data.is_dir():
        draw_classes(data)
    argv = ["--dataroot", str(data), "--name", name, "--checkpoints_dir", str(place), "--model", "sagan"]
    options = parse_train([*argv, *trainable_args("sagan"), "--load_size", str(SIZE), *flags], MODELS, DATASETS)
    model = MODELS.get("sagan")(options.model, start_engine(**vars(options.engine)))
    (place / name).mkdir(parents=True)
    generator = torch.Generator().manual_seed(5)
    for key, net in model.networks.items():
        for parameter in net.parameters():  # classes differ at once, as after a training
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
        torch.save(net.state_dict(), place / name / f"latest_net_{key}.pth")
    write_options(options.values, options.defaults, place / name, "train")
    write_class_names(place / name / CLASSES_FILE, NAMES)

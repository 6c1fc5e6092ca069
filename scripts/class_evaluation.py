"""How scripts/evaluate.py measures a run that draws from noise: fresh samples against the images of its training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from data import DATASETS
from models import MODELS
from options.files import read_options
from options.parse import parse_train
from scripts.result_folders import ResultFolder, RunPlace
from util.image_folder import scan

if TYPE_CHECKING:
    from scripts.class_images import ClassImages

PHASE = "eval"
"""Part of the name of the result folders: what test.py drew for looking at, ``test_latest``, stays as it is."""


def draws_from_noise(place: RunPlace) -> bool:
    """Whether a run's model makes its images from noise alone, by the run's options."""
    model = str(read_options(place.checkpoints, required=False).get("model") or "")
    return model in MODELS.names() and MODELS.get(model).draws_from_noise


def training_images(place: RunPlace, dataroot: str = "") -> ClassImages:
    """The images that a run was trained on, as it saw them but for flips and noise.

    Args:
        place: of the run.
        dataroot: where they are now; empty: where they were.

    Raises:
        FileNotFoundError: they are not there any more.
    """
    from data.class_folder_dataset import ClassFolderDataset, ClassFolderOptions
    from scripts.class_images import ClassImages

    argv = ["--name", place.name, "--checkpoints_dir", str(place.checkpoints_dir), "--continue_train", "--no_flip"]
    argv += ["--dataroot", dataroot] if dataroot else []
    options = parse_train(argv, MODELS, DATASETS)
    if not isinstance(options.data, ClassFolderOptions):
        raise ValueError(
            f"--name {place.name}: it was trained on --dataset_mode {options.run.dataset_mode}; give --real DIR"
        )
    m = options.model
    dataset = ClassFolderDataset(options.data, input_nc=m.input_nc, output_nc=m.output_nc, seed=options.engine.seed)
    return ClassImages(dataset, f"training images in {dataset.root.as_posix()}")


def outdated(folders: Sequence[ResultFolder], count: int) -> bool:
    """Whether one of the folders has another number of samples."""
    return any(len(scan(each.images)) != count for each in folders if each.images.is_dir())

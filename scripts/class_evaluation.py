"""How scripts/evaluate.py measures a run that draws from noise: fresh samples against the images of its training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data import DATASETS
from models import MODELS
from options.files import read_options
from options.parse import parse_test, parse_train
from scripts.class_samples import SAMPLES_FILE, facts_of, wanted_samples
from scripts.result_folders import ResultFolder, RunPlace, words_of_test
from util.image_folder import scan
from util.metrics import METRICS, expand

if TYPE_CHECKING:
    from options.evaluate_options import EvaluateOptions
    from scripts.class_images import ClassImages

MOST_SAMPLES = 50_000
"""Drawn of a run, where it was trained on more images."""

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


def refuse_sides(o: EvaluateOptions) -> None:
    """Refuse what only translations have: two domains, sources, draws of an input, targets of another size.

    Raises:
        ValueError: naming the flag.
    """
    of_translations = [each for each in expand(o.metrics or ("kid",)) if METRICS[each].by != "features"]
    of_translations += ["mean_kid"] if "mean_kid" in o.metrics else []
    wrong = {
        f"--metrics {','.join(of_translations)}": bool(of_translations),
        f"--domain {o.domain}": o.domain != "B",
        f"--resize {o.resize}": o.resize > 0 and not o.real,
    }
    for flag, given in wrong.items():
        if given:
            raise ValueError(f"{flag}: has no use for the run {o.name}, which draws from noise; leave it out")


def num_samples(o: EvaluateOptions, training: ClassImages | None) -> int:
    """How many samples are measured: those asked for, else as many as there are real images."""
    if o.n_samples:
        return o.n_samples
    if training is not None:
        return min(len(training), MOST_SAMPLES)
    return min(len(scan(Path(o.real))), MOST_SAMPLES) if Path(o.real).is_dir() else 1  # a wrong folder is told later


def stale(place: RunPlace, folder: ResultFolder, words: Sequence[str]) -> bool:
    """Whether other samples lie in a folder than test.py would draw now, of these weights and with these flags.

    Args:
        place: of the run.
        folder: of the samples.
        words: for test.py, beside those that say which folder it is.
    """
    file = folder.path / SAMPLES_FILE
    page = folder.path / "index.html"
    if not file.is_file() or not page.is_file():
        return True
    options = parse_test([*words_of_test(place, folder), *words], MODELS, DATASETS)
    try:
        there = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return True
    wanted = wanted_samples(options, place.checkpoints)
    weights = place.checkpoints / f"{folder.tag}_net_{options.model.sampled}.pth"  # type: ignore[attr-defined]
    newer = weights.is_file() and weights.stat().st_mtime > page.stat().st_mtime
    whole = len(scan(folder.images)) == len(wanted.samples) if folder.images.is_dir() else False
    return bool(newer or not whole or there != facts_of(options, wanted))

"""Options of testing only, and what testing changes in the others."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from options.base_options import DataOptions
from options.schema import OptionError, arg

PHASE_DEFAULTS: dict[str, object] = {
    "phase": "test",
    "no_flip": True,
    "serial_batches": True,
    "class_balanced": False,
    "dequantize": False,
    "batch_size": 1,
    "max_dataset_size": float("inf"),
    "num_threads": 0,
    "cache": "none",
    "epoch": "latest",
    "load_iter": 0,
    "config": "",
    "verbose": False,
    "gpu_ids": "",
    "compile": False,
    "use_wandb": False,
}
"""What a test does not take over from the run's ``train_opt.json``. ``load_size`` becomes ``crop_size`` as well."""


def as_in_test(data: DataOptions, phase: str, max_images: float) -> DataOptions:
    """The data options with which test.py would read ``phase`` of the same run: no flips, no crops, in order.

    Args:
        data: of the training.
        phase: ``val``, ``test``...
        max_images: at most so many.
    """
    names = {each.name for each in fields(data)}
    changes: dict[str, Any] = {name: value for name, value in PHASE_DEFAULTS.items() if name in names}
    changes |= {"phase": phase, "max_dataset_size": max_images, "load_size": data.crop_size}
    return replace(data, **changes)


@dataclass(frozen=True, kw_only=True)
class ResultOptions:
    """What test.py makes of the pictures."""

    results_dir: str = arg("./results/", help="results go to <results_dir>/<name>/<phase>_<epoch>/")
    num_test: float = arg(float("inf"), minimum=1, help="stop after so many images (default: all)")
    num_samples: int = arg(
        1, minimum=1, maximum=1000, help="draws of every image, for a model with noise; beside them mean and spread"
    )
    eval: bool = arg(False, help="dropout off and running statistics; the published protocol tests without")
    aspect_ratio: float = arg(
        1.0, minimum=0.01, maximum=100.0, help="width of the saved pictures is multiplied by this"
    )
    display_winsize: int = arg(256, minimum=1, help="width of a picture on the page (pixels)")
    use_wandb: bool = arg(False, help="also send the pictures to Weights & Biases")
    wandb_project_name: str = arg("image-to-image-gans", help="its project")

    def __post_init__(self) -> None:
        if not self.results_dir.strip():
            raise OptionError("--results_dir is empty: name a folder, e.g. ./results")
        if math.isfinite(self.num_test) and not float(self.num_test).is_integer():
            raise OptionError(f"--num_test {self.num_test}: expected a whole number")

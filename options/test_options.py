"""Options of testing only, and the data options as a test changes them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from options.base_options import DataOptions
from options.schema import OptionError, OptionRecord, SameAs, arg, specs


def as_in_test(data: DataOptions, phase: str, max_images: float) -> DataOptions:
    """The data options with which test.py would read ``phase`` of the same run: no flips, no crops, in order.

    Args:
        data: of the training.
        phase: ``val``, ``test``...
        max_images: at most this many.
    """
    wanted = {name: spec.in_test for name, spec in specs(type(data)).items() if spec.in_test is not None}
    changes: dict[str, Any] = {
        name: getattr(data, value.option) if isinstance(value, SameAs) else value for name, value in wanted.items()
    }
    return replace(data, **{**changes, "phase": phase, "max_dataset_size": max_images})


@dataclass(frozen=True, kw_only=True)
class ResultOptions(OptionRecord):
    """What test.py makes of the pictures."""

    results_dir: str = arg("./results/", finds_results=True, help="results go to <results_dir>/<name>/<phase>_<epoch>/")
    num_test: float = arg(
        float("inf"), minimum=1, of="images", in_original=False, help="stop after this many images (default: all)"
    )
    num_samples: int = arg(
        1,
        minimum=1,
        maximum=1000,
        of="images",
        help="outputs drawn per input, for a model with noise; their mean and spread are saved as well",
    )
    eval: bool = arg(
        False,
        of="images",
        help="dropout off and running statistics of batch norm; the published protocol tests without",
    )
    aspect_ratio: float = arg(
        1.0, minimum=0.01, maximum=100.0, of="images", help="width of the saved pictures is multiplied by this"
    )
    display_winsize: int = arg(256, minimum=1, help="width of a picture on the page (pixels)")
    use_wandb: bool = arg(False, of="images", in_test=False, help="also send the pictures to Weights & Biases")
    wandb_project_name: str = arg("image-to-image-gans", help="project on Weights & Biases (--use_wandb)")

    def __post_init__(self) -> None:
        if not self.results_dir.strip():
            raise OptionError("--results_dir is empty: name a folder, e.g. ./results")
        if math.isfinite(self.num_test) and not float(self.num_test).is_integer():
            raise OptionError(f"--num_test {self.num_test}: expected a whole number")

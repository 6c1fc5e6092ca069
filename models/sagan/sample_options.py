"""Options of the commands that draw samples of a trained SAGAN run: test.py, generate, morph, match."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from options.schema import Given, OptionError, OptionRecord, arg

IMAGE_SIZES = (32, 64, 128, 256)
"""What ``--image_size`` of SAGAN can be."""


@dataclass(frozen=True, kw_only=True)
class LatentOptions(OptionRecord):
    """Which latent vectors are drawn, and by what network statistics they become images."""

    truncation: float = arg(
        math.inf,
        minimum=1e-6,
        aliases=("truncation_threshold", "truncation-threshold"),
        help="latent values stay between -t and t: nicer and more alike with a small t; inf = as in training",
    )
    sample_seed: int = arg(
        0,
        minimum=0,
        maximum=2**63 - 1,
        help="seed of the latent vectors and random classes (default: --seed, if that is given)",
    )
    standing_stats: int = arg(
        0, minimum=0, help="recompute batch norm's statistics over this many batches of samples first; 0 = as trained"
    )

    @classmethod
    def derive(cls, values: Mapping[str, Any], given: Given) -> Mapping[str, Any]:
        """``--seed`` counts for what is drawn too: a test of such a model has nothing else that is random."""
        follows = "seed" in given.flags and "sample_seed" not in given.flags
        return {**values, "sample_seed": values["seed"]} if follows else values


@dataclass(frozen=True, kw_only=True)
class SampleOptions(LatentOptions):
    """What a test draws; there are no input images."""

    class_id: tuple[int, ...] = arg((), aliases=("class-id",), help="classes to draw, e.g. 3,7 (default: random ones)")
    class_name: tuple[str, ...] = arg((), aliases=("class-name",), help="names of the classes to draw, e.g. cat,dog")
    generate_all: bool = arg(False, aliases=("all_classes", "generate-all"), help="draw every class")
    num_images: int = arg(
        36, minimum=1, aliases=("n_samples",), help="images to draw: per class that was named, otherwise in all"
    )

    def __post_init__(self) -> None:
        ways = {
            "--class_id": bool(self.class_id),
            "--class_name": bool(self.class_name),
            "--generate_all": self.generate_all,
        }
        if sum(ways.values()) > 1:
            raise OptionError(f"{' and '.join(flag for flag, given in ways.items() if given)} together: give one")
        if wrong := [number for number in self.class_id if number < -1]:
            raise OptionError(f"--class_id {wrong[0]}: classes count from 0; -1 alone is random classes")
        if -1 in self.class_id and len(self.class_id) > 1:
            raise OptionError("--class_id -1 is random classes and stands alone")

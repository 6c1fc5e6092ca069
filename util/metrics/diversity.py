"""How different the draws of an image are: the mean distance of two of them, in pixels or in features."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from util.metrics.fidelity import Number
from util.metrics.images import ImageSet
from util.metrics.paired import LPIPS_SMALLEST, Lpips, as_batch, l1

REMEDY = "make them by: python test.py --name RUN --num_samples 4"


def diversity(
    draws: Sequence[ImageSet], names: Sequence[str], *, lpips: Lpips | None = None, progress: bool = True
) -> dict[str, Number]:
    """Mean over the images of the mean distance of every two of their draws; the std is over the images.

    LPIPS as the distance is the diversity score of BicycleGAN (Zhu et al. 2017, arXiv:1711.11586).

    Args:
        draws: K >= 2 sets; equal names are draws of one image.
        names: which of ``diversity`` (mean absolute difference, values 0..1) and ``diversity_lpips``.
        lpips: needed for ``diversity_lpips``.
        progress: a bar on a terminal.

    Raises:
        ValueError: fewer than two draws, one missing, of another size or too small; the message names the image.
    """
    if len(draws) < 2:
        raise ValueError(f"{', '.join(names)}: there are no several draws of an image; {REMEDY}")
    places = [{name: index for index, name in enumerate(each.names)} for each in draws]
    for each, found in zip(draws, places):
        if alone := sorted(found.keys() ^ places[0].keys()):
            raise ValueError(f"{each.label}: of {alone[0]} not every draw is there; test again")
    values: dict[str, list[float]] = {name: [] for name in names}
    for name in tqdm(draws[0].names, desc="draws", unit=" img", disable=None if progress else True):
        images = [as_batch(each.read(found[name])) for each, found in zip(draws, places)]
        _check(draws[0].label, name, images, names)
        for metric in names:
            values[metric].append(_mean_distance(metric, images, lpips))
    content = hashlib.sha256("".join(each.digest() for each in draws).encode()).hexdigest()
    protocol: dict[str, Any] = {
        "draws": len(draws),
        "mean": "over the pairs of draws of an image, then over the images; std over the images",
        "drawn": {"content": content},
    }
    return {name: _number(name, found, protocol, lpips) for name, found in values.items()}


def _mean_distance(metric: str, images: Sequence[Tensor], lpips: Lpips | None) -> float:
    if metric == "diversity":
        return float(np.mean([l1(a, b) for a, b in combinations(images, 2)]))
    assert lpips is not None
    return float(np.mean([lpips(a, b) for a, b in combinations(images, 2)]))


def _number(name: str, values: Sequence[float], protocol: dict[str, Any], lpips: Lpips | None) -> Number:
    own = {"values": "0..1"} if name == "diversity" or lpips is None else lpips.facts()
    return Number(float(np.mean(values)), float(np.std(values)), {**protocol, **own}, ())


def _check(label: str, name: str, images: Sequence[Tensor], names: Sequence[str]) -> None:
    if len({image.shape for image in images}) > 1:
        raise ValueError(f"{label}: the draws of {name} have different sizes; test again")
    smallest = min(images[0].shape[-2:])
    if "diversity_lpips" in names and smallest < LPIPS_SMALLEST:
        raise ValueError(f"{label}: {name} has {smallest} pixels; diversity_lpips needs {LPIPS_SMALLEST} or more")

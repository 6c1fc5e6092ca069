"""How different the draws of an image are: the mean distance of two of them, in pixels or in features."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from util.metrics import METRICS
from util.metrics.images import ImageSet
from util.metrics.measurement import Number
from util.metrics.paired import as_batch, check_smallest, own_protocol, present_pixels

if TYPE_CHECKING:
    from util.metrics.distances import Lpips

REMEDY = "make them by: python test.py --name RUN --num_samples 4"


def diversity(
    draws: Sequence[ImageSet], names: Sequence[str], *, lpips: Lpips | None = None, progress: bool = True
) -> dict[str, Number]:
    """Mean over the images of the mean distance of every two of their draws; the std is over the images.

    LPIPS as the distance is the diversity score of BicycleGAN (Zhu et al. 2017, arXiv:1711.11586).

    Args:
        draws: K >= 2 sets; equal names are draws of one image.
        names: short names of metrics by draws.
        lpips: the network of the metrics that need one.
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
    distances = {metric: METRICS[metric].function() for metric in names}
    networks = {metric: (lpips,) if METRICS[metric].network else () for metric in names}
    values: dict[str, list[float]] = {metric: [] for metric in names}
    for name in tqdm(draws[0].names, desc="draws", unit=" img", disable=None if progress else True):
        pixels = [each.read(found[name]) for each, found in zip(draws, places)]
        images = [as_batch(each) for each in pixels]
        if len({image.shape for image in images}) > 1:
            raise ValueError(f"{draws[0].label}: the draws of {name} have different sizes; test again")
        check_smallest(f"{draws[0].label}: {name}", min(images[0].shape[-2:]), names)
        there = present_pixels(*pixels)  # a network needs whole images, and sees missing pixels as black
        gapless = [as_batch(each[there][None]) for each in pixels] if there.any() and not there.all() else images
        for metric, distance in distances.items():
            compared = images if METRICS[metric].network else gapless
            each_two = [distance(a, b, *networks[metric]) for a, b in combinations(compared, 2)]
            values[metric].append(float(np.mean(each_two)))
    content = hashlib.sha256("".join(each.digest() for each in draws).encode()).hexdigest()
    protocol: dict[str, Any] = {
        "draws": len(draws),
        "mean": "over the pairs of draws of an image, then over the images; std over the images",
        "drawn": {"content": content},
    }
    return {name: _number(name, found, protocol, lpips) for name, found in values.items()}


def _number(name: str, values: Sequence[float], protocol: dict[str, Any], lpips: Lpips | None) -> Number:
    return Number(float(np.mean(values)), float(np.std(values)), {**protocol, **own_protocol(name, lpips)}, ())

"""Metrics of images and their targets: the mean over the pairs of what ``METRICS`` measures of one pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from util.metrics import METRICS
from util.metrics.images import ImageSet, Pixels, pairs
from util.metrics.measurement import Number

if TYPE_CHECKING:
    from util.metrics.distances import Lpips  # imports torchmetrics, which takes a second


def paired(
    fake: ImageSet, real: ImageSet, names: Sequence[str], *, lpips: Lpips | None = None, progress: bool = True
) -> dict[str, Number]:
    """Means over the pairs, with their standard deviation.

    Args:
        fake: the images.
        real: their targets, by equal names.
        names: short names of metrics by pairs.
        lpips: the network of the metrics that need one.
        progress: a bar on a terminal.

    Raises:
        ValueError: no partner, different sizes, or too small; the message names the file.
    """
    distances = {name: METRICS[name].function() for name in names}
    networks = {name: (lpips,) if METRICS[name].network else () for name in names}
    values: dict[str, list[float]] = {name: [] for name in names}
    for index, target in tqdm(pairs(fake, real), desc="pairs", unit=" img", disable=None if progress else True):
        a, b = same_channels(fake.read(index), real.read(target))
        if a.shape != b.shape:
            raise ValueError(
                f"{fake.label}: {fake.names[index]} is {a.shape[1]}x{a.shape[0]}, its target "
                f"{b.shape[1]}x{b.shape[0]}; --resize N scales both sides to N pixels squared"
            )
        check_smallest(f"{fake.label}: {fake.names[index]}", min(a.shape[:2]), names)
        x, y = as_batch(a), as_batch(b)
        for name, distance in distances.items():
            values[name].append(distance(x, y, *networks[name]))
    return {name: _mean(name, each, lpips) for name, each in values.items()}


def same_channels(a: Pixels, b: Pixels) -> tuple[Pixels, Pixels]:
    """Both images as they are, but a grey one beside one with several bands is repeated for each of them."""
    if a.shape[2] != b.shape[2] and 1 in (a.shape[2], b.shape[2]):
        channels = max(a.shape[2], b.shape[2])
        a, b = (np.broadcast_to(each, (*each.shape[:2], channels)) for each in (a, b))
    return a, b


def check_smallest(image: str, pixels: int, names: Sequence[str]) -> None:
    """Refuse an image that is too small for a metric.

    Raises:
        ValueError: its shorter side has fewer ``pixels`` than one of the metrics needs.
    """
    for name in names:
        if pixels < (limit := METRICS[name].smallest):
            raise ValueError(f"{image} has {pixels} pixels; {name} needs {limit} or more")


def own_protocol(name: str, lpips: Lpips | None) -> dict[str, Any]:
    """What the protocol says of the metric itself."""
    return {**METRICS[name].protocol, **(lpips.facts() if lpips and METRICS[name].network else {})}


def as_batch(image: Pixels) -> Tensor:
    """``[H, W, C]`` as float32 ``[1, C, H, W]``, values 0..255."""
    return torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None].contiguous()


def _mean(name: str, values: Sequence[float], lpips: Lpips | None) -> Number:
    finite = [value for value in values if math.isfinite(value)]
    notes = []
    if len(finite) < len(values):
        same, title = len(values) - len(finite), METRICS[name].title
        notes.append(
            f"{same} of {len(values)} images equal their target (infinite {title}) and are left out of the mean"
        )
    protocol = {"pairs": len(values), "mean": "over the pairs; std over the pairs", **own_protocol(name, lpips)}
    if not finite:
        return Number(math.inf, None, protocol, ("every image equals its target",))
    return Number(float(np.mean(finite)), float(np.std(finite)), protocol, tuple(notes))

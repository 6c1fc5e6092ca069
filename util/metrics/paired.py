"""Metrics of images and their targets: the mean over the pairs of what ``METRICS`` measures of one pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from util.metrics import METRICS
from util.metrics.images import ImageSet, Pixels, pairs
from util.metrics.measurement import Number
from util.wording import counted

if TYPE_CHECKING:
    from util.metrics.distances import Lpips  # imports torchmetrics, which takes a second

_BY_PIXEL, _BY_WINDOW = ("psnr", "l1"), ("ssim",)
"""Metrics that see each pixel alone, and those that are a mean over windows: both leave missing pixels out."""


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
    gaps = 0
    for index, target in tqdm(pairs(fake, real), desc="pairs", unit=" img", disable=None if progress else True):
        a, b = same_channels(fake.read(index), real.read(target))
        if a.shape != b.shape:
            raise ValueError(
                f"{fake.label}: {fake.names[index]} is {a.shape[1]}x{a.shape[0]}, its target "
                f"{b.shape[1]}x{b.shape[0]}; --resize N scales both sides to N pixels squared"
            )
        check_smallest(f"{fake.label}: {fake.names[index]}", min(a.shape[:2]), names)
        there = present_pixels(a, b)
        gaps += not there.all()
        x, y = (as_batch(np.where(there[:, :, None], each, 0)) for each in (a, b))
        for name, distance in distances.items():
            if name in _BY_PIXEL and not there.all():
                if there.any():
                    values[name].append(distance(*(as_batch(each[there][None]) for each in (a, b)), *networks[name]))
            elif name in _BY_WINDOW and not there.all():
                if not math.isnan(value := distance(x, y, there)):
                    values[name].append(value)
            else:
                values[name].append(distance(x, y, *networks[name]))
    return {name: _mean(name, each, lpips, gaps) for name, each in values.items()}


def present_pixels(*images: Pixels) -> NDArray[np.bool_]:
    """Where no band of any of these images of one size is missing, ``[H, W]``."""
    gaps = [np.isnan(each).any(axis=2) for each in images if each.dtype.kind == "f"]
    return ~np.logical_or.reduce(gaps) if gaps else np.ones(images[0].shape[:2], np.bool_)


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
    """``[H, W, C]`` as float32 ``[1, C, H, W]``, values 0..255; missing pixels are black."""
    return torch.from_numpy(np.nan_to_num(image.astype(np.float32), nan=0.0)).permute(2, 0, 1)[None].contiguous()


def _mean(name: str, values: Sequence[float], lpips: Lpips | None, gaps: int) -> Number:
    if not values:
        what = "window" if name in _BY_WINDOW else "pixel"
        raise ValueError(f"{name}: every {what} of every pair has missing pixels (nodata): there is nothing to compare")
    finite = [value for value in values if math.isfinite(value)]
    notes = []
    if len(finite) < len(values):
        same, title = len(values) - len(finite), METRICS[name].title
        notes.append(
            f"{same} of {len(values)} images equal their target (infinite {title}) and are left out of the mean"
        )
    if gaps:
        how = "black in both images"
        if name in _BY_PIXEL:
            how = "left out"
        elif name in _BY_WINDOW:
            how = "left out, with the windows that hold some"
        notes.append(f"missing pixels (nodata) of {counted(gaps, 'pair')} are {how}")
    protocol = {"pairs": len(values), "mean": "over the pairs; std over the pairs", **own_protocol(name, lpips)}
    if not finite:
        return Number(math.inf, None, protocol, ("every image equals its target",))
    return Number(float(np.mean(finite)), float(np.std(finite)), protocol, tuple(notes))

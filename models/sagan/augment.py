"""Differentiable augmentation of what a discriminator sees (Zhao et al. 2020, arXiv:2006.10738)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SHIFT = 1 / 8
"""Largest shift, as a share of the width and height."""

HOLE = 1 / 2
"""Side of the square that is cut out, as a share of the width and height."""


def diff_augment(x: Tensor, kinds: Sequence[str]) -> Tensor:
    """Random changes of every image, through which gradients flow back to it.

    D sees real images and fakes only so changed, in its step and in that of G. It cannot learn a small data set by
    heart then, and the changes do not leak into what G draws.

    Args:
        x: ``[N, C, H, W]`` in [-1, 1].
        kinds: names of ``DIFF_AUGMENTS``, applied in this order. The draws come from torch's generator on the CPU.

    Returns:
        images of the same shape; ``color`` may lead out of [-1, 1].
    """
    for kind in kinds:
        x = DIFF_AUGMENTS[kind](x)
    return x


def _uniform(x: Tensor) -> Tensor:
    """U(0, 1) for every image: ``[N, 1, 1, 1]``."""
    return torch.rand(len(x), 1, 1, 1).to(x.device, x.dtype)


def _color(x: Tensor) -> Tensor:
    """Brightness up to 0.5 up or down, saturation from 0 to 2 times, contrast from 0.5 to 1.5 times."""
    x = x + _uniform(x) - 0.5
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * (_uniform(x) * 2) + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * (_uniform(x) + 0.5) + mean


def _translation(x: Tensor) -> Tensor:
    """Whole pixels up to ``SHIFT`` in both directions; 0 moves in."""
    count, _, height, width = x.shape
    margin = [int(size * SHIFT + 0.5) for size in (height, width)]
    places = []
    for size, most in zip((height, width), margin):
        shift = torch.randint(0, 2 * most + 1, (count, 1))
        places.append((torch.arange(size) + shift).to(x.device))  # [N, size], in the padded image
    padded = F.pad(x, (margin[1], margin[1], margin[0], margin[0]))
    image = torch.arange(count, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[image, places[0][:, :, None], places[1][:, None, :]].permute(0, 3, 1, 2)


def _cutout(x: Tensor) -> Tensor:
    """A square of 0 anywhere, in part outside too."""
    inside = torch.ones(len(x), 1, 1, 1, device=x.device, dtype=torch.bool)
    for axis, size in ((2, x.shape[2]), (3, x.shape[3])):
        side = int(size * HOLE + 0.5)
        middle = torch.randint(0, size + 1 - side % 2, (len(x), 1))
        place = torch.arange(size) - (middle - side // 2)  # [N, size]
        cut = ((place >= 0) & (place < side)).to(x.device)
        inside = inside & (cut[:, None, :, None] if axis == 2 else cut[:, None, None, :])
    return x.masked_fill(inside, 0.0)


DIFF_AUGMENTS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "color": _color,
    "translation": _translation,
    "cutout": _cutout,
}

"""One pass of a network for several batches of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def in_one_batch(net: nn.Module, *batches: Tensor) -> list[Any]:
    """``[net(x) for x in batches]``, in one pass where that is the same up to rounding.

    It is so where the network says that it treats every image as if it were alone (attribute ``treats_images_alone``:
    no batch norm, nothing drawn) and the images have one size. One pass reads, transforms and differentiates the
    weights once. In NHWC memory it would cost more: instance norm keeps that layout for single images alone.

    Args:
        net: a network of images.
        *batches: ``[N_i, C, H, W]``.

    Returns:
        What the network gives for each, a tensor or nested lists of tensors.
    """
    alike = len({batch.shape[1:] for batch in batches}) == 1 and all(batch.is_contiguous() for batch in batches)
    if len(batches) == 1 or not alike or not getattr(net, "treats_images_alone", False):
        return [net(batch) for batch in batches]
    sizes = [len(batch) for batch in batches]
    return _split(net(torch.cat(batches)), sizes)


def _split(result: Tensor | Sequence[Any], sizes: Sequence[int]) -> list[Any]:
    if isinstance(result, Tensor):
        return list(result.split(list(sizes)))
    return [list(parts) for parts in zip(*(_split(each, sizes) for each in result))]

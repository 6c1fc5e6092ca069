"""Reconstruction losses that leave missing pixels out."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def masked_l1(made: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute difference over the pixels that are there; without a mask ``F.l1_loss``.

    Args:
        made: ``[N, C, H, W]``.
        target: of the same shape.
        mask: ``[N, 1, H, W]``, 1 where the target's pixels are there, 0 where they are missing. The mean is over all
            pixels of the batch that are there; 0 where none is.
    """
    if mask is None:
        return F.l1_loss(made, target)
    count = mask.sum() * made.shape[1]
    return ((made - target).abs() * mask).sum() / count.clamp(min=1)

"""Reconstruction losses that leave missing pixels out."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor, present: Tensor | None = None) -> Tensor:
    """Mean over the pixels that are there; 0 where none is.

    Args:
        values: ``[N, C, H, W]``.
        mask: ``[N, 1, H, W]``, 1 where pixels are there, 0 where they are missing.
        present: mean of the mask over the batches of all processes, 0-dim, so that the mean of the results over the
            processes is the mean over what is there in all of them; default: of this mask alone.
    """
    present = mask.mean() if present is None else present
    return (values * mask).mean() / present.clamp(min=1e-12)


def masked_l1(made: Tensor, target: Tensor, mask: Tensor | None = None, present: Tensor | None = None) -> Tensor:
    """Mean absolute difference over the pixels that are there; without a mask ``F.l1_loss``.

    Args:
        made: ``[N, C, H, W]``.
        target: of the same shape.
        mask: where the target's pixels are there, see ``masked_mean``.
        present: see ``masked_mean``.
    """
    return F.l1_loss(made, target) if mask is None else masked_mean((made - target).abs(), mask, present)

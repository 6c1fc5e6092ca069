"""Matching the discriminator's features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def feature_matching(fake: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]]) -> Tensor:
    """Feature matching of pix2pixHD (Wang et al. 2018, arXiv:1711.11585, Eq. 4) in the weighting of SPADE and SESAME.

    ``1 / K * sum over the K scales, sum over their layers but the last, mean |fake - real|``. The last entry of a
    scale, the logits, takes no part. pix2pixHD has in addition a factor of 4 over the number of layers.

    Args:
        fake: D's outputs for generated images, scale by scale, layer by layer.
        real: the same for their targets; no gradient flows into them.

    Returns:
        A 0-dim float32 tensor.

    Raises:
        ValueError: a discriminator that gives no features.
    """
    if any(isinstance(scale, Tensor) or len(scale) < 2 for scale in fake):
        raise ValueError("--lambda_feat: this discriminator gives no features; use --netD multiscale")
    per_layer = [
        F.l1_loss(ours.float(), theirs.detach().float())
        for scale, target in zip(fake, real, strict=True)
        for ours, theirs in zip(scale[:-1], target[:-1], strict=True)
    ]
    return torch.stack(per_layer).sum() / len(fake)

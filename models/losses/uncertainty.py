"""The terms of AU-GAN and ForkGAN beside the adversarial ones (Kwak et al. 2021, BMVC, and its code)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def uncertain_l1(x: Tensor, y: Tensor, s: Tensor) -> Tensor:
    """``mean(5 exp(-s) |x - y| + s / 2)``: L1 that counts less where ``s`` says that the pixel is uncertain.

    For an error e it is least at ``s = log(10 |e|)``, or at 0 for errors below 0.1.

    Args:
        x: ``[N, C, H, W]``.
        y: the same shape.
        s: uncertainty, at least 0, ``[N, 1, H, W]`` or ``[N, C, H, W]``.

    Returns:
        A 0-dim float32 tensor.
    """
    s = s.float()
    return (5 * torch.exp(-s) * (x.float() - y.float()).abs() + s / 2).mean()


def mean_feature_distance(x: Tensor, y: Tensor) -> Tensor:
    """``mean |mean_c(x) - mean_c(y)|``: L1 of the channel means of two encodings ``[N, C, h, w]``; 0-dim float32."""
    return F.l1_loss(x.float().mean(1), y.float().mean(1))


def domain_loss(logits: Tensor, is_B: bool) -> Tensor:
    """Binary cross entropy of a domain classifier's logits of any shape; domain A is 0, B is 1. 0-dim float32."""
    logits = logits.float()
    return F.softplus(-logits if is_B else logits).mean()

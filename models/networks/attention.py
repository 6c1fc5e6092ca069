"""Self-attention over the positions of a feature map (Zhang et al. 2019, arXiv:1805.08318, section 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.spectral_sagan import SNConv2d

ATTENTION_KINDS = ("paper", "pooled")


class SelfAttention(nn.Module):
    """``y = gamma * o + x`` with o the attention over all positions, Eq. (1) to (3); gamma starts at 0.

    With f, g and h 1x1 convolutions: ``o_j = sum_i softmax_i(f(x_i) . g(x_j)) h(x_i)``: g gives the queries, f the
    keys, h the values, and the logits are not scaled.

    Args:
        channels: C of the map; f and g have C/8.
        kind: ``paper``: h has C channels, every position is a key. ``pooled``, of the authors' own release: keys and
            values are max-pooled 2x2, h has C/2 channels, and a fourth convolution ``out`` leads back to C.
        spectral: spectral norm in all convolutions.

    Raises:
        ValueError: fewer than 8 channels.
    """

    def __init__(self, channels: int, *, kind: str = "paper", spectral: bool = True) -> None:
        super().__init__()
        if channels < 8:
            raise ValueError(
                f"self-attention needs 8 channels, and there are {channels}: raise --ngf or --ndf, or leave it out by "
                "--attn_res_G 0 or --attn_res_D 0"
            )
        self.pooled = kind == "pooled"
        values = channels // 2 if self.pooled else channels
        self.f = SNConv2d(channels, channels // 8, 1, bias=False, spectral=spectral)
        self.g = SNConv2d(channels, channels // 8, 1, bias=False, spectral=spectral)
        self.h = SNConv2d(channels, values, 1, bias=False, spectral=spectral)
        if self.pooled:
            self.out = SNConv2d(values, channels, 1, bias=False, spectral=spectral)
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> ``[N, C, H, W]``; ``pooled`` needs even H and W."""
        f, g, h = self.f(x), self.g(x), self.h(x)
        if self.pooled:
            f, h = F.max_pool2d(f, 2), F.max_pool2d(h, 2)
        # One head: fused kernels want four axes. [N, 1, HW, C/8], [N, 1, keys, C/8], [N, 1, keys, C]
        q, k, v = (each.flatten(2).transpose(1, 2)[:, None] for each in (g, f, h))
        o = F.scaled_dot_product_attention(q, k, v, scale=1.0)[:, 0]  # [N, HW, C]
        o = o.transpose(1, 2).unflatten(2, x.shape[2:])
        if self.pooled:
            o = self.out(o)
        return self.gamma.to(x.dtype) * o + x

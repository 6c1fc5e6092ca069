"""Attention of ATME's U-Net: linear at every resolution, full in the middle. Both work on tokens ``[N, H*W, C]``."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.ddm_blocks import EPS, float_or_wider

NUM_HEADS = 4
HEAD_DIM = 32
INNER = NUM_HEADS * HEAD_DIM


class ChannelNorm(nn.Module):
    """``(x - mean) / sqrt(var + 1e-5) * g``: mean and biased variance over the channels of each pixel, float32."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, tokens: Tensor) -> Tensor:
        """``[N, L, C]`` -> ``[N, L, C]``."""
        return F.layer_norm(float_or_wider(tokens), (tokens.shape[-1],), self.g.flatten(), None, EPS).to(tokens.dtype)


class LinearAttention(nn.Module):
    """Attention whose cost is linear in the number of pixels (Shen et al. 2018, arXiv:1812.01243), then a norm.

    With q normalised over the 32 entries of a head and k over the L pixels, head by head,

        context = k^T (v / L),    out = W_out (q / sqrt(32)) context + b

    The products are regrouped so that neither v nor the attended values are ever made at full resolution: from
    ``v = x W_v`` follows ``context = (k^T x) W_v / L``, and ``context W_out`` is one small matrix for a sample.

    The factor 1/L (v is divided by L although k is normalised already) is the published one. It makes what the
    attention adds to b small, and its gradients smaller yet: float16 could not hold them, so under float16 autocast
    all this runs in float32. bfloat16 has the range.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.to_qkv = nn.Conv2d(channels, 3 * INNER, 1, bias=False)
        self.to_out = nn.Sequential(nn.Conv2d(INNER, channels, 1), ChannelNorm(channels))

    def forward(self, tokens: Tensor) -> Tensor:
        """``[N, L, C]`` -> ``[N, L, C]``."""
        device = tokens.device.type
        in_float16 = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16
        if not in_float16:
            return self._attend(tokens)
        with torch.autocast(device, enabled=False):
            return self._attend(tokens.float())

    def _attend(self, x: Tensor) -> Tensor:
        length, channels = x.shape[1:]
        out_conv, norm = self.to_out
        assert isinstance(out_conv, nn.Conv2d)
        w_q, w_k, w_v = self.to_qkv.weight.flatten(1).chunk(3)  # each [128, C]
        q = F.linear(x, w_q)
        x = x.to(q.dtype)  # autocast would convert x for each product again
        q = q.unflatten(2, (NUM_HEADS, HEAD_DIM)).softmax(dim=-1).flatten(2)  # [N, L, 128]
        k = F.linear(x, w_k).softmax(dim=1)  # [N, L, 128]
        gathered = (k.transpose(1, 2) @ x).unflatten(1, (NUM_HEADS, HEAD_DIM))  # [N, 4, 32, C]
        context = gathered @ w_v.view(NUM_HEADS, HEAD_DIM, channels).transpose(1, 2)  # [N, 4, 32, 32]
        w_out = out_conv.weight.view(channels, NUM_HEADS, HEAD_DIM).permute(1, 2, 0)  # [4, 32, C]
        mix = (context @ w_out).flatten(1, 2)  # [N, 128, C]
        return norm(q @ (mix * (HEAD_DIM**-0.5 / length)) + out_conv.bias)


class Attention(nn.Module):
    """Multi-head attention between all pixels (Vaswani et al. 2017, arXiv:1706.03762), without a norm after it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.to_qkv = nn.Conv2d(channels, 3 * INNER, 1, bias=False)
        self.to_out = nn.Conv2d(INNER, channels, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """``[N, L, C]`` -> ``[N, L, C]``."""
        qkv = F.linear(tokens, self.to_qkv.weight.flatten(1))
        q, k, v = qkv.unflatten(2, (3, NUM_HEADS, HEAD_DIM)).permute(2, 0, 3, 1, 4)  # each [N, 4, L, 32]
        out = F.scaled_dot_product_attention(q, k, v)
        return F.linear(out.transpose(1, 2).flatten(2), self.to_out.weight.flatten(1), self.to_out.bias)


class _PreNorm(nn.Module):
    def __init__(self, attention: nn.Module, channels: int) -> None:
        super().__init__()
        self.fn = attention
        self.norm = ChannelNorm(channels)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fn(self.norm(tokens))


class AttentionResidual(nn.Module):
    """``x + attention(ChannelNorm(x))`` on an image.

    Args:
        attention: maps tokens to tokens of the same shape.
        channels: of the image.
    """

    def __init__(self, attention: nn.Module, channels: int) -> None:
        super().__init__()
        self.fn = _PreNorm(attention, channels)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> ``[N, C, H, W]``."""
        tokens = self.fn(x.flatten(2).transpose(1, 2))  # [N, H*W, C]
        return x + tokens.transpose(1, 2).view_as(x)

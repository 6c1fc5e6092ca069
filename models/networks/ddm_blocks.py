"""Convolution blocks of the denoising-diffusion U-Net (Ho et al. 2020, arXiv:2006.11239), as ATME uses them.

Statistics are computed in float32 (double for double) under autocast too, always with eps 1e-5. The published code
changes eps to 1e-3 for half precision, so that mixed precision computes another function there; here it does not.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-5


class WSConv(nn.Conv2d):
    """3x3 convolution with weight standardisation (Qiao et al. 2019, arXiv:1903.10520).

    ``w' = (w - mean) / sqrt(var + 1e-5)``, mean and biased variance over each output filter; what is stored is ``w``.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        # A layer norm over the filter is this very formula, in one kernel forward and one backward.
        weight = F.layer_norm(float_or_wider(self.weight), self.weight.shape[1:], eps=EPS)
        return self._conv_forward(input, weight.to(self.weight.dtype), self.bias)


class Block(nn.Module):
    """``SiLU(GroupNorm(WSConv(x)) * (scale + 1) + shift)``.

    Args:
        in_channels: of the input.
        out_channels: of the output, a multiple of ``groups``.
        groups: of the group norm.
    """

    def __init__(self, in_channels: int, out_channels: int, *, groups: int = 8) -> None:
        super().__init__()
        self.proj = WSConv(in_channels, out_channels)
        self.norm = nn.GroupNorm(groups, out_channels, eps=EPS)

    def forward(self, x: Tensor, scale_shift: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """``[N, in_channels, H, W]`` -> ``[N, out_channels, H, W]``; scale and shift are ``[N, out_channels]``."""
        x = self.proj(x)
        if scale_shift is None:
            return F.silu(self.norm(x))
        scale, shift = scale_shift
        gain = self.norm.weight * (scale + 1)  # [N, C]
        offset = torch.addcmul(shift, self.norm.bias, scale + 1)
        return F.silu(_group_norm(x, self.norm.num_groups, gain, offset))


def _group_norm(x: Tensor, groups: int, gain: Tensor, offset: Tensor) -> Tensor:
    """Group norm with a gain and an offset ``[N, C]`` for each sample."""
    n, c, h, w = x.shape
    if n == 1:
        return F.group_norm(x, groups, gain[0], offset[0], EPS)
    if x.is_contiguous():
        # The samples become groups of one sample: one kernel does what would be three passes over x.
        y = F.group_norm(x.view(1, n * c, h, w), n * groups, gain.flatten(), offset.flatten(), EPS)
        return y.view(n, c, h, w)
    return torch.addcmul(offset[:, :, None, None], F.group_norm(x, groups, eps=EPS), gain[:, :, None, None])


class ResnetBlock(nn.Module):
    """Two ``Block``s, the first scaled and shifted by the time embedding, plus the input; nothing after the sum.

    Args:
        in_channels: of the input; when they differ from ``out_channels``, a 1x1 convolution adapts the skip.
        out_channels: of the output.
        time_dim: length of the time embedding; None for a block without one.
        groups: of the group norms.
    """

    def __init__(self, in_channels: int, out_channels: int, *, time_dim: int | None = None, groups: int = 8) -> None:
        super().__init__()
        self.mlp = None if time_dim is None else nn.Sequential(nn.SiLU(), nn.Linear(time_dim, 2 * out_channels))
        self.block1 = Block(in_channels, out_channels, groups=groups)
        self.block2 = Block(out_channels, out_channels, groups=groups)
        self.res_conv = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """``[N, in_channels, H, W]`` and ``[N, time_dim]`` -> ``[N, out_channels, H, W]``."""
        scale_shift = None
        if self.mlp is not None:
            scale, shift = self.mlp(time).chunk(2, dim=1)
            scale_shift = (scale, shift)
        return self.block2(self.block1(x, scale_shift)) + self.res_conv(x)


class Downsample(nn.Sequential):
    """Every 2x2 pixels become channels (order: channel, row, column), then a 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.PixelUnshuffle(2), nn.Conv2d(4 * in_channels, out_channels, 1))


class Upsample(nn.Sequential):
    """Nearest neighbours to twice the size, then a 3x3 convolution; computed as one transposed convolution.

    A pixel that was repeated 2x2 meets the same 3x3 weights as sums of neighbouring ones: 4 products for each output
    value and input channel instead of 9, and no enlarged copy. Equal up to rounding.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(in_channels, out_channels, 3, padding=1)
        )

    def forward(self, input: Tensor) -> Tensor:
        """``[N, in_channels, H, W]`` -> ``[N, out_channels, 2*H, 2*W]``."""
        conv = self[1]
        assert isinstance(conv, nn.Conv2d)
        kernel = conv.weight.transpose(0, 1).flip(2, 3)  # [in, out, 3, 3]
        kernel = F.pad(kernel, (0, 0, 0, 1)) + F.pad(kernel, (0, 0, 1, 0))
        kernel = F.pad(kernel, (0, 1)) + F.pad(kernel, (1, 0))  # [in, out, 4, 4]
        return F.conv_transpose2d(input, kernel, conv.bias, stride=2, padding=1)


def float_or_wider(x: Tensor) -> Tensor:
    """``x``, half precision widened to float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))

"""The generator of ATME: a denoising-diffusion U-Net, conditioned on the mean of the W map in place of the time.

Layers, names and order follow the published code (DLR-MI/atme), whose U-Net descends from lucidrains' version of
Ho et al. 2020 (arXiv:2006.11239).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.networks.fast_conv import Conv2d
from models.networks.norm import float_or_wider, without_autocast
from models.networks.tracing import is_exporting
from util.registry import unknown

EPS = 1e-5


class WSConv(Conv2d):
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
    # An exported network must not take either short cut: both hold for the number of samples at hand only.
    exporting = is_exporting()
    if not exporting and n == 1:
        return F.group_norm(x, groups, gain[0], offset[0], EPS)
    if not exporting and x.is_contiguous():
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
        self.res_conv = nn.Identity() if in_channels == out_channels else Conv2d(in_channels, out_channels, 1)

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
        super().__init__(nn.PixelUnshuffle(2), Conv2d(4 * in_channels, out_channels, 1))


class Upsample(nn.Sequential):
    """Nearest neighbours to twice the size, then a 3x3 convolution; computed as one transposed convolution.

    A pixel that was repeated 2x2 meets the same 3x3 weights as sums of neighbouring ones: 4 products for each output
    value and input channel instead of 9, and no enlarged copy. Equal up to rounding.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.Upsample(scale_factor=2, mode="nearest"), Conv2d(in_channels, out_channels, 3, padding=1))

    def forward(self, input: Tensor) -> Tensor:
        """``[N, in_channels, H, W]`` -> ``[N, out_channels, 2*H, 2*W]``."""
        conv = self[1]
        assert isinstance(conv, nn.Conv2d)
        kernel = conv.weight.transpose(0, 1).flip(2, 3)  # [in, out, 3, 3]
        kernel = F.pad(kernel, (0, 0, 0, 1)) + F.pad(kernel, (0, 0, 1, 0))
        kernel = F.pad(kernel, (0, 1)) + F.pad(kernel, (1, 0))  # [in, out, 4, 4]
        return F.conv_transpose2d(input, kernel, conv.bias, stride=2, padding=1)


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
        self.to_qkv = Conv2d(channels, 3 * INNER, 1, bias=False)
        self.to_out = nn.Sequential(Conv2d(INNER, channels, 1), ChannelNorm(channels))

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
        self.to_qkv = Conv2d(channels, 3 * INNER, 1, bias=False)
        self.to_out = Conv2d(INNER, channels, 1)

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


class SinusoidalEmbedding(nn.Module):
    """``concat(sin(t * f), cos(t * f))``, ``f_k = 10000 ** (-k / (dim/2 - 1))``, k = 0 ... dim/2 - 1."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.num_frequencies = dim // 2

    def forward(self, time: Tensor) -> Tensor:
        """``[N]`` -> ``[N, dim]``."""
        decay = -math.log(10000) / (self.num_frequencies - 1)
        frequencies = torch.exp(torch.arange(self.num_frequencies, device=time.device) * decay)
        angles = time[:, None] * frequencies
        return torch.cat((angles.sin(), angles.cos()), dim=1)


class FourierEmbedding(nn.Module):
    """``concat(t, sin(2 pi t w), cos(2 pi t w))`` with ``dim/2`` frequencies w from N(0, 1).

    Args:
        dim: twice the number of frequencies.
        trainable: whether the frequencies learn. If not, no gradient reaches them, whoever sets ``requires_grad``.
    """

    def __init__(self, dim: int, *, trainable: bool) -> None:
        super().__init__()
        self.trainable = trainable
        self.weights = nn.Parameter(torch.randn(dim // 2), requires_grad=trainable)

    def forward(self, time: Tensor) -> Tensor:
        """``[N]`` -> ``[N, dim + 1]``."""
        time = time[:, None]
        angles = time * (self.weights if self.trainable else self.weights.detach()) * (2 * math.pi)
        return torch.cat((time, angles.sin(), angles.cos()), dim=1)


class _ClampInward(torch.autograd.Function):
    """Clamp to [-1, 1] that keeps every gradient except one that would push a value further outside.

    A plain clamp has no gradient outside the range, so that a pixel which has left it never comes back.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(-1, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        (grad,) = grads
        outward = ((x > 1) & (grad < 0)) | ((x < -1) & (grad > 0))  # descent moves against the gradient
        return grad.masked_fill(outward, 0)


class ClampInward(nn.Module):
    """``clamp(x, -1, 1)`` whose gradient outside the range is passed on where a descent step leads back inside."""

    def forward(self, x: Tensor) -> Tensor:
        return _ClampInward.apply(x)


def _resnet_head(dim: int, out_channels: int, groups: int) -> nn.Sequential:
    return nn.Sequential(ResnetBlock(dim, dim, groups=groups), Conv2d(dim, out_channels, 1), nn.Tanh())


def _conv_head(dim: int, out_channels: int, groups: int) -> nn.Sequential:
    return nn.Sequential(Conv2d(dim, out_channels, 1), nn.Tanh())


def _conv_clamp_head(dim: int, out_channels: int, groups: int) -> nn.Sequential:
    return nn.Sequential(Conv2d(dim, out_channels, 1), ClampInward())


HEADS: Mapping[str, Callable[[int, int, int], nn.Sequential]] = {
    "resnet": _resnet_head,
    "conv": _conv_head,
    "conv_clamp": _conv_clamp_head,
}

HEAD_NAMES = tuple(HEADS)


class DDMUNet(nn.Module):
    """U-Net of residual blocks with attention at every resolution, conditioned on the mean of a map.

    Level j works on ``dim_mults[j-1] * dim`` channels (``init_dim`` at the first) and halves the size, except for
    the last, which only widens. All normalisation is in float32 with eps 1e-5, also under autocast, where the
    published code switches to 1e-3 (see ``ddm_blocks``).

    Args:
        in_channels: of the input image.
        out_channels: of the output image.
        dim: width that ``dim_mults`` multiplies, and size of the sinusoidal embedding.
        init_dim: channels after the first convolution.
        dim_mults: one factor for each level.
        groups: of every group norm; divides every width.
        time_dim_mult: the embedded mean has ``dim * time_dim_mult`` entries.
        learned_sinusoidal_cond: embed with trained Fourier frequencies instead of the fixed sinusoids.
        random_fourier_features: embed with random, frozen frequencies; wins over ``learned_sinusoidal_cond``.
        learned_sinusoidal_dim: twice the number of frequencies of these two.
        head: ``resnet`` (residual block, 1x1 convolution, tanh; the published one), ``conv`` (1x1 convolution, tanh)
            or ``conv_clamp`` (1x1 convolution, ``ClampInward``).
        time_scale: factor on the mean before it is embedded. It lies in (-1, 1), where most sinusoids hardly change;
            diffusion models embed 0 ... 1000.
        checkpointing: forget what the blocks computed inside and compute it again in backward: the same numbers,
            less memory, about a third more time.

    Attributes:
        size_multiple: what height and width must be multiples of, ``2 ** (levels - 1)``.
        min_size: smallest height and width.

    Raises:
        ValueError: widths that do not fit together, or an unknown head; the message names the flag.
    """

    whole_picture = "attention looks at the whole picture"

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        *,
        dim: int = 64,
        init_dim: int = 64,
        dim_mults: Sequence[int] = (1, 2, 4, 8),
        groups: int = 8,
        time_dim_mult: int = 4,
        learned_sinusoidal_cond: bool = False,
        random_fourier_features: bool = False,
        learned_sinusoidal_dim: int = 16,
        head: str = "resnet",
        time_scale: float = 1.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        fourier = learned_sinusoidal_cond or random_fourier_features
        _check_widths(dim, init_dim, dim_mults, groups)
        _check_embedding(dim, time_dim_mult, learned_sinusoidal_dim if fourier else None)
        if head not in HEADS:
            raise unknown(f"--atme_head {head!r}", head, HEAD_NAMES)
        widths = [init_dim, *(dim * factor for factor in dim_mults)]
        levels = list(pairwise(widths))
        self.time_scale = time_scale
        self.checkpointing = checkpointing
        self.size_multiple = 2 ** (len(levels) - 1)
        # At this size the deepest tensors have one pixel, and a group of one channel would have a single value.
        self.min_size = self.size_multiple * (2 if groups in levels[-1] else 1)

        time_dim = dim * time_dim_mult
        embedding: nn.Module = SinusoidalEmbedding(dim)
        embedding_dim = dim
        if fourier:
            embedding = FourierEmbedding(learned_sinusoidal_dim, trainable=not random_fourier_features)
            embedding_dim = learned_sinusoidal_dim + 1

        def block(channels: int, width: int) -> ResnetBlock:
            return ResnetBlock(channels, width, time_dim=time_dim, groups=groups)

        def level(channels: int, width: int, resize: nn.Module) -> nn.ModuleList:
            attention = AttentionResidual(LinearAttention(width), width)
            return nn.ModuleList([block(channels, width), block(channels, width), attention, resize])

        # The order of what follows is the order of the published state_dict.
        self.init_conv = Conv2d(in_channels, init_dim, 7, padding=3)
        self.time_mlp = nn.Sequential(
            embedding, nn.Linear(embedding_dim, time_dim), nn.GELU(), nn.Linear(time_dim, time_dim)
        )
        self.downs = nn.ModuleList()
        for outer, inner in levels[:-1]:
            self.downs.append(level(outer, outer, Downsample(outer, inner)))
        outer, inner = levels[-1]
        self.downs.append(level(outer, outer, Conv2d(outer, inner, 3, padding=1)))
        self.ups = nn.ModuleList()
        for outer, inner in reversed(levels[1:]):
            self.ups.append(level(inner + outer, inner, Upsample(inner, outer)))
        outer, inner = levels[0]
        self.ups.append(level(inner + outer, inner, Conv2d(inner, outer, 3, padding=1)))
        deepest = widths[-1]
        self.mid_block1 = block(deepest, deepest)
        self.mid_attn = AttentionResidual(Attention(deepest), deepest)
        self.mid_block2 = block(deepest, deepest)
        self.final_res_block = block(2 * init_dim, dim)
        self.final_conv = HEADS[head](dim, out_channels, groups)

    def forward(self, x: Tensor, w_map: Tensor) -> Tensor:
        """Translate images.

        Args:
            x: ``[N, in_channels, H, W]``.
            w_map: ``[N, C, h, w]`` of any size; only each sample's mean is used.

        Returns:
            ``[N, out_channels, H, W]`` in [-1, 1].
        """
        time = self._embed(w_map)
        x = first = self.init_conv(x)
        skips: list[Tensor] = []
        for block1, block2, attention, resize in (level.children() for level in self.downs):
            x = self._run(block1, x, time)
            skips.append(x)
            x = self._run(attention, self._run(block2, x, time))
            skips.append(x)
            x = resize(x)
        x = self._run(self.mid_block1, x, time)
        x = self._run(self.mid_attn, x)
        x = self._run(self.mid_block2, x, time)
        for block1, block2, attention, resize in (level.children() for level in self.ups):
            x = self._run(block1, torch.cat((x, skips.pop()), dim=1), time)
            x = self._run(block2, torch.cat((x, skips.pop()), dim=1), time)
            x = resize(self._run(attention, x))
        x = self._run(self.final_res_block, torch.cat((x, first), dim=1), time)
        return self._run(self.final_conv, x)

    def _embed(self, w_map: Tensor) -> Tensor:
        """Each sample's mean, embedded in float32: half precision would round away the little that it changes."""
        with without_autocast(w_map):
            return self.time_mlp(float_or_wider(w_map).mean(dim=(1, 2, 3)) * self.time_scale)  # [N, time_dim]

    def _run(self, module: nn.Module, *inputs: Tensor) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(module, *inputs, use_reentrant=False, preserve_rng_state=False)
        return module(*inputs)


def _check_widths(dim: int, init_dim: int, dim_mults: Sequence[int], groups: int) -> None:
    """Refuse widths that the group norms cannot divide."""
    for flag, value in (("--dim", dim), ("--init_dim", init_dim), ("--groups", groups)):
        if value < 1:
            raise ValueError(f"{flag} {value}: give a number of at least 1")
    given = ",".join(str(factor) for factor in dim_mults)
    if not dim_mults or min(dim_mults) < 1:
        raise ValueError(f"--dim_mults {given!r}: give one factor of at least 1 for each level, e.g. 1,2,4,8")
    for flag, value in (("--dim", dim), ("--init_dim", init_dim)):
        if value % groups:
            raise ValueError(
                f"{flag} {value}: its channels must divide into --groups {groups} for the group norms; choose a "
                f"multiple such as {max(value // groups, 1) * groups}, or --groups {math.gcd(value, groups)}"
            )


def _check_embedding(dim: int, time_dim_mult: int, fourier_dim: int | None) -> None:
    """Refuse an embedding of no or half a frequency."""
    if time_dim_mult < 1:
        raise ValueError(f"--time_dim_mult {time_dim_mult}: give a number of at least 1")
    if fourier_dim is None:
        if dim % 2 or dim < 4:
            raise ValueError(
                f"--dim {dim}: the sinusoidal embedding needs an even number of at least 4; choose "
                f"{max(dim + dim % 2, 4)}, or embed with --learned_sinusoidal_cond"
            )
    elif fourier_dim % 2 or fourier_dim < 2:
        raise ValueError(
            f"--learned_sinusoidal_dim {fourier_dim}: it is twice the number of frequencies, so it must be even and at "
            f"least 2; choose {max(fourier_dim + fourier_dim % 2, 2)}"
        )

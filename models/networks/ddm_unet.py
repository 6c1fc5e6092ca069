"""The generator of ATME: a denoising-diffusion U-Net that is told the mean of the W map where others are told the time.

Layers, names and order follow the published code (DLR-MI/atme), whose U-Net descends from lucidrains' version of
Ho et al. 2020 (arXiv:2006.11239).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.networks.ddm_attention import Attention, AttentionResidual, LinearAttention
from models.networks.ddm_blocks import Downsample, ResnetBlock, Upsample, float_or_wider
from util.suggest import unknown


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
    return nn.Sequential(ResnetBlock(dim, dim, groups=groups), nn.Conv2d(dim, out_channels, 1), nn.Tanh())


def _conv_head(dim: int, out_channels: int, groups: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(dim, out_channels, 1), nn.Tanh())


def _conv_clamp_head(dim: int, out_channels: int, groups: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(dim, out_channels, 1), ClampInward())


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
        self.init_conv = nn.Conv2d(in_channels, init_dim, 7, padding=3)
        self.time_mlp = nn.Sequential(
            embedding, nn.Linear(embedding_dim, time_dim), nn.GELU(), nn.Linear(time_dim, time_dim)
        )
        self.downs = nn.ModuleList()
        for outer, inner in levels[:-1]:
            self.downs.append(level(outer, outer, Downsample(outer, inner)))
        outer, inner = levels[-1]
        self.downs.append(level(outer, outer, nn.Conv2d(outer, inner, 3, padding=1)))
        self.ups = nn.ModuleList()
        for outer, inner in reversed(levels[1:]):
            self.ups.append(level(inner + outer, inner, Upsample(inner, outer)))
        outer, inner = levels[0]
        self.ups.append(level(inner + outer, inner, nn.Conv2d(inner, outer, 3, padding=1)))
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
        with torch.autocast(w_map.device.type, enabled=False):
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

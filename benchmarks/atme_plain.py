"""ATME in its plain form: layers of torch as they are, attention by einsum, maps enlarged before their convolution.

What the paper's code does in a step (Solano-Carrillo et al. 2023), written for comparison: the parameters have the
names of ``models/atme``, so that they can be copied, and the numbers are the same up to rounding.
``benchmarks/plain_step.py`` measures what the difference is worth, and the tests compare the two.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.pix2pix_plain import PlainPatchGAN, update_on_pair

EPS = 1e-5
HEADS, HEAD_DIM = 4, 32


class _StandardisedConv(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        over = (1, 2, 3)
        mean = self.weight.mean(over, keepdim=True)
        variance = self.weight.var(over, unbiased=False, keepdim=True)
        weight = (self.weight - mean) * (variance + EPS).rsqrt()
        return F.conv2d(input, weight, self.bias, padding=1)


class _ChannelNorm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
        return (x - mean) * (variance + EPS).rsqrt() * self.g


class _Block(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.proj = _StandardisedConv(before, after, 3, padding=1)
        self.norm = nn.GroupNorm(8, after)
        self.act = nn.SiLU()

    def forward(self, x: Tensor, scale_shift: tuple[Tensor, Tensor] | None = None) -> Tensor:
        x = self.norm(self.proj(x))
        if scale_shift is not None:
            scale, shift = scale_shift
            x = x * (scale + 1) + shift
        y: Tensor = self.act(x)
        return y


class _Resnet(nn.Module):
    def __init__(self, before: int, after: int, time_dim: int | None = None) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time_dim, 2 * after)) if time_dim else None
        self.block1 = _Block(before, after)
        self.block2 = _Block(after, after)
        self.res_conv = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        scale_shift = None
        if self.mlp is not None:
            scale, shift = self.mlp(time)[:, :, None, None].chunk(2, dim=1)
            scale_shift = scale, shift
        y: Tensor = self.block2(self.block1(x, scale_shift)) + self.res_conv(x)
        return y


def _heads(qkv: Tensor) -> list[Tensor]:
    """``[N, 3 heads d, H, W]`` -> three ``[N, heads, d, H W]``."""
    return [each.unflatten(1, (HEADS, HEAD_DIM)).flatten(3) for each in qkv.chunk(3, dim=1)]


class _LinearAttention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = HEADS * HEAD_DIM
        self.to_qkv = nn.Conv2d(channels, 3 * inner, 1, bias=False)
        self.to_out = nn.Sequential(nn.Conv2d(inner, channels, 1), _ChannelNorm(channels))

    def forward(self, x: Tensor) -> Tensor:
        high, wide = x.shape[2:]
        q, k, v = _heads(self.to_qkv(x))
        q, k, v = q.softmax(dim=-2) * HEAD_DIM**-0.5, k.softmax(dim=-1), v / (high * wide)
        context = torch.einsum("nhdl,nhel->nhde", k, v)
        out = torch.einsum("nhde,nhdl->nhel", context, q)
        y: Tensor = self.to_out(out.reshape(len(x), -1, high, wide))
        return y


class _Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = HEADS * HEAD_DIM
        self.to_qkv = nn.Conv2d(channels, 3 * inner, 1, bias=False)
        self.to_out = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        high, wide = x.shape[2:]
        q, k, v = _heads(self.to_qkv(x))
        weights = torch.einsum("nhdi,nhdj->nhij", q * HEAD_DIM**-0.5, k).softmax(dim=-1)
        out = torch.einsum("nhij,nhdj->nhid", weights, v)
        y: Tensor = self.to_out(out.transpose(2, 3).reshape(len(x), -1, high, wide))
        return y


class _PreNorm(nn.Module):
    def __init__(self, channels: int, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn
        self.norm = _ChannelNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fn(self.norm(x))
        return y


class _Plus(nn.Module):
    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fn(x) + x
        return y


def _attended(channels: int, attention: nn.Module) -> nn.Module:
    return _Plus(_PreNorm(channels, attention))


class _Sinusoids(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.count = dim // 2

    def forward(self, time: Tensor) -> Tensor:
        frequencies = torch.exp(torch.arange(self.count, device=time.device) * -(math.log(10000) / (self.count - 1)))
        angles = time[:, None] * frequencies
        return torch.cat((angles.sin(), angles.cos()), dim=-1)


class PlainDDMUNet(nn.Module):
    """The U-Net of ATME, ``unet_256_ddm``, with the published defaults but for its width."""

    def __init__(self, dim: int = 64) -> None:
        super().__init__()
        widths = [dim, *(dim * factor for factor in (1, 2, 4, 8))]
        time_dim = 4 * dim
        levels = list(itertools.pairwise(widths))
        self.init_conv = nn.Conv2d(3, dim, 7, padding=3)
        self.time_mlp = nn.Sequential(
            _Sinusoids(dim), nn.Linear(dim, time_dim), nn.GELU(), nn.Linear(time_dim, time_dim)
        )
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        for before, after in levels:
            last = after == widths[-1]
            resize: nn.Module = nn.Conv2d(before, after, 3, padding=1)
            if not last:
                resize = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * before, after, 1))
            blocks = [_Resnet(before, before, time_dim) for _ in range(2)]
            self.downs.append(nn.ModuleList([*blocks, _attended(before, _LinearAttention(before)), resize]))
        deepest = widths[-1]
        self.mid_block1 = _Resnet(deepest, deepest, time_dim)
        self.mid_attn = _attended(deepest, _Attention(deepest))
        self.mid_block2 = _Resnet(deepest, deepest, time_dim)
        for number, (before, after) in enumerate(reversed(levels), 1):
            resize = nn.Conv2d(after, before, 3, padding=1)
            if number < len(levels):
                resize = nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), resize)
            blocks = [_Resnet(after + before, after, time_dim) for _ in range(2)]
            self.ups.append(nn.ModuleList([*blocks, _attended(after, _LinearAttention(after)), resize]))
        self.final_res_block = _Resnet(2 * dim, dim, time_dim)
        self.final_conv = nn.Sequential(_Resnet(dim, dim), nn.Conv2d(dim, 3, 1), nn.Tanh())

    def forward(self, x: Tensor, w_map: Tensor) -> Tensor:
        """``[N, 3, H, W]`` and W's map ``[N, 1, H, W]`` -> ``[N, 3, H, W]``."""
        time = self.time_mlp(w_map.mean(dim=(1, 2, 3)))
        x = self.init_conv(x)
        first, skips = x.clone(), []
        for block1, block2, attention, resize in (level.children() for level in self.downs):
            x = block1(x, time)
            skips.append(x)
            x = attention(block2(x, time))
            skips.append(x)
            x = resize(x)
        x = self.mid_block2(self.mid_attn(self.mid_block1(x, time)), time)
        for block1, block2, attention, resize in (level.children() for level in self.ups):
            x = block1(torch.cat((x, skips.pop()), dim=1), time)
            x = resize(attention(block2(torch.cat((x, skips.pop()), dim=1), time)))
        y: Tensor = self.final_conv(self.final_res_block(torch.cat((x, first), dim=1), time))
        return y


class PlainWBlock(nn.Module):
    """The network W at images of ``size`` pixels."""

    def __init__(self, size: int = 256) -> None:
        super().__init__()
        self.model = nn.ModuleList()
        for divisor, before, after in ((4, 1, 32), (2, 32, 64), (1, 64, 32)):
            self.model.append(nn.Upsample(size=(size // divisor,) * 2, mode="bilinear"))
            self.model.append(_Block(before, after))
        self.model += [nn.Conv2d(32, 1, 1), nn.Tanh()]

    def forward(self, maps: Tensor) -> Tensor:
        """Logits ``[N, 1, h, w]`` -> ``[N, 1, size, size]``."""
        for layer in self.model:
            maps = layer(maps)
        return maps


class PlainTraining:
    """One image's training, with Adam of 0.0002 and (0.5, 0.999).

    Args:
        networks: ``G``, ``W`` and ``D``.
        maps: D's last logits of the image, ``[1, 1, h, w]``.
    """

    def __init__(self, networks: dict[str, nn.Module], maps: Tensor) -> None:
        self.nets, self.maps = networks, maps
        together = itertools.chain(networks["W"].parameters(), networks["G"].parameters())
        self.optimizer_G = torch.optim.Adam(together, lr=2e-4, betas=(0.5, 0.999))
        self.optimizer_D = torch.optim.Adam(networks["D"].parameters(), lr=2e-4, betas=(0.5, 0.999))

    def step(self, A: Tensor, B: Tensor) -> dict[str, float]:
        """One iteration; the losses with their weights."""
        W_t = self.nets["W"](self.maps)
        fake = self.nets["G"](A * (1 + W_t), W_t)
        losses, self.maps = update_on_pair(self.nets["D"], self.optimizer_G, self.optimizer_D, A, fake, B)
        return {name: float(value.detach()) for name, value in losses.items()}


def plain_networks(dim: int = 64, size: int = 256) -> dict[str, nn.Module]:
    """``G``, ``W`` and ``D`` for images of ``size`` pixels."""
    return {"G": PlainDDMUNet(dim), "W": PlainWBlock(size), "D": PlainPatchGAN(6, dim, batch=False)}

"""Adaptive layer-instance normalisation, and the form of it that learns its own scale and shift (U-GAT-IT)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from models.networks.ddm_blocks import float_or_wider

EPS = 1e-5


class _Moments(torch.autograd.Function):
    """Mean and unbiased variance of every channel, ``[N, C, h, w]`` -> two ``[N, C, 1, 1]`` in float32 or wider.

    ``torch.var_mean`` is several times slower on the CPU, and in half precision it would need a wider copy of x for
    backward; this keeps x as it is.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        wide = float_or_wider(x)
        mean = wide.mean(dim=(2, 3), keepdim=True)
        pixels = x.shape[2] * x.shape[3]
        squares = torch.linalg.vector_norm(wide - mean, dim=(2, 3), keepdim=True).square()
        ctx.save_for_backward(x, mean)
        return mean, squares / (pixels - 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        of_mean, of_var = grads
        pixels = x.shape[2] * x.shape[3]
        slope = 2 / (pixels - 1) * of_var
        return torch.addcmul((of_mean / pixels - slope * mean).to(x.dtype), x, slope.to(x.dtype))


def layer_instance_norm(x: Tensor, rho: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """``(rho a_I + (1 - rho) a_L) gamma + beta`` (Kim et al. 2020, arXiv:1907.10830, Eq. (1)).

    ``a_I = (x - mu_I) r_I`` with the statistics of each channel, ``a_L = (x - mu_L) r_L`` with those of all channels;
    ``r = 1 / sqrt(v + 1e-5)``, and the variances v are unbiased, as in the published PyTorch code. Since both are
    affine in x, the result is ``x s + t`` with

        s = gamma (rho r_I + (1 - rho) r_L),    t = beta - gamma (rho mu_I r_I + (1 - rho) mu_L r_L),

    which is what is computed: no normalised copy of x is stored for backward. Statistics are in float32 or wider.

    Args:
        x: ``[N, C, h, w]``.
        rho: ``[1, C, 1, 1]`` in [0, 1].
        gamma: ``[N, C, 1, 1]`` or ``[1, C, 1, 1]``.
        beta: as gamma.

    Returns:
        ``[N, C, h, w]`` of the dtype of x.
    """
    with torch.autocast(x.device.type, enabled=False):
        rho, gamma, beta = (float_or_wider(each) for each in (rho, gamma, beta))
        pixels, channels = x.shape[2] * x.shape[3], x.shape[1]
        mean_I, var_I = _Moments.apply(x)
        mean_L = mean_I.mean(dim=1, keepdim=True)
        # the sum of squares around mean_L, of every channel's own and of the channels' means
        squares = (pixels - 1) * var_I + pixels * (mean_I - mean_L).square()
        var_L = squares.sum(dim=1, keepdim=True) / (channels * pixels - 1)
        part_I, part_L = rho * (var_I + EPS).rsqrt(), (1 - rho) * (var_L + EPS).rsqrt()
        scale = gamma * (part_I + part_L)
        shift = beta - gamma * (part_I * mean_I + part_L * mean_L)
        # x * scale and shift nearly cancel where the mean is large: rounded to half precision first, little is left
        return torch.addcmul(shift, float_or_wider(x), scale).to(x.dtype)


class AdaLIN(nn.Module):
    """Layer-instance normalisation whose scale and shift are given; rho starts at 0.9."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.full((1, channels, 1, 1), 0.9))

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """``x`` ``[N, C, h, w]``, ``gamma`` and ``beta`` ``[N, C]``."""
        return layer_instance_norm(x, self.rho, gamma[..., None, None], beta[..., None, None])


class ILN(nn.Module):
    """Layer-instance normalisation that learns scale and shift; rho starts at 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, h, w]``."""
        return layer_instance_norm(x, self.rho, self.gamma, self.beta)

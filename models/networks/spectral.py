"""Spectral norm with the keys and the order of ``torch.nn.utils.spectral_norm``, without copies of the weights.

That function divides the weight by its largest singular value sigma and keeps the quotient for backward. These layers
divide their output instead, which is the same: a convolution is linear in its weight. A layer with many weights and a
small map saves a copy of its weights for every forward pass.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from models.networks.fast_conv import Conv2d, add_patches, patch_columns, takes_patches
from models.networks.norm import without_autocast
from models.networks.products import Pair, from_matrix, output_size, times_transposed, to_matrix

EPS = 1e-12


class _Spectral(nn.Module):
    """What the layers share: ``weight_orig`` [out, ...], and the unit vectors ``weight_u`` [out], ``weight_v``."""

    weight_orig: nn.Parameter
    weight_u: Tensor
    weight_v: Tensor

    def use_spectral_norm(self) -> None:
        """Rename the weight, and draw the vectors."""
        weight = self._parameters.pop("weight")
        assert weight is not None
        self.register_parameter("weight_orig", weight)
        for name, size in (("weight_u", weight.shape[0]), ("weight_v", weight[0].numel())):
            self.register_buffer(name, F.normalize(torch.randn(size), dim=0, eps=EPS))

    def sigma(self) -> Tensor:
        """The estimate ``u . (W v)``, 0-dim; its gradient takes u and v for constants.

        In train mode a step of the power iteration comes first: ``v = unit(W^T u)``, then ``u = unit(W v)``. torch's
        newer parametrisation has the opposite order, so that training with it gives other numbers.
        """
        with without_autocast(self.weight_orig):
            W = self.weight_orig.flatten(1)
            u, v, _ = self.estimate()
            return torch.dot(u, torch.mv(W, v))

    @torch.no_grad()
    def estimate(self) -> tuple[Tensor, Tensor, Tensor]:
        """``u`` [out], ``v`` and ``W v`` [out], after a step of the power iteration in train mode."""
        W = self.weight_orig.flatten(1)
        u, v = self.weight_u.clone(), self.weight_v.clone()
        if not self.training:
            return u, v, torch.mv(W, v)
        v = F.normalize(torch.mv(W.t(), u), dim=0, eps=EPS)
        Wv = torch.mv(W, v)
        u = F.normalize(Wv, dim=0, eps=EPS)
        self.weight_u.copy_(u)
        self.weight_v.copy_(v)
        return u, v, Wv

    def divided(self, y: Tensor, calls: int) -> Tensor:
        """``y [N, ...] / sigma``; each of the ``calls`` equal parts of the batch by the sigma of its own call."""
        if calls == 1:
            return y / self.sigma()
        sigma = torch.stack([self.sigma() for _ in range(calls)]).repeat_interleave(y.shape[0] // calls)
        return y / sigma.view(-1, *[1] * (y.ndim - 1))


class SpectralConv2d(_Spectral, Conv2d):
    """A convolution with the weight ``weight_orig / sigma``; the arguments are those of ``nn.Conv2d``."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, bias: bool = True):
        super().__init__(in_channels, out_channels, kernel_size, stride=stride, bias=bias)
        self.use_spectral_norm()

    def forward(self, input: Tensor, calls: int = 1) -> Tensor:
        """``[N, in_channels, H, W]`` -> ``[N, out_channels, h, w]``.

        With ``calls`` the batch holds that many batches of equal size, and the result is that of one call for each.
        """
        geometry: Any = (self.stride, self.padding)
        if takes_patches(input, self.weight_orig, *geometry):
            estimates = [self.estimate() for _ in range(calls)]
            y: Tensor = _SpectralPatches.apply(input, self.weight_orig, *geometry, *map(torch.stack, zip(*estimates)))
        else:
            y = self.divided(self._conv_forward(input, self.weight_orig, None), calls)
        return y if self.bias is None else y + self.bias.to(y.dtype)[:, None, None]


class SpectralLinear(_Spectral, nn.Linear):
    """A linear layer with the weight ``weight_orig / sigma``."""

    def __init__(self, in_features: int, out_features: int, *, bias: bool = False) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.use_spectral_norm()

    def forward(self, input: Tensor, calls: int = 1) -> Tensor:
        """``[N, in_features]`` -> ``[N, out_features]``; ``calls`` as for ``SpectralConv2d``."""
        y = self.divided(F.linear(input, self.weight_orig), calls)
        return y if self.bias is None else y + self.bias


class _SpectralPatches(torch.autograd.Function):
    """``y = W p / sigma`` with the patches ``p`` as columns and ``sigma = u . (W v)`` of each call.

    The gradient of W is a product with the patches and, through sigma, a multiple of ``u v^T``. Both are one matrix
    product, as ``v`` is one patch more: a layer whose weights are much larger than its map then writes the gradient of
    its weights once.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, u: Tensor, v: Tensor, Wv: Tensor
    ) -> Tensor:
        images = x.shape[0]
        columns = patch_columns(x, weight, stride, padding)
        sigma = (u * Wv).sum(1).repeat_interleave(columns.shape[1] // u.shape[0])  # of each column
        y = times_transposed(weight.flatten(1), columns.t().contiguous()) / sigma
        ctx.save_for_backward(x, weight, u, v, sigma, y)
        ctx.geometry = stride, padding
        return from_matrix(y.clone(), images, *output_size(x, weight, stride, padding))

    @staticmethod
    @once_differentiable  # type: ignore[no-untyped-call, untyped-decorator]
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, u, v, sigma, y = ctx.saved_tensors
        stride, padding = ctx.geometry
        dz = to_matrix(dy) / sigma
        dx = dw = None
        if ctx.needs_input_grad[0]:
            dx = add_patches(times_transposed(dz.t().contiguous(), weight.flatten(1).t()), x, weight, stride, padding)
        if ctx.needs_input_grad[1]:
            of_sigma = -(dz * y).sum(0).view(u.shape[0], -1).sum(1)
            left = torch.cat((dz, (of_sigma[:, None] * u).t()), dim=1)
            right = torch.cat((patch_columns(x, weight, stride, padding), v.t()), dim=1)
            dw = times_transposed(left, right).view_as(weight)
        return dx, dw, None, None, None, None, None

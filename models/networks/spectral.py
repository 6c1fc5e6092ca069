"""Spectral norm with the keys and the order of ``torch.nn.utils.spectral_norm``, without copies of the weights.

That function divides the weight by its largest singular value sigma and keeps the quotient for backward. These layers
divide their output instead, which is the same: a convolution is linear in its weight. A layer with many weights and a
small map saves a copy of its weights for every forward pass.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.fast_conv import Conv2d
from models.networks.norm import without_autocast

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
            u, v = self.weight_u.clone(), self.weight_v.clone()
            if self.training:
                with torch.no_grad():
                    v = F.normalize(torch.mv(W.t(), u), dim=0, eps=EPS)
                    u = F.normalize(torch.mv(W, v), dim=0, eps=EPS)
                    self.weight_u.copy_(u)
                    self.weight_v.copy_(v)
            return torch.dot(u, torch.mv(W, v))


class SpectralConv2d(_Spectral, Conv2d):
    """A convolution with the weight ``weight_orig / sigma``; the arguments are those of ``nn.Conv2d``."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, bias: bool = True):
        super().__init__(in_channels, out_channels, kernel_size, stride=stride, bias=bias)
        self.use_spectral_norm()

    def forward(self, input: Tensor) -> Tensor:
        """``[N, in_channels, H, W]`` -> ``[N, out_channels, h, w]``."""
        y = self._conv_forward(input, self.weight_orig, None) / self.sigma()
        return y if self.bias is None else y + self.bias.to(y.dtype)[:, None, None]


class SpectralLinear(_Spectral, nn.Linear):
    """A linear layer with the weight ``weight_orig / sigma``."""

    def __init__(self, in_features: int, out_features: int, *, bias: bool = False) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.use_spectral_norm()

    def forward(self, input: Tensor) -> Tensor:
        """``[N, in_features]`` -> ``[N, out_features]``."""
        y = F.linear(input, self.weight_orig) / self.sigma()
        return y if self.bias is None else y + self.bias

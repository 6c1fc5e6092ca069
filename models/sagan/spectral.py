"""Spectral normalisation as SAGAN's reference has it: one vector u a layer, one power step in train and in test mode.

It differs from ``models.networks.spectral`` (and from torch's own): no v is stored, u starts as N(0, 1) of any length,
and test mode makes the same power step without keeping its result.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.fast_conv import Conv2d
from models.networks.norm import without_autocast, zero_gradient

EPS = 1e-12


class _Spectral(nn.Module):
    """A layer whose ``weight`` is used divided by an estimate of its largest singular value (Miyato et al. 2018,
    arXiv:1802.05957, Algorithm 1). ``u`` is the buffer of the estimate; without ``spectral`` there is none."""

    weight: Tensor
    u: Tensor | None

    def _estimate_from(self, rows: int, spectral: bool) -> None:
        self.register_buffer("u", torch.randn(rows) if spectral else None)

    def matrix(self) -> Tensor:
        """The weight as ``[rows, columns]``; u has one entry a row."""
        return self.weight.flatten(1)

    def sigma(self) -> Tensor:
        """The estimate ``u' . (A v)``, 0-dim, with ``v = unit(A^T u)`` and ``u' = unit(A v)``.

        u' and v are constants for the gradient. In train mode u' replaces u; test mode leaves the buffer alone.
        """
        A = self.matrix()
        assert self.u is not None
        with torch.no_grad():
            v = _unit(torch.mv(A.t(), self.u))
            u = _unit(torch.mv(A, v))
            if self.training:
                self.u = u  # a new tensor: a compiled network keeps the old one for its backward pass
        return torch.dot(u, torch.mv(A, v))

    def normalised(self) -> Tensor:
        """The weight that the layer works with, float32 whatever the surrounding precision."""
        if self.u is None:
            return self.weight
        with without_autocast(self.weight):
            return self.weight / self.sigma()


def _unit(x: Tensor) -> Tensor:
    return x / torch.sqrt(x.square().sum() + EPS)


class SNConv2d(_Spectral, Conv2d):
    """A convolution with stride 1 that keeps the size.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel_size: odd.
        bias: whether there is one.
        gain: of the initial weights, Xavier uniform (Glorot and Bengio 2010); the bias starts at 0.
        spectral: whether the weight is normalised.
        bias_cancels: a batch norm follows, which removes the bias: its gradient is exactly 0 instead of rounding noise
            that Adam turns into full steps (see ``models.networks.norm``).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        bias: bool = True,
        gain: float = 1.0,
        spectral: bool = True,
        bias_cancels: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)
        nn.init.xavier_uniform_(self.weight, gain)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        self._bias_cancels = bias_cancels
        self._estimate_from(out_channels, spectral)

    def forward(self, input: Tensor) -> Tensor:
        """``[N, in_channels, H, W]`` -> ``[N, out_channels, H, W]``."""
        if self._bias_cancels and self.bias is not None:
            y = self._conv_forward(input, self.normalised(), self.bias.detach())
            return zero_gradient(y, self.bias)
        return self._conv_forward(input, self.normalised(), self.bias)


class SNLinear(_Spectral, nn.Linear):
    """A linear layer, Xavier uniform with gain 1, bias 0."""

    def __init__(self, in_features: int, out_features: int, *, spectral: bool = True) -> None:
        super().__init__(in_features, out_features)
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)
        self._estimate_from(out_features, spectral)

    def forward(self, input: Tensor) -> Tensor:
        """``[N, in_features]`` -> ``[N, out_features]``."""
        return F.linear(input, self.normalised(), self.bias)


class SNEmbedding(_Spectral):
    """A table ``[num_classes, features]``, Xavier uniform with gain 1; its matrix has the features as rows."""

    def __init__(self, num_classes: int, features: int, *, spectral: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_classes, features))
        nn.init.xavier_uniform_(self.weight)
        self._estimate_from(features, spectral)

    def matrix(self) -> Tensor:
        return self.weight.t()

    def forward(self, y: Tensor) -> Tensor:
        """Rows ``[N, features]`` of the labels ``[N]``."""
        return F.embedding(y, self.normalised())

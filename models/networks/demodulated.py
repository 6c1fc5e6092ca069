"""A convolution whose weights have norm 1 for every output channel: StyleGAN2's demodulation without its modulation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class DemodulatedConv2d(nn.Conv2d):
    """``conv2d(x, w')`` with ``w'[o] = w[o] / sqrt(sum of w[o]^2 + eps)`` (Karras et al. 2020, arXiv:1912.04958, Eq. 3,
    with all styles 1).

    It stands in for a normalisation layer: an input of unit variance gives an output of about unit variance, whatever
    the scale of ``w``, and images of a batch or pixels of an image do not meet. The bias, if there is one, is added
    after it.

    The stored weight is that of ``nn.Conv2d``, ``[out, in, k, k]``. State dicts of the published code, which have
    ``[1, out, in, k, k]``, load as well.

    Attributes:
        eps: keeps an all-zero filter finite.
    """

    eps = 1e-8

    def forward(self, input: Tensor) -> Tensor:
        """``[N, in, H, W]`` -> ``[N, out, H', W']``; the norm is taken in float32 under autocast too."""
        weight = self.weight.float()
        scale = torch.rsqrt(weight.square().sum((1, 2, 3), keepdim=True) + self.eps)  # [out, 1, 1, 1]
        return self._conv_forward(input, weight * scale, self.bias)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        weight = state_dict.get(f"{prefix}weight")
        if isinstance(weight, Tensor) and weight.shape == (1, *self.weight.shape):
            state_dict[f"{prefix}weight"] = weight[0]
        super()._load_from_state_dict(state_dict, prefix, *rest)

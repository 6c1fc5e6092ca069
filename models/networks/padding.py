"""Reflected borders in the precision of the image."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.norm import without_autocast


class ReflectionPad2d(nn.ReflectionPad2d):
    """``nn.ReflectionPad2d`` that keeps bfloat16.

    Autocast on the CPU widens it to float32 (torch 2.14.1), although it only copies: the convolution behind it then
    rounds it again, and twice the memory is moved and kept.
    """

    def forward(self, input: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> ``[N, C, H + top + bottom, W + left + right]``."""
        with without_autocast(input):
            return super().forward(input)


def reflect(x: Tensor, padding: tuple[int, int, int, int]) -> Tensor:
    """``F.pad`` by reflection: ``[N, C, H, W]``, and pixels on the left, right, top, bottom."""
    with without_autocast(x):
        return F.pad(x, padding, mode="reflect")

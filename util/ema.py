"""An exponential moving average of a network's weights."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def update_average(average: nn.Module, source: nn.Module, decay: float) -> None:
    """``average = decay * average + (1 - decay) * source`` for every parameter; buffers are copied.

    Buffers are batch norm's running statistics, which are averages already, and the vectors of spectral norm.

    Args:
        average: changed in place; of the same kind as ``source``.
        source: the network in training.
        decay: 0 copies the source.
    """
    for mean, value in zip(average.parameters(), source.parameters(), strict=True):
        mean.data.lerp_(value.data, 1.0 - decay)
    for kept, new in zip(average.buffers(), source.buffers(), strict=True):
        kept.copy_(new)

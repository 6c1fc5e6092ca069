"""Moving averages of weights over training (EMA), which samples and translations are better with than with the last
weights (Karras et al. 2018, arXiv:1710.10196, Sec. 4; Yazici et al. 2019, arXiv:1806.04498)."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def averaged_copy(net: nn.Module) -> nn.Module:
    """A network of equal weights, without gradients, that no optimizer knows."""
    return copy.deepcopy(net).requires_grad_(False)


def decay_after(steps: int, decay: float) -> float:
    """The decay of a step: at first smaller, so that the initial weights are soon forgotten.

    Args:
        steps: of the run so far, from 1.
        decay: ``--ema_decay``, which holds from step ``10 decay / (1 - decay)`` on, about.
    """
    return min(decay, (1 + steps) / (10 + steps))


@torch.no_grad()
def update_average(average: nn.Module, source: nn.Module, decay: float) -> None:
    """``average = decay * average + (1 - decay) * source`` for every parameter; buffers are copied.

    Buffers are batch norm's running statistics, which are averages already, and the vectors of spectral norm.

    Args:
        average: changed in place; of the same kind as ``source``.
        source: the network in training.
        decay: 0 copies the source.
    """
    get_ema_multi_avg_fn(decay)(list(average.parameters()), list(source.parameters()), None)
    for kept, new in zip(average.buffers(), source.buffers(), strict=True):
        kept.copy_(new)

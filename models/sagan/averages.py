"""Averages of SAGAN's generator: of its weights over training (EMA), and of batch norm's statistics over samples."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


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


@contextlib.contextmanager
def standing_statistics(net: nn.Module) -> Iterator[None]:
    """While it lasts, every batch norm of ``net`` gathers plain means over the batches that pass, from nothing.

    All other layers stay in test mode. Afterwards batch norm works with the gathered statistics, in test mode too.

    Args:
        net: in test mode; run it at least once inside.
    """
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches, each as much as the others
        norm.train()
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum
            norm.eval()

"""Batch norm's statistics of SAGAN's generator: gathered over samples, or those of the training without their start."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


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


@torch.no_grad()
def remove_start(net: nn.Module) -> None:
    """Take the start out of the running statistics of every batch norm of ``net``.

    They begin at mean 0 and variance 1, of which ``r = (1 - momentum) ** n`` is left after n batches: with SAGAN's
    momentum of 0.001 a half after 693, while the true variances may be a hundredth of that 1. As Adam does with its
    moments (Kingma and Ba 2015, arXiv:1412.6980, Sec. 3), the weighted mean of the batches alone is

        mean / (1 - r)    and    (var - r) / (1 - r)

    A layer stays as it is when it has seen no batch, or did not begin there: some variance is well below r then, as of
    weights of another program whose batches are counted from here on. Nothing waits for a GPU.
    """
    for norm in net.modules():
        if not isinstance(norm, _BatchNorm):
            continue
        mean, var, batches, momentum = norm.running_mean, norm.running_var, norm.num_batches_tracked, norm.momentum
        assert mean is not None and var is not None and batches is not None and momentum is not None
        left = torch.exp(batches * math.log1p(-momentum))
        began_there = (batches > 0) & (var >= 0.99 * left).all()  # 0.99: rounding, of channels that are always equal
        mean.copy_(torch.where(began_there, mean / (1 - left), mean))
        var.copy_(torch.where(began_there, ((var - left) / (1 - left)).clamp(min=0), var))

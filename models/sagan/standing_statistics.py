"""Batch norm's statistics over samples of SAGAN's generator."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

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

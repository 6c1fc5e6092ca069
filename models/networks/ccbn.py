"""Class-conditional batch norm (Dumoulin et al. 2017, arXiv:1610.07629; de Vries et al. 2017, arXiv:1707.00683)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-5
MOMENTUM = 0.001  # the running statistics keep 0.999 of what they were


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm with a scale and a shift for each class, and one set of statistics for all of them.

    ``norm`` is a plain ``BatchNorm2d`` without affine part, so that its statistics can be taken over all processes.

    Args:
        num_features: channels.
        num_classes: rows of the tables ``gamma`` (start 1) and ``beta`` (start 0).
    """

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(num_features, eps=EPS, momentum=MOMENTUM, affine=False)
        self.gamma = nn.Parameter(torch.ones(num_classes, num_features))
        self.beta = nn.Parameter(torch.zeros(num_classes, num_features))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """``[N, C, H, W]`` and labels -> ``[N, C, H, W]``.

        Args:
            x: what is normalised.
            y: int64 ``[N]``; or float ``[N, num_classes]``, the weights with which the rows are mixed (not normalised),
                which is how images between classes are made.
        """
        xhat = self.norm(x)
        gamma, beta = (_rows(table, y).to(xhat.dtype)[:, :, None, None] for table in (self.gamma, self.beta))
        return torch.addcmul(beta, gamma, xhat)


def _rows(table: Tensor, y: Tensor) -> Tensor:
    """``[N, C]``: the rows of the labels, or their mixture."""
    if not y.is_floating_point():
        return F.embedding(y, table)
    with torch.autocast(table.device.type, enabled=False):
        return y.to(table.dtype) @ table

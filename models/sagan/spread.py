"""Does a generator still draw different images of a class?"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

DIFFERENT, EQUAL = 0.3, 0.1
"""Spread of a class's samples, as a share of that of real images: above the first they differ, below the second not."""

_MEMORY = 0.99  # of the running mean over real images


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Root mean square difference of images, ``[..., C, H, W]`` each -> ``[...]``."""
    return (a.float() - b.float()).square().mean((-3, -2, -1)).sqrt()


def spread(images: Tensor) -> float:
    """Mean distance over all pairs of ``[n, C, H, W]``, n >= 2; images in [-1, 1] give 0 to 2."""
    count = len(images)
    pairs = [float(distance(images[i + 1 :], images[i]).sum()) for i in range(count - 1)]
    return sum(pairs) / (count * (count - 1) / 2)


class ClassMonitor:
    """Compares the spread of a class's samples with that of real images, and tells when a class has collapsed.

    A class has collapsed when its samples differed once and are nearly equal now. Early in a training, when everything
    is grey, nothing is said.
    """

    def __init__(self) -> None:
        self._sum = self._weight = torch.zeros(())
        self._different: set[int] = set()

    @property
    def real(self) -> float:
        """Mean distance of two real images of a class; 0 before there were any."""
        return float(self._sum) / float(self._weight) if float(self._weight) else 0.0

    @torch.no_grad()
    def add_real(self, images: Tensor, labels: Tensor) -> None:
        """Learn from a batch of real images, from those of equal class; does not wait for the device.

        Args:
            images: ``[N, C, H, W]`` in [-1, 1].
            labels: int64 ``[N]``.
        """
        order = labels.argsort(stable=True)
        alike = (labels[order][1:] == labels[order][:-1]).float()
        found = distance(images[order[1:]], images[order[:-1]]) * alike
        self._sum = self._sum.to(found.device) * _MEMORY + found.sum() * (1 - _MEMORY)
        self._weight = self._weight.to(found.device) * _MEMORY + alike.sum() * (1 - _MEMORY)

    def update(self, spreads: Mapping[int, float], names: Mapping[int, str]) -> list[int]:
        """Take the spread of every class's samples; returns those that have collapsed, and warns of them."""
        if not self.real:
            return []
        self._different |= {number for number, value in spreads.items() if value > DIFFERENT * self.real}
        gone = [n for n, value in spreads.items() if n in self._different and value < EQUAL * self.real]
        if gone:
            shown = ", ".join(f"{names[n]} ({spreads[n]:.3f})" for n in gone[:8]) + (", ..." if len(gone) > 8 else "")
            logger.warning(
                "warning: the samples of %d of %d classes have become nearly equal: %s; two real images of a class "
                "differ by %.3f. A larger --batch_size or --n_critic or a lower --lr_G may help; checkpoints are kept",
                *(len(gone), len(spreads), shown, self.real),
            )
        return gone

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"sum": float(self._sum), "weight": float(self._weight), "different": sorted(self._different)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on with ``state``."""
        self._sum, self._weight = (torch.tensor(float(state[key])) for key in ("sum", "weight"))
        self._different = set(state["different"])

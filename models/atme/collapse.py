"""Two ways in which a GAN fails without a NaN, measured while it trains: D has won, or the pictures are saturated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Gather = Callable[[Any], list[Any]]
"""Gives every process what each of them has, e.g. ``Engine.gather``."""

D_WON = 1e-3  # both losses of D below this: it makes no mistake any more, and G gets no gradient
SATURATED = 0.98  # |value| of a pixel above this is at the end of tanh
SATURATED_SHARE = 0.99  # of all pixels


class CollapseMonitor:
    """Sums on the device, one look an epoch.

    Args:
        patience: epochs in a row with D's losses near 0 that are a collapse.
    """

    def __init__(self, patience: int = 3) -> None:
        self.patience, self.epochs = patience, 0
        self._sums: Tensor | None = None

    def update(
        self,
        D_real: Tensor,
        D_fake: Tensor,
        fake: Tensor,
        maps: Tensor,
        *,
        real: Tensor | None = None,
        weight: float = 1.0,
    ) -> None:
        """Add a step.

        Args:
            D_real: loss of D on real images, 0-dim.
            D_fake: the same on generated ones.
            fake: generated images ``[N, C, H, W]`` in [-1, 1].
            maps: D's logits for them, ``[N, 1, h, w]``.
            real: images that the generated ones should look like: where these are as saturated (masks, drawings on
                white), that is no collapse.
            weight: of this step in the means: its images.
        """
        with torch.no_grad():
            white, expected = share_saturated(fake), fake.new_zeros(()) if real is None else share_saturated(real)
            means = [each.detach().float() for each in (D_real, D_fake, white, entropy(maps), expected)]
            now = torch.stack([*means, torch.ones_like(means[0])]) * weight
            self._sums = now if self._sums is None else self._sums + now

    def report(self, gather: Gather) -> dict[str, float]:
        """The means of the epoch over all processes; starts the next epoch.

        It warns of nothing: the doctor does, for every model (``util.run.doctor``).

        Args:
            gather: gives every process what each of them has.

        Returns:
            ``D_sum`` (log 4 in equilibrium), ``D_entropy`` (log 2 in equilibrium), ``saturated`` (share of pixels),
            ``collapsed`` (0 or 1); empty before the first step.
        """
        parts = [part for part in gather(None if self._sums is None else self._sums.cpu()) if part is not None]
        self._sums = None
        if not parts:
            return {}
        total = torch.stack(parts).sum(dim=0)
        real, fake, saturated, mean_entropy, expected = (total[:-1] / total[-1]).tolist()
        # the losses of a Wasserstein critic go below 0, and mean nothing of the kind
        self.epochs = self.epochs + 1 if min(real, fake) >= 0 and max(real, fake) < D_WON else 0
        won, white = self.epochs >= self.patience, saturated > SATURATED_SHARE >= expected
        return {
            "D_sum": real + fake,
            "D_entropy": mean_entropy,
            "saturated": saturated,
            "collapsed": float(won or white),
        }

    def state(self, gather: Gather = lambda value: [value]) -> dict[str, Any]:
        """Sums over all processes and counts, for a checkpoint in mid-epoch. Every process must call it."""
        parts = [part for part in gather(None if self._sums is None else self._sums.cpu()) if part is not None]
        return {"epochs": self.epochs, "sums": torch.stack(parts).sum(dim=0) if parts else torch.zeros(0)}

    def load_state(self, state: Mapping[str, Any], device: torch.device, share: float = 1.0) -> None:
        """Go on with ``state``; ``share`` = 1 / number of processes."""
        self.epochs = int(state["epochs"])
        self._sums = state["sums"].to(device) * share if len(state["sums"]) else None


def share_saturated(images: Tensor) -> Tensor:
    """The share of the values at either end of [-1, 1], 0-dim."""
    return (images.detach().abs() > SATURATED).float().mean()


def entropy(logits: Tensor) -> Tensor:
    """Mean of ``-p log p - (1 - p) log(1 - p)``, p = sigmoid of the logits; log 2 where D cannot tell."""
    x = logits.detach().float()
    p = torch.sigmoid(x)
    return (torch.nn.functional.softplus(x) - p * x).mean()

"""Layers of a generator in train mode that treat each image of a batch as if it were alone, and tiles as one picture.

The published protocol translates image by image, with dropout and with batch norm's statistics of that one image. Here
a batch of N images gives what N batches of one image would: numbers of the same formula, drawn from the same streams.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.norm import InstanceNorm2d


class Independence:
    """What the layers of one generator share. Not for several threads at a time.

    Attributes:
        generators: one for each image of the batch, on the CPU, for dropout; empty: torch's own for all.
        norms: the layers that take statistics from the picture; after a pass in the order in which they compute.
    """

    def __init__(self, net: nn.Module) -> None:
        self.generators: Sequence[torch.Generator] = ()
        self._passes = 0  # over all tiles of the present picture
        self.norms: list[_PictureBatchNorm2d | _PictureInstanceNorm2d] = []
        for layer in net.modules():
            if isinstance(layer, (_PictureBatchNorm2d, _PictureInstanceNorm2d)):  # of an earlier call
                pass
            elif type(layer) is nn.BatchNorm2d:
                layer.__class__ = _PictureBatchNorm2d
            elif type(layer) in (nn.InstanceNorm2d, InstanceNorm2d) and not layer.track_running_stats:
                layer.__class__ = _PictureInstanceNorm2d
            elif type(layer) is nn.Dropout:
                layer.__class__ = _ImageDropout
            if isinstance(layer, (_PictureBatchNorm2d, _PictureInstanceNorm2d)):
                layer.moments = None
                self.norms.append(layer)
            elif isinstance(layer, _ImageDropout):
                layer.shared = self

    @property
    def takes_statistics(self) -> bool:
        """Whether any layer takes statistics from the picture."""
        return any(not isinstance(norm, nn.BatchNorm2d) or norm.training for norm in self.norms)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Passes in this context are tiles of one picture: their statistics are gathered, and hold for later passes.

        A layer's statistics are exact if those of all layers before it are: n such contexts make the first n exact. The
        others see each tile normalised by its own: those of a pass before, which belong to other inputs, would let
        errors grow from layer to layer.
        """
        numbers = itertools.count()
        for place, norm in enumerate(self.norms):
            norm.moments = Moments(numbers, norm.moments if place < self._passes else None)
        try:
            yield
        finally:
            self._passes += 1
            self.norms.sort(key=lambda norm: norm.moments.number if norm.moments is not None else 0)
            for norm in self.norms:
                if norm.moments is not None:
                    norm.moments.close()

    def forget(self) -> None:
        """The end of the picture: each tensor has its own statistics again."""
        self._passes = 0
        for norm in self.norms:
            norm.moments = None


class Moments:
    """Mean and biased variance of each channel over the tiles of a picture: sums in float64.

    Args:
        numbers: of the layers in the order in which they compute.
        before: by which the tiles are normalised meanwhile; None: each by its own.
    """

    def __init__(self, numbers: Iterator[int], before: Moments | None = None) -> None:
        self._numbers, self.before = numbers, before
        self.number = -1
        self._count = 0
        self._sums: Tensor | None = None  # [2, C]: of the values, of their squares
        self.closed = False
        self.mean = self.variance = torch.empty(0)

    def add(self, x: Tensor) -> None:
        """Take ``[N, C, h, w]`` in."""
        if self.number < 0:
            self.number = next(self._numbers)
        values = x.detach().double()
        sums = torch.stack((values.sum((0, 2, 3)), values.square().sum((0, 2, 3))))
        self._sums = sums if self._sums is None else self._sums + sums
        self._count += x.numel() // x.shape[1]

    def close(self) -> None:
        """No more tiles: ``mean`` and ``variance`` ``[C]`` can be read."""
        self.closed = True
        if self._sums is not None:
            mean, square = self._sums / self._count
            self.mean, self.variance = mean.float(), (square - mean.square()).clamp(min=0).float()
            self.before = None


def _normalise(x: Tensor, moments: Moments | None, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Each image by its own statistics, or by those of the picture whose tile it is."""
    if moments is not None and not moments.closed:
        moments.add(x)
        moments = moments.before
    if moments is not None:
        return F.batch_norm(x, moments.mean, moments.variance, weight, bias, False, 0.0, eps)
    return F.instance_norm(x, weight=weight, bias=bias, use_input_stats=True, eps=eps)


class _PictureBatchNorm2d(nn.BatchNorm2d):
    """Batch norm which in train mode takes the statistics of each image alone, and leaves the running ones as they
    are."""

    moments: Moments | None

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        return _normalise(input, self.moments, self.weight, self.bias, self.eps)


class _PictureInstanceNorm2d(InstanceNorm2d):
    """Instance norm which can take the statistics of the picture whose tiles it gets."""

    moments: Moments | None

    def forward(self, input: Tensor) -> Tensor:
        if self.moments is None:
            return super().forward(input)
        return _normalise(input, self.moments, self.weight, self.bias, self.eps)


class _ImageDropout(nn.Dropout):
    """Dropout that draws for each image from its own stream what it would draw for that image alone."""

    shared: Independence

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or not self.p or not self.shared.generators:
            return super().forward(input)
        shape = (1, *input.shape[1:])
        masks = [torch.empty(shape).bernoulli_(1 - self.p, generator=each) for each in self.shared.generators]
        return input * torch.cat(masks).div_(1 - self.p).to(input.device, input.dtype)

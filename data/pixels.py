"""Cut pictures in the numbers of their files, and the arithmetic that makes tensors of them on any device.

A worker process cuts, which moves bytes and computes nothing. Flip, layout and scaling follow in the worker, or on the
model's device (``--transform_on_device``): then a quarter of the bytes of 8-bit pictures travel. Both give equal bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from util.images.io import Format, scale_of


@dataclass(frozen=True)
class Meaning:
    """What the numbers of a picture stand for.

    Attributes:
        value_range: values that become -1 and 1; empty for the full scale of the type.
        labels: number of labels of an index map, whose channel becomes this many; 0 for pictures.
        missing: the numbers are bool, True where pixels are missing, and become 0 there and 1 elsewhere.
    """

    value_range: tuple[float, ...] = ()
    labels: int = 0
    missing: bool = False


@dataclass(frozen=True)
class Cut:
    """One picture of a sample.

    Attributes:
        array: ``[H, W, C]`` as the file has it, a view.
        flip: it is to be flipped from left to right.
        meaning: of its numbers.
    """

    array: NDArray[Any]
    flip: bool = False
    meaning: Meaning = Meaning()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width, as the tensor will have them if it is no index map."""
        height, width, channels = self.array.shape
        return channels, height, width

    def tensor(self) -> Tensor:
        """float32 ``[C, H, W]``."""
        return PixelBatch.of([self]).tensor()[0]


@dataclass(frozen=True)
class PixelBatch:
    """The pictures of one side of a batch, of one size and type.

    Attributes:
        images: ``[N, H, W, C]`` as the files have them.
        flips: which of them are to be flipped.
        meaning: of their numbers.
    """

    images: Tensor
    flips: tuple[bool, ...]
    meaning: Meaning

    @classmethod
    def of(cls, cuts: Sequence[Cut]) -> PixelBatch:
        """Those of some samples; see ``alike``."""
        images = torch.from_numpy(np.stack([each.array for each in cuts]))  # a copy: the arrays may lie in the cache
        return cls(images, tuple(each.flip for each in cuts), cuts[0].meaning)

    def pin_memory(self) -> PixelBatch:
        """The same in page-locked memory; called by torch's DataLoader."""
        return replace(self, images=self.images.pin_memory())

    def to(self, device: torch.device) -> PixelBatch:
        """The same on a device, asynchronously from page-locked memory."""
        return replace(self, images=self.images.to(device, non_blocking=True))

    def tensor(self) -> Tensor:
        """float32 ``[N, C, H, W]`` on the device of the images.

        Values in ``[-1, 1]``: pictures by their range; of an index map 1 in the channel of the label and -1 in the
        others. Masks have 1 where pixels are there and 0 where they are missing.
        """
        planes = _flipped(self.images, self.flips).permute(0, 3, 1, 2)
        if self.meaning.labels:
            return one_hot(planes, self.meaning.labels)
        if self.meaning.missing:
            return 1 - planes.contiguous().float()
        return normalised(planes, self.meaning.value_range)


def alike(cuts: Sequence[Cut]) -> bool:
    """Whether pictures of one size can be computed with together: the type and the meaning of all are one."""
    return len({(each.array.dtype, each.meaning) for each in cuts}) == 1


def one_hot(planes: Tensor, count: int) -> Tensor:
    """Index maps ``[N, 1, H, W]`` as float32 ``[N, count, H, W]``: 1 in the channel of the label, else -1."""
    labels = torch.arange(count, dtype=torch.uint8, device=planes.device)[:, None, None]
    return (planes == labels).float().mul_(2).sub_(1).contiguous()


def normalised(planes: Tensor, value_range: tuple[float, ...] = ()) -> Tensor:
    """Numbers of files ``[..., C, H, W]``, in any layout, as float32 in ``[-1, 1]``.

    Without ``value_range`` the full scale is 255 for uint8, 65535 for uint16, and 1 for int16 and float32.
    """
    kind = str(planes.dtype).removeprefix("torch.")
    low, high = value_range or scale_of(cast(Format, kind))
    unit = planes.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    if low:
        unit.sub_(low)
    # CUDA divides by a number as it multiplies by its reciprocal, which rounds otherwise; by a tensor it does divide.
    unit.div_(torch.full((), high - low, dtype=torch.float32, device=planes.device))
    unit.sub_(0.5).div_(0.5)
    # Bicubic scaling overshoots at edges; 8-bit pictures are clipped by Pillow, these here.
    return unit if kind == "uint8" and not value_range else unit.clamp_(-1, 1)


def _flipped(images: Tensor, flips: Sequence[bool]) -> Tensor:
    """``[N, H, W, C]`` of which some are flipped from left to right."""
    if not any(flips):
        return images
    if images.dtype == torch.uint16:  # for which torch has few operations on GPUs; to move bytes, the sign is no matter
        return _flipped(images.view(torch.int16), flips).view(torch.uint16)
    if all(flips):
        return images.flip(2)
    chosen = torch.tensor(flips)
    if images.device.type == "cuda":
        chosen = chosen.pin_memory()
    return torch.where(chosen.to(images.device, non_blocking=True)[:, None, None, None], images.flip(2), images)

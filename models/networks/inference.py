"""What a trained model computes of an image, as one module: for translation, export and measuring."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor, nn


class InferenceModule(nn.Module):
    """The networks of one direction, chained: images in, a tuple of tensors out. It shares the model's weights.

    Class attributes:
        inputs: names of what ``forward`` takes.
        of_lightness: the input is L* of a photo, as ``data/colorization_dataset.py`` makes it.

    Attributes:
        outputs: names of what it returns; the first is the translation.
        latent: length of the noise vectors that it takes; 0 if it takes images.
        num_classes: of the labels beside them.
    """

    inputs: ClassVar[tuple[str, ...]] = ("image",)
    of_lightness: ClassVar[bool] = False
    latent = num_classes = 0

    def __init__(self, *outputs: str) -> None:
        super().__init__()
        self.outputs = outputs

    def multiple(self) -> int:
        """What height and width must be multiples of."""
        return math.lcm(*(int(getattr(net, "size_multiple", 1)) for net in self.modules()))

    def minimum(self) -> int:
        """The smallest height and width, a multiple of ``multiple``."""
        least = max(int(getattr(net, "min_size", 1)) for net in self.modules())
        return -(-least // self.multiple()) * self.multiple()

    def fixed_size(self) -> tuple[int, int] | None:
        """The only height and width that work; None where there are many."""
        sizes = {int(getattr(net, "exact_size", 0)) for net in self.modules()} - {0}
        return (max(sizes), max(sizes)) if sizes else None

    def whole_picture(self) -> str:
        """Why a part of an image comes out differently than in the whole; empty if it does not."""
        return " and ".join(dict.fromkeys(self._reasons()))

    def has_noise(self) -> bool:
        """Whether it draws something beside dropout, for the batch as a whole."""
        return False

    def draws(self) -> bool:
        """Whether a second pass over the same image may give another picture."""
        dropouts = (net for net in self.modules() if isinstance(net, _DROPOUT))
        return self.has_noise() or any(net.training and net.p > 0 for net in dropouts)

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        """Nothing is drawn within, whatever the mode of the networks; what draws all the same stays in ``draws``."""
        active = [net for net in self.modules() if isinstance(net, _DROPOUT) and net.training]
        for net in active:
            net.eval()
        try:
            yield
        finally:
            for net in active:
                net.train()

    def _reasons(self) -> Iterator[str]:
        """What looks at the whole picture; a network of its own kind says so by ``whole_picture``."""
        for net in self.modules():
            if isinstance(net, _BATCH_NORM) and net.training:
                yield "batch norm in train mode takes its statistics from the picture"
            elif isinstance(net, nn.InstanceNorm2d) and not net.track_running_stats:
                yield "instance norm takes its statistics from the picture"
            elif isinstance(net, nn.GroupNorm):
                yield "group norm takes its statistics from the picture"
            elif isinstance(net, _DROPOUT) and net.training and net.p > 0:
                yield "dropout draws for each part"
            elif isinstance(reason := getattr(net, "whole_picture", ""), str) and reason:
                yield reason


_BATCH_NORM, _DROPOUT = nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd


class OneImage(InferenceModule):
    """A generator that returns an image.

    Args:
        net: ``[N, C, H, W]`` -> ``[N, C', H, W]``.
        output: name of the result.
    """

    def __init__(self, net: nn.Module, output: str = "fake_B") -> None:
        super().__init__(output)
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """``[N, C, H, W]`` in [-1, 1] -> the translation."""
        return (self.net(image),)


def no_direction(direction: str, who: str, *have: str) -> ValueError:
    """The error for a direction that a model cannot translate in.

    Args:
        direction: asked for.
        who: the model, for the message.
        have: what it can do; nothing for a model that does not translate.
    """
    can = f"translates {' and '.join(have)} only" if have else "does not translate images"
    return ValueError(f"--direction {direction}: {who} {can}")

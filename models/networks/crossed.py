"""The discriminators of AU-GAN's authors: two scales that exchange their features at every stage."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.fast_conv import Conv2d

STAGES = 4


def _step(before: int, after: int, stride: int) -> list[nn.Module]:
    conv = _KeepsSize if stride == 1 else Conv2d
    norm = nn.InstanceNorm2d(after, affine=True)
    return [conv(before, after, 4, stride, stride // 2, bias=False), norm, nn.LeakyReLU(0.2, inplace=True)]


class _KeepsSize(Conv2d):
    """4x4 of stride 1 with zeros around: one pixel above and on the left, two below and on the right."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(F.pad(input, (1, 2, 1, 2)))


class CrossedDiscriminator(nn.Module):
    """A discriminator with two maps, the image and the image with every second row and column left out.

    At each of four stages the maps change places: the new first one is made of the old second one, at its size; the new
    second one of the old first one, at a quarter of its size. (The code of Kwak et al. 2021, BMVC, run and compared.)

    Args:
        input_nc: channels of what is judged.
        width: channels of the first stage; they double at each of the others.
    """

    def __init__(self, input_nc: int, *, width: int) -> None:
        super().__init__()
        widths = [input_nc, *(width * 2**stage for stage in range(STAGES))]
        self.first = nn.ModuleList(nn.Sequential(*_step(a, b, 1)) for a, b in pairwise(widths))
        self.second = nn.ModuleList(nn.Sequential(*_step(a, b, 2), *_step(b, b, 2)) for a, b in pairwise(widths))
        self.logits = nn.ModuleList(_KeepsSize(widths[-1], 1, 4, bias=False) for _ in range(2))

    def forward(self, x: Tensor) -> list[Tensor]:
        """``[N, input_nc, H, W]`` -> logits ``[N, 1, H/16, W/16]`` and ``[N, 1, H/32, W/32]``."""
        first, second = x, x[..., ::2, ::2]
        for on_second, on_first in zip(self.first, self.second):
            first, second = on_second(second), on_first(first)
        return [layer(each) for layer, each in zip(self.logits, (first, second))]


class CrossedDiscriminators(nn.Module):
    """Several of them; ``--netD augan_official``.

    Args:
        input_nc: channels of what is judged.
        ndf: channels of the first stages of all together.
        count: how many, 2 in the published code.

    Attributes:
        min_size: 64 pixels, because instance norm needs more than one pixel at a 32nd of the size.

    Raises:
        ValueError: ``ndf`` cannot be shared out evenly.
    """

    min_size = 64

    def __init__(self, input_nc: int, *, ndf: int = 64, count: int = 2) -> None:
        super().__init__()
        if ndf % count:
            raise ValueError(
                f"--ndf {ndf}: --netD augan_official shares it among {count} discriminators; give {ndf + 1}"
            )
        self.judges = nn.ModuleList(CrossedDiscriminator(input_nc, width=ndf // count) for _ in range(count))

    def forward(self, x: Tensor) -> list[Tensor]:
        """``[N, input_nc, H, W]`` -> the logits of each, finer ones first."""
        return [logits for judge in self.judges for logits in judge(x)]

"""The frozen feature part of VGG16 and VGG19, as a ruler for images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from models.networks.fast_conv import Conv2d
from util.registry import unknown

CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""Convolutions of each block (Simonyan and Zisserman 2015, arXiv:1409.1556, Table 1, columns D and E)."""

WIDTHS = (64, 128, 256, 512, 512)
TAPS = (1, 2, 3, 4, 5)


def convolution_places(name: str) -> tuple[int, ...]:
    """Indices of all convolutions in torchvision's ``features`` of this network: each has a ReLU, each block a pool.

    Raises:
        ValueError: unknown name.
    """
    if name not in CONVOLUTIONS:
        raise unknown(f"--vgg {name}", name, CONVOLUTIONS)
    places: list[int] = []
    start = 0
    for count in CONVOLUTIONS[name]:
        places += range(start, start + 2 * count, 2)
        start += 2 * count + 1
    return tuple(places)


class VGGFeatures(nn.Module):
    """A VGG up to relu5_1 at most: tap k is ``relu<k>_1``, the first activation of block k, at ``1 / 2**(k - 1)`` size.

    Slice k leads from tap k - 1 to tap k; its layers keep their number in torchvision's ``features``, so that the
    keys are ``slice<k>.<number>.weight`` and ``.bias``. Nothing here learns and there is no training mode. It does not
    scale or normalise its input. Building it draws nothing from torch's generator, so that a run has the same G and D
    with and without it: the weights are whatever was in memory, until ``load_state_dict`` or ``draw_weights``.

    Args:
        name: ``vgg19`` or ``vgg16``.
        taps: which activations to give, each 1 to 5. The network is built as deep as the last of them.

    Attributes:
        min_size: smallest height and width, in pixels, at which the deepest tap is not empty.

    Raises:
        ValueError: unknown name, or taps that are none, unknown or there twice.
    """

    def __init__(self, name: str = "vgg19", taps: Sequence[int] = TAPS) -> None:
        super().__init__()
        if not taps or len(set(taps)) < len(taps) or not set(taps) <= set(TAPS):
            raise ValueError(f"--vgg_layers {','.join(map(str, taps))}: name some of 1,2,3,4,5, each once")
        self.name, self.taps = name, tuple(taps)
        places = convolution_places(name)
        depth = max(self.taps)
        self.min_size = 2 ** (depth - 1)
        channels, first = 3, 0  # first: number of the block's first convolution among all
        pending: dict[str, nn.Module] = {}
        for block, (count, width) in enumerate(zip(CONVOLUTIONS[name][:depth], WIDTHS), start=1):
            for number, place in enumerate(places[first : first + count]):
                pending[str(place)] = skip_init(Conv2d, channels, width, 3, padding=1)
                pending[str(place + 1)] = nn.ReLU(inplace=True)
                channels = width
                if number == 0:
                    self.add_module(f"slice{block}", _sequence(pending))
                    pending = {}
                    if block == depth:
                        break
            pending[str(places[first + count - 1] + 2)] = nn.MaxPool2d(2)
            first += count
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> VGGFeatures:
        """Stay in evaluation mode, whatever ``mode``."""
        return super().train(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """``[N, 3, H, W]`` -> the chosen activations in the order of ``taps``, ``[N, 64.., H / 2**(k-1), ...]``."""
        found: dict[int, Tensor] = {}
        for tap, part in enumerate(self.children(), start=1):
            x = found[tap] = part(x)
        return [found[tap] for tap in self.taps]

    @torch.no_grad()
    def draw_weights(self, seed: int) -> None:
        """Random weights after He et al. 2015 (arXiv:1502.01852, Eq. 10): N(0, 2 / fan-in), biases zero.

        They depend on the seed alone: not on the device, and a shallower network has those of the deeper one.
        """
        generator = torch.Generator().manual_seed(seed)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                drawn = torch.randn(layer.weight.shape, generator=generator)
                layer.weight.copy_(drawn * (2 / layer.weight[0].numel()) ** 0.5)
                assert layer.bias is not None
                layer.bias.zero_()


def _sequence(layers: dict[str, nn.Module]) -> nn.Sequential:
    sequence = nn.Sequential()
    for name, layer in layers.items():
        sequence.add_module(name, layer)
    return sequence

"""U-Net generator of pix2pix (Isola et al. 2017, arXiv:1611.07004, section 6.1.1; Ronneberger et al. 2015)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from models.networks.fast_conv import Conv2d, ConvTranspose2d
from models.networks.norm import conv_bias, norm_layer


class UNetLevel(nn.Module):
    """One resolution: halve, run everything below, double; the result is joined to what came in.

    The first of ``layers`` rectifies the input, and it is this rectified tensor that the skip connection carries.
    The published code reaches the same numbers by overwriting its input; here nothing is overwritten.
    """

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        rectify, *layers = self.model
        skip = x = rectify(x)
        for layer in layers:
            x = layer(x)
        return torch.cat((skip, x), dim=1)  # [N, 2*C, H, W]


class UNetOutermost(nn.Module):
    """The full resolution: image in, image out, no skip connection around it."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class UNetGenerator(nn.Module):
    """Encoder and decoder with a skip connection at every resolution.

    Args:
        input_nc: channels of the input image.
        output_nc: channels of the output image.
        num_downs: how often the size is halved, at least 2; both sides of the input must be multiples of
            ``2**num_downs``.
        ngf: channels after the first convolution; they double per level up to ``8 * ngf``.
        norm: ``batch``, ``instance`` or ``none``.
        dropout: probability in the decoder levels that map ``8 * ngf`` to ``8 * ngf`` channels (3 of them for
            ``num_downs`` 8, 2 for 7); 0 builds no dropout layer.

    Attributes:
        size_multiple: what height and width must be multiples of. At this very size the innermost tensor has one
            pixel; no normalisation sees it, so training works there with any norm and batch size.
        treats_images_alone: whether the other images of a batch do not matter, and nothing is drawn.
    """

    def __init__(
        self,
        input_nc: int,
        output_nc: int,
        *,
        num_downs: int = 8,
        ngf: int = 64,
        norm: str = "batch",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.size_multiple = 2**num_downs
        self.treats_images_alone = norm != "batch" and not dropout
        normalise, bias = norm_layer(norm), conv_bias(norm)
        widths = [ngf * min(2**depth, 8) for depth in range(num_downs)]  # channels after each halving

        outer, inner = widths[-2], widths[-1]
        level: nn.Module = UNetLevel(
            [nn.LeakyReLU(0.2), _halve(outer, inner, bias), nn.ReLU(), _double(inner, outer, bias), normalise(outer)]
        )
        for outer, inner in reversed(list(pairwise(widths[:-1]))):
            layers = [nn.LeakyReLU(0.2), _halve(outer, inner, bias), normalise(inner), level]
            layers += [nn.ReLU(), _double(2 * inner, outer, bias), normalise(outer)]
            if dropout > 0 and outer == inner:
                layers.append(nn.Dropout(dropout))
            level = UNetLevel(layers)

        to_image = _double(2 * ngf, output_nc, bias=True)
        self.model = UNetOutermost([_halve(input_nc, ngf, bias), level, nn.ReLU(), to_image, nn.Tanh()])

    def forward(self, x: Tensor) -> Tensor:
        """``[N, input_nc, H, W]`` in [-1, 1] -> ``[N, output_nc, H, W]`` in (-1, 1)."""
        return self.model(x)


def _halve(in_channels: int, out_channels: int, bias: bool) -> nn.Module:
    return Conv2d(in_channels, out_channels, kernel_size=4, stride=2, padding=1, bias=bias)


def _double(in_channels: int, out_channels: int, bias: bool) -> nn.Module:
    return ConvTranspose2d(in_channels, out_channels, kernel_size=4, stride=2, padding=1, bias=bias)

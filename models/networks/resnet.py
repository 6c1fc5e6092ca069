"""Residual generator (Johnson et al. 2016, arXiv:1603.08155, in the form of CycleGAN, Zhu et al. 2017)."""

from __future__ import annotations

from torch import Tensor, nn

from models.networks.fast_conv import Conv2d, ConvTranspose2d
from models.networks.norm import NormLayer, conv_bias, norm_layer
from models.networks.padding import ReflectionPad2d


class ResnetBlock(nn.Module):
    """``x + F(x)`` with two 3x3 convolutions on reflected borders; size and channels stay.

    Args:
        channels: channels in and out.
        normalise: builder of the norm layer.
        bias: whether the convolutions carry a bias.
        dropout: probability after the first rectification; 0 builds no layer, which moves the second convolution in
            the state_dict from ``conv_block.6`` to ``conv_block.5``.
    """

    def __init__(self, channels: int, normalise: NormLayer, bias: bool, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = [ReflectionPad2d(1), Conv2d(channels, channels, 3, bias=bias)]
        layers += [normalise(channels), nn.ReLU(inplace=True)]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        layers += [ReflectionPad2d(1), Conv2d(channels, channels, 3, bias=bias), normalise(channels)]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class ResnetGenerator(nn.Module):
    """Two halvings, residual blocks at a quarter of the size, two doublings.

    Args:
        input_nc: channels of the input image.
        output_nc: channels of the output image.
        num_blocks: residual blocks, 6 or 9 as published.
        ngf: channels at full size; ``4 * ngf`` in the blocks.
        norm: ``batch``, ``instance`` or ``none``.
        dropout: probability inside every residual block; 0 builds no dropout layer.

    Attributes:
        size_multiple: 4; other sizes come out rounded up to the next multiple.
        min_size: 8 pixels, because a one-pixel map has nothing to reflect.
        treats_images_alone: whether the other images of a batch do not matter, and nothing is drawn.
    """

    size_multiple = 4
    min_size = 8

    def __init__(
        self,
        input_nc: int,
        output_nc: int,
        *,
        num_blocks: int = 9,
        ngf: int = 64,
        norm: str = "batch",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.treats_images_alone = norm != "batch" and not dropout
        normalise, bias = norm_layer(norm), conv_bias(norm)
        layers: list[nn.Module] = [ReflectionPad2d(3), Conv2d(input_nc, ngf, 7, bias=bias)]
        layers += [normalise(ngf), nn.ReLU(inplace=True)]
        for width in (ngf, 2 * ngf):
            layers.append(Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=bias))
            layers += [normalise(2 * width), nn.ReLU(inplace=True)]
        layers += [ResnetBlock(4 * ngf, normalise, bias, dropout) for _ in range(num_blocks)]
        for width in (4 * ngf, 2 * ngf):
            layers.append(
                ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1, bias=bias),
            )
            layers += [normalise(width // 2), nn.ReLU(inplace=True)]
        layers += [ReflectionPad2d(3), Conv2d(ngf, output_nc, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, input_nc, H, W]`` in [-1, 1] -> ``[N, output_nc, H, W]`` in (-1, 1)."""
        return self.model(x)

"""Discriminators that judge patches (PatchGAN; Isola et al. 2017, arXiv:1611.07004, section 3.2.2)."""

from __future__ import annotations

from torch import Tensor, nn

from models.networks.fast_conv import Conv2d
from models.networks.norm import conv_bias, norm_layer


class PatchDiscriminator(nn.Module):
    """``n_layers_D`` halving convolutions, then two of stride 1; with 3, each logit sees 70x70 pixels.

    Args:
        input_nc: channels of what is judged; for a conditional GAN those of both images together.
        ndf: channels after the first convolution; they double per layer up to ``8 * ndf``.
        n_layers_D: halvings, at least 1.
        norm: ``batch``, ``instance`` or ``none``.
        features: give the output of every layer, for feature matching; the keys stay the same.

    Attributes:
        min_size: smallest height and width for a non-empty map. A halving maps s to ``floor(s / 2)`` and each of
            the two last layers takes one pixel, so ``floor(s / 2**n) - 2 >= 1``, that is ``s >= 3 * 2**n``.
        treats_images_alone: whether the other images of a batch do not matter.

    Raises:
        ValueError: ``n_layers_D`` below 1.
    """

    def __init__(
        self, input_nc: int, *, ndf: int = 64, n_layers_D: int = 3, norm: str = "batch", features: bool = False
    ) -> None:
        super().__init__()
        self.features = features
        if n_layers_D < 1:
            raise ValueError(f"--n_layers_D {n_layers_D}: the discriminator needs at least 1 layer")
        self.min_size = 3 * 2**n_layers_D
        self.treats_images_alone = norm != "batch"
        normalise, bias = norm_layer(norm), conv_bias(norm)
        layers: list[nn.Module] = [Conv2d(input_nc, ndf, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        width = ndf
        for depth in range(1, n_layers_D + 1):
            before, width = width, ndf * min(2**depth, 8)
            stride = 2 if depth < n_layers_D else 1
            layers.append(Conv2d(before, width, 4, stride=stride, padding=1, bias=bias))
            layers += [normalise(width), nn.LeakyReLU(0.2, inplace=True)]
        layers.append(Conv2d(width, 1, 4, stride=1, padding=1))
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor | list[list[Tensor]]:
        """``[N, input_nc, H, W]`` -> logits ``[N, 1, H//2**n - 2, W//2**n - 2]``, n being ``n_layers_D``.

        With ``features`` a list of one list: the outputs of the ``n + 2`` layers, the logits last.
        """
        return [layer_outputs(self.model, x)] if self.features else self.model(x)


def layer_outputs(layers: nn.Sequential, x: Tensor) -> list[Tensor]:
    """What comes out of every LeakyReLU of a discriminator, and its logits last."""
    found = []
    for layer in layers:
        x = layer(x)
        if isinstance(layer, nn.LeakyReLU):
            found.append(x)
    return [*found, x]


class PixelDiscriminator(nn.Module):
    """Judges every pixel alone by 1x1 convolutions.

    Args:
        input_nc: channels of what is judged.
        ndf: channels after the first convolution.
        norm: ``batch``, ``instance`` or ``none``.

    Attributes:
        min_size: 2 pixels with a norm layer, which has no statistics over a single one; else 1.
        treats_images_alone: whether the other images of a batch do not matter.
    """

    def __init__(self, input_nc: int, *, ndf: int = 64, norm: str = "batch") -> None:
        super().__init__()
        self.min_size = 1 if norm == "none" else 2
        self.treats_images_alone = norm != "batch"
        normalise, bias = norm_layer(norm), conv_bias(norm)
        self.net = nn.Sequential(
            Conv2d(input_nc, ndf, 1),
            nn.LeakyReLU(0.2, inplace=True),
            Conv2d(ndf, 2 * ndf, 1, bias=bias),
            normalise(2 * ndf),
            nn.LeakyReLU(0.2, inplace=True),
            Conv2d(2 * ndf, 1, 1, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[N, input_nc, H, W]`` -> logits ``[N, 1, H, W]``."""
        return self.net(x)

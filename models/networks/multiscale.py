"""Discriminators that look at several resolutions (pix2pixHD; Wang et al. 2018, arXiv:1711.11585, section 3.2)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.fast_conv import Conv2d
from models.networks.norm import norm_layer
from models.networks.patchgan import PatchDiscriminator, layer_outputs


def half_size(x: Tensor) -> Tensor:
    """The next coarser scale: ``[N, C, H, W]`` -> ``[N, C, ceil(H/2), ceil(W/2)]`` by a mean over 3x3 pixels.

    Pixels beyond the border do not count.
    """
    return F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)


def finest_size(size: int, num_D: int) -> int:
    """The smallest side at full resolution of which the coarsest of ``num_D`` scales has ``size`` pixels."""
    return (size - 1) * 2 ** (num_D - 1) + 1


class MultiscaleDiscriminator(nn.Module):
    """``num_D`` independent PatchGANs, each on half the size of the one before; ``--netD multiscale`` and ``ms<N>``.

    The names in the state_dict count from the coarsest, ``layer0``, to full resolution, ``layer{num_D - 1}``; outputs
    come in the other order.

    Args:
        input_nc: channels of what is judged.
        ndf: channels after the first convolution of each.
        n_layers_D: halvings of each.
        norm: ``batch``, ``instance`` or ``none``.
        num_D: scales.
        features: give the outputs of all layers.

    Attributes:
        min_size: smallest height and width for a non-empty map at the coarsest scale.
        treats_images_alone: whether the other images of a batch do not matter.
    """

    def __init__(
        self,
        input_nc: int,
        *,
        ndf: int = 64,
        n_layers_D: int = 3,
        norm: str = "batch",
        num_D: int = 2,
        features: bool = False,
    ) -> None:
        super().__init__()
        self.num_D, self.features = num_D, features
        self.treats_images_alone = norm != "batch"
        for scale in range(num_D):
            patch = PatchDiscriminator(input_nc, ndf=ndf, n_layers_D=n_layers_D, norm=norm)
            self.add_module(f"layer{scale}", patch.model)
        self.min_size = finest_size(patch.min_size, num_D)

    def forward(self, x: Tensor) -> list[Tensor] | list[list[Tensor]]:
        """``[N, input_nc, H, W]`` -> logits ``[N, 1, h, w]`` of every scale, finest first; with ``features`` the
        outputs of all layers of every scale, the logits last."""
        maps, outputs = [], []
        for scale in reversed(range(self.num_D)):
            layers = self.get_submodule(f"layer{scale}")
            assert isinstance(layers, nn.Sequential)
            if self.features:
                outputs.append(layer_outputs(layers, x))
            else:
                maps.append(layers(x))
            if scale:
                x = half_size(x)
        return outputs if self.features else maps


class Pix2PixHDDiscriminator(nn.Module):
    """The discriminator of pix2pixHD, which gives the features of every layer; ``--netD pix2pixhd``.

    It differs from ``MultiscaleDiscriminator`` in its padding of 2, in a bias in every convolution, and in its names:
    ``scale{i}_layer{j}``, scales counted from the coarsest.

    Args:
        input_nc: channels of what is judged.
        ndf: channels after the first convolution of each scale; they double per layer up to ``8 * ndf``.
        n_layers_D: halvings, at least 1.
        norm: ``batch``, ``instance`` or ``none``.
        num_D: scales.

    Attributes:
        min_size: smallest height and width at which every norm layer sees more than one pixel.

    Raises:
        ValueError: ``n_layers_D`` below 1.
    """

    def __init__(
        self, input_nc: int, *, ndf: int = 64, n_layers_D: int = 3, norm: str = "batch", num_D: int = 2
    ) -> None:
        super().__init__()
        if n_layers_D < 1:
            raise ValueError(f"--n_layers_D {n_layers_D}: the discriminator needs at least 1 layer")
        self.num_D, self.num_layers = num_D, n_layers_D + 2
        self.min_size = finest_size(2, num_D)
        normalise = norm_layer(norm)
        widths = [ndf * min(2**depth, 8) for depth in range(n_layers_D + 1)]
        for scale in range(num_D):
            groups: list[list[nn.Module]] = [[Conv2d(input_nc, ndf, 4, 2, padding=2), nn.LeakyReLU(0.2)]]
            for depth in range(1, n_layers_D + 1):
                stride = 2 if depth < n_layers_D else 1
                conv = Conv2d(widths[depth - 1], widths[depth], 4, stride, padding=2)
                groups.append([conv, normalise(widths[depth]), nn.LeakyReLU(0.2)])
            groups.append([Conv2d(widths[-1], 1, 4, 1, padding=2)])
            for number, group in enumerate(groups):
                self.add_module(f"scale{scale}_layer{number}", nn.Sequential(*group))

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """``[N, input_nc, H, W]`` -> for every scale, finest first, the outputs of its layers, the logits last."""
        outputs = []
        for scale in reversed(range(self.num_D)):
            found, y = [], x
            for number in range(self.num_layers):
                y = self.get_submodule(f"scale{scale}_layer{number}")(y)
                found.append(y)
            outputs.append(found)
            if scale:
                x = half_size(x)
        return outputs

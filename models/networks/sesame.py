"""SESAME discriminators: the condition steers what is seen of the image (Ntavelis et al. 2020, arXiv:2004.04977).

Two streams of convolutions, one over the condition, one over the image. At the end the features x of the image are
multiplied by those of the condition, y: ``x * (1 + sum over the channels of y)``.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils import spectral_norm  # the older form: its keys are the published ones

from models.networks.fast_conv import Conv2d
from models.networks.multiscale import finest_size, half_size
from models.networks.norm import norm_layer
from util.registry import unknown

SESAME_NORMS = ("spectralinstance", "instance")


class _TwoStreams(nn.Module):
    """One scale: ``sem_sequence`` over the condition, ``img_sequence`` over the image, whose last layer is the head."""

    def __init__(
        self, condition_nc: int, image_nc: int, widths: list[int], strides: list[int], padding: int, spectral: bool
    ) -> None:
        super().__init__()
        self.condition_nc = condition_nc
        self.sem_sequence = nn.Sequential(*_groups(condition_nc, widths, strides, padding, spectral))
        head = nn.Sequential(Conv2d(widths[-1], 1, 4, 1, padding))
        self.img_sequence = nn.Sequential(*_groups(image_nc, widths, strides, padding, spectral), head)

    def forward(self, x: Tensor) -> list[Tensor]:
        """``[N, condition_nc + image_nc, H, W]`` -> the features of the image, layer by layer, and the logits."""
        condition, image = x[:, : self.condition_nc], x[:, self.condition_nc :]
        *groups, head = self.img_sequence
        found = []
        for group in groups:
            image = group(image)
            found.append(image)
        steering = self.sem_sequence(condition).sum(dim=1, keepdim=True)  # [N, 1, h, w]
        return [*found, head(image * (1 + steering))]


def _groups(channels: int, widths: list[int], strides: list[int], padding: int, spectral: bool) -> list[nn.Module]:
    groups: list[nn.Module] = [nn.Sequential(Conv2d(channels, widths[0], 4, strides[0], padding), nn.LeakyReLU(0.2))]
    for before, width, stride in zip(widths, widths[1:], strides[1:]):
        conv: nn.Module = Conv2d(before, width, 4, stride, padding, bias=False)
        conv = spectral_norm(conv) if spectral else conv
        groups.append(nn.Sequential(nn.Sequential(conv, norm_layer("instance")(width)), nn.LeakyReLU(0.2)))
    return groups


class _Sesame(nn.Module):
    """``num_D`` scales, ``discriminator_0`` at full resolution."""

    def __init__(self, scales: list[_TwoStreams]) -> None:
        super().__init__()
        self.num_D = len(scales)
        for number, scale in enumerate(scales):
            self.add_module(f"discriminator_{number}", scale)

    def outputs(self, x: Tensor) -> list[list[Tensor]]:
        """For every scale, finest first, the features of the image and the logits."""
        found = []
        for number in range(self.num_D):
            x = half_size(x) if number else x
            found.append(self.get_submodule(f"discriminator_{number}")(x))
        return found


class SesameDiscriminator(_Sesame):
    """SESAME as published, four groups of layers with a padding of 2; ``--netD sesame``.

    Args:
        condition_nc: channels of the condition, the first of the input.
        image_nc: channels of the image behind it.
        ndf: channels of the first group; they double up to ``8 * ndf``, at most 512.
        norm: of the groups after the first: ``spectralinstance`` (spectral norm of the convolution, then instance norm)
            or ``instance``.
        num_D: scales.

    Attributes:
        min_size: smallest height and width at which every norm layer sees more than one pixel.

    Raises:
        ValueError: another ``norm``.
    """

    def __init__(
        self, condition_nc: int, image_nc: int, *, ndf: int = 64, norm: str = "spectralinstance", num_D: int = 2
    ) -> None:
        if norm not in SESAME_NORMS:
            raise unknown(f"--norm_D {norm} of --netD sesame", norm, SESAME_NORMS)
        widths = [min(ndf * 2**depth, 512) for depth in range(4)]
        spectral = norm == "spectralinstance"
        super().__init__([_TwoStreams(condition_nc, image_nc, widths, [2, 2, 2, 1], 2, spectral) for _ in range(num_D)])
        self.min_size = finest_size(2, num_D)

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """``[N, condition_nc + image_nc, H, W]`` -> for every scale, finest first, the features and the logits."""
        return self.outputs(x)


class SesamDiscriminator(_Sesame):
    """The smaller form of a student project: always three groups, a padding of 1, instance norm; ``--netD sesam``.

    Its last group has stride 1 if ``n_layers_D`` is 3, else 2. The published form took its image to be the last three
    channels and fitted three channels on both sides only; here both counts are free.

    Args:
        condition_nc: channels of the condition, the first of the input.
        image_nc: channels of the image behind it.
        ndf: channels of the first group.
        n_layers_D: 3 or another number.
        num_D: scales.
        features: give the features of the image too.

    Attributes:
        min_size: smallest height and width for a non-empty map, and more than one pixel for every norm layer.
    """

    def __init__(
        self,
        condition_nc: int,
        image_nc: int,
        *,
        ndf: int = 64,
        n_layers_D: int = 3,
        num_D: int = 2,
        features: bool = False,
    ) -> None:
        widths, last = [ndf, 2 * ndf, 4 * ndf], 1 if n_layers_D == 3 else 2
        super().__init__([_TwoStreams(condition_nc, image_nc, widths, [2, 2, last], 1, False) for _ in range(num_D)])
        self.features = features
        self.min_size = finest_size(12 if last == 1 else 16, num_D)

    def forward(self, x: Tensor) -> list[Tensor] | list[list[Tensor]]:
        """``[N, condition_nc + image_nc, H, W]`` -> logits ``[N, 1, h, w]`` of every scale, finest first; with
        ``features`` lists of the features and the logits."""
        found = self.outputs(x)
        return found if self.features else [scale[-1] for scale in found]

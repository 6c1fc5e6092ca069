"""Networks by name: the tables behind ``--netG`` and ``--netD``. A new family adds its line here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Protocol

from torch import nn

from models.networks.norm import skip_cancelled_biases
from models.networks.patchgan import PatchDiscriminator, PixelDiscriminator
from models.networks.resnet import ResnetGenerator
from models.networks.unet import UNetGenerator
from util.suggest import unknown


class GeneratorBuilder(Protocol):
    """What a line of ``GENERATORS`` does; a family ignores what it has no use for."""

    def __call__(self, input_nc: int, output_nc: int, *, ngf: int, norm: str, dropout: float) -> nn.Module: ...


class DiscriminatorBuilder(Protocol):
    """What a line of ``DISCRIMINATORS`` does; a family ignores what it has no use for."""

    def __call__(self, input_nc: int, *, ndf: int, n_layers_D: int, norm: str) -> nn.Module: ...


def _basic(input_nc: int, *, ndf: int, n_layers_D: int, norm: str) -> nn.Module:
    """The 70x70 PatchGAN; ``--n_layers_D`` speaks to ``n_layers`` only, as published."""
    return PatchDiscriminator(input_nc, ndf=ndf, n_layers_D=3, norm=norm)


def _pixel(input_nc: int, *, ndf: int, n_layers_D: int, norm: str) -> nn.Module:
    return PixelDiscriminator(input_nc, ndf=ndf, norm=norm)


GENERATORS: Mapping[str, GeneratorBuilder] = {
    "resnet_9blocks": partial(ResnetGenerator, num_blocks=9),
    "resnet_6blocks": partial(ResnetGenerator, num_blocks=6),
    "unet_256": partial(UNetGenerator, num_downs=8),
    "unet_128": partial(UNetGenerator, num_downs=7),
}

DISCRIMINATORS: Mapping[str, DiscriminatorBuilder] = {
    "basic": _basic,
    "n_layers": PatchDiscriminator,
    "pixel": _pixel,
}

GENERATOR_NAMES = tuple(GENERATORS)
DISCRIMINATOR_NAMES = tuple(DISCRIMINATORS)


def build_generator(
    netG: str, input_nc: int, output_nc: int, *, ngf: int = 64, norm: str = "batch", dropout: float = 0.5
) -> nn.Module:
    """A generator with torch's own initial weights (see ``init_weights``), in train mode.

    Args:
        netG: a name of ``GENERATORS``.
        input_nc: channels of the input image.
        output_nc: channels of the output image.
        ngf: channels of the first layer.
        norm: ``batch``, ``instance`` or ``none``.
        dropout: probability, 0 <= p < 1; 0 builds no dropout layers at all, which moves the keys of the residual
            generators as it does in the published code.

    Returns:
        A module ``[N, input_nc, H, W]`` -> ``[N, output_nc, H, W]`` in (-1, 1), with an int ``size_multiple``.

    Raises:
        ValueError: unknown ``netG`` or ``norm``, or ``dropout`` out of range.
    """
    if netG not in GENERATORS:
        raise unknown(f"--netG {netG!r}", netG, GENERATOR_NAMES)
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout {dropout}: expected a probability, 0 <= p < 1")
    return skip_cancelled_biases(GENERATORS[netG](input_nc, output_nc, ngf=ngf, norm=norm, dropout=dropout))


def build_discriminator(
    netD: str, input_nc: int, *, ndf: int = 64, n_layers_D: int = 3, norm: str = "batch"
) -> nn.Module:
    """A discriminator with torch's own initial weights, in train mode.

    Args:
        netD: a name of ``DISCRIMINATORS``.
        input_nc: channels of what is judged; for a conditional GAN ``input_nc + output_nc``.
        ndf: channels of the first layer.
        n_layers_D: halvings of ``n_layers``; the other names ignore it.
        norm: ``batch``, ``instance`` or ``none``.

    Returns:
        A module ``[N, input_nc, H, W]`` -> logits ``[N, 1, h, w]``, with an int ``min_size``.

    Raises:
        ValueError: unknown ``netD`` or ``norm``, or ``n_layers_D`` below 1.
    """
    if netD not in DISCRIMINATORS:
        raise unknown(f"--netD {netD!r}", netD, DISCRIMINATOR_NAMES)
    return skip_cancelled_biases(DISCRIMINATORS[netD](input_nc, ndf=ndf, n_layers_D=n_layers_D, norm=norm))


def check_image_size(net: nn.Module, height: int, width: int, *, flag: str = "--crop_size") -> None:
    """Refuse images that ``net`` cannot work on.

    Args:
        net: a network; its attributes ``size_multiple`` and ``min_size`` (each 1 where it has none) are the rule.
        height: in pixels.
        width: in pixels.
        flag: the option that chose the size, for the message.

    Raises:
        ValueError: a side is no multiple or too small; the message has the two nearest valid sizes for each such side.
    """
    multiple, minimum = int(getattr(net, "size_multiple", 1)), int(getattr(net, "min_size", 1))
    smallest = -(-minimum // multiple) * multiple
    wrong = [
        (side, size) for side, size in (("width", width), ("height", height)) if size % multiple or size < smallest
    ]
    if not wrong:
        return
    rule = [f"a multiple of {multiple}"] if multiple > 1 else []
    rule += [f"at least {smallest}"] if smallest > multiple else []
    remedies = []
    for side, size in wrong:
        below = max(size // multiple * multiple, smallest)
        remedies.append(f"{side} {size}: nearest are {below} and {below + multiple}")
    given = f"{width}x{height}" if width != height else f"{width}"
    needs = f"{type(net).__name__} needs width and height to be {' and '.join(rule)} pixels"
    raise ValueError(f"{flag} {given}: {needs} ({'; '.join(remedies)})")

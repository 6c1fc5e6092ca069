"""Networks by name: the tables behind ``--netG`` and ``--netD``. A new family adds its line here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from torch import nn

from models.networks.crossed import CrossedDiscriminators
from models.networks.multiscale import MultiscaleDiscriminator, Pix2PixHDDiscriminator
from models.networks.norm import skip_cancelled_biases
from models.networks.patchgan import PatchDiscriminator, PixelDiscriminator
from models.networks.resnet import ResnetGenerator
from models.networks.sesame import SesamDiscriminator, SesameDiscriminator
from models.networks.unet import UNetGenerator
from util.registry import unknown


class GeneratorBuilder(Protocol):
    """What a line of ``GENERATORS`` does; a family ignores what it has no use for."""

    def __call__(self, input_nc: int, output_nc: int, *, ngf: int, norm: str, dropout: float) -> nn.Module: ...


@dataclass(frozen=True, kw_only=True)
class DiscriminatorShape:
    """What a discriminator is built from; a family ignores what it has no use for.

    Attributes:
        input_nc: channels of what is judged; for a conditional GAN those of condition and image together.
        condition_nc: how many of them, the first, are the condition.
        ndf: channels of the first layer.
        n_layers_D: halvings of a PatchGAN.
        norm: ``batch``, ``instance``, ``none``; ``spectralinstance`` for SESAME.
        num_D: scales.
        features: give every layer's output beside the logits, for feature matching.
    """

    input_nc: int
    condition_nc: int = 0
    ndf: int = 64
    n_layers_D: int = 3
    norm: str = "batch"
    num_D: int = 2
    features: bool = False


DiscriminatorBuilder = Callable[[DiscriminatorShape], nn.Module]


def _n_layers(d: DiscriminatorShape) -> nn.Module:
    return PatchDiscriminator(d.input_nc, ndf=d.ndf, n_layers_D=d.n_layers_D, norm=d.norm, features=d.features)


def _basic(d: DiscriminatorShape) -> nn.Module:
    """The 70x70 PatchGAN; ``--n_layers_D`` speaks to ``n_layers`` only, as published."""
    return _n_layers(replace(d, n_layers_D=3))


def _pixel(d: DiscriminatorShape) -> nn.Module:
    if d.features:
        raise ValueError("--netD pixel: it has no features to match; leave out --lambda_feat, or use --netD basic")
    return PixelDiscriminator(d.input_nc, ndf=d.ndf, norm=d.norm)


def _multiscale(d: DiscriminatorShape) -> nn.Module:
    return MultiscaleDiscriminator(
        d.input_nc, ndf=d.ndf, n_layers_D=d.n_layers_D, norm=d.norm, num_D=d.num_D, features=d.features
    )


def _pix2pixhd(d: DiscriminatorShape) -> nn.Module:
    return Pix2PixHDDiscriminator(d.input_nc, ndf=d.ndf, n_layers_D=d.n_layers_D, norm=d.norm, num_D=d.num_D)


def _augan_official(d: DiscriminatorShape) -> nn.Module:
    if d.features:
        raise ValueError("--netD augan_official: it has no features to match; leave out --lambda_feat")
    return CrossedDiscriminators(d.input_nc, ndf=d.ndf)


def _sesame(d: DiscriminatorShape, *, published: bool) -> nn.Module:
    name = "sesame" if published else "sesam"
    if not d.condition_nc:
        raise ValueError(
            f"--netD {name}: it needs the condition beside the image, which a model for unpaired images does not show "
            "its discriminators; use --netD multiscale"
        )
    image_nc = d.input_nc - d.condition_nc
    if published:
        return SesameDiscriminator(d.condition_nc, image_nc, ndf=d.ndf, norm=d.norm, num_D=d.num_D)
    return SesamDiscriminator(
        d.condition_nc, image_nc, ndf=d.ndf, n_layers_D=d.n_layers_D, num_D=d.num_D, features=d.features
    )


GENERATORS: Mapping[str, GeneratorBuilder] = {
    "resnet_9blocks": partial(ResnetGenerator, num_blocks=9),
    "resnet_6blocks": partial(ResnetGenerator, num_blocks=6),
    "unet_256": partial(UNetGenerator, num_downs=8),
    "unet_128": partial(UNetGenerator, num_downs=7),
}

DISCRIMINATORS: Mapping[str, DiscriminatorBuilder] = {
    "basic": _basic,
    "n_layers": _n_layers,
    "pixel": _pixel,
    "multiscale": _multiscale,
    "pix2pixhd": _pix2pixhd,
    "augan_official": _augan_official,
    "sesame": partial(_sesame, published=True),
    "sesam": partial(_sesame, published=False),
}
"""Beside these, ``ms<N>`` is ``multiscale`` with N scales."""

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


def is_discriminator(netD: str) -> bool:
    """Whether ``--netD`` knows this name."""
    return netD in DISCRIMINATORS or re.fullmatch(r"ms[1-9]\d?", netD) is not None


def build_discriminator(netD: str, input_nc: int, *, norm_D: str = "", **shape: Any) -> nn.Module:
    """A discriminator with torch's own initial weights, in train mode.

    Args:
        netD: a name of ``DISCRIMINATORS``, or ``ms<N>``.
        input_nc: channels of what is judged; for a conditional GAN ``input_nc + output_nc``, the condition first.
        norm_D: normalisation, if not ``norm``. SESAME does not take ``norm``: ``sesame`` has ``spectralinstance``
            unless this says ``instance``, ``sesam`` always has instance norm, as published.
        **shape: the other attributes of ``DiscriminatorShape``.

    Returns:
        A module ``[N, input_nc, H, W]`` -> logits ``[N, 1, h, w]``, or a list of one such map a scale, finest first;
        with ``features`` a list of lists, the logits last. It has an int ``min_size``.

    Raises:
        ValueError: an unknown name, a number out of range, or a combination that there is not.
    """
    d = DiscriminatorShape(input_nc=input_nc, **shape)
    if not is_discriminator(netD):
        raise unknown(f"--netD {netD!r}", netD, (*DISCRIMINATOR_NAMES, "ms2", "ms3"))
    if netD not in DISCRIMINATORS:
        netD, d = "multiscale", replace(d, num_D=int(netD[2:]))
    if d.num_D < 1:
        raise ValueError(f"--num_D {d.num_D}: a discriminator has at least one scale")
    if netD == "sesame":
        d = replace(d, norm=norm_D or "spectralinstance")
    elif netD == "sesam" and norm_D not in ("", "instance"):
        raise ValueError(f"--norm_D {norm_D}: --netD sesam always has instance norm, as published; use --netD sesame")
    elif netD == "augan_official" and norm_D not in ("", "instance"):
        raise ValueError(f"--norm_D {norm_D}: --netD augan_official always has instance norm, as published")
    elif norm_D == "spectralinstance":
        raise ValueError(f"--norm_D spectralinstance: only --netD sesame has it, --netD {netD} does not")
    else:
        d = replace(d, norm=norm_D or d.norm)
    return skip_cancelled_biases(DISCRIMINATORS[netD](d))


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
    given = f"gives {given}" if " " in flag and flag.startswith("--") else given  # several flags decide
    needs = f"{type(net).__name__} needs width and height to be {' and '.join(rule)} pixels"
    raise ValueError(f"{flag} {given}: {needs} ({'; '.join(remedies)})")

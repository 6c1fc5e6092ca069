"""Forked generators: an encoder, a decoder that translates, and one that reconstructs; and ForkGAN's domain classifier.

Of ForkGAN (Zheng et al. 2020, ECCV) and AU-GAN (Kwak et al. 2021, BMVC)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.fast_conv import Conv2d, ConvTranspose2d
from models.networks.inference import InferenceModule
from models.networks.norm import InstanceNorm2d, conv_bias, norm_layer, skip_cancelled_biases
from models.networks.padding import ReflectionPad2d, reflect


class DemodulatedConv2d(Conv2d):
    """``conv2d(x, w')`` with ``w'[o] = w[o] / sqrt(sum of w[o]^2 + eps)`` (Karras et al. 2020, arXiv:1912.04958, Eq. 3,
    with all styles 1).

    It stands in for a normalisation layer: an input of unit variance gives an output of about unit variance, whatever
    the scale of ``w``, and images of a batch or pixels of an image do not meet. The bias, if there is one, is added
    after it.

    The stored weight is that of ``nn.Conv2d``, ``[out, in, k, k]``. State dicts of the published code, which have
    ``[1, out, in, k, k]``, load as well.

    Attributes:
        eps: keeps an all-zero filter finite.
    """

    eps = 1e-8

    def forward(self, input: Tensor) -> Tensor:
        """``[N, in, H, W]`` -> ``[N, out, H', W']``; the norm is taken in float32 under autocast too."""
        weight = self.weight.float()
        scale = torch.rsqrt(weight.square().sum((1, 2, 3), keepdim=True) + self.eps)  # [out, 1, 1, 1]
        return self._conv_forward(input, weight * scale, self.bias)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        weight = state_dict.get(f"{prefix}weight")
        if isinstance(weight, Tensor) and weight.shape == (1, *self.weight.shape):
            state_dict[f"{prefix}weight"] = weight[0]
        super()._load_from_state_dict(state_dict, prefix, *rest)


UPSAMPLES = ("transposed", "bilinear")
PADDINGS = ("torch", "tensorflow")


class Fork(NamedTuple):
    """What a forked generator makes of ``x`` ``[N, input_nc, H, W]``; empty tensors for what is not there.

    Attributes:
        enc: ``[N, 4 ngf, H/4, W/4]``, what the encoder found.
        feat: the same shape, what the translation starts from: ``enc``, or what T-net made of it.
        fake: ``[N, output_nc, H, W]`` in (-1, 1), the translation.
        rec: ``[N, input_nc, H, W]`` in (-1, 1), the reconstruction; empty unless asked for.
        conf: ``s >= 0``, how uncertain each pixel is: ``[N, 1, H, W]``, or ``[N, output_nc, H, W]`` of ``port``; empty
            unless asked for, and of generators without that head.
    """

    enc: Tensor
    feat: Tensor
    fake: Tensor
    rec: Tensor
    conf: Tensor


def add_noise(x: Tensor, std: float) -> Tensor:
    """Gaussian noise of this deviation, fresh at every call; 0 draws nothing."""
    return x + std * torch.randn_like(x) if std else x


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """``[N, C, H, W]`` with reflected rows and columns added below and on the right, up to the next multiple."""
    height, width = (int(size) for size in x.shape[-2:])
    below, right = -height % multiple, -width % multiple
    return reflect(x, (0, right, 0, below)) if below or right else x


class _HalvingConv2d(Conv2d):
    """3x3 of stride 2 for even sizes as TensorFlow pads it: zeros below and on the right only."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(F.pad(input, (0, 1, 0, 1)))


class _DoublingConv2d(ConvTranspose2d):
    """3x3 of stride 2, transposed, as TensorFlow cuts it: without the last row and column of the full result."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        return super().forward(input, output_size)[..., :-1, :-1]


@dataclass(frozen=True)
class _Layers:
    """The layers that a generator is made of.

    Attributes:
        norm: ``batch``, ``instance``, or ``none`` for demodulated convolutions.
        affine: instance norm with learned scale and offset.
        bias: whether convolutions before a norm carry a bias.
        padding: of convolutions with stride 2: ``torch``, or ``tensorflow``, which is its mirror image.
    """

    norm: str
    affine: bool
    bias: bool
    padding: str = "torch"

    def conv(self, before: int, after: int, kernel: int, *, bias: bool | None = None, **geometry: Any) -> nn.Module:
        """A convolution with a norm behind it, or a demodulated one, which never has a bias."""
        if self.norm == "none":
            return DemodulatedConv2d(before, after, kernel, bias=False, **geometry)
        return Conv2d(before, after, kernel, bias=self.bias if bias is None else bias, **geometry)

    def normalise(self, channels: int) -> nn.Module:
        """The norm."""
        if self.norm == "instance" and self.affine:
            return InstanceNorm2d(channels, affine=True)
        return norm_layer(self.norm)(channels)

    def rectified(self, channels: int) -> list[nn.Module]:
        """Norm and ReLU."""
        return [self.normalise(channels), nn.ReLU(inplace=True)]

    def stem(self, input_nc: int, ngf: int) -> list[nn.Module]:
        """7x7 on reflected borders, then two halvings: ``[N, input_nc, H, W]`` -> ``[N, 4 ngf, H/4, W/4]``."""
        layers = [ReflectionPad2d(3), self.conv(input_nc, ngf, 7), *self.rectified(ngf)]
        for width in (ngf, 2 * ngf):
            layers += [self.halving(width), *self.rectified(2 * width)]
        return layers

    def halving(self, width: int) -> nn.Module:
        """Half the size, twice the channels."""
        if self.padding == "tensorflow":
            return _HalvingConv2d(width, 2 * width, 3, stride=2, bias=self.bias)
        return self.conv(width, 2 * width, 3, stride=2, padding=1)

    def bilinear(self, width: int, *, bias: bool) -> list[nn.Module]:
        """Twice the size, half of the channels, by interpolation and a convolution."""
        doubled = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        conv = self.conv(width, width // 2, 3, bias=bias)
        return [doubled, ReflectionPad2d(1), conv, *self.rectified(width // 2)]

    def transposed(self, width: int) -> list[nn.Module]:
        """The same by a transposed convolution."""
        doubling: nn.Module
        if self.padding == "tensorflow":
            doubling = _DoublingConv2d(width, width // 2, 3, stride=2, bias=self.bias)
        else:
            geometry: dict[str, Any] = {"stride": 2, "padding": 1, "output_padding": 1, "bias": self.bias}
            doubling = ConvTranspose2d(width, width // 2, 3, **geometry)
        return [doubling, *self.rectified(width // 2)]


def _to_image(ngf: int, channels: int) -> list[nn.Module]:
    """7x7 on reflected borders to an image in (-1, 1)."""
    return [ReflectionPad2d(3), Conv2d(ngf, channels, 7), nn.Tanh()]


class DilatedBlock(nn.Module):
    """``x + F(x)`` with two dilated 3x3 convolutions; size and channels stay.

    Args:
        channels: channels in and out.
        layers: which convolutions and norms.
        dilation: of both convolutions.
        dropout: probability after the first rectification; 0 builds no layer.
        reflect: reflected borders in the published, uneven split, ``dilation + 1`` pixels before the first convolution
            and ``dilation - 1`` before the second; otherwise zeros, ``dilation`` each.
    """

    def __init__(self, channels: int, layers: _Layers, *, dilation: int, dropout: float, reflect: bool) -> None:
        super().__init__()
        inside: list[nn.Module] = []
        for step, reflected in enumerate((dilation + 1, dilation - 1)):
            padding = 0 if reflect else dilation
            inside += [ReflectionPad2d(reflected)] if reflect else []
            inside += [layers.conv(channels, channels, 3, padding=padding, dilation=dilation)]
            inside += [layers.normalise(channels)] if step else layers.rectified(channels)
            inside += [nn.Dropout(dropout)] if dropout and not step else []
        self.conv_block = nn.Sequential(*inside)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class PaperGenerator(nn.Module):
    """The generator of AU-GAN's paper and its authors' code.

    ``enc = encoder(x)``; ``feat = tnet(enc)``, G_A only; ``fake = image(decoder(feat))``, ``rec`` from ``enc`` by a
    decoder of its own, with noise before and after its first block; ``conf`` from the first upsampled map of the
    translation. The reconstruction does not see T-net.

    Args:
        input_nc: channels of the input image.
        output_nc: channels of the translation; the reconstruction has ``input_nc``.
        ngf: channels at full size.
        num_blocks: residual blocks of each of encoder, T-net and the two decoders.
        norm: ``batch``, ``instance`` (with learned scale and offset), or ``none`` for demodulated convolutions.
        dropout: probability inside every residual block; 0 builds no dropout layer.
        transfer: with T-net.
        uncertainty: with the head that gives ``conf``.
        dilation: of the residual blocks; 1 in the authors' code.
        upsample: ``transposed`` as in the authors' code, or ``bilinear`` with a convolution.
        padding: of convolutions with stride 2: that of ``torch``, or that of ``tensorflow``, with which the authors'
            weights were trained; ``transposed`` and a norm only. The keys are the same.

    Attributes:
        size_multiple: 4.
        min_size: 8 pixels, because instance norm needs more than one pixel in the encoding.
    """

    size_multiple = 4
    min_size = 8

    def __init__(
        self,
        input_nc: int,
        output_nc: int,
        *,
        ngf: int = 64,
        num_blocks: int = 4,
        norm: str = "instance",
        dropout: float = 0.0,
        transfer: bool = False,
        uncertainty: bool = False,
        dilation: int = 1,
        upsample: str = "transposed",
        padding: str = "torch",
    ) -> None:
        super().__init__()
        layers = _Layers(norm, affine=True, bias=False, padding=padding)
        blocks = [
            [
                DilatedBlock(4 * ngf, layers, dilation=dilation, dropout=dropout, reflect=False)
                for _ in range(num_blocks)
            ]
            for _ in range(4 if transfer else 3)
        ]

        def up(width: int) -> list[nn.Module]:
            return layers.transposed(width) if upsample == "transposed" else layers.bilinear(width, bias=False)

        self.encoder = nn.Sequential(*layers.stem(input_nc, ngf), *blocks[0])
        self.decoder = nn.Sequential(*blocks[1], *up(4 * ngf))
        self.image = nn.Sequential(*up(2 * ngf), *_to_image(ngf, output_nc))
        self.rec_first = blocks[2][0]
        self.rec = nn.Sequential(*blocks[2][1:], *up(4 * ngf), *up(2 * ngf), *_to_image(ngf, input_nc))
        self.tnet = nn.Sequential(*blocks[3]) if transfer else None
        head = [ReflectionPad2d(3), Conv2d(ngf, 1, 7), nn.Softplus()]
        self.conf = nn.Sequential(*up(2 * ngf), *head) if uncertainty else None

    def forward(self, x: Tensor, *, rec: bool = True, conf: bool = True, noise: float = 0.0) -> Fork:
        """The translation, and what else is asked for.

        Args:
            x: ``[N, input_nc, H, W]`` in [-1, 1], sides multiples of 4.
            rec: also the reconstruction.
            conf: also the uncertainty, where there is a head for it.
            noise: deviation of the noise in the reconstruction, 0.02 in training as published.
        """
        nothing = x.new_empty(0)
        enc = self.encoder(x)
        feat = enc if self.tnet is None else self.tnet(enc)
        d1 = self.decoder(feat)  # [N, 2 ngf, H/2, W/2]
        back = self.rec(add_noise(self.rec_first(add_noise(enc, noise)), noise)) if rec else nothing
        s = self.conf(d1) if conf and self.conf is not None else nothing
        return Fork(enc, feat, self.image(d1), back, s)


class PortGenerator(nn.Module):
    """The generator of ForkGAN's PyTorch version, and with ``transfer`` that of the PyTorch port of AU-GAN.

    State dict keys, shapes and outputs are those of the port. Its T-net is the end of its encoder, so that the
    reconstruction sees it as well; its uncertainty is at least log 2.

    Args:
        input_nc: channels of the input image.
        output_nc: channels of the translation; the reconstruction has ``input_nc``.
        ngf: channels at full size.
        num_blocks: 9 or 6: half of them, rounded up, in the encoder, the others in each decoder.
        norm: ``batch``, ``instance`` (without parameters), or ``none`` for demodulated convolutions.
        dropout: probability inside every residual block; 0 builds no dropout layer.
        transfer: with T-net, four more blocks in the encoder.
        uncertainty: with the head that gives ``conf``.
        dilation: of the residual blocks; 2 in the port.

    Attributes:
        size_multiple: 4.
        min_size: 16 pixels with a dilation of 2: the encoding must be larger than its reflected border.
    """

    size_multiple = 4
    T_NET_BLOCKS = 4

    def __init__(
        self,
        input_nc: int,
        output_nc: int,
        *,
        ngf: int = 64,
        num_blocks: int = 9,
        norm: str = "instance",
        dropout: float = 0.0,
        transfer: bool = False,
        uncertainty: bool = False,
        dilation: int = 2,
    ) -> None:
        super().__init__()
        self.min_size = 4 * (dilation + 2)
        layers = _Layers(norm, affine=False, bias=conv_bias(norm))
        after = num_blocks // 2

        def blocks(count: int) -> list[nn.Module]:
            return [
                DilatedBlock(4 * ngf, layers, dilation=dilation, dropout=dropout, reflect=True) for _ in range(count)
            ]

        def ups() -> list[nn.Module]:  # always with a bias, as published
            return [*layers.bilinear(4 * ngf, bias=True), *layers.bilinear(2 * ngf, bias=True)]

        in_encoder = num_blocks - after + (self.T_NET_BLOCKS if transfer else 0)
        self.model_enc = nn.Sequential(*layers.stem(input_nc, ngf), *blocks(in_encoder))
        self.model_dec = nn.Sequential(*blocks(after), *ups())
        self.model_dec_upsample = nn.Sequential(*_to_image(ngf, output_nc))
        first, *others = blocks(after)
        last = _to_image(ngf, input_nc)
        if norm == "none":
            last[1] = layers.conv(ngf, input_nc, 7)
        # The two places of noise, which has no weights: keys count them.
        self.model_rec = nn.Sequential(nn.Identity(), first, nn.Identity(), *others, *ups(), *last)
        head = [ReflectionPad2d(3), Conv2d(ngf, output_nc, 3, stride=2, padding=1), nn.ReLU()]
        head += [ReflectionPad2d(1), nn.Softplus()]
        self.model_conf = nn.Sequential(*head) if uncertainty else None
        skip_cancelled_biases(self)

    def forward(self, x: Tensor, *, rec: bool = True, conf: bool = True, noise: float = 0.0) -> Fork:
        """As ``PaperGenerator.forward``; ``feat`` is ``enc``, and ``conf`` has ``output_nc`` channels."""
        nothing = x.new_empty(0)
        enc = self.model_enc(x)
        d = self.model_dec(enc)  # [N, ngf, H, W]
        back = nothing
        if rec:
            h = add_noise(self.model_rec[1](add_noise(enc, noise)), noise)
            back = self.model_rec[3:](h)
        s = nothing
        if conf and self.model_conf is not None:
            # no int(): it would tie an exported network to the size of its example
            s = F.interpolate(self.model_conf(d), size=x.shape[-2:], mode="bilinear", align_corners=False)
        return Fork(enc, enc, self.model_dec_upsample(d), back, s)


class ForkedTranslation(InferenceModule):
    """The translation of a forked generator and, if a second output is named, its uncertainty."""

    def __init__(self, net: nn.Module, *outputs: str) -> None:
        super().__init__(*outputs)
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """``[N, C, H, W]`` in [-1, 1] -> the translation, and s ``[N, 1, H, W]``: the mean over the port's channels."""
        with_conf = len(self.outputs) > 1
        fork = self.net(image, rec=False, conf=with_conf)
        return (fork.fake, fork.conf.mean(1, keepdim=True)) if with_conf else (fork.fake,)


class DomainClassifier(nn.Module):
    """Tells from an encoding which domain the image came from.

    Args:
        channels: of the encoding.

    Attributes:
        min_size: of the image behind the encoding, which is four times as large: 89 pixels make an encoding of 23, of
            which instance norm still has 2x2 at its last layer.
        size_multiple: that of the generators, for messages.
    """

    size_multiple = 4
    min_size = 89

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = channels
        for width in (channels, channels // 2, channels // 2):
            layers += [Conv2d(before, width, 3, stride=2), InstanceNorm2d(width), nn.LeakyReLU(0.2, inplace=True)]
            before = width
        self.model = skip_cancelled_biases(nn.Sequential(*layers, Conv2d(before, 1, 1)))

    def forward(self, enc: Tensor) -> Tensor:
        """``[N, channels, h, w]`` -> logits ``[N]``, the mean over space; above 0 for domain B."""
        return self.model(enc).mean((1, 2, 3))

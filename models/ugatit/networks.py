"""The networks of U-GAT-IT (Kim et al. 2020, arXiv:1907.10830): layers, names and order of the published PyTorch code,
and with another ``Variant`` those of the TensorFlow code and of a port to Paddle.

Both kinds attend by class activation maps: two linear layers tell domains apart by the mean and the maximum of every
channel, and their weights then say how much each channel counts at every place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.networks.fast_conv import Conv2d
from models.networks.inference import InferenceModule
from models.networks.norm import InstanceNorm2d, float_or_wider, without_autocast
from models.networks.padding import ReflectionPad2d, reflect
from models.networks.spectral import SpectralConv2d, SpectralLinear

EPS = 1e-5


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What the published programs build differently.

    Attributes:
        affine: instance norm with learned scale and offset.
        bias: every convolution of the generator, every layer of its MLP and the last one of a discriminator has a bias.
        unbiased: variances of AdaLIN and ILN are divided by n - 1 instead of n.
        relu_first: the decoder's last two blocks are convolution, ReLU, ILN instead of convolution, ILN, ReLU.
        one_cam: one linear layer with a bias classifies the means and the maxima, and its weight *plus its bias* is the
            attention to both; in discriminators the weight after spectral norm.
        maxima_by_gap: the generator attends to the maxima by the weights for the means.
        uneven_padding: a discriminator's 4x4 convolutions of stride 1 keep the size: reflected borders of one pixel
            above and on the left, two below and on the right.
    """

    affine: bool = False
    bias: bool = False
    unbiased: bool = True
    relu_first: bool = False
    one_cam: bool = False
    maxima_by_gap: bool = False
    uneven_padding: bool = False


VARIANTS: Mapping[str, Variant] = {
    "pytorch": Variant(),
    "tensorflow": Variant(affine=True, bias=True, unbiased=False, one_cam=True, uneven_padding=True),
    "paddle": Variant(affine=True, unbiased=False, relu_first=True, maxima_by_gap=True),
}
"""``paddle`` is the port UGATIT-Paddle; PaddleGAN's networks are those of ``pytorch``."""

PYTORCH = VARIANTS["pytorch"]


class _Moments(torch.autograd.Function):
    """Mean and unbiased variance of every channel, ``[N, C, h, w]`` -> two ``[N, C, 1, 1]`` in float32 or wider.

    ``torch.var_mean`` is several times slower on the CPU, and in half precision it would need a wider copy of x for
    backward; this keeps x as it is.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        wide = float_or_wider(x)
        mean = wide.mean(dim=(2, 3), keepdim=True)
        pixels = x.shape[2] * x.shape[3]
        squares = torch.linalg.vector_norm(wide - mean, dim=(2, 3), keepdim=True).square()
        ctx.save_for_backward(x, mean)
        return mean, squares / (pixels - 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        of_mean, of_var = grads
        pixels = x.shape[2] * x.shape[3]
        slope = 2 / (pixels - 1) * of_var
        return torch.addcmul((of_mean / pixels - slope * mean).to(x.dtype), x, slope.to(x.dtype))


def layer_instance_norm(x: Tensor, rho: Tensor, gamma: Tensor, beta: Tensor, *, unbiased: bool = True) -> Tensor:
    """``(rho a_I + (1 - rho) a_L) gamma + beta`` (Kim et al. 2020, arXiv:1907.10830, Eq. (1)).

    ``a_I = (x - mu_I) r_I`` with the statistics of each channel, ``a_L = (x - mu_L) r_L`` with those of all channels;
    ``r = 1 / sqrt(v + 1e-5)``; in the published PyTorch code the variances v are unbiased. Since both are
    affine in x, the result is ``x s + t`` with

        s = gamma (rho r_I + (1 - rho) r_L),    t = beta - gamma (rho mu_I r_I + (1 - rho) mu_L r_L),

    which is what is computed: no normalised copy of x is stored for backward. Statistics are in float32 or wider.

    Args:
        x: ``[N, C, h, w]``.
        rho: ``[1, C, 1, 1]`` in [0, 1].
        gamma: ``[N, C, 1, 1]`` or ``[1, C, 1, 1]``.
        beta: as gamma.
        unbiased: divide the variances by n - 1, not by n.

    Returns:
        ``[N, C, h, w]`` of the dtype of x.
    """
    with without_autocast(x):
        rho, gamma, beta = (float_or_wider(each) for each in (rho, gamma, beta))
        pixels, channels = x.shape[2] * x.shape[3], x.shape[1]
        mean_I, var_I = _Moments.apply(x)
        mean_L = mean_I.mean(dim=1, keepdim=True)
        # the sum of squares around mean_L, of every channel's own and of the channels' means
        squares = (pixels - 1) * var_I + pixels * (mean_I - mean_L).square()
        var_L = squares.sum(dim=1, keepdim=True) / (channels * pixels - int(unbiased))
        if not unbiased:
            var_I = var_I * ((pixels - 1) / pixels)
        part_I, part_L = rho * (var_I + EPS).rsqrt(), (1 - rho) * (var_L + EPS).rsqrt()
        scale = gamma * (part_I + part_L)
        shift = beta - gamma * (part_I * mean_I + part_L * mean_L)
        # x * scale and shift nearly cancel where the mean is large: rounded to half precision first, little is left
        return torch.addcmul(shift, float_or_wider(x), scale).to(x.dtype)


class AdaLIN(nn.Module):
    """Layer-instance normalisation whose scale and shift are given; rho starts at 0.9."""

    def __init__(self, channels: int, *, unbiased: bool = True) -> None:
        super().__init__()
        self.unbiased = unbiased
        self.rho = nn.Parameter(torch.full((1, channels, 1, 1), 0.9))

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """``x`` ``[N, C, h, w]``, ``gamma`` and ``beta`` ``[N, C]``."""
        scale, shift = gamma[..., None, None], beta[..., None, None]
        return layer_instance_norm(x, self.rho, scale, shift, unbiased=self.unbiased)


class ILN(nn.Module):
    """Layer-instance normalisation that learns scale and shift; rho starts at 0."""

    def __init__(self, channels: int, *, unbiased: bool = True) -> None:
        super().__init__()
        self.unbiased = unbiased
        self.rho = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, h, w]``."""
        return layer_instance_norm(x, self.rho, self.gamma, self.beta, unbiased=self.unbiased)


class Attended(NamedTuple):
    """What both networks return.

    Attributes:
        out: the image ``[N, output_nc, H, W]`` in (-1, 1), or the discriminator's logits ``[N, 1, h, w]``.
        cam_logit: ``[N, 2]`` float32: whose domain is it, by the channels' means and by their maxima.
        heat: the attention map ``[N, 1, h', w']``: the sum over the channels of what is attended.
    """

    out: Tensor
    cam_logit: Tensor
    heat: Tensor


class _Attention(nn.Module):
    """Class activation mapping, shared by generator and discriminator.

    The published PyTorch code takes the *first parameter* of a linear layer for its weight. Under spectral norm that is
    the raw weight, while the logit comes from the normalised one; checkpoints depend on it.

    A variant with ``one_cam`` has ``cam_fc`` in the place of ``gap_fc`` and ``gmp_fc``.
    """

    gap_fc: nn.Linear
    gmp_fc: nn.Linear
    cam_fc: nn.Linear
    conv1x1: nn.Conv2d
    variant: Variant

    def attend(self, x: Tensor, calls: int = 1) -> tuple[Tensor, Tensor]:
        """``[N, D, h, w]`` -> logits ``[N, 2]`` and ``conv1x1([x w_gap, x w_gmp])`` ``[N, D, h, w]``."""
        with without_autocast(x):  # their loss weighs 1000: no rounding here
            dtype = torch.promote_types(x.dtype, torch.float32)
            means = x.mean(dim=(2, 3), dtype=dtype)
            maxima = F.adaptive_max_pool2d(x, 1).flatten(1).to(dtype)
            cams = self._one_cam(means, maxima) if self.variant.one_cam else self._two_cams(means, maxima, calls)
            logits, weights = cams
        weighted = [x * each.flatten()[:, None, None].to(x.dtype) for each in weights]
        return logits, self.conv1x1(torch.cat(weighted, dim=1))

    def _two_cams(self, means: Tensor, maxima: Tensor, calls: int) -> tuple[Tensor, list[Tensor]]:
        of_each_call = {"calls": calls} if calls > 1 else {}
        logits = torch.cat((self.gap_fc(means, **of_each_call), self.gmp_fc(maxima, **of_each_call)), dim=1)
        return logits, [_raw_weight(self.gap_fc), _raw_weight(self._for_maxima)]

    def _one_cam(self, means: Tensor, maxima: Tensor) -> tuple[Tensor, list[Tensor]]:
        fc = self.cam_fc
        weight = fc.weight_orig / fc.sigma() if isinstance(fc, SpectralLinear) else fc.weight
        logits = [F.linear(each, weight, fc.bias) for each in (means, maxima)]
        return torch.cat(logits, dim=1), [weight + fc.bias] * 2

    @property
    def _for_maxima(self) -> nn.Linear:
        return self.gmp_fc


def _raw_weight(layer: nn.Linear) -> Tensor:
    return layer.weight_orig if isinstance(layer, SpectralLinear) else layer.weight


class ResidualBlock(nn.Module):
    """``x + norm(conv(relu(norm(conv(x)))))``; nothing after the sum."""

    def __init__(self, channels: int, variant: Variant = PYTORCH) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            ReflectionPad2d(1),
            Conv2d(channels, channels, 3, bias=variant.bias),
            InstanceNorm2d(channels, affine=variant.affine),
            *_pad_then_relu(1),
            Conv2d(channels, channels, 3, bias=variant.bias),
            InstanceNorm2d(channels, affine=variant.affine),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, h, w]``."""
        return x + self.conv_block(x)


class AdaLINBlock(nn.Module):
    """The same with AdaLIN, whose scale and shift are given."""

    def __init__(self, channels: int, variant: Variant = PYTORCH) -> None:
        super().__init__()
        self.conv1 = Conv2d(channels, channels, 3, bias=variant.bias)
        self.norm1 = AdaLIN(channels, unbiased=variant.unbiased)
        self.conv2 = Conv2d(channels, channels, 3, bias=variant.bias)
        self.norm2 = AdaLIN(channels, unbiased=variant.unbiased)

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """``x`` ``[N, C, h, w]``, ``gamma`` and ``beta`` ``[N, C]``."""
        y = self.norm1(self.conv1(_reflect(x)), gamma, beta)
        y = self.norm2(self.conv2(_reflect(y).relu_()), gamma, beta)
        return x + y


def _reflect(x: Tensor) -> Tensor:
    return reflect(x, (1, 1, 1, 1))


def _chain(x: Tensor, *layers: nn.Module) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def _pad_then_relu(padding: int) -> tuple[nn.Module, nn.Module]:
    """As published it is ReLU, then padding. The order does not change a bit of the result, but this one stores the
    activations once for ReLU and convolution together."""
    return ReflectionPad2d(padding), nn.ReLU(inplace=True)


class UGATITGenerator(_Attention):
    """Residual encoder, attention, and a decoder that is normalised as the attended features say.

    Args:
        input_nc: channels of the input image.
        output_nc: channels of the output image.
        ngf: channels of the first layer, c; the features have 4c.
        n_res: residual blocks of the encoder, and as many of the decoder.
        pool: the features are averaged to ``pool x pool`` before the MLP that gives gamma and beta: 1 is the published
            light form. 0 is the published full form, which takes them as they are; its MLP has
            ``4c * 4c * (img_size / 4)^2`` weights, most of the network.
        img_size: height and width of the images; for ``pool`` 0 only.
        mlp_bias: give the MLP biases, and gamma the offset 1. Without them gamma and beta stay 0 where a ReLU of
            the MLP has died, and the decoder's blocks learn nothing more. A variant with biases has them anyway, and no
            offset.
        variant: what else to build differently.
        checkpointing: forget what the blocks computed inside and compute it again in backward: the same numbers,
            less memory, about a third more time.

    Attributes:
        size_multiple: 4.
        min_size: 8: the features need two pixels to be reflected.
        exact_size: the only size that works, or 0.

    Raises:
        ValueError: ``img_size`` is no multiple of 4, or a number is too small; the message names the flag.
    """

    size_multiple = 4
    min_size = 8
    whole_picture = "layer-instance norm and attention take their numbers from the picture"

    def __init__(
        self,
        input_nc: int = 3,
        output_nc: int = 3,
        *,
        ngf: int = 64,
        n_res: int = 4,
        pool: int = 1,
        img_size: int = 256,
        mlp_bias: bool = False,
        variant: Variant = PYTORCH,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if not pool and (img_size % 4 or img_size < self.min_size):
            raise ValueError(
                f"--img_size {img_size}: the full generator needs a multiple of 4 of at least {self.min_size} "
                f"(nearest: {max(img_size // 4 * 4, 8)} and {max(img_size // 4 * 4, 8) + 4}), or use --light"
            )
        dim, side = 4 * ngf, pool or img_size // 4
        self.n_res, self.pool, self.checkpointing, self.variant = n_res, pool, checkpointing, variant
        self.gamma_offset = 1 if mlp_bias and not variant.bias else 0
        self.exact_size = 0 if pool else img_size
        bias, in_MLP, affine, unbiased = variant.bias, mlp_bias or variant.bias, variant.affine, variant.unbiased

        # The order of what follows is the order of the published state_dict.
        if variant.one_cam:
            self.cam_fc = nn.Linear(dim, 1)
        else:
            self.gap_fc = nn.Linear(dim, 1, bias=False)
            self.gmp_fc = nn.Linear(dim, 1, bias=False)
        self.conv1x1 = Conv2d(2 * dim, dim, 1)
        self.gamma = nn.Linear(dim, dim, bias=in_MLP)
        self.beta = nn.Linear(dim, dim, bias=in_MLP)
        for number in range(1, n_res + 1):
            self.add_module(f"UpBlock1_{number}", AdaLINBlock(dim, variant))
        self.DownBlock = nn.Sequential(
            ReflectionPad2d(3),
            Conv2d(input_nc, ngf, 7, bias=bias),
            InstanceNorm2d(ngf, affine=affine),
            *_pad_then_relu(1),
            Conv2d(ngf, 2 * ngf, 3, stride=2, bias=bias),
            InstanceNorm2d(2 * ngf, affine=affine),
            *_pad_then_relu(1),
            Conv2d(2 * ngf, dim, 3, stride=2, bias=bias),
            InstanceNorm2d(dim, affine=affine),
            nn.ReLU(inplace=True),
            *(ResidualBlock(dim, variant) for _ in range(n_res)),
        )
        self.FC = nn.Sequential(
            nn.Linear(side * side * dim, dim, bias=in_MLP),
            nn.ReLU(inplace=True),
            nn.Linear(dim, dim, bias=in_MLP),
            nn.ReLU(inplace=True),
        )
        # Both orders put the convolutions at 2, 7 and 11.
        self.UpBlock2 = nn.Sequential(
            nn.Upsample(scale_factor=2),
            ReflectionPad2d(1),
            Conv2d(dim, 2 * ngf, 3, bias=bias),
            *([nn.ReLU(inplace=True)] if variant.relu_first else []),
            ILN(2 * ngf, unbiased=unbiased),
            nn.Upsample(scale_factor=2),
            *([ReflectionPad2d(1)] if variant.relu_first else _pad_then_relu(1)),
            Conv2d(2 * ngf, ngf, 3, bias=bias),
            *([nn.ReLU(inplace=True)] if variant.relu_first else []),
            ILN(ngf, unbiased=unbiased),
            *([ReflectionPad2d(3)] if variant.relu_first else _pad_then_relu(3)),
            Conv2d(ngf, output_nc, 7, bias=bias),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Attended:
        """``[N, input_nc, H, W]`` -> image, logits and attention ``[N, 1, H/4, W/4]``, which is nowhere negative."""
        down, up = list(self.DownBlock), list(self.UpBlock2)
        for part in (down[:3], down[3:7], down[7:12], *([block] for block in down[12:])):
            x = self._run(_chain, x, *part)
        cam_logit, x = self._run(self.attend, x)
        x = x.relu()
        gamma, beta = self._gamma_beta(x)
        heat = x.sum(dim=1, keepdim=True)
        for number in range(1, self.n_res + 1):
            x = self._run(self.get_submodule(f"UpBlock1_{number}"), x, gamma, beta)
        late = int(self.variant.relu_first)  # parts end before an up-sampling, or after an ILN
        for part in (up[: 4 + late], up[4 + late : 8 + 2 * late], up[8 + 2 * late :]):
            x = self._run(_chain, x, *part)
        return Attended(x, cam_logit, heat)

    @property
    def _for_maxima(self) -> nn.Linear:
        return self.gap_fc if self.variant.maxima_by_gap else self.gmp_fc

    def _gamma_beta(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift of every AdaLIN, ``[N, 4c]`` each."""
        pooled = F.adaptive_avg_pool2d(x, self.pool) if self.pool else x
        hidden = self.FC(pooled.flatten(1))
        gamma, beta = self.gamma(hidden), self.beta(hidden)
        return (gamma + self.gamma_offset if self.gamma_offset else gamma), beta

    def _run(self, part: Callable[..., Any], *inputs: Any) -> Any:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(part, *inputs, use_reentrant=False, preserve_rng_state=False)
        return part(*inputs)


class AttendedTranslation(InferenceModule):
    """The translation of a generator and, if a second output is named, the attention that made it."""

    def __init__(self, net: nn.Module, *outputs: str) -> None:
        super().__init__(*outputs)
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """``[N, C, H, W]`` in [-1, 1] -> the translation, and the attention ``[N, 1, H/4, W/4]``."""
        made = self.net(image)
        return (made.out, made.heat)[: len(self.outputs)]


class CAMDiscriminator(_Attention):
    """A PatchGAN with spectral norm and attention.

    Args:
        input_nc: channels of what is judged.
        ndf: channels of the first layer.
        n_layers: 7 for the published global one, 5 for the local; ``n_layers - 2`` of them halve the size, and the
            features have ``ndf * 2 ** (n_layers - 2)`` channels.
        variant: what else to build differently.

    Attributes:
        min_size: smallest height and width: ``3 * 2 ** (n_layers - 2)``, else the last padding has nothing to reflect.

    Raises:
        ValueError: fewer than 3 layers.
    """

    def __init__(self, input_nc: int = 3, *, ndf: int = 64, n_layers: int = 7, variant: Variant = PYTORCH) -> None:
        super().__init__()
        self.variant = variant
        if n_layers < 3:
            raise ValueError(f"n_layers {n_layers}: a discriminator of U-GAT-IT has at least 3 layers")
        self.min_size = 3 * 2 ** (n_layers - 2)
        widths = [input_nc, *(ndf * 2**depth for depth in range(n_layers - 1))]
        dim = widths[-1]
        if variant.one_cam:
            self.cam_fc = SpectralLinear(dim, 1, bias=True)
        else:
            self.gap_fc = SpectralLinear(dim, 1)
            self.gmp_fc = SpectralLinear(dim, 1)
        self.conv1x1 = Conv2d(2 * dim, dim, 1)
        self.conv = SpectralConv2d(dim, 1, 4, bias=variant.bias)
        layers: list[nn.Module] = []
        for depth, (narrow, wide) in enumerate(pairwise(widths), start=1):
            stride = 2 if depth < len(widths) - 1 else 1
            conv = SpectralConv2d(narrow, wide, 4, stride=stride)
            padding = ReflectionPad2d(1 if stride == 2 else self._padding)
            layers += [padding, conv, nn.LeakyReLU(0.2, inplace=True)]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor, calls: int = 1) -> Attended:
        """``[N, input_nc, H, W]`` -> patch logits, domain logits and attention, which may be negative.

        With ``calls`` the batch holds that many batches of equal size, and the result is that of one call for each,
        every one with its step of the power iteration; the weights, up to 134 MB in a layer, are read once. A variant
        with ``one_cam`` knows only one.
        """
        for layer in self.model:
            x = layer(x, calls) if isinstance(layer, SpectralConv2d) else layer(x)
        cam_logit, x = self.attend(x, calls)
        x = F.leaky_relu(x, 0.2, inplace=True)
        logits = self.conv(reflect(x, self._padding), calls)
        return Attended(logits, cam_logit, x.sum(dim=1, keepdim=True))

    def judge(self, real: Tensor, fake: Tensor) -> tuple[Attended, Attended]:
        """Of a batch of real images, and then of one of fakes."""
        if real.shape != fake.shape or self.variant.one_cam:
            return self(real), self(fake)
        both: Attended = self(torch.cat((real, fake)), 2)
        of_real, of_fake = zip(*(each.chunk(2) for each in both))
        return Attended(*of_real), Attended(*of_fake)

    @property
    def _padding(self) -> tuple[int, int, int, int]:
        """Left, right, above, below: of the 4x4 convolutions of stride 1."""
        return (1, 2, 1, 2) if self.variant.uneven_padding else (1, 1, 1, 1)

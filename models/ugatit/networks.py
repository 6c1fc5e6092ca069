"""The networks of U-GAT-IT (Kim et al. 2020, arXiv:1907.10830): layers, names and order of the published PyTorch code.

Both kinds attend by class activation maps: two linear layers tell domains apart by the mean and the maximum of every
channel, and their weights then say how much each channel counts at every place.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.networks.norm import float_or_wider
from models.networks.spectral import SpectralConv2d, SpectralLinear

EPS = 1e-5


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


def layer_instance_norm(x: Tensor, rho: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """``(rho a_I + (1 - rho) a_L) gamma + beta`` (Kim et al. 2020, arXiv:1907.10830, Eq. (1)).

    ``a_I = (x - mu_I) r_I`` with the statistics of each channel, ``a_L = (x - mu_L) r_L`` with those of all channels;
    ``r = 1 / sqrt(v + 1e-5)``, and the variances v are unbiased, as in the published PyTorch code. Since both are
    affine in x, the result is ``x s + t`` with

        s = gamma (rho r_I + (1 - rho) r_L),    t = beta - gamma (rho mu_I r_I + (1 - rho) mu_L r_L),

    which is what is computed: no normalised copy of x is stored for backward. Statistics are in float32 or wider.

    Args:
        x: ``[N, C, h, w]``.
        rho: ``[1, C, 1, 1]`` in [0, 1].
        gamma: ``[N, C, 1, 1]`` or ``[1, C, 1, 1]``.
        beta: as gamma.

    Returns:
        ``[N, C, h, w]`` of the dtype of x.
    """
    with torch.autocast(x.device.type, enabled=False):
        rho, gamma, beta = (float_or_wider(each) for each in (rho, gamma, beta))
        pixels, channels = x.shape[2] * x.shape[3], x.shape[1]
        mean_I, var_I = _Moments.apply(x)
        mean_L = mean_I.mean(dim=1, keepdim=True)
        # the sum of squares around mean_L, of every channel's own and of the channels' means
        squares = (pixels - 1) * var_I + pixels * (mean_I - mean_L).square()
        var_L = squares.sum(dim=1, keepdim=True) / (channels * pixels - 1)
        part_I, part_L = rho * (var_I + EPS).rsqrt(), (1 - rho) * (var_L + EPS).rsqrt()
        scale = gamma * (part_I + part_L)
        shift = beta - gamma * (part_I * mean_I + part_L * mean_L)
        # x * scale and shift nearly cancel where the mean is large: rounded to half precision first, little is left
        return torch.addcmul(shift, float_or_wider(x), scale).to(x.dtype)


class AdaLIN(nn.Module):
    """Layer-instance normalisation whose scale and shift are given; rho starts at 0.9."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.full((1, channels, 1, 1), 0.9))

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """``x`` ``[N, C, h, w]``, ``gamma`` and ``beta`` ``[N, C]``."""
        return layer_instance_norm(x, self.rho, gamma[..., None, None], beta[..., None, None])


class ILN(nn.Module):
    """Layer-instance normalisation that learns scale and shift; rho starts at 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, h, w]``."""
        return layer_instance_norm(x, self.rho, self.gamma, self.beta)


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

    The published code takes the *first parameter* of a linear layer for its weight. Under spectral norm that is the
    raw weight, while the logit comes from the normalised one; checkpoints depend on it.
    """

    gap_fc: nn.Linear
    gmp_fc: nn.Linear
    conv1x1: nn.Conv2d

    def attend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``[N, D, h, w]`` -> logits ``[N, 2]`` and ``conv1x1([x w_gap, x w_gmp])`` ``[N, D, h, w]``."""
        with torch.autocast(x.device.type, enabled=False):  # their loss weighs 1000: no rounding here
            dtype = torch.promote_types(x.dtype, torch.float32)
            gap = self.gap_fc(x.mean(dim=(2, 3), dtype=dtype))
            gmp = self.gmp_fc(F.adaptive_max_pool2d(x, 1).flatten(1).to(dtype))
        weighted = [x * _raw_weight(each).flatten()[:, None, None].to(x.dtype) for each in (self.gap_fc, self.gmp_fc)]
        return torch.cat((gap, gmp), dim=1), self.conv1x1(torch.cat(weighted, dim=1))


def _raw_weight(layer: nn.Linear) -> Tensor:
    return layer.weight_orig if isinstance(layer, SpectralLinear) else layer.weight


class ResidualBlock(nn.Module):
    """``x + norm(conv(relu(norm(conv(x)))))``; nothing after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=False),
            nn.InstanceNorm2d(channels),
            *_pad_then_relu(1),
            nn.Conv2d(channels, channels, 3, bias=False),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, h, w]``."""
        return x + self.conv_block(x)


class AdaLINBlock(nn.Module):
    """The same with AdaLIN, whose scale and shift are given."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, bias=False)
        self.norm1 = AdaLIN(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, bias=False)
        self.norm2 = AdaLIN(channels)

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """``x`` ``[N, C, h, w]``, ``gamma`` and ``beta`` ``[N, C]``."""
        y = self.norm1(self.conv1(_reflect(x)), gamma, beta)
        y = self.norm2(self.conv2(_reflect(y).relu_()), gamma, beta)
        return x + y


def _reflect(x: Tensor) -> Tensor:
    return F.pad(x, (1, 1, 1, 1), mode="reflect")


def _chain(x: Tensor, *layers: nn.Module) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def _pad_then_relu(padding: int) -> tuple[nn.Module, nn.Module]:
    """As published it is ReLU, then padding. The order does not change a bit of the result, but this one stores the
    activations once for ReLU and convolution together."""
    return nn.ReflectionPad2d(padding), nn.ReLU(inplace=True)


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
            the MLP has died, and the decoder's blocks learn nothing more.
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
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if not pool and (img_size % 4 or img_size < self.min_size):
            raise ValueError(
                f"--img_size {img_size}: the full generator needs a multiple of 4 of at least {self.min_size} "
                f"(nearest: {max(img_size // 4 * 4, 8)} and {max(img_size // 4 * 4, 8) + 4}), or use --light"
            )
        dim, side = 4 * ngf, pool or img_size // 4
        self.n_res, self.pool, self.mlp_bias, self.checkpointing = n_res, pool, mlp_bias, checkpointing
        self.exact_size = 0 if pool else img_size

        # The order of what follows is the order of the published state_dict.
        self.gap_fc = nn.Linear(dim, 1, bias=False)
        self.gmp_fc = nn.Linear(dim, 1, bias=False)
        self.conv1x1 = nn.Conv2d(2 * dim, dim, 1)
        self.gamma = nn.Linear(dim, dim, bias=mlp_bias)
        self.beta = nn.Linear(dim, dim, bias=mlp_bias)
        for number in range(1, n_res + 1):
            self.add_module(f"UpBlock1_{number}", AdaLINBlock(dim))
        self.DownBlock = nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(input_nc, ngf, 7, bias=False),
            nn.InstanceNorm2d(ngf),
            *_pad_then_relu(1),
            nn.Conv2d(ngf, 2 * ngf, 3, stride=2, bias=False),
            nn.InstanceNorm2d(2 * ngf),
            *_pad_then_relu(1),
            nn.Conv2d(2 * ngf, dim, 3, stride=2, bias=False),
            nn.InstanceNorm2d(dim),
            nn.ReLU(inplace=True),
            *(ResidualBlock(dim) for _ in range(n_res)),
        )
        self.FC = nn.Sequential(
            nn.Linear(side * side * dim, dim, bias=mlp_bias),
            nn.ReLU(inplace=True),
            nn.Linear(dim, dim, bias=mlp_bias),
            nn.ReLU(inplace=True),
        )
        self.UpBlock2 = nn.Sequential(
            nn.Upsample(scale_factor=2),
            nn.ReflectionPad2d(1),
            nn.Conv2d(dim, 2 * ngf, 3, bias=False),
            ILN(2 * ngf),
            nn.Upsample(scale_factor=2),
            *_pad_then_relu(1),
            nn.Conv2d(2 * ngf, ngf, 3, bias=False),
            ILN(ngf),
            *_pad_then_relu(3),
            nn.Conv2d(ngf, output_nc, 7, bias=False),
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
        for part in (up[:4], up[4:8], up[8:]):
            x = self._run(_chain, x, *part)
        return Attended(x, cam_logit, heat)

    def _gamma_beta(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift of every AdaLIN, ``[N, 4c]`` each."""
        pooled = F.adaptive_avg_pool2d(x, self.pool) if self.pool else x
        hidden = self.FC(pooled.flatten(1))
        gamma, beta = self.gamma(hidden), self.beta(hidden)
        return (gamma + 1 if self.mlp_bias else gamma), beta

    def _run(self, part: Callable[..., Any], *inputs: Any) -> Any:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(part, *inputs, use_reentrant=False, preserve_rng_state=False)
        return part(*inputs)


class CAMDiscriminator(_Attention):
    """A PatchGAN with spectral norm and attention.

    Args:
        input_nc: channels of what is judged.
        ndf: channels of the first layer.
        n_layers: 7 for the published global one, 5 for the local; ``n_layers - 2`` of them halve the size, and the
            features have ``ndf * 2 ** (n_layers - 2)`` channels.

    Attributes:
        min_size: smallest height and width: ``3 * 2 ** (n_layers - 2)``, else the last padding has nothing to reflect.

    Raises:
        ValueError: fewer than 3 layers.
    """

    def __init__(self, input_nc: int = 3, *, ndf: int = 64, n_layers: int = 7) -> None:
        super().__init__()
        if n_layers < 3:
            raise ValueError(f"n_layers {n_layers}: a discriminator of U-GAT-IT has at least 3 layers")
        self.min_size = 3 * 2 ** (n_layers - 2)
        widths = [input_nc, *(ndf * 2**depth for depth in range(n_layers - 1))]
        dim = widths[-1]
        self.gap_fc = SpectralLinear(dim, 1)
        self.gmp_fc = SpectralLinear(dim, 1)
        self.conv1x1 = nn.Conv2d(2 * dim, dim, 1)
        self.conv = SpectralConv2d(dim, 1, 4, bias=False)
        layers: list[nn.Module] = []
        for depth, (narrow, wide) in enumerate(pairwise(widths), start=1):
            stride = 2 if depth < len(widths) - 1 else 1
            conv = SpectralConv2d(narrow, wide, 4, stride=stride)
            layers += [nn.ReflectionPad2d(1), conv, nn.LeakyReLU(0.2, inplace=True)]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Attended:
        """``[N, input_nc, H, W]`` -> patch logits, domain logits and attention, which may be negative."""
        cam_logit, x = self.attend(self.model(x))
        x = F.leaky_relu(x, 0.2, inplace=True)
        return Attended(self.conv(_reflect(x)), cam_logit, x.sum(dim=1, keepdim=True))

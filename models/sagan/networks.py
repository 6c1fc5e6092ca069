"""The networks of SAGAN (Zhang et al. 2019, arXiv:1805.08318): residual, class-conditional, with self-attention.

Widths are multiples of ``ngf`` and ``ndf``; at 128 pixels they are the reference's with 16 * ngf = 1024 "maps".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.inference import InferenceModule
from models.networks.norm import without_autocast
from models.sagan.sample_options import IMAGE_SIZES
from models.sagan.spectral import SNConv2d, SNEmbedding, SNLinear

EPS = 1e-5
MOMENTUM = 0.001  # the running statistics keep 0.999 of what they were


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm with a scale and a shift for each class, and one set of statistics for all of them.

    ``norm`` is a plain ``BatchNorm2d`` without affine part, so that its statistics can be taken over all processes.

    Args:
        num_features: channels.
        num_classes: rows of the tables ``gamma`` (start 1) and ``beta`` (start 0).
    """

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(num_features, eps=EPS, momentum=MOMENTUM, affine=False)
        self.gamma = nn.Parameter(torch.ones(num_classes, num_features))
        self.beta = nn.Parameter(torch.zeros(num_classes, num_features))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """``[N, C, H, W]`` and labels -> ``[N, C, H, W]``.

        Args:
            x: what is normalised.
            y: int64 ``[N]``; or float ``[N, num_classes]``, the weights with which the rows are mixed (not normalised),
                which is how images between classes are made.
        """
        xhat = self.norm(x)
        gamma, beta = (_rows(table, y).to(xhat.dtype)[:, :, None, None] for table in (self.gamma, self.beta))
        return torch.addcmul(beta, gamma, xhat)


def _rows(table: Tensor, y: Tensor) -> Tensor:
    """``[N, C]``: the rows of the labels, or their mixture."""
    if not y.is_floating_point():
        return F.embedding(y, table)
    with without_autocast(table):
        return y.to(table.dtype) @ table


ATTENTION_KINDS = ("paper", "pooled")


class SelfAttention(nn.Module):
    """``y = gamma * o + x`` with o the attention over all positions, Eq. (1) to (3); gamma starts at 0.

    With f, g and h 1x1 convolutions: ``o_j = sum_i softmax_i(f(x_i) . g(x_j)) h(x_i)``: g gives the queries, f the
    keys, h the values, and the logits are not scaled.

    Args:
        channels: C of the map; f and g have C/8.
        kind: ``paper``: h has C channels, every position is a key. ``pooled``, of the authors' own release: keys and
            values are max-pooled 2x2, h has C/2 channels, and a fourth convolution ``out`` leads back to C.
        spectral: spectral norm in all convolutions.

    Raises:
        ValueError: fewer than 8 channels.
    """

    def __init__(self, channels: int, *, kind: str = "paper", spectral: bool = True) -> None:
        super().__init__()
        if channels < 8:
            raise ValueError(
                f"self-attention needs 8 channels, and there are {channels}: raise --ngf or --ndf, or leave it out by "
                "--attn_res_G 0 or --attn_res_D 0"
            )
        self.pooled = kind == "pooled"
        values = channels // 2 if self.pooled else channels
        self.f = SNConv2d(channels, channels // 8, 1, bias=False, spectral=spectral)
        self.g = SNConv2d(channels, channels // 8, 1, bias=False, spectral=spectral)
        self.h = SNConv2d(channels, values, 1, bias=False, spectral=spectral)
        if self.pooled:
            self.out = SNConv2d(values, channels, 1, bias=False, spectral=spectral)
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> ``[N, C, H, W]``; ``pooled`` needs even H and W."""
        f, g, h = self.f(x), self.g(x), self.h(x)
        if self.pooled:
            f, h = F.max_pool2d(f, 2), F.max_pool2d(h, 2)
        # One head: fused kernels want four axes. [N, 1, HW, C/8], [N, 1, keys, C/8], [N, 1, keys, C]
        q, k, v = (each.flatten(2).transpose(1, 2)[:, None] for each in (g, f, h))
        o = F.scaled_dot_product_attention(q, k, v, scale=1.0)[:, 0]  # [N, HW, C]
        o = o.transpose(1, 2).unflatten(2, x.shape[2:])
        if self.pooled:
            o = self.out(o)
        return self.gamma.to(x.dtype) * o + x


BASE = 4
"""Width and height of the map that the generator starts from and the discriminator sums up."""

RESIDUAL_GAIN = math.sqrt(2)  # of the initial 3x3 convolutions in blocks


@dataclass(frozen=True)
class Widths:
    """Multiples of ``ngf`` and ``ndf`` at one image size.

    Attributes:
        G: of the first map, then after every block; each block doubles the size.
        D: after every block; the first ones halve the size until it is 4 (at 32 pixels: 8).
        attention: the default place, the size in pixels of the map that attention works on.
    """

    G: tuple[int, ...]
    D: tuple[int, ...]
    attention: int = 32


WIDTHS: Mapping[int, Widths] = {
    32: Widths((4, 4, 4, 4), (2, 2, 2, 2), attention=16),
    64: Widths((16, 16, 8, 4, 2), (1, 2, 4, 8, 16)),
    128: Widths((16, 16, 8, 4, 2, 1), (1, 2, 4, 8, 16, 16)),
    256: Widths((16, 16, 8, 8, 4, 2, 1), (1, 2, 4, 8, 8, 16, 16)),
}
"""128 is the reference. 32 is the usual residual network for CIFAR-10 (Miyato et al. 2018, arXiv:1802.05957, table 4)
with attention."""

_HALVINGS = {32: 2}  # of D where it is not down to BASE


class GeneratorBlock(nn.Module):
    """``[N, in, H, W]`` -> ``[N, out, 2H, 2W]``: two convolutions, each after class-conditional batch norm and ReLU.

    The shortcut is convolved before it is scaled up, which gives the same numbers as the other order (a 1x1
    convolution and nearest scaling commute) at a quarter of the work.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        num_classes: rows of the tables.
        spectral: spectral norm in all convolutions.
        shift_cancels: on every way to the image a batch norm comes before anything that is not linear: a constant added
            to a channel of the output has no effect in the end, and neither have the biases that add one.
    """

    def __init__(
        self, in_channels: int, out_channels: int, num_classes: int, *, spectral: bool, shift_cancels: bool
    ) -> None:
        super().__init__()
        gain = RESIDUAL_GAIN
        how = {"spectral": spectral, "bias_cancels": shift_cancels}
        self.ccbn1 = ConditionalBatchNorm2d(in_channels, num_classes)
        self.conv1 = SNConv2d(in_channels, out_channels, 3, gain=gain, spectral=spectral, bias_cancels=True)
        self.ccbn2 = ConditionalBatchNorm2d(out_channels, num_classes)
        self.conv2 = SNConv2d(out_channels, out_channels, 3, gain=gain, **how)
        self.shortcut = SNConv2d(in_channels, out_channels, 1, **how)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.conv1(_twice(F.relu(self.ccbn1(x, y))))
        h = self.conv2(F.relu(self.ccbn2(h, y)))
        return h + _twice(self.shortcut(x))


class DiscriminatorBlock(nn.Module):
    """``[N, in, H, W]`` -> ``[N, out, H/2, W/2]``, or of the same size without ``down``.

    The shortcut is pooled before its convolution, which gives the same numbers as the other order for less work.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        down: whether the size is halved.
        first: the block that sees the image: no ReLU before its first convolution.
        spectral: spectral norm in all convolutions.
    """

    def __init__(self, in_channels: int, out_channels: int, *, down: bool, first: bool, spectral: bool) -> None:
        super().__init__()
        hidden = in_channels if out_channels == 2 * in_channels and not first else out_channels
        self.down, self.first = down, first
        self.conv1 = SNConv2d(in_channels, hidden, 3, gain=RESIDUAL_GAIN, spectral=spectral)
        self.conv2 = SNConv2d(hidden, out_channels, 3, gain=RESIDUAL_GAIN, spectral=spectral)
        if in_channels != out_channels or down:
            self.shortcut = SNConv2d(in_channels, out_channels, 1, spectral=spectral)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if self.down:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        return h + (self.shortcut(x) if hasattr(self, "shortcut") else x)


class _Blocks(nn.Module):
    """Blocks by name, run in the order in which they were added."""

    def __init__(self) -> None:
        super().__init__()
        self._order: list[str] = []

    def _add(self, name: str, module: nn.Module) -> None:
        self.add_module(name, module)
        self._order.append(name)

    def _blocks(self) -> Iterator[nn.Module]:
        return (self.get_submodule(name) for name in self._order)


class SAGANGenerator(_Blocks):
    """From a latent vector and a class to an image.

    Args:
        image_size: 32, 64, 128 or 256.
        ngf: width unit, see ``WIDTHS``.
        nz: length of the latent vector.
        num_classes: K; 1 for images without classes.
        image_nc: channels of the image.
        attn_res: size in pixels of the map that attention works on; 0 for none.
        attn_kind: of the attention, see ``SelfAttention``.
        spectral: spectral norm in all convolutions and the affine layer.

    Raises:
        ValueError: a size that there is not.
    """

    keeps_own_init = True

    def __init__(
        self,
        *,
        image_size: int = 128,
        ngf: int = 64,
        nz: int = 128,
        num_classes: int = 1000,
        image_nc: int = 3,
        attn_res: int = 32,
        attn_kind: str = "paper",
        spectral: bool = True,
    ) -> None:
        super().__init__()
        widths = [width * ngf for width in _widths(image_size).G]
        sizes = [BASE << number for number in range(1, len(widths))]
        _check_place(attn_res, sizes, "--attn_res_G", image_size)
        self.image_size, self.nz, self.num_classes = image_size, nz, num_classes
        self.affine = SNLinear(nz, widths[0] * BASE * BASE, spectral=spectral)
        for number, size in enumerate(sizes, start=1):
            before, width = widths[number - 1 : number + 1]
            cancels = attn_res < size  # no attention after this block
            block = GeneratorBlock(before, width, num_classes, spectral=spectral, shift_cancels=cancels)
            self._add(f"block{number}", block)
            if size == attn_res:
                self._add("attn", SelfAttention(width, kind=attn_kind, spectral=spectral))
        self.bn = nn.BatchNorm2d(widths[-1], eps=EPS, momentum=MOMENTUM)
        self.conv = SNConv2d(widths[-1], image_nc, 3, spectral=spectral)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """``[N, nz]`` and classes -> ``[N, image_nc, image_size, image_size]`` in (-1, 1).

        Args:
            z: latent vectors, N(0, 1) in training.
            y: int64 ``[N]`` in 0..K-1, or float ``[N, K]``: weights of a mixture of classes.
        """
        x = self.affine(z).unflatten(1, (-1, BASE, BASE))
        for module in self._blocks():
            x = module(x, y) if isinstance(module, GeneratorBlock) else module(x)
        return torch.tanh(self.conv(F.relu(self.bn(x))))


class ClassSamples(InferenceModule):
    """Images of a class from noise."""

    inputs = ("z", "label")

    def __init__(self, net: SAGANGenerator) -> None:
        super().__init__("fake")
        self.net, self.latent, self.num_classes = net, net.nz, net.num_classes

    def forward(self, z: Tensor, label: Tensor) -> tuple[Tensor]:
        """``[N, nz]`` and int64 ``[N]`` -> ``[N, C, S, S]`` in (-1, 1)."""
        return (self.net(z, label),)


class SAGANDiscriminator(_Blocks):
    """How real an image is, and how much of its class: the projection discriminator (Miyato and Koyama 2018,
    arXiv:1802.05637).

    With phi the features summed over all positions: ``affine(phi) + phi . T[y]``; with one class only the first.

    Args:
        ndf: width unit, see ``WIDTHS``.
        image_size, num_classes, image_nc, attn_res, attn_kind, spectral: as of the generator.

    Raises:
        ValueError: a size that there is not.
    """

    keeps_own_init = True

    def __init__(
        self,
        *,
        image_size: int = 128,
        ndf: int = 64,
        num_classes: int = 1000,
        image_nc: int = 3,
        attn_res: int = 32,
        attn_kind: str = "paper",
        spectral: bool = True,
    ) -> None:
        super().__init__()
        widths = [width * ndf for width in _widths(image_size).D]
        halvings = _HALVINGS.get(image_size, int(math.log2(image_size // BASE)))
        sizes = [image_size >> min(number, halvings) for number in range(1, len(widths) + 1)]
        _check_place(attn_res, sizes, "--attn_res_D", image_size)
        self.num_classes = num_classes
        before = image_nc
        for number, width in enumerate(widths, start=1):
            how = {"down": number <= halvings, "first": number == 1, "spectral": spectral}
            self._add(f"block{number}", DiscriminatorBlock(before, width, **how))
            before = width
            if sizes[number - 1] == attn_res and "attn" not in self._order:
                self._add("attn", SelfAttention(width, kind=attn_kind, spectral=spectral))
        self.affine = SNLinear(before, 1, spectral=spectral)
        if num_classes > 1:
            self.projection = SNEmbedding(num_classes, before, spectral=spectral)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Images ``[N, image_nc, S, S]`` in [-1, 1] and labels -> scores, no sigmoid.

        Args:
            x: images.
            y: int64 ``[N]`` for scores ``[N, 1]``; or ``[N, M]``, M labels for every image, for scores ``[N, M]``.
        """
        for module in self._blocks():
            x = module(x)
        with torch.autocast(x.device.type, enabled=False):  # sums over many positions
            phi = F.relu(x.float()).sum((2, 3))  # [N, C]
            score = self.affine(phi)
            if self.num_classes > 1:
                rows = self.projection(y)
                score = score + (phi * rows if y.ndim == 1 else phi[:, None] * rows).sum(-1, keepdim=y.ndim == 1)
        return score


def default_attention(image_size: int) -> int:
    """Where attention is unless it is said: the size of the map in pixels."""
    return _widths(image_size).attention


def _widths(image_size: int) -> Widths:
    if image_size not in WIDTHS:
        raise ValueError(f"--image_size {image_size}: give one of {', '.join(map(str, IMAGE_SIZES))}")
    return WIDTHS[image_size]


def _check_place(attn_res: int, sizes: list[int], flag: str, image_size: int) -> None:
    if attn_res and attn_res not in sizes:
        there = ", ".join(map(str, dict.fromkeys(sizes)))
        raise ValueError(f"{flag} {attn_res}: at --image_size {image_size} there are maps of {there} pixels; 0 is none")


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")

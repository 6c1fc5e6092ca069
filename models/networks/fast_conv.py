"""Convolutions in float32 on the CPU, by the algorithm that is fastest for their size.

torch computes a convolution directly there. Three cases can be had with less work, with the same result up to rounding:

- **Small maps with many channels** (the inner levels of a U-Net; also its last layer, which has few outputs). torch
  brings the weights into a layout of its own, in every pass, which takes longer than the arithmetic. One matrix product
  of the weights with the patches of the image (``unfold``) needs no such copy.
- **1x1 kernels on one image.** With one thread torch leaves them to MKL (see ``_matmul_of_onednn``); with two, oneDNN's
  matrix product is still a little faster than its convolution.
- **3x3 and 4x4 kernels of stride 1 with many channels** (residual blocks, the widest layer of a PatchGAN, VGG).
  Winograd's minimal filtering (Lavin and Gray 2016, arXiv:1509.09308) needs a quarter of the multiplications. Its
  points 0, 1, -1, 2, -1/2 and infinity keep the root mean square error near 1.3e-6 of the result's, where the direct
  sum has 2e-7; TF32 rounds what is multiplied by up to 5e-4.

``conv2d`` and ``conv_transpose2d`` choose, by the shapes and the processor alone, so that a run can be repeated bit for
bit. Everything else is left to torch: other devices and types, autocast, NHWC memory, a graph that is being compiled
or exported, second derivatives, and all convolutions inside ``direct()`` or with the environment variable
``DIRECT_CONVOLUTIONS=1``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.tracing import is_exporting

Pair = tuple[int, int]

_enabled = os.environ.get("DIRECT_CONVOLUTIONS", "0") in ("", "0")


@contextlib.contextmanager
def direct() -> Iterator[None]:
    """Every convolution of the process as torch computes it, for counting operations and for comparisons."""
    global _enabled
    before, _enabled = _enabled, False
    try:
        yield
    finally:
        _enabled = before


class Prepared:
    """What is made of a weight once, and again only after the weight was changed (outside of inference mode)."""

    def __init__(self) -> None:
        self._made: tuple[tuple[int, int], Tensor] | None = None

    def of(self, weight: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
        """``make(weight)``."""
        version = 0 if weight.is_inference() else weight._version  # torch does not count changes of inference tensors
        key, made = (weight.data_ptr(), version), self._made
        if made is None or made[0] != key:
            made = key, make(weight.detach())
            self._made = made
        return made[1]


def keep_prepared_weights(net: nn.Module) -> None:
    """For inference: keep the weights as the fast ways need them, at the cost of up to four times their memory."""
    for module in net.modules():
        if isinstance(module, (Conv2d, ConvTranspose2d)):
            module.prepared = Prepared()


class Conv2d(nn.Conv2d):
    """``nn.Conv2d`` by ``conv2d`` of this module."""

    prepared: Prepared | None = None

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.padding_mode != "zeros" or isinstance(self.padding, str):
            return super()._conv_forward(input, weight, bias)
        geometry: Any = (self.stride, self.padding, self.dilation, self.groups)
        prepared = self.prepared if weight is self._parameters.get("weight") else None  # not one made for this call
        return conv2d(input, weight, bias, *geometry, prepared=prepared)


class ConvTranspose2d(nn.ConvTranspose2d):
    """``nn.ConvTranspose2d`` by ``conv_transpose2d`` of this module."""

    prepared: Prepared | None = None

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """``[N, in_channels, H, W]`` -> ``[N, out_channels, h, w]``."""
        if output_size is not None:
            return super().forward(input, output_size)
        geometry: Any = (self.stride, self.padding, self.output_padding, self.groups, self.dilation)
        return conv_transpose2d(input, self.weight, self.bias, *geometry, prepared=self.prepared)


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
    *,
    prepared: Prepared | None = None,
) -> Tensor:
    """``F.conv2d`` with pairs for the geometry: ``[N, C, H, W]``, ``[O, C, h, w]``, ``[O]`` -> ``[N, O, H', W']``."""
    if groups == 1 and dilation == (1, 1) and _may_be_fast(x, weight) and x.shape[1] == weight.shape[1]:
        high, wide = output_size(x, weight, stride, padding)
        if high > 0 and wide > 0:
            if _pointwise_pays(x, weight, stride, padding):
                return _call(_Pointwise, x, weight, bias)
            if _patches_pay(weight, x.shape[0] * high * wide):
                return _call(_Patches, x, weight, bias, stride, padding)
            if stride == (1, 1) and _winograd_pays(weight, x.shape[0], high, wide):
                return _call(_Winograd, x, weight, bias, padding, prepared)
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups)


def takes_patches(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> bool:
    """Whether ``conv2d`` multiplies the patches of this image by the weight."""
    high, wide = output_size(x, weight, stride, padding)
    return min(high, wide) > 0 and _may_be_fast(x, weight) and _patches_pay(weight, x.shape[0] * high * wide)


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    output_padding: Pair = (0, 0),
    groups: int = 1,
    dilation: Pair = (1, 1),
    *,
    prepared: Prepared | None = None,
) -> Tensor:
    """``F.conv_transpose2d`` with pairs for the geometry; the weight is ``[C, O, h, w]``."""
    plain = groups == 1 and dilation == (1, 1) and _may_be_fast(x, weight) and x.shape[1] == weight.shape[0]
    if plain and (_few_outputs(weight) or _patches_pay(weight, x.shape[0] * x.shape[2] * x.shape[3])):
        return _call(_TransposedPatches, x, weight, bias, stride, padding, output_padding, prepared)
    return F.conv_transpose2d(x, weight, bias, stride, padding, output_padding, groups, dilation)


def _call(function: type[torch.autograd.Function], *arguments: Any) -> Tensor:
    result: Tensor = function.apply(*arguments)
    return result


# ---------------------------------------------------------------------------------------------------------- the choice


def _may_be_fast(x: Tensor, weight: Tensor) -> bool:
    return (
        _enabled
        and x.device.type == "cpu"
        and x.ndim == 4
        and x.numel() > 0
        and x.dtype == weight.dtype == torch.float32
        and weight.device.type == "cpu"
        and x.is_contiguous()
        and weight.is_contiguous()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not is_exporting()
        and _matmul_of_onednn() is not None
    )


def output_size(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Pair:
    """Height and width of what ``conv2d`` returns; 0 or less for an image that is smaller than the kernel."""
    high, wide = (
        (size + 2 * pad - kernel) // step + 1
        for size, pad, kernel, step in zip(x.shape[2:], padding, weight.shape[2:], stride)
    )
    return high, wide


SMALLEST_PRODUCT = 2**20
"""Multiplications of a 1x1 kernel from which on the overhead of a call does not matter."""

SMALLEST_WEIGHT = 2**18
"""Values of a weight from which on copying it matters beside the overhead of a call."""


def _pointwise_pays(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> bool:
    plain = weight.shape[2:] == (1, 1) and stride == (1, 1) and padding == (0, 0) and x.shape[0] == 1
    return plain and x.numel() * weight.shape[0] >= SMALLEST_PRODUCT


def _patches_pay(weight: Tensor, positions: int) -> bool:
    """Whether the copies of the weights, which the direct way makes, exceed those of patches four times."""
    return 4 * positions <= weight.shape[0] and weight.numel() >= SMALLEST_WEIGHT


def _few_outputs(weight: Tensor) -> bool:
    """Whether the patches of a transposed convolution are at most half as many values as its input (a last layer)."""
    return 2 * weight[0].numel() <= weight.shape[0]


def _winograd_pays(weight: Tensor, images: int, high: int, wide: int) -> bool:
    """What is saved grows with the product of the channels, what is spent with their sum and with one weight a tile."""
    outputs, inputs, kernel, width = weight.shape
    if kernel != width or kernel not in KERNELS:
        return False
    channels, tiles = _least(torch.backends.cpu.get_cpu_capability())
    rows, columns = _tiles((high, wide), kernel)
    return outputs * inputs >= channels * (outputs + inputs) and images * rows * columns >= tiles


def _least(capability: str) -> Pair:
    """Half the harmonic mean of the channels, and the tiles, from which on Winograd's algorithm was measured to pay."""
    if capability.startswith("AVX512"):
        return 128, 100
    return (64, 64) if capability == "AVX2" else (2**31, 2**31)


# ----------------------------------------------------------------------------------------------------- matrix products


@lru_cache(maxsize=1)
def _matmul_of_onednn() -> Callable[..., Tensor] | None:
    """``x [m, k], w [n, k] -> x w^T`` by oneDNN.

    torch multiplies float32 matrices by MKL, which does not use AVX-512 on processors of other makers, and is slow for
    a few columns; this operator is what torch's own compiler puts in the place of a linear layer.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    operator = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return None if operator is None else operator.default


def times_transposed(x: Tensor, w: Tensor) -> Tensor:
    """``x [m, k], w [n, k] -> x w^T [m, n]``, float32 on the CPU, without gradients; both may be transposed views."""
    matmul = _matmul_of_onednn()
    assert matmul is not None
    return matmul(x, w, None, "none", [], "")


def _each_times_transposed(x: Tensor, w: Tensor) -> Tensor:
    """``x [b, m, k], w [b, n, k] -> [b, m, n]``."""
    return torch.stack([times_transposed(*pair) for pair in zip(x, w)])


# ------------------------------------------------------------------------------------------------------------ 1x1, one


class _Pointwise(torch.autograd.Function):
    """``y = W x`` with the positions of one image as columns."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        y = times_transposed(weight.flatten(1), to_matrix(x).t())
        return _plus(from_matrix(y, 1, *x.shape[2:]), bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needed, dy = ctx.needs_input_grad, grads[0]
        if torch.is_grad_enabled():
            return _direct_gradients(x, weight, dy, (1, 1), (0, 0), needed)
        dx = dw = None
        matrix = to_matrix(dy)
        if needed[0]:
            dx = times_transposed(weight.flatten(1).t().contiguous(), matrix.t()).view_as(x)
        if needed[1]:
            dw = times_transposed(matrix, to_matrix(x)).view_as(weight)
        return dx, dw, _bias_gradient(dy, needed[2])


# ------------------------------------------------------------------------------------------------- patches, small maps


class _Patches(torch.autograd.Function):
    """``y = W u`` with the patches ``u`` of the image as columns."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = stride, padding
        high, wide = output_size(x, weight, stride, padding)
        u = patch_columns(x, weight, stride, padding)
        y = times_transposed(weight.flatten(1), u.t().contiguous())
        return _plus(from_matrix(y, x.shape[0], high, wide), bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needed, (stride, padding), dy = ctx.needs_input_grad, ctx.geometry, grads[0]
        if torch.is_grad_enabled():
            return *_direct_gradients(x, weight, dy, stride, padding, needed), None, None
        dx = dw = None
        matrix = to_matrix(dy)
        if needed[0]:
            du = times_transposed(matrix.t().contiguous(), weight.flatten(1).t())
            dx = add_patches(du, x, weight, stride, padding)
        if needed[1]:
            dw = times_transposed(matrix, patch_columns(x, weight, stride, padding)).view_as(weight)
        return dx, dw, _bias_gradient(dy, needed[2]), None, None


class _TransposedPatches(torch.autograd.Function):
    """The patches ``W^T x`` are added up where they belong."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: Pair,
        padding: Pair,
        output_padding: Pair,
        prepared: Prepared | None,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = stride, padding, output_padding
        high, wide = (
            (size - 1) * step - 2 * pad + kernel + more
            for size, step, pad, kernel, more in zip(x.shape[2:], stride, padding, weight.shape[2:], output_padding)
        )
        matrix = to_matrix(x)
        if _few_outputs(weight):
            u = times_transposed(weight.flatten(1).t().contiguous(), matrix.t()).t()
        else:
            turned = prepared.of(weight, _turned) if prepared else weight.flatten(1).t()
            u = times_transposed(matrix.t().contiguous(), turned)
        y = add_patches(u, x.new_empty(x.shape[0], weight.shape[1], high, wide), weight, stride, padding)
        return _plus(y, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needed, (stride, padding, output_padding), dy = ctx.needs_input_grad, ctx.geometry, grads[0]
        if torch.is_grad_enabled():
            more = _direct_gradients(x, weight, dy, stride, padding, needed, output_padding)
            return *more, None, None, None, None
        dx = dw = None
        u = patch_columns(dy, weight, stride, padding)
        if needed[0]:
            patches = u.t() if _few_outputs(weight) else u.t().contiguous()
            dx = from_matrix(times_transposed(weight.flatten(1), patches), x.shape[0], *x.shape[2:])
        if needed[1]:
            dw = times_transposed(to_matrix(x), u).view_as(weight)
        return dx, dw, _bias_gradient(dy, needed[2]), None, None, None, None


def _turned(weight: Tensor) -> Tensor:
    """``[C, O, h, w]`` -> ``[O h w, C]``."""
    return weight.flatten(1).t().contiguous()


def patch_columns(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """The patches of all images, ``[C h w, N positions]``."""
    u = F.unfold(x, tuple(weight.shape[2:]), padding=padding, stride=stride)
    return u[0] if u.shape[0] == 1 else u.transpose(0, 1).flatten(1)


def add_patches(u: Tensor, like: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """Patches ``[N positions, C h w]`` added up to images of the shape of ``like``."""
    images = like.shape[0]
    columns = u.unflatten(0, (images, -1)).transpose(1, 2)
    return F.fold(columns, tuple(like.shape[2:]), tuple(weight.shape[2:]), padding=padding, stride=stride)


def to_matrix(x: Tensor) -> Tensor:
    """``[N, C, H, W]`` -> ``[C, N H W]``."""
    return x.contiguous()[0].flatten(1) if x.shape[0] == 1 else x.transpose(0, 1).flatten(1)


def from_matrix(y: Tensor, images: int, high: int, wide: int) -> Tensor:
    """``[C, N H W]`` -> ``[N, C, H, W]``, no view: a layer behind may work in place."""
    if images == 1:
        whole: Tensor = torch.ops.aten._unsafe_view(y, [1, y.shape[0], high, wide])
        return whole
    return y.view(y.shape[0], images, high, wide).transpose(0, 1).contiguous()


def _plus(y: Tensor, bias: Tensor | None) -> Tensor:
    return y if bias is None else y.add_(bias[:, None, None])


def _bias_gradient(dy: Tensor, needed: bool) -> Tensor | None:
    return dy.sum((0, 2, 3)) if needed else None


def _direct_gradients(
    x: Tensor,
    weight: Tensor,
    dy: Tensor,
    stride: Pair,
    padding: Pair,
    needed: tuple[bool, ...],
    output_padding: Pair | None = None,
) -> tuple[Tensor | None, ...]:
    """Those of torch, which can be differentiated again (a gradient penalty does)."""
    transposed, out = output_padding is not None, output_padding or (0, 0)
    sizes = [weight.shape[1 if transposed else 0]]
    mask = list(needed[:3])
    return torch.ops.aten.convolution_backward(dy, x, weight, sizes, stride, padding, (1, 1), transposed, out, 1, mask)  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------------------------ Winograd

POINTS = (0.0, 1.0, -1.0, 2.0, -0.5)
"""Where the polynomials are evaluated, beside infinity."""

SIDE = len(POINTS) + 1
"""Height and width of the tiles, in pixels of the input."""

KERNELS = (3, 4)
"""Heights of the square kernels that take this way."""


def _tiles(size: Pair, kernel: int) -> Pair:
    """Rows and columns of tiles of an output of this size."""
    step = SIDE + 1 - kernel
    return -(-size[0] // step), -(-size[1] // step)


@dataclass(frozen=True)
class _Plan:
    """The matrices ``A``, ``B``, ``G`` of Lavin and Gray for both directions at once (Kronecker squares), float32.

    Attributes:
        step: output pixels of a tile, each way.
        B: ``[36, 36]``, a tile of the input into the transformed space.
        G: ``[36, k^2]``, a kernel into it.
        A: ``[step^2, 36]``, the product back to output pixels.
    """

    step: int
    B: Tensor
    G: Tensor
    A: Tensor


@lru_cache(maxsize=2)
@torch.inference_mode(False)  # a training may follow in the same process
def _plan(kernel: int) -> _Plan:
    """``y = A [(G g) * (B d)]`` computes ``step`` values of a correlation with ``kernel`` taps (Toom-Cook)."""
    step = SIDE + 1 - kernel

    def powers(count: int) -> Tensor:
        rows = [[point**power for power in range(count)] for point in POINTS]
        return torch.tensor([*rows, [0.0] * (count - 1) + [1.0]], dtype=torch.float64)

    once = torch.linalg.inv(powers(SIDE)).T, powers(kernel), powers(step).T
    B, G, A = (torch.kron(matrix, matrix).float().contiguous() for matrix in once)
    return _Plan(step, B, G, A)


MOST_TILES = 4096
"""At a time: the transformed tiles of a large picture would take several times its memory."""


class _Winograd(torch.autograd.Function):
    """``y = A [sum over channels of (G w) * (B d)]`` over tiles ``d`` of the image, and its adjoint."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: Pair, prepared: Prepared | None = None
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        tiling = _Tiling.of(x, weight, padding)
        U = prepared.of(weight, _transformed) if prepared else _transformed(weight)
        rows, columns = tiling.tiles
        band = max(1, MOST_TILES // (x.shape[0] * columns))
        if rows <= band:
            return _plus(tiling.output_of(U, x), bias)
        x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
        bands, high = [], band * tiling.plan.step
        for top in range(0, tiling.size[0], high):
            part = x[:, :, top : top + high + weight.shape[2] - 1]
            bands.append(_Tiling.of(part, weight, (0, 0)).output_of(U, part))
        return _plus(torch.cat(bands, 2), bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        padding, needed, dy = ctx.padding, ctx.needs_input_grad, grads[0]
        if torch.is_grad_enabled():
            return *_direct_gradients(x, weight, dy, (1, 1), padding, needed), None, None
        dx = dw = None
        if needed[0] or needed[1]:
            tiling = _Tiling.of(x, weight, padding)
            dM = tiling.output_gradient(dy)
            if needed[1]:
                dU = _each_times_transposed(dM, tiling.transformed(x))
                dw = times_transposed(tiling.plan.G.t(), dU.flatten(1).t())
                dw = dw.view(*weight.shape[2:], *weight.shape[:2]).permute(2, 3, 0, 1).contiguous()
            if needed[0]:
                dV = _each_times_transposed(_transformed(weight.transpose(0, 1)), dM.transpose(1, 2))
                dx = tiling.input_gradient(dV)
        return dx, dw, _bias_gradient(dy, needed[2]), None, None


def _transformed(weight: Tensor) -> Tensor:
    """``[O, C, k, k]`` -> ``[36, O, C]``."""
    plan = _plan(weight.shape[2])
    taps = weight.reshape(-1, plan.G.shape[1])
    return times_transposed(plan.G, taps).view(SIDE * SIDE, *weight.shape[:2])


@dataclass(frozen=True)
class _Tiling:
    """How an image is cut into overlapping tiles of 6x6 pixels.

    Attributes:
        plan: of the kernel.
        shape: of the input, ``[N, C, H, W]``.
        padding: zeros above and on the left.
        size: height and width of the output.
        tiles: rows and columns of tiles.
    """

    plan: _Plan
    shape: tuple[int, ...]
    padding: Pair
    size: Pair
    tiles: Pair

    @classmethod
    def of(cls, x: Tensor, weight: Tensor, padding: Pair) -> _Tiling:
        """That of one convolution."""
        plan = _plan(weight.shape[2])
        high, wide = output_size(x, weight, (1, 1), padding)
        return cls(plan, tuple(x.shape), padding, (high, wide), _tiles((high, wide), weight.shape[2]))

    def output_of(self, U: Tensor, x: Tensor) -> Tensor:
        """The convolution of ``x`` with the transformed weight ``U`` ``[36, O, C]``."""
        return self.output(_each_times_transposed(U, self.transformed(x).transpose(1, 2)))

    def transformed(self, x: Tensor) -> Tensor:
        """The tiles of all images in Winograd's space, ``[36, C, N rows columns]``."""
        m, (top, left) = self.plan.step, self.padding
        below, right = (
            m * count + SIDE - m - size - pad for count, size, pad in zip(self.tiles, self.shape[2:], self.padding)
        )
        if top or left or below or right:
            x = F.pad(x, (left, right, top, below))
        tiles = x.unfold(2, SIDE, m).unfold(3, SIDE, m).permute(4, 5, 1, 0, 2, 3).reshape(SIDE * SIDE, -1)
        return times_transposed(self.plan.B, tiles.t()).view(SIDE * SIDE, self.shape[1], -1)

    def output(self, M: Tensor) -> Tensor:
        """``[36, O, N rows columns]`` -> ``[N, O, high, wide]``."""
        (rows, columns), m = self.tiles, self.plan.step
        y = times_transposed(self.plan.A, M.flatten(1).t()).view(m, m, M.shape[1], self.shape[0], rows, columns)
        joined = self._joined(y)
        exact = joined.shape[2:] == self.size
        return joined if exact else joined[..., : self.size[0], : self.size[1]].contiguous()

    def output_gradient(self, dy: Tensor) -> Tensor:
        """The adjoint of ``output``."""
        (rows, columns), m = self.tiles, self.plan.step
        below, right = (m * count - size for count, size in zip(self.tiles, self.size))
        if below or right:
            dy = F.pad(dy, (0, right, 0, below))
        cut = dy.reshape(*dy.shape[:2], rows, m, columns, m).permute(3, 5, 1, 0, 2, 4).reshape(m * m, -1)
        return times_transposed(self.plan.A.t(), cut.t()).view(SIDE * SIDE, dy.shape[1], -1)

    def input_gradient(self, dV: Tensor) -> Tensor:
        """The adjoint of ``transformed``: what tiles have in common is added up.

        A tile is ``step`` pixels of its own and ``over`` of the next one. Sums are made while the pixels at one place
        of all tiles lie together, in long rows.
        """
        (rows, columns), m, over = self.tiles, self.plan.step, SIDE - self.plan.step
        d = times_transposed(self.plan.B.t(), dV.flatten(1).t())
        d = d.view(SIDE, SIDE, self.shape[1], self.shape[0], rows, columns)
        own = F.pad(d[:m, :m], (0, 1, 0, 1))
        own[:over, :, ..., 1:, :columns] += d[m:, :m]
        own[:, :over, ..., :rows, 1:] += d[:m, m:]
        own[:over, :over, ..., 1:, 1:] += d[m:, m:]
        (top, left), (high, wide) = self.padding, self.shape[2:]
        return self._joined(own)[..., top : top + high, left : left + wide].contiguous()

    def _joined(self, parts: Tensor) -> Tensor:
        """``[m, m, C, N, rows, columns]`` -> ``[N, C, m rows, m columns]``."""
        m, _, channels, images, rows, columns = parts.shape
        return parts.permute(3, 2, 4, 0, 5, 1).reshape(images, channels, m * rows, m * columns)

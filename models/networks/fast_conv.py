"""Convolutions in float32 on the CPU, by the algorithm that is fastest for their size.

torch computes a convolution directly there. Four cases can be had with less work, with the same result up to rounding:

- **Small maps with many channels** (the inner levels of a U-Net; also its last layer, which has few outputs). torch
  brings the weights into a layout of its own, in every pass, which takes longer than the arithmetic. One matrix product
  of the weights with the patches of the image (``unfold``) needs no such copy.
- **1x1 kernels on one image.** With one thread torch leaves them to MKL (see ``matmul_of_onednn``); with two, oneDNN's
  matrix product is still a little faster than its convolution.
- **Large kernels with few outputs** (the 7x7 layer that ends a residual generator) or, backward, few inputs (the one
  that begins it). oneDNN computes outputs by the vector of 16 and throws 13 of them away; see ``_FewOutputs``.
- **3x3 and 4x4 kernels of stride 1 with many channels** (residual blocks, the widest layer of a PatchGAN, VGG): see
  ``winograd``.

``conv2d`` and ``conv_transpose2d`` choose, by the shapes and the processor alone, so that a run can be repeated bit for
bit. Everything else is left to torch: other devices and types, autocast, NHWC memory, a graph that is being compiled
or exported, second derivatives, and all convolutions inside ``direct()`` or with the environment variable
``DIRECT_CONVOLUTIONS=1``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.products import (
    Pair,
    Prepared,
    bias_gradient,
    direct_gradients,
    from_matrix,
    matmul_of_onednn,
    output_size,
    plus_bias,
    times_transposed,
    to_matrix,
)
from models.networks.tracing import is_exporting
from models.networks.winograd import KERNELS, Winograd, tiles_of

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
            if _few_pay(weight, x.shape[0] * high * wide, stride, padding):
                return _call(_FewOutputs, x, weight, bias)
            if _few_pay(weight.transpose(0, 1), x.shape[0] * high * wide, stride, padding):
                return _call(_FewInputs, x, weight, bias)
            if stride == (1, 1) and _winograd_pays(weight, x.shape[0], high, wide):
                return _call(Winograd, x, weight, bias, padding, prepared)
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
        and matmul_of_onednn() is not None
    )


SMALLEST_PRODUCT = 2**20
"""Multiplications of a 1x1 kernel from which on the overhead of a call does not matter."""

SMALLEST_SPLIT = 2**23
"""Multiplications of a large kernel from which on the overhead of its split does not matter."""

SMALLEST_WEIGHT = 2**18
"""Values of a weight from which on copying it matters beside the overhead of a call."""


def _pointwise_pays(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> bool:
    plain = weight.shape[2:] == (1, 1) and stride == (1, 1) and padding == (0, 0) and x.shape[0] == 1
    return plain and x.numel() * weight.shape[0] >= SMALLEST_PRODUCT


def _patches_pay(weight: Tensor, positions: int) -> bool:
    """Whether the copies of the weights, which the direct way makes, exceed those of patches four times."""
    return 4 * positions <= weight.shape[0] and weight.numel() >= SMALLEST_WEIGHT


VECTOR = 16
"""Outputs that oneDNN computes at once, with AVX-512; 8 with AVX2, in two registers."""


def _few_pay(weight: Tensor, positions: int, stride: Pair, padding: Pair) -> bool:
    """Whether ``_FewOutputs`` takes half the arithmetic of the direct way or less; padding takes its backward pass off
    oneDNN's fast path, and a kernel below 5 gains nothing there."""
    outputs, _, high, wide = weight.shape
    if stride != (1, 1) or padding != (0, 0) or min(high, wide) < 5 or weight.numel() * positions < SMALLEST_SPLIT:
        return False
    return 2 * _vectors(outputs * wide) <= _vectors(outputs) * wide


def _vectors(outputs: int) -> int:
    return -(-outputs // VECTOR)


def _few_outputs(weight: Tensor) -> bool:
    """Whether the patches of a transposed convolution are at most half as many values as its input (a last layer)."""
    return 2 * weight[0].numel() <= weight.shape[0]


def _winograd_pays(weight: Tensor, images: int, high: int, wide: int) -> bool:
    """What is saved grows with the product of the channels, what is spent with their sum and with one weight a tile."""
    outputs, inputs, kernel, width = weight.shape
    if kernel != width or kernel not in KERNELS:
        return False
    channels, tiles = _least(torch.backends.cpu.get_cpu_capability())
    rows, columns = tiles_of((high, wide), kernel)
    return outputs * inputs >= channels * (outputs + inputs) and images * rows * columns >= tiles


def _least(capability: str) -> Pair:
    """Half the harmonic mean of the channels, and the tiles, from which on Winograd's algorithm was measured to pay."""
    if capability.startswith("AVX512"):
        return 128, 100
    return (64, 64) if capability == "AVX2" else (2**31, 2**31)


# ------------------------------------------------------------------------------------------------------------ 1x1, one


class _Pointwise(torch.autograd.Function):
    """``y = W x`` with the positions of one image as columns."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        y = times_transposed(weight.flatten(1), to_matrix(x).t())
        return plus_bias(from_matrix(y, 1, *x.shape[2:]), bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needed, dy = ctx.needs_input_grad, grads[0]
        if torch.is_grad_enabled():
            return direct_gradients(x, weight, dy, (1, 1), (0, 0), needed)
        dx = dw = None
        matrix = to_matrix(dy)
        if needed[0]:
            dx = times_transposed(weight.flatten(1).t().contiguous(), matrix.t()).view_as(x)
        if needed[1]:
            dw = times_transposed(matrix, to_matrix(x)).view_as(weight)
        return dx, dw, bias_gradient(dy, needed[2])


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
        return plus_bias(from_matrix(y, x.shape[0], high, wide), bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needed, (stride, padding), dy = ctx.needs_input_grad, ctx.geometry, grads[0]
        if torch.is_grad_enabled():
            return *direct_gradients(x, weight, dy, stride, padding, needed), None, None
        dx = dw = None
        matrix = to_matrix(dy)
        if needed[0]:
            du = times_transposed(matrix.t().contiguous(), weight.flatten(1).t())
            dx = add_patches(du, x, weight, stride, padding)
        if needed[1]:
            dw = times_transposed(matrix, patch_columns(x, weight, stride, padding)).view_as(weight)
        return dx, dw, bias_gradient(dy, needed[2]), None, None


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
        return plus_bias(y, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needed, (stride, padding, output_padding), dy = ctx.needs_input_grad, ctx.geometry, grads[0]
        if torch.is_grad_enabled():
            more = direct_gradients(x, weight, dy, stride, padding, needed, output_padding)
            return *more, None, None, None, None
        dx = dw = None
        u = patch_columns(dy, weight, stride, padding)
        if needed[0]:
            patches = u.t() if _few_outputs(weight) else u.t().contiguous()
            dx = from_matrix(times_transposed(weight.flatten(1), patches), x.shape[0], *x.shape[2:])
        if needed[1]:
            dw = times_transposed(to_matrix(x), u).view_as(weight)
        return dx, dw, bias_gradient(dy, needed[2]), None, None, None, None


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


# ----------------------------------------------------------------------------------------- large kernels, few outputs


class _FewOutputs(torch.autograd.Function):
    """``y[o, i, j] = sum over columns b of u[b, o, i, j + b]``; ``u`` has an output for each column of the kernel.

    For a 7x7 kernel and RGB these are 21 outputs of a 7x1 kernel: two vectors of 16 and a seventh of the taps, in the
    place of a fifth of one vector.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return plus_bias(_by_columns(x, weight), bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needed, dy = ctx.needs_input_grad, grads[0]
        if torch.is_grad_enabled():
            return direct_gradients(x, weight, dy, (1, 1), (0, 0), needed)
        (outputs, _, _, wide), (images, _, rows, columns) = weight.shape, dy.shape
        du = dy.new_zeros(images, wide, outputs, rows, x.shape[3])
        for b in range(wide):
            du[:, b, ..., b : b + columns] = dy
        mask = (needed[0], needed[1], False)
        dx, dw, _ = direct_gradients(x, _columns(weight), du.flatten(1, 2), (1, 1), (0, 0), mask)
        if dw is not None:
            dw = dw.view(wide, outputs, *weight.shape[1:3]).permute(1, 2, 3, 0).contiguous()
        return dx, dw, bias_gradient(dy, needed[2])


class _FewInputs(torch.autograd.Function):
    """The direct way, but for the gradient of the input: that is a convolution with few outputs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needed, dy = ctx.needs_input_grad, grads[0]
        if torch.is_grad_enabled():
            return direct_gradients(x, weight, dy, (1, 1), (0, 0), needed)
        _, dw, db = direct_gradients(x, weight, dy, (1, 1), (0, 0), (False, *needed[1:]))
        dx = None
        if needed[0]:
            below, right = (size - 1 for size in weight.shape[2:])
            dx = _by_columns(F.pad(dy, (right, right, below, below)), weight.transpose(0, 1).flip(2, 3))
        return dx, dw, db


def _by_columns(x: Tensor, weight: Tensor) -> Tensor:
    """The convolution of ``x`` with ``weight``, without bias and padding."""
    outputs, _, _, wide = weight.shape
    u = F.conv2d(x, _columns(weight))
    u = u.view(x.shape[0], wide, outputs, *u.shape[2:])
    columns = u.shape[4] - wide + 1
    y = u[:, 0, ..., :columns].clone(memory_format=torch.contiguous_format)
    for b in range(1, wide):
        y += u[:, b, ..., b : b + columns]
    return y


def _columns(weight: Tensor) -> Tensor:
    """``[O, C, h, w]`` -> ``[w O, C, h, 1]``."""
    return weight.permute(3, 0, 1, 2).flatten(0, 1).unsqueeze(3)

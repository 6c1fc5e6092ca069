"""Winograd's minimal filtering (Lavin and Gray 2016, arXiv:1509.09308): 3x3 and 4x4 kernels of stride 1, float32, CPU.

A quarter of the multiplications of the direct sum. The points 0, 1, -1, 2, -1/2 and infinity keep the root mean square
error near 1.3e-6 of the result's, where the direct sum has 2e-7; TF32 rounds what is multiplied by up to 5e-4.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.networks.products import (
    Pair,
    Prepared,
    bias_gradient,
    direct_gradients,
    each_times_transposed,
    output_size,
    plus_bias,
    times_transposed,
)

POINTS = (0.0, 1.0, -1.0, 2.0, -0.5)
"""Where the polynomials are evaluated, beside infinity."""

SIDE = len(POINTS) + 1
"""Height and width of the tiles, in pixels of the input."""

KERNELS = (3, 4)
"""Heights of the square kernels that take this way."""


def tiles_of(size: Pair, kernel: int) -> Pair:
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


class Winograd(torch.autograd.Function):
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
            return plus_bias(tiling.output_of(U, x), bias)
        x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
        bands, high = [], band * tiling.plan.step
        for top in range(0, tiling.size[0], high):
            part = x[:, :, top : top + high + weight.shape[2] - 1]
            bands.append(_Tiling.of(part, weight, (0, 0)).output_of(U, part))
        return plus_bias(torch.cat(bands, 2), bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        padding, needed, dy = ctx.padding, ctx.needs_input_grad, grads[0]
        if torch.is_grad_enabled():
            return *direct_gradients(x, weight, dy, (1, 1), padding, needed), None, None
        dx = dw = None
        if needed[0] or needed[1]:
            tiling = _Tiling.of(x, weight, padding)
            dM = tiling.output_gradient(dy)
            if needed[1]:
                dU = each_times_transposed(dM, tiling.transformed(x))
                dw = times_transposed(tiling.plan.G.t(), dU.flatten(1).t())
                dw = dw.view(*weight.shape[2:], *weight.shape[:2]).permute(2, 3, 0, 1).contiguous()
            if needed[0]:
                dV = each_times_transposed(_transformed(weight.transpose(0, 1)), dM.transpose(1, 2))
                dx = tiling.input_gradient(dV)
        return dx, dw, bias_gradient(dy, needed[2]), None, None


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
        return cls(plan, tuple(x.shape), padding, (high, wide), tiles_of((high, wide), weight.shape[2]))

    def output_of(self, U: Tensor, x: Tensor) -> Tensor:
        """The convolution of ``x`` with the transformed weight ``U`` ``[36, O, C]``."""
        return self.output(each_times_transposed(U, self.transformed(x).transpose(1, 2)))

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

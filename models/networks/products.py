"""Matrix products by oneDNN, and what the convolutions built on them share: float32 on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

Pair = tuple[int, int]


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


@lru_cache(maxsize=1)
def matmul_of_onednn() -> Callable[..., Tensor] | None:
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
    matmul = matmul_of_onednn()
    assert matmul is not None
    return matmul(x, w, None, "none", [], "")


def each_times_transposed(x: Tensor, w: Tensor) -> Tensor:
    """``x [b, m, k], w [b, n, k] -> [b, m, n]``."""
    return torch.stack([times_transposed(*pair) for pair in zip(x, w)])


def output_size(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Pair:
    """Height and width of what ``conv2d`` returns; 0 or less for an image that is smaller than the kernel."""
    high, wide = (
        (size + 2 * pad - kernel) // step + 1
        for size, pad, kernel, step in zip(x.shape[2:], padding, weight.shape[2:], stride)
    )
    return high, wide


def to_matrix(x: Tensor) -> Tensor:
    """``[N, C, H, W]`` -> ``[C, N H W]``."""
    return x.contiguous()[0].flatten(1) if x.shape[0] == 1 else x.transpose(0, 1).flatten(1)


def from_matrix(y: Tensor, images: int, high: int, wide: int) -> Tensor:
    """``[C, N H W]`` -> ``[N, C, H, W]``, no view: a layer behind may work in place."""
    if images == 1:
        whole: Tensor = torch.ops.aten._unsafe_view(y, [1, y.shape[0], high, wide])
        return whole
    return y.view(y.shape[0], images, high, wide).transpose(0, 1).contiguous()


def plus_bias(y: Tensor, bias: Tensor | None) -> Tensor:
    """``y [N, O, H, W]`` with ``bias [O]`` added in place."""
    return y if bias is None else y.add_(bias[:, None, None])


def bias_gradient(dy: Tensor, needed: bool) -> Tensor | None:
    """``[N, O, H, W]`` -> ``[O]``, or None where nobody wants it."""
    return dy.sum((0, 2, 3)) if needed else None


def direct_gradients(
    x: Tensor,
    weight: Tensor,
    dy: Tensor,
    stride: Pair,
    padding: Pair,
    needed: tuple[bool, ...],
    output_padding: Pair | None = None,
) -> tuple[Tensor | None, ...]:
    """Those of torch, which can be differentiated again (a gradient penalty does).

    Args:
        x: input, ``[N, C, H, W]``.
        weight: ``[O, C, h, w]``; of a transposed convolution ``[C, O, h, w]``.
        dy: gradient of the output, ``[N, O, H', W']``.
        stride: of the convolution.
        padding: of the convolution.
        needed: whether the gradients of x, weight and bias are wanted.
        output_padding: of a transposed convolution; None for a plain one.

    Returns:
        The three gradients, None where not wanted.
    """
    transposed, out = output_padding is not None, output_padding or (0, 0)
    sizes = [weight.shape[1 if transposed else 0]]
    mask = list(needed[:3])
    return torch.ops.aten.convolution_backward(dy, x, weight, sizes, stride, padding, (1, 1), transposed, out, 1, mask)  # type: ignore[no-any-return]

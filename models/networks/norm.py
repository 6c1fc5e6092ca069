"""Normalisation layers by name, and the rule which convolution carries a bias."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.fast_conv import Conv2d, ConvTranspose2d, conv_transpose2d
from models.networks.names import NORMS
from models.networks.tracing import is_exporting
from util.registry import unknown

NormLayer = Callable[[int], nn.Module]
"""Number of channels -> a fresh layer."""


def _identity(channels: int) -> nn.Module:
    """No normalisation; a module all the same, so that the layers after it keep their index in a state_dict."""
    return nn.Identity()


class InstanceNorm2d(nn.InstanceNorm2d):
    """Instance norm whose result is no view, and keeps the memory layout of a single image.

    torch's own computes it as batch norm of one image with ``N C`` channels, too, and returns a view of the result. A
    rectification in place, which follows everywhere here, then costs three copies of the gradient in backward. It also
    makes its input contiguous first, so that with ``--channels_last`` every norm would lay out the image again, and
    every convolution after it once more; batch norm has kernels of both layouts.
    """

    def forward(self, input: Tensor) -> Tensor:
        """``[N, C, H, W]``."""
        if input.ndim != 4 or self.track_running_stats or input.shape[2] * input.shape[3] == 1 or is_exporting():
            return super().forward(input)  # of one pixel it refuses with its own words
        n, c, h, w = input.shape
        if n == 1:
            return F.batch_norm(input, None, None, self.weight, self.bias, training=True, eps=self.eps)
        if self.affine or not input.is_contiguous():
            return super().forward(input)
        y = F.batch_norm(input.view(1, n * c, h, w), None, None, training=True, eps=self.eps)
        whole: Tensor = torch.ops.aten._unsafe_view(y, [n, c, h, w])
        return whole


_LAYERS: dict[str, NormLayer] = {
    "batch": nn.BatchNorm2d,
    "instance": partial(InstanceNorm2d, affine=False, track_running_stats=False),
    "none": _identity,
}


def norm_layer(norm: str) -> NormLayer:
    """The layer behind ``--norm``.

    Args:
        norm: ``batch`` (affine, running statistics), ``instance`` (neither) or ``none``.

    Raises:
        ValueError: unknown name.
    """
    if norm not in _LAYERS:
        raise unknown(f"--norm {norm!r}", norm, NORMS)
    return _LAYERS[norm]


def conv_bias(norm: str) -> bool:
    """Whether the convolutions inside a network carry a bias: only with instance norm.

    Batch norm brings its own shift, so a bias would be redundant. Instance norm removes the bias again, and ``none``
    would need one; both are kept as published, because the keys of existing checkpoints depend on it.
    """
    return norm == "instance"


class _ZeroGradient(torch.autograd.Function):
    """Passes its first argument on, and gives the second the gradient 0."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, unused: Tensor) -> Tensor:
        ctx.save_for_backward(unused)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        (unused,) = ctx.saved_tensors
        return grads[0], torch.zeros_like(unused)


def zero_gradient(value: Tensor, unused: Tensor) -> Tensor:
    """``value``; ``unused``, a bias that a following norm removes, gets the gradient 0, as if it had been used."""
    result: Tensor = _ZeroGradient.apply(value, unused)
    return result


class _CancelledBiasConv2d(Conv2d):
    """Holds a bias for the sake of the keys, and does not compute with it; its gradient is exactly 0."""

    def forward(self, input: Tensor) -> Tensor:
        assert self.bias is not None
        return zero_gradient(self._conv_forward(input, self.weight, None), self.bias)


class _CancelledBiasConvTranspose2d(ConvTranspose2d):
    """As ``_CancelledBiasConv2d``."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        assert self.bias is not None and not isinstance(self.padding, str)
        geometry: Any = (self.stride, self.padding, self.output_padding, self.groups, self.dilation)
        y = conv_transpose2d(input, self.weight, None, *geometry, prepared=self.prepared)
        return zero_gradient(y, self.bias)


def skip_cancelled_biases(net: nn.Module) -> nn.Module:
    """Leave out the biases that an instance norm right behind the convolution removes anyway.

    The output is the same but for rounding, and the step is a little cheaper. What matters more: the gradient of such
    a bias is rounding noise around 0, which Adam blows up to full steps, so that two runs that should be equal (one
    process and two) drift apart in these useless numbers. Their gradient is exactly 0 here, and they stay where
    they were.

    Args:
        net: changed in place; every ``nn.Sequential`` in it is looked at.

    Returns:
        ``net``.
    """
    kinds: dict[type, type] = dict.fromkeys((nn.Conv2d, Conv2d), _CancelledBiasConv2d)
    kinds |= dict.fromkeys((nn.ConvTranspose2d, ConvTranspose2d), _CancelledBiasConvTranspose2d)
    for module in net.modules():
        layers = list(module.children()) if isinstance(module, nn.Sequential) else []
        for conv, after in pairwise(layers):
            cancels = isinstance(after, nn.InstanceNorm2d) and not after.track_running_stats
            if cancels and type(conv) in kinds and conv.bias is not None:
                conv.__class__ = kinds[type(conv)]
    return net


def without_autocast(x: Tensor) -> contextlib.AbstractContextManager[Any]:
    """A context in which operations keep the precision of their inputs, on the device of ``x``.

    An exported network has none: nothing casts there, and torch cannot load what it saved with this context in it.
    """
    return contextlib.nullcontext() if is_exporting() else torch.autocast(x.device.type, enabled=False)


def float_or_wider(x: Tensor) -> Tensor:
    """``x``, half precision widened to float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))

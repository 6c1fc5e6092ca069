"""Normalisation layers by name, and the rule which convolution carries a bias."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from util.suggest import unknown

NormLayer = Callable[[int], nn.Module]
"""Number of channels -> a fresh layer."""


def _identity(channels: int) -> nn.Module:
    """No normalisation; a module all the same, so that the layers after it keep their index in a state_dict."""
    return nn.Identity()


_LAYERS: dict[str, NormLayer] = {
    "batch": nn.BatchNorm2d,
    "instance": partial(nn.InstanceNorm2d, affine=False, track_running_stats=False),
    "none": _identity,
}

NORM_NAMES = tuple(_LAYERS)


def norm_layer(norm: str) -> NormLayer:
    """The layer behind ``--norm``.

    Args:
        norm: ``batch`` (affine, running statistics), ``instance`` (neither) or ``none``.

    Raises:
        ValueError: unknown name.
    """
    if norm not in _LAYERS:
        raise unknown(f"--norm {norm!r}", norm, NORM_NAMES)
    return _LAYERS[norm]


def conv_bias(norm: str) -> bool:
    """Whether the convolutions inside a network carry a bias: only with instance norm.

    Batch norm brings its own shift, so a bias would be redundant. Instance norm removes the bias again, and ``none``
    would need one; both are kept as published, because the keys of existing checkpoints depend on it.
    """
    return norm == "instance"

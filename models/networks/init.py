"""Initialisation of a network's weights by name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from models.networks.names import INIT_TYPES
from util.registry import unknown

_FILLS: dict[str, Callable[[Tensor, float], object]] = {
    "normal": lambda weight, gain: nn.init.normal_(weight, 0.0, gain),
    "xavier": lambda weight, gain: nn.init.xavier_normal_(weight, gain=gain),
    "kaiming": lambda weight, gain: nn.init.kaiming_normal_(weight, a=0.0, mode="fan_in"),
    "orthogonal": lambda weight, gain: nn.init.orthogonal_(weight, gain=gain),
}


def init_weights(net: nn.Module, init_type: str = "normal", init_gain: float = 0.02) -> None:
    """Fill the weights of ``net`` in place, from torch's global generator.

    Every module whose class name contains ``Conv`` or ``Linear`` and that owns a weight gets the chosen distribution
    and a zero bias; an affine batch norm gets weights from N(1, ``init_gain``) and a zero bias. Everything else, and
    every module with a true attribute ``keeps_own_init`` together with all that it contains, stays as constructed.

    Args:
        net: any module.
        init_type: ``normal`` N(0, gain), ``xavier`` (Glorot and Bengio 2010, normal), ``kaiming`` (He et al. 2015,
            normal, fan-in; it has no gain), ``orthogonal`` (Saxe et al. 2014), or ``default``, which changes nothing.
        init_gain: scale of the distribution; for ``normal`` and for batch norm the standard deviation.

    Raises:
        ValueError: unknown ``init_type``.
    """
    if init_type == "default":
        return
    if init_type not in _FILLS:
        raise unknown(f"--init_type {init_type!r}", init_type, INIT_TYPES)
    fill = _FILLS[init_type]
    for module in _modules(net):
        kind = type(module).__name__
        weight, bias = _raw_weight(module), getattr(module, "bias", None)
        if weight is None:
            continue
        if "Conv" in kind or "Linear" in kind:
            fill(weight, init_gain)
        elif "BatchNorm2d" in kind or isinstance(module, nn.SyncBatchNorm):
            nn.init.normal_(weight, 1.0, init_gain)
        else:
            continue
        if isinstance(bias, Tensor):
            nn.init.zeros_(bias)


class _NoDraws(TorchFunctionMode):
    """Tensors that would be filled with random numbers stay as they are."""

    # What a function calls inside does not come by here again: so the outer ones too.
    _FILLS: tuple[Any, ...] = (
        torch.Tensor.normal_,
        torch.Tensor.uniform_,
        nn.init.normal_,
        nn.init.uniform_,
        nn.init.orthogonal_,
    )
    _FILLS += (nn.init.kaiming_uniform_, nn.init.kaiming_normal_, nn.init.xavier_uniform_, nn.init.xavier_normal_)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self._FILLS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def without_initialisation() -> Iterator[None]:
    """Networks built in this context, by this thread, have weights of no meaning: for those that are loaded next.

    To fill 54 million weights of a U-Net, twice, takes longer than to load them.
    """
    with _NoDraws():
        yield


def _modules(net: nn.Module) -> Iterator[nn.Module]:
    """``net`` and what it contains, without the branches that keep their own initialisation."""
    if getattr(net, "keeps_own_init", False):
        return
    yield net
    for child in net.children():
        yield from _modules(child)


def _raw_weight(module: nn.Module) -> Tensor | None:
    """The stored weight; under a parametrisation such as spectral norm ``module.weight`` is only a computed copy."""
    if isinstance(raw := getattr(module, "weight_orig", None), Tensor):
        return raw
    name = "parametrizations.weight.original" if parametrize.is_parametrized(module, "weight") else "weight"
    owner, _, attribute = name.rpartition(".")
    weight = getattr(module.get_submodule(owner), attribute, None)
    return weight if isinstance(weight, Tensor) else None

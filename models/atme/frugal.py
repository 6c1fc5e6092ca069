"""Results that are not kept for the backward pass, but computed again from what they were made of.

torch keeps what an operation's backward pass needs. A group norm, a SiLU and the convolution behind them keep three
maps of one size, of which two can be computed again from the first in a pass over it. ``torch.utils.checkpoint`` would
compute the convolutions again as well, which takes a third more time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from models.networks.tracing import is_exporting


def can_be_frugal(x: Tensor) -> bool:
    """Whether ``again`` may be used: float32 without autocast, which would be off in the backward pass; no compiler."""
    return (
        x.dtype == torch.float32
        and not torch.is_autocast_enabled(x.device.type)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not is_exporting()
    )


def again(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """``function(*inputs)``, of which only ``inputs`` are kept for backward.

    Args:
        function: of tensors, without random numbers and side effects. Whatever learns is among its inputs.
        *inputs: in float32.
    """
    result: Tensor = _Again.apply(function, *inputs)
    return result


@contextlib.contextmanager
def computed_again(*results: Tensor) -> Iterator[None]:
    """Operations in this context that would keep results of ``again`` get them computed again in their backward pass.

    Args:
        *results: others are kept as ever.
    """
    nodes = {each.data_ptr(): each.grad_fn for each in results if _is_again(each.grad_fn)}
    shapes = {each.data_ptr(): each.shape for each in results}

    def pack(kept: Tensor) -> Any:
        place = kept.data_ptr()
        return nodes[place] if place in nodes and kept.shape == shapes[place] else kept

    def unpack(kept: Any) -> Tensor:
        return kept if isinstance(kept, Tensor) else _graph(kept)[1].detach()

    with saved_tensors_hooks(pack, unpack) if nodes else contextlib.nullcontext():
        yield


def _is_again(node: Any) -> bool:
    return getattr(node, "_forward_cls", None) is _Again


class _Again(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        ctx.function, ctx.graph = function, None
        ctx.save_for_backward(*inputs)
        return function(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, result = _graph(ctx)
        ctx.graph = None
        learned = [each for each in inputs if each.requires_grad]
        found = iter(torch.autograd.grad(result, learned, grads[0]))
        return None, *(next(found) if each.requires_grad else None for each in inputs)


def _graph(ctx: Any) -> tuple[list[Tensor], Tensor]:
    """The inputs and the result, computed again; kept until the operation's own backward pass, which comes last."""
    if ctx.graph is None:
        needed = ctx.needs_input_grad[1:]
        inputs = [each.detach().requires_grad_(learns) for each, learns in zip(ctx.saved_tensors, needed)]
        with torch.enable_grad():
            ctx.graph = inputs, ctx.function(*inputs)
    graph: tuple[list[Tensor], Tensor] = ctx.graph
    return graph

"""Micro-batches: parts of a step's batch that take turns on the device, their gradients added up."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from util.types import Batch

R = TypeVar("R")


def parts_of(batch: Batch, parts: int, images: int, processes: int) -> int:
    """How many micro-batches a process's part of the batch makes: the same number in every process.

    Args:
        batch: of the loader; its ``global_size`` and ``full_size`` are those of the batch of all processes.
        parts: of a complete batch. An incomplete last one makes as many as it fills.
        images: in this process's part.
        processes: that share the batch; each has at least ``global_size // processes`` images.
    """
    size, full = batch.get("global_size", images * processes), batch.get("full_size", 0)
    if full:
        parts = -(-size * parts // full)
    return min(parts, max(1, size // processes))


def split(batch: Batch, parts: int) -> list[tuple[Batch, float]]:
    """Contiguous micro-batches whose sizes differ by one at most, and their weights: their shares of the images.

    ``global_size`` of a part is its share of the whole's, a float; what is not one per image belongs to all parts.
    """
    count = count_of(batch)
    bounds = [count * number // parts for number in range(parts + 1)]
    found: list[tuple[Batch, float]] = []
    for begin, end in itertools.pairwise(bounds):
        part = {key: value[begin:end] if _per_image(value, count) else value for key, value in batch.items()}
        weight = (end - begin) / count
        if "global_size" in batch:
            part["global_size"] = batch["global_size"] * weight
        found.append((part, weight))
    return found


def count_of(batch: Batch) -> int:
    """Images of a batch: the rows of its first tensor."""
    return next(len(value) for value in batch.values() if isinstance(value, Tensor) and value.ndim)


def _per_image(value: Any, count: int) -> bool:
    return (isinstance(value, list) or (isinstance(value, Tensor) and value.ndim > 0)) and len(value) == count


class TakesTurns(Protocol):
    """What is needed of a model."""

    def set_input(self, batch: Batch) -> None: ...

    def batch_holders(self) -> Mapping[Any, Collection[str]]: ...


@dataclass
class _Part:
    weight: float
    values: list[dict[str, Any]]  # for each holder the attributes that are this micro-batch's
    rng: list[Tensor] = field(default_factory=list)  # before its first preparation


class Turns:
    """The micro-batches of one step. Each brings along what the model knew of it at the end of its last turn.

    Which attributes these are is observed: those that get another value in ``set_input`` or in a turn. Between turns
    they are kept without their graph, so that only one micro-batch has a graph at a time.

    Args:
        model: gets the input of every micro-batch in turn, before any of them trains.
        batch: the whole.
        parts: micro-batches and weights.
        device: of the random numbers that ``prepare`` draws.

    Attributes:
        batch: the whole.
        present: side -> mean of its masks over the whole batch of all processes, once a micro-batch has asked for it.
    """

    def __init__(
        self, model: TakesTurns, batch: Batch, parts: Sequence[tuple[Batch, float]], device: torch.device
    ) -> None:
        self.batch = batch
        self.present: dict[str, Tensor] = {}
        holders = {model: (), **model.batch_holders()}
        self._holders = [vars(holder) for holder in holders]
        self._names = [frozenset(names) for names in holders.values()]
        self._devices = [device] if device.type == "cuda" else []
        self._before = self._now()
        self._touched: list[set[str]] = [set() for _ in self._holders]
        self._parts = [_Part(weight, [{} for _ in self._holders]) for _, weight in parts]
        self.prepare: Callable[[], None] | None = None
        for part, (images, _) in zip(self._parts, parts):
            with self._turn(part):
                model.set_input(images)

    def __iter__(self) -> Iterator[None]:
        """Once for every micro-batch, the model being in the state of it."""
        for part in self._parts:
            with self._turn(part):
                yield

    def back_to_first(self) -> None:
        """Leave the model in the state of the first micro-batch: its pictures are those of the batch's first image."""
        self._restore(self._parts[0])

    def spread(
        self, closures: Sequence[Callable[[], R]], weights: Sequence[float]
    ) -> tuple[list[Callable[[], R]], list[float]]:
        """Each closure once for every micro-batch, and the products of the weights."""
        pairs = [(part, closure, w) for part in self._parts for closure, w in zip(closures, weights, strict=True)]
        return [self._in_turn(part, closure) for part, closure, _ in pairs], [part.weight * w for part, _, w in pairs]

    def _in_turn(self, part: _Part, closure: Callable[[], R]) -> Callable[[], R]:
        def run() -> R:
            with self._turn(part):
                self._prepare(part)
                return closure()

        return run

    def _prepare(self, part: _Part) -> None:
        """Draw what this micro-batch drew at its first preparation: D judges the fakes that G is trained by."""
        if self.prepare is None:
            return
        if not part.rng:
            part.rng = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, self._devices)]
            self.prepare()
            return
        with torch.random.fork_rng(self._devices):
            torch.set_rng_state(part.rng[0])
            for state, device in zip(part.rng[1:], self._devices):
                torch.cuda.set_rng_state(state, device)
            self.prepare()

    @contextlib.contextmanager
    def _turn(self, part: _Part) -> Iterator[None]:
        """The model is in the state of this micro-batch, and what it changes is the micro-batch's."""
        self._restore(part)
        before = self._now()
        yield
        for holder, old, touched, values in zip(self._now(), before, self._touched, part.values):
            touched |= {key for key, value in holder.items() if key not in old or value is not old[key]}
            values |= {key: _without_graph(holder[key]) for key in touched if key in holder}

    def _restore(self, part: _Part) -> None:
        for holder, before, touched, values in zip(self._holders, self._before, self._touched, part.values):
            holder.update({key: values.get(key, before.get(key)) for key in touched})

    def _now(self) -> list[dict[str, Any]]:
        pairs = zip(self._holders, self._names)
        return [{key: value for key, value in held.items() if not names or key in names} for held, names in pairs]


def _without_graph(value: Any) -> Any:
    """The same without autograd's graph: tensors detached, also inside of dicts, lists and tuples."""
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        return value.detach() if value.requires_grad else value
    if isinstance(value, dict):
        found = {key: _without_graph(item) for key, item in value.items()}
        return found if any(found[key] is not item for key, item in value.items()) else value
    if isinstance(value, (list, tuple)):
        items = [_without_graph(item) for item in value]
        if all(new is old for new, old in zip(items, value)):
            return value
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value

"""Which tensors of a published file become which entry of our networks, and the check that all of them are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.official.stored import Array, StoredTensor, by

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Form:
    """How a tensor lies in the file.

    Attributes:
        stored: shape of ours -> shape in the file.
        convert: array of the file -> ours.
        note: what is folded in, for the report.
    """

    stored: Callable[[Shape], Shape]
    convert: Callable[[Array], Array]
    note: str = ""


AS_IT_IS = Form(lambda shape: shape, lambda array: array)
TRANSPOSED = Form(lambda shape: shape[::-1], lambda array: array.T)
"""A linear layer ``[in, out]``."""
HWIO = Form(lambda s: (s[2], s[3], s[1], s[0]), lambda array: array.transpose(3, 2, 0, 1))
"""TensorFlow's convolutions ``[h, w, in, out]``, and its transposed ones ``[h, w, out, in]``."""
PER_CHANNEL = Form(lambda shape: (shape[1],), lambda array: array.reshape(1, -1, 1, 1))
"""``[C]`` for our ``[1, C, 1, 1]``."""


@dataclass(frozen=True)
class Entry:
    """An entry of one of our state_dicts.

    Attributes:
        network: ours, e.g. ``G_A``.
        key: in its state_dict.
        names: of the tensors that it is made of; none for a constant.
        shapes: of these, in the file.
        make: their arrays -> the value.
        note: what is folded in, for the report.
    """

    network: str
    key: str
    names: tuple[str, ...]
    shapes: tuple[Shape, ...]
    make: Callable[..., Array]
    note: str = ""


Names = Mapping[str, tuple[str, Form]]
"""Key of our state_dict -> name in the file, and its form there."""


def entries_of(network: str, own: Mapping[str, Shape], names: Names) -> list[Entry]:
    """The entries that are made of one tensor each.

    Args:
        network: its name.
        own: key -> shape of its state_dict.
        names: of those keys that are in ``own``.
    """
    found = []
    for key, (name, form) in names.items():
        found.append(Entry(network, key, (name,), (form.stored(own[key]),), form.convert, form.note))
    return found


def constant(network: str, key: str, shape: Shape, value: float, note: str) -> Entry:
    """An entry of which the file has nothing."""
    return Entry(network, key, (), (), lambda: np.full(shape, value, np.float32), note)


def power_step(weight: Array, u: Array) -> tuple[Array, Array]:
    """A step of the power iteration, v first.

    Args:
        weight: ``[out, n]``.
        u: ``[out]``.

    Returns:
        the unit vectors u ``[out]`` and v ``[n]``.
    """
    wide = weight.astype(np.float64)  # squares of large numbers leave float32
    v = _unit(wide.T @ u)
    return _unit(wide @ v), v


def _unit(vector: Array) -> Array:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def spectral_entries(
    network: str, layer: str, own_shape: Shape, weight: tuple[str, Form], u: tuple[str, Form]
) -> list[Entry]:
    """``weight_u`` and ``weight_v`` of a layer with spectral norm, after one step from the file's u.

    Args:
        network: its name.
        layer: key of the layer, e.g. ``model.1``.
        own_shape: of its ``weight_orig``.
        weight: name and form of the weight in the file.
        u: the same of the vector; the form's result is ``[out]``.
    """
    names, shapes = (weight[0], u[0]), (weight[1].stored(own_shape), u[1].stored((own_shape[0],)))

    def vectors(stored_weight: Array, stored_u: Array) -> tuple[Array, Array]:
        return power_step(weight[1].convert(stored_weight).reshape(own_shape[0], -1), u[1].convert(stored_u))

    note = "one step of the power iteration"
    return [
        Entry(network, f"{layer}.weight_u", names, shapes, lambda *arrays: vectors(*arrays)[0], note),
        Entry(network, f"{layer}.weight_v", names, shapes, lambda *arrays: vectors(*arrays)[1], note),
    ]


# --- a file beside its networks ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OfficialFile:
    """What was recognised in a file, and what becomes of it.

    Attributes:
        file: its path.
        kind: program and framework, for people.
        options: flags of the run.
        own: our network -> key -> shape.
        entries: how each is made.
        tensors: of the file, by name.
        ignored: name -> why it is not needed.
        notes: lines for people, e.g. what a training will lack.
    """

    file: Path
    kind: str
    options: Mapping[str, object]
    own: Mapping[str, Mapping[str, Shape]]
    entries: Sequence[Entry]
    tensors: Mapping[str, StoredTensor]
    ignored: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def check(self) -> None:
        """Compare every name, shape and type; nothing is read.

        Raises:
            ValueError: the first that is off.
        """
        for entry in self.entries:
            for name, shape in zip(entry.names, entry.shapes):
                if name not in self.tensors:
                    raise ValueError(f"{self.file}: no checkpoint of {self.kind}, there is no {name}")
                found = self.tensors[name]
                if found.shape != shape:
                    raise ValueError(
                        f"{self.file}: {name} is {by(found.shape)}, where this network of {self.kind} has {by(shape)}"
                    )
                if found.dtype != np.float32:
                    raise ValueError(f"{self.file}: {name} is of type {found.dtype}, not float32")
        used = {name for entry in self.entries for name in entry.names}
        for name in self.tensors:
            if name not in used and name not in self.ignored:
                raise ValueError(f"{self.file}: {name} belongs to no network of {self.kind}")

    def state(self, network: str) -> Iterator[tuple[str, Array]]:
        """Key and value of every entry of a network, read now and in the order of its state_dict.

        Raises:
            ValueError: a tensor is damaged, or has numbers that are not finite.
        """
        entries = {entry.key: entry for entry in self.entries if entry.network == network}
        for key, shape in self.own[network].items():
            entry = entries[key]
            arrays = [self.tensors[name].load() for name in entry.names]
            for name, array in zip(entry.names, arrays):
                if not np.isfinite(array).all():
                    raise ValueError(f"{self.file}: {name} has numbers that are not finite")
            value = np.ascontiguousarray(entry.make(*arrays), np.float32)
            yield key, value.reshape(shape)

    def report(self) -> Iterator[str]:
        """What became of every tensor, a line each, under headings."""
        used = {name for entry in self.entries for name in entry.names}
        yield f"{self.file}: {self.kind}; {len(used)} tensors used, {len(self.ignored)} ignored"
        yield from self.notes
        yield "used:"
        for entry in self.entries:
            if not entry.note:
                yield f"  {entry.names[0]} {by(entry.shapes[0])} -> {entry.network}: {entry.key}"
        yield "folded, or made without a tensor:"
        for entry in self.entries:
            if entry.note:
                yield f"  {' and '.join(entry.names) or 'nothing'} -> {entry.network}: {entry.key} ({entry.note})"
        yield "ignored:"
        yield from (f"  {name} {by(self.tensors[name].shape)} ({why})" for name, why in self.ignored.items())

"""The parameter file of the published SAGAN program (HDF5), name by name beside our networks.

A dataset a tensor, float32, with the attributes ``index`` (order of creation) and ``need_grad`` (is it trained?). The
names are made from ``LAYERS``, ``LEAVES`` and ``OTHERS``, so that they hold for every image size. What differs:

* the weight of an affine layer is stored as ``[in, out]``;
* statistics, and scale and shift of the last batch norm, are stored as ``[1, C, 1, 1]``;
* files of before 2021 also have ``W_sn`` beside the weight of each layer with spectral norm: the weight divided by its
  largest singular value as of the last step in training, which test mode used then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from util.files import replacing
from util.packages import needs

PREFIX = {"G": "generator/", "D": "discriminator/"}

LAYERS = (  # ours, theirs; {b} is the number of a block, {i} 1 or 2, {a} f, g or h
    ("affine", "sn_affine"),
    (r"block{b}.conv{i}", r"block-{b}/conv{i}/sn_conv"),
    (r"block{b}.shortcut", r"block-{b}/shortcut/sn_conv"),
    (r"attn.{a}", r"attn/{a}/sn_conv"),
    ("conv", "sn_conv"),
    ("projection", "projection/embed"),
)
LEAVES = (("weight", "W"), ("u", "singular-vector"), ("bias", "b"))  # of every layer, in their order
OTHERS = (  # in their order
    (r"block{b}.ccbn{i}.norm.running_mean", r"block-{b}/conv{i}/ccbn/mean"),
    (r"block{b}.ccbn{i}.norm.running_var", r"block-{b}/conv{i}/ccbn/var"),
    (r"block{b}.ccbn{i}.gamma", r"block-{b}/conv{i}/ccbn/gamma/embed/W"),
    (r"block{b}.ccbn{i}.beta", r"block-{b}/conv{i}/ccbn/beta/embed/W"),
    ("attn.gamma", "attn/gamma"),
    ("bn.bias", "bn/beta"),
    ("bn.weight", "bn/gamma"),
    ("bn.running_mean", "bn/mean"),
    ("bn.running_var", "bn/var"),
)
TABLE = (*((f"{ours}.{leaf}", f"{theirs}/{name}") for ours, theirs in LAYERS for leaf, name in LEAVES), *OTHERS)
_PLACEHOLDERS = {"b": r"\d+", "i": "[12]", "a": "[fgh]"}
_COUNTER = ".num_batches_tracked"  # torch's, which their batch norm does not have


@dataclass(frozen=True)
class Entry:
    """A tensor of the file.

    Attributes:
        name: in the file, e.g. ``generator/sn_affine/W``.
        network: ``G`` or ``D``.
        key: in that network's state_dict, e.g. ``affine.weight``.
        own_shape: in that state_dict.
        trained: whether it is a parameter, not a buffer.
    """

    name: str
    network: str
    key: str
    own_shape: tuple[int, ...]
    trained: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """In the file."""
        if self._transposed:
            return self.own_shape[::-1]
        per_channel = self.key.startswith("bn.") or ".norm." in self.key
        return (1, *self.own_shape, 1, 1) if per_channel else self.own_shape

    @property
    def normalised_name(self) -> str | None:
        """Name of the ``W_sn`` that may be beside it: for the weights under spectral norm."""
        return f"{self.name}_sn" if self.key.endswith(".weight") and self.key != "bn.weight" else None

    def read(self, value: NDArray[np.float32]) -> Tensor:
        """The file's array as the tensor of the state_dict."""
        array = value.T if self._transposed else value.reshape(self.own_shape)
        return torch.from_numpy(np.array(array, np.float32, order="C"))

    def write(self, value: Tensor) -> NDArray[np.float32]:
        """The tensor of the state_dict as the file's array."""
        array: NDArray[np.float32] = value.detach().float().cpu().numpy()
        return np.ascontiguousarray(array.T if self._transposed else array.reshape(self.shape))

    @property
    def _transposed(self) -> bool:
        return self.key == "affine.weight"


def layout(networks: Mapping[str, nn.Module]) -> list[Entry]:
    """Every tensor of the file for these networks, in the published order.

    Args:
        networks: ``G`` and, where the file has it, ``D``, with spectral norm; those on the meta device will do.

    Raises:
        ValueError: a tensor that the published program has no name for.
    """
    entries = []
    for network, net in networks.items():
        trained = {key for key, _ in net.named_parameters()}
        shapes = {key: tuple(value.shape) for key, value in net.state_dict().items() if not key.endswith(_COUNTER)}
        keys = sorted(shapes, key=lambda key, own=list(shapes): _order(key, own))  # type: ignore[misc]
        names = {key: PREFIX[network] + _translate(key)[1] for key in keys}
        entries += [Entry(names[key], network, key, shapes[key], key in trained) for key in keys]
    return entries


def read_h5(file: Path) -> dict[str, NDArray[np.float32]]:
    """Every tensor of a parameter file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no HDF5 file, is damaged, or has no arrays of numbers; or h5py is not installed.
    """
    h5py = _h5py()
    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no such file")
    found: dict[str, NDArray[np.float32]] = {}

    def visit(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            found[name] = np.asarray(node[()], np.float32)

    try:
        with h5py.File(file, "r") as opened:
            opened.visititems(visit)
    except (OSError, RuntimeError, TypeError, ValueError) as error:  # h5py's for what is no such file, and for texts
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{file}: damaged or no .h5 file of parameters ({reason})") from error
    return found


def write_h5(file: Path, tensors: Mapping[str, NDArray[np.float32]], trained: Mapping[str, bool]) -> None:
    """Write a parameter file as the published program does; ``index`` counts in the order of ``tensors``.

    Args:
        file: is replaced.
        tensors: name -> float32 array.
        trained: name -> the attribute ``need_grad``; what is missing is not trained.
    """
    with replacing(file) as temporary, _h5py().File(temporary, "w") as opened:
        for index, (name, value) in enumerate(tensors.items()):
            dataset = opened.create_dataset(name, data=value.astype(np.float32, copy=False))
            dataset.attrs["index"] = index
            dataset.attrs["need_grad"] = trained.get(name, False)


@dataclass(frozen=True)
class Report:
    """What became of the tensors of a file, by name.

    Attributes:
        file: the file.
        shapes: of all its tensors.
        used: name -> network and key of the tensor that it became.
        ignored: names that are known and have no use here.
        unknown: names that no file of this kind has.
        missing: name -> shape of what the networks have and the file has not.
    """

    file: Path
    shapes: Mapping[str, tuple[int, ...]]
    used: Mapping[str, str]
    ignored: Sequence[str]
    unknown: Sequence[str]
    missing: Mapping[str, tuple[int, ...]]

    @property
    def counts(self) -> str:
        """One line."""
        counts = [f"{len(getattr(self, what))} {what}" for what in ("used", "ignored", "unknown", "missing")]
        return ", ".join([f"{self.file}: {len(self.shapes)} tensors", *counts])

    def lines(self, *remarks: str) -> Iterator[str]:
        """All names, under a heading each."""
        yield ", ".join([self.counts, *remarks])
        yield "used:"
        yield from (f"  {name} {by(self.shapes[name])} -> {ours}" for name, ours in self.used.items())
        for heading, names in (("ignored", self.ignored), ("unknown", self.unknown)):
            yield f"{heading}:"
            yield from (f"  {name} {by(self.shapes[name])}" for name in names)
        yield "missing:"
        yield from (f"  {name} {by(shape)}" for name, shape in self.missing.items())


def by(shape: tuple[int, ...]) -> str:
    """A shape for messages, such as ``128x16384``."""
    return "x".join(map(str, shape)) or "scalar"


def _h5py() -> ModuleType:
    with needs(".h5 files need", "h5py"):
        import h5py
    return h5py


def _translate(key: str) -> tuple[int, str]:
    """Row of ``TABLE`` and published name of a key, without the prefix of the network."""
    for row, (ours, theirs) in enumerate(TABLE):
        if match := re.fullmatch(_pattern(ours), key):
            return row, theirs.format(**match.groupdict())
    raise ValueError(f"{key}: the published program has no name for it (is it --attn_kind pooled?)")


def _pattern(template: str) -> str:
    pattern = re.escape(template)
    for name, choices in _PLACEHOLDERS.items():
        pattern = pattern.replace(rf"\{{{name}\}}", rf"(?P<{name}>{choices})")
    return pattern


def _order(key: str, keys: list[str]) -> tuple[int, int]:
    """Sorts by layer, then by row; attention's gamma comes after its layers, a norm's tables with its statistics."""
    layer = key.rpartition(".")[0].removesuffix(".norm") + "."
    return max(place for place, other in enumerate(keys) if other.startswith(layer)), _translate(key)[0]

"""The rules behind ``tests/golden/official``: weights and images are made from their names, see its README.md files."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.official.crc32c import masked_crc32c
from models.official.entries import OfficialFile
from models.official.stored import StoredTensor

FOLDER = Path(__file__).parent / "golden" / "official"


def golden(system: str, arrays: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """``golden.json`` and one file of arrays of a system."""
    index = json.loads((FOLDER / system / "golden.json").read_text(encoding="utf-8"))
    with np.load(FOLDER / system / arrays) as stored:
        return index, dict(stored)


def value(name: str, shape: Sequence[int]) -> np.ndarray:
    """A weight."""
    z = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    last = re.split(r"[/.]", name)[-1]
    if last == "rho":
        z = np.clip(0.5 + 0.25 * z, 0, 1)
    elif last in ("scale", "gamma"):
        z = 1 + 0.2 * z
    elif last in ("offset", "beta", "bias"):
        z = 0.2 * z
    elif last in ("weight_u", "weight_v"):
        z = z / np.linalg.norm(z)
    elif last != "u":
        z = 0.05 * z
    return z.astype(np.float32)


def stored(shapes: Mapping[str, Sequence[int]], fixed: Mapping[str, float] | None = None) -> dict[str, StoredTensor]:
    """Tensors as a file would have them; ``fixed``: last part of a name -> the value of all such."""

    def load(name: str) -> np.ndarray:
        last = name.rpartition(".")[2]
        if fixed and "DownBlock" in name and last in fixed:
            return np.full(shapes[name], fixed[last], np.float32)
        return value(name, shapes[name])

    return {
        name: StoredTensor(tuple(shape), np.dtype("f4"), lambda name=name: load(name)) for name, shape in shapes.items()
    }


def image(name: str, shape: Sequence[int]) -> np.ndarray:
    """An image, in the framework's order of axes."""
    return np.random.default_rng(zlib.crc32(name.encode())).uniform(-1, 1, shape).astype(np.float32)


def nchw(array: np.ndarray) -> Tensor:
    """Of TensorFlow's order."""
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


def nhwc(tensor: Tensor) -> np.ndarray:
    return tensor.detach().permute(0, 2, 3, 1).numpy()


def loaded(official: OfficialFile, networks: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """The networks (on the meta device) with the weights of a file."""
    for name, net in networks.items():
        net.to_empty(device="cpu")
        net.load_state_dict({key: torch.from_numpy(array.copy()) for key, array in official.state(name)})
    return dict(networks)


def distance(found: np.ndarray, wanted: np.ndarray) -> float:
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max())


# --- files as TensorFlow writes them ----------------------------------------------------------------------------------


def _varint(number: int) -> bytes:
    groups = []
    while True:
        groups.append(number & 0x7F | (0x80 if number > 0x7F else 0))
        number >>= 7
        if not number:
            return bytes(groups)


def _block(*pairs: tuple[bytes, bytes], kind: int = 0) -> bytes:
    """Entries that share nothing, one restart, the kind of compression, the checksum."""
    content = b"".join(b"\x00" + _varint(len(k)) + _varint(len(v)) + k + v for k, v in pairs)
    content += (0).to_bytes(4, "little") + (1).to_bytes(4, "little") + bytes([kind])
    return content + masked_crc32c(np.frombuffer(content, np.uint8)).to_bytes(4, "little")


def write_table(file: Path, *pairs: tuple[bytes, bytes], kind: int = 0) -> None:
    """An index of these keys and values."""
    data, filters = _block(*pairs, kind=kind), _block()
    last = _block((b"~", _varint(0) + _varint(len(data) - 5)))
    places = (len(data), len(filters) - 5, len(data + filters), len(last) - 5)
    footer = b"".join(map(_varint, places)).ljust(40, b"\x00")
    file.write_bytes(data + filters + last + footer + 0xDB4775248B80FB57.to_bytes(8, "little"))


def bundle_entry(*, dtype: int = 1, sides: Sequence[int], shard: int = 0, offset: int, size: int, crc: int) -> bytes:
    """The value of a tensor in an index."""
    dims = [b"\x08" + _varint(side) for side in sides]
    shape = b"".join(b"\x12" + _varint(len(each)) + each for each in dims)
    numbers = b"\x08" + _varint(dtype) + b"\x12" + _varint(len(shape)) + shape + b"\x18" + _varint(shard)
    return numbers + b"\x20" + _varint(offset) + b"\x28" + _varint(size) + b"\x35" + crc.to_bytes(4, "little")


def write_bundle(prefix: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A checkpoint of float32 arrays: ``PREFIX.index`` and one data file."""
    pairs, offset = [(b"", b"\x08\x01")], 0
    with open(prefix.with_name(prefix.name + ".data-00000-of-00001"), "wb") as data:
        for name in sorted(arrays):
            raw = np.ascontiguousarray(arrays[name], "<f4")
            crc = masked_crc32c(raw.reshape(-1).view(np.uint8))
            value = bundle_entry(sides=arrays[name].shape, offset=offset, size=raw.nbytes, crc=crc)
            pairs.append((name.encode(), value))
            raw.tofile(data)
            offset += raw.nbytes
    write_table(prefix.with_name(prefix.name + ".index"), *pairs)

"""TensorFlow's V2 checkpoints (``tf.train.Saver``): ``PREFIX.index`` and ``PREFIX.data-00000-of-00001``.

The index is a table in the format of LevelDB (its ``doc/table_format.md``): blocks of sorted keys, each key without
what it shares with the one before, a byte for the compression and a checksum behind every block, and a footer that says
where the block of blocks is. A value is a small protocol buffer, ``BundleEntryProto`` of TensorFlow's
``tensor_bundle.proto``. The data file has the bare values one after the other.

Nothing is executed: these are lengths, offsets and numbers, and each is compared with the size of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.official.crc32c import masked_crc32c
from models.official.stored import Array, StoredTensor, by, map_file

Bytes = NDArray[np.uint8]

DTYPES: dict[int, np.dtype[Any]] = {  # of TensorFlow's types.proto
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    4: np.dtype("u1"),
    9: np.dtype("<i8"),
    10: np.dtype("?"),
    19: np.dtype("<f2"),
}

_FOOTER, _TRAILER = 48, 5  # bytes
_MAGIC = 0xDB4775248B80FB57
_MOST_BYTES = 1 << 28  # of an index: the published ones have kilobytes
_LONGEST_KEY = 4096
_NOT_COMPRESSED = 0


@dataclass(frozen=True)
class _Entry:
    """Where a tensor is: ``BundleEntryProto``."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int
    sliced: bool


def find_index(path: Path) -> Path:
    """The index file that a path stands for.

    Args:
        path: ``PREFIX.index``, one of its other files, ``PREFIX``, or the folder; there the file ``checkpoint`` says
            which, by its base name, since the folder in it is that of its author's machine.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the folder has several, and no file that says which.
    """
    if path.is_dir():
        return _index_of_folder(path)
    name = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path.name)
    index = path.with_name(name + ".index")
    if not index.is_file():
        if path.exists():
            raise FileNotFoundError(f"{path}: no checkpoint of TensorFlow, there is no {index.name} beside it")
        raise FileNotFoundError(f"{path}: there is no such file, and no {index.name}")
    return index


def _index_of_folder(folder: Path) -> Path:
    indexes = sorted(folder.glob("*.index"))
    if not indexes:
        raise FileNotFoundError(f"{folder}: no checkpoint of TensorFlow there, it has no file that ends in .index")
    note = folder / "checkpoint"
    text = note.read_bytes()[:65536].decode("utf-8", "replace") if note.is_file() else ""
    if match := re.search(r'^model_checkpoint_path: "([^"\n]*)"', text, re.MULTILINE):
        named = folder / (re.split(r"[/\\]", match[1])[-1] + ".index")
        if named in indexes:
            return named
        if len(indexes) > 1:
            raise ValueError(f"{note}: it names {named.stem}, which is not there; give one of the .index files itself")
    if len(indexes) > 1:
        raise ValueError(f"{folder}: {len(indexes)} files end in .index; give one of them, such as {indexes[-1]}")
    return indexes[0]


def read_bundle(index: Path) -> dict[str, StoredTensor]:
    """Name -> tensor of a checkpoint; values are read, and their checksum compared, by ``load``.

    Args:
        index: ``PREFIX.index``.

    Raises:
        FileNotFoundError: the index or a data file is missing.
        ValueError: damaged, cut off, or in a form that these programs never wrote.
    """
    prefix = index.name.removesuffix(".index")
    try:
        entries = dict(_table(map_file(index)))
        shards = _shard_count(entries.pop(b"", b""))
        decoded = {key.decode("utf-8"): _entry(value) for key, value in entries.items()}
    except _Malformed as error:
        raise ValueError(f"{index}: damaged, or no index of a TensorFlow checkpoint ({error})") from None
    except UnicodeDecodeError:
        raise ValueError(f"{index}: damaged, a name in it is no text") from None
    files = [index.with_name(f"{prefix}.data-{shard:05d}-of-{shards:05d}") for shard in range(shards)]
    used = {entry.shard for entry in decoded.values()}
    if not used <= set(range(shards)):
        raise ValueError(f"{index}: damaged, it speaks of data file {max(used)} of {shards}")
    sizes = {shard: map_file(files[shard]).size for shard in sorted(used)}
    return {
        name: _stored(name, entry, files[entry.shard], sizes[entry.shard], index) for name, entry in decoded.items()
    }


def _stored(name: str, entry: _Entry, file: Path, file_size: int, index: Path) -> StoredTensor:
    dtype = DTYPES.get(entry.dtype)
    if dtype is None:
        raise ValueError(f"{index}: {name} is of type {entry.dtype} of TensorFlow, which no such network has")
    if entry.sliced:
        raise ValueError(f"{index}: {name} is stored in slices, which is not read here; save it without partitions")
    count = 1
    for side in entry.shape:
        count *= side
    if count * dtype.itemsize != entry.size:
        raise ValueError(f"{index}: damaged, {name} {by(entry.shape)} is said to have {entry.size} bytes")
    if entry.offset + entry.size > file_size:
        raise ValueError(
            f"{file}: it ends at byte {file_size}, where {name} goes on to {entry.offset + entry.size}: cut off, or "
            f"not the data of {index.name}"
        )

    def load() -> Array:
        raw = map_file(file, entry.offset, entry.size)
        if masked_crc32c(raw) != entry.crc:
            raise ValueError(f"{file}: damaged, the checksum of {name} is wrong, or not the data of {index.name}")
        return raw.view(dtype).reshape(entry.shape)

    return StoredTensor(entry.shape, dtype, load)


# --- the table --------------------------------------------------------------------------------------------------------


class _Malformed(Exception):
    """Bytes that this format does not have; the message says which."""


class _Cursor:
    """Reads one thing after the other, and never past the end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    @property
    def left(self) -> int:
        return len(self.data) - self.place

    def varint(self) -> int:
        """A number in groups of 7 bits, the lowest first; at most 64 bits."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> 64:
                    break
                return value
        raise _Malformed("a number is too long")

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise _Malformed("it ends too early")
        self.place += count
        return self.data[self.place - count : self.place]


def _table(file: Bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values in their order."""
    if file.size < _FOOTER or int.from_bytes(file[-8:].tobytes(), "little") != _MAGIC:
        raise _Malformed("its last bytes are not those of such a table")
    if file.size > _MOST_BYTES:
        raise _Malformed("too large")
    footer = _Cursor(file[-_FOOTER:-8].tobytes())
    if list(_block(file, footer.varint(), footer.varint())):
        raise _Malformed("it has filters, which TensorFlow never writes")
    blocks = list(_block(file, footer.varint(), footer.varint()))
    end = 0
    last = b""
    for _, handle in blocks:
        cursor = _Cursor(handle)
        offset, size = cursor.varint(), cursor.varint()
        if offset < end:
            raise _Malformed("its blocks overlap")
        end = offset + size
        for key, value in _block(file, offset, size):
            if last and key <= last:
                raise _Malformed("its names are not sorted")
            yield key, value
            last = key


def _block(file: Bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    end = offset + size + _TRAILER
    if end > file.size - _FOOTER:
        raise _Malformed("a block goes beyond its end")
    if int.from_bytes(file[end - 4 : end].tobytes(), "little") != masked_crc32c(file[offset : end - 4]):
        raise _Malformed("a checksum is wrong")
    if file[offset + size] != _NOT_COMPRESSED:
        raise _Malformed("a block is compressed, which TensorFlow never does")
    data = file[offset : offset + size].tobytes()
    restarts = int.from_bytes(data[-4:], "little")  # a list for binary search, at the end
    if size < 4 * restarts + 4:
        raise _Malformed("a block is too short")
    cursor, key = _Cursor(data[: size - 4 * restarts - 4]), b""
    while cursor.left:
        shared, own, length = cursor.varint(), cursor.varint(), cursor.varint()
        if shared > len(key) or shared + own > _LONGEST_KEY:
            raise _Malformed("a name is too long")
        key = key[:shared] + cursor.take(own)
        yield key, cursor.take(length)


# --- protocol buffers -------------------------------------------------------------------------------------------------


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of every field: an int, or the bytes of what has a length."""
    cursor = _Cursor(message)
    while cursor.left:
        number, kind = divmod(cursor.varint(), 8)
        if kind == 0:
            yield number, cursor.varint()
        elif kind == 2:
            yield number, cursor.take(cursor.varint())
        elif kind in (1, 5):
            yield number, int.from_bytes(cursor.take(8 if kind == 1 else 4), "little")
        else:
            raise _Malformed("an unknown kind of field")


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise _Malformed("text in the place of a number")
    return value


def _message(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise _Malformed("a number in the place of a message")
    return value


def _shard_count(header: bytes) -> int:
    """Of ``BundleHeaderProto``: 1 number of data files, 2 byte order (0 = little)."""
    fields = dict(_fields(header))
    shards = _number(fields.get(1, 0))
    if _number(fields.get(2, 0)):
        raise _Malformed("its numbers have the other byte order")
    if not 0 < shards < 100_000:
        raise _Malformed(f"{shards} data files")
    return shards


def _entry(message: bytes) -> _Entry:
    """Of ``BundleEntryProto``: 1 type, 2 shape, 3 data file, 4 offset, 5 size, 6 checksum, 7 slices."""
    numbers = {1: 0, 3: 0, 4: 0, 5: 0, 6: 0}
    shape: list[int] = []
    sliced = False
    for field, value in _fields(message):
        if field in numbers:
            numbers[field] = _number(value)
        elif field == 2:
            shape += [_side(_message(each)) for kind, each in _fields(_message(value)) if kind == 2]
        elif field == 7:
            sliced = True
    return _Entry(numbers[1], tuple(shape), numbers[3], numbers[4], numbers[5], numbers[6], sliced)


def _side(message: bytes) -> int:
    """Of ``TensorShapeProto.Dim``: 1 size."""
    return _number(dict(_fields(message)).get(1, 0))

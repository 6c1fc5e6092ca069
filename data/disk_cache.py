"""``--cache disk``: every picture decoded once and for all runs, mapped into memory from a file.

A folder for each way of decoding: ``pixels.bin`` holds the arrays one after the other; ``index.jsonl`` a line for each
unit, under the digests of its files' content and written after its pixels, so that a killed filling goes on where it
stopped; ``files.jsonl`` remembers the digest of a file by its size and time. Files that changed are decoded again, and
those that only moved are not. All processes and runs share what the system keeps of the pixels in memory; it gives that
back when memory is short.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from data.cache import estimate
from data.transforms import Prepared
from util.files import locked
from util.images.io import Format
from util.memory import gigabytes
from util.wording import counted

_VERSION = 1  # of the layout of the files and of what decoding means
_ALIGNMENT = 64
_PIXELS, _INDEX, _FILES, _LOCK = "pixels.bin", "index.jsonl", "files.jsonl", "lock"
_SHARE_OF_FREE = 0.95

log = logging.getLogger(__name__)


def default_folder() -> Path:
    """Where decoded pictures are kept: ``$XDG_CACHE_HOME/image-translation-gans/pixels``, else below ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "image-translation-gans" / "pixels"


@dataclass(frozen=True)
class _Entry:
    """A unit in the cache: where the arrays of its sides lie, and where the last of them ends."""

    sides: dict[str, dict[str, Any]]
    end: int

    def line(self, key: str) -> str:
        return json.dumps({"key": key, "sides": self.sides, "end": self.end}) + "\n"


class DiskCache:
    """The pictures of a data set, unit by unit, in a mapped file.

    Args:
        folder: of the cache.
        entries: one for each unit.
    """

    def __init__(self, folder: Path, entries: Sequence[_Entry]) -> None:
        self._folder, self._entries = folder, entries
        self._map: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def nbytes(self) -> int:
        """Size of the mapped file."""
        return (self._folder / _PIXELS).stat().st_size

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None}  # a worker process maps the file itself

    def __getitem__(self, unit: int) -> dict[str, Prepared]:
        if self._map is None:
            self._map = np.memmap(self._folder / _PIXELS, np.uint8, "r")
        return {name: self._prepared(side) for name, side in self._entries[unit].sides.items()}

    def _prepared(self, side: Mapping[str, Any]) -> Prepared:
        missing = side.get("missing")
        return Prepared(
            self._view(side["array"]),
            cast(Format, side["format"]),
            tuple(side["value_range"]),
            side["labels"],
            None if missing is None else self._view(missing),
            side["nodata"],
            side["clipped"],
        )

    def _view(self, place: Sequence[Any]) -> NDArray[Any]:
        offset, shape, dtype = place
        assert self._map is not None
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return self._map[offset : offset + size].view(dtype).reshape(shape)


def fill_disk(
    decode: Callable[[int], Mapping[str, Prepared]],
    files: Callable[[int], tuple[str, Sequence[str]]],
    count: int,
    *,
    folder: Path,
    settings: Mapping[str, Any],
) -> DiskCache:
    """The cache of a data set; what is missing in it is decoded and added, by one process while others wait.

    Args:
        decode: see ``BaseDataset.decode``.
        files: the files of a unit, and a word for how they are decoded where units differ in that.
        count: number of units.
        folder: of all caches, ``--cache_dir``.
        settings: everything that the decoded pictures depend on beside the files.

    Raises:
        ValueError: a unit cannot be decoded, or the folder cannot be written, or the disk has no room.
    """
    text = json.dumps([_VERSION, dict(settings)], sort_keys=True, default=str)
    own = folder / hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    try:
        own.mkdir(parents=True, exist_ok=True)
        with locked(own / _LOCK, f"--cache disk: another process is filling {own}"):
            return _fill(decode, files, count, own)
    except OSError as error:
        if error.filename is not None and not Path(os.fsdecode(error.filename)).is_relative_to(folder):
            raise  # about a file of the data
        room = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error.strerror or error)
        raise ValueError(
            f"--cache disk: {own} cannot be written ({room}): choose another folder by --cache_dir, or use --cache none"
        ) from error


def _fill(
    decode: Callable[[int], Mapping[str, Prepared]],
    files: Callable[[int], tuple[str, Sequence[str]]],
    count: int,
    folder: Path,
) -> DiskCache:
    digests = _Digests(folder / _FILES)
    keys = []
    for kind, paths in map(files, range(count)):
        keys.append(" ".join([kind, *map(digests, paths)]).strip())
    digests.close()
    found = _read_index(folder / _INDEX, folder / _PIXELS)
    missing = {key: unit for unit, key in enumerate(keys) if key not in found}  # of equal files one
    if missing:
        _add(decode, missing, found, folder)
    return DiskCache(folder, [found[key] for key in keys])


def _add(
    decode: Callable[[int], Mapping[str, Prepared]], missing: Mapping[str, int], found: dict[str, _Entry], folder: Path
) -> None:
    """Decode units and append them to the cache: key -> unit."""
    units = list(missing.values())
    need, free = estimate(lambda number: decode(units[number]), len(units)), shutil.disk_usage(folder).free
    if need > free * _SHARE_OF_FREE:
        raise ValueError(
            f"--cache disk needs about {gigabytes(need)} in {folder}, which has {gigabytes(free)} free: choose another "
            "folder by --cache_dir, use --cache none, or a smaller --load_size"
        )
    begin, there = time.perf_counter(), len(found)
    end = max((entry.end for entry in found.values()), default=0)
    with open(folder / _PIXELS, "ab") as pixels, open(folder / _INDEX, "a", encoding="utf-8", newline="") as index:
        pixels.truncate(end)  # a killed process may have left a part of a unit
        made = tqdm(_in_order(decode, units), "--cache disk", len(units), unit="image", disable=None)
        for key, pictures in zip(missing, made):
            sides = {}
            for name, picture in pictures.items():
                sides[name], end = _written(pixels, end, picture)
            pixels.flush()
            found[key] = _Entry(sides, end)
            index.write(found[key].line(key))
            index.flush()
    log.info(
        "--cache disk: %s decoded in %.1f s, %d there already; %s in %s",
        *(counted(len(units), "picture"), time.perf_counter() - begin, there, gigabytes(end), folder),
    )


class _Digests:
    """Digests of files by their content, read again only where size or time have changed.

    Args:
        file: what is remembered of earlier calls.
    """

    def __init__(self, file: Path) -> None:
        self._known: dict[str, tuple[int, int, str]] = {}
        for said in _lines(file):
            self._known[str(said["path"])] = (int(said["size"]), int(said["time"]), str(said["digest"]))
        self._file = open(file, "a", encoding="utf-8", newline="")  # noqa: SIM115 (until close)

    def __call__(self, path: str) -> str:
        path = os.path.realpath(path)
        status = os.stat(path)
        size, time_ns, digest = self._known.get(path, (-1, -1, ""))
        if (size, time_ns) != (status.st_size, status.st_mtime_ns):
            digest = _digest(path)
            self._known[path] = status.st_size, status.st_mtime_ns, digest
            said = {"path": path, "size": status.st_size, "time": status.st_mtime_ns, "digest": digest}
            self._file.write(json.dumps(said) + "\n")
        return digest

    def close(self) -> None:
        self._file.close()


def _written(pixels: Any, end: int, picture: Prepared) -> tuple[dict[str, Any], int]:
    """Append the arrays of a side; returns what the index says of them, and the new end of the file."""
    places: list[list[Any] | None] = []
    for array in (picture.array, picture.missing):
        if array is None:
            places.append(None)
            continue
        offset = -(-end // _ALIGNMENT) * _ALIGNMENT
        pixels.write(b"\0" * (offset - end))
        pixels.write(np.ascontiguousarray(array).tobytes())
        end = offset + array.nbytes
        places.append([offset, list(array.shape), array.dtype.str])
    said = {"format": picture.format, "value_range": list(picture.value_range), "labels": picture.labels}
    return {**said, "array": places[0], "missing": places[1], "nodata": picture.nodata, "clipped": picture.clipped}, end


def _in_order(call: Callable[[int], Any], units: Sequence[int]) -> Iterator[Any]:
    """The results of the calls, several of which run at a time, few of which wait."""
    threads = min(8, os.cpu_count() or 1)
    waiting: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for unit in units:
                waiting.append(pool.submit(call, unit))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _read_index(index: Path, pixels: Path) -> dict[str, _Entry]:
    """Key -> entry, as far as the pixels are there. What a killed process left of a line is cut off."""
    size = pixels.stat().st_size if pixels.is_file() else 0
    found = {str(said["key"]): _Entry(said["sides"], int(said["end"])) for said in _lines(index)}
    return {key: entry for key, entry in found.items() if entry.end <= size}


def _lines(file: Path) -> list[dict[str, Any]]:
    """The whole lines of a file that grows; of a cut or damaged one on, the file is cut off."""
    if not file.is_file():
        return []
    found, good = [], 0
    with open(file, "rb+") as stream:
        for line in stream:
            try:
                said = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                said = None
            if not isinstance(said, dict):
                break
            found.append(said)
            good += len(line)
        stream.truncate(good)
    return found


def _digest(path: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()

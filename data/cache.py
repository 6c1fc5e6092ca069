"""``--cache ram``: every picture decoded once, kept in memory that all workers read."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from data.transforms import Prepared
from util.images.io import Format
from util.memory import free_memory, gigabytes
from util.wording import counted

_CHUNK_BYTES = 256 * 2**20
_ALIGNMENT = 16
_PROBES = 16
_SHARE_OF_FREE = 0.9

log = logging.getLogger(__name__)


class _Place(NamedTuple):
    chunk: int
    offset: int
    shape: tuple[int, ...]
    dtype: str


class _Slot(NamedTuple):
    array: _Place
    format: Format
    value_range: tuple[float, ...]
    labels: int
    nodata: float | None
    missing: _Place | None


class PixelCache:
    """Decoded pictures, unit by unit, in a few large blocks.

    Forked workers see the blocks without copying them. Where workers are spawned, the blocks lie in shared memory.

    Args:
        shared: put the blocks into shared memory.
        chunk_bytes: size of a block.
    """

    def __init__(self, *, shared: bool = False, chunk_bytes: int = _CHUNK_BYTES) -> None:
        self._shared, self._chunk_bytes = shared, chunk_bytes
        self._chunks: list[torch.Tensor] = []
        self._used = 0
        self._slots: list[dict[str, _Slot]] = []

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def nbytes(self) -> int:
        """Memory of all blocks."""
        return sum(chunk.numel() for chunk in self._chunks)

    def append(self, pictures: Mapping[str, Prepared]) -> None:
        """Keep the pictures of the next unit."""
        self._slots.append({side: self._store(picture) for side, picture in pictures.items()})

    def __getitem__(self, unit: int) -> dict[str, Prepared]:
        return {side: self._prepared(slot) for side, slot in self._slots[unit].items()}

    def _prepared(self, slot: _Slot) -> Prepared:
        missing = None if slot.missing is None else self._view(slot.missing)
        return Prepared(self._view(slot.array), slot.format, slot.value_range, slot.labels, missing, slot.nodata)

    def _store(self, picture: Prepared) -> _Slot:
        missing = None if picture.missing is None else self._keep(picture.missing)
        array = self._keep(picture.array)
        return _Slot(array, picture.format, picture.value_range, picture.labels, picture.nodata, missing)

    def _keep(self, array: np.ndarray[Any, Any]) -> _Place:
        size = -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
        if not self._chunks or self._used + size > self._chunks[-1].numel():
            chunk = torch.empty(max(size, self._chunk_bytes), dtype=torch.uint8)
            self._chunks.append(chunk.share_memory_() if self._shared else chunk)
            self._used = 0
        place = _Place(len(self._chunks) - 1, self._used, array.shape, array.dtype.name)
        self._view(place)[...] = array
        self._used += size
        return place

    def _view(self, place: _Place) -> np.ndarray[Any, Any]:
        size = int(np.prod(place.shape)) * np.dtype(place.dtype).itemsize
        raw = self._chunks[place.chunk].numpy()[place.offset : place.offset + size]
        return raw.view(place.dtype).reshape(place.shape)


def fill(decode: Callable[[int], Mapping[str, Prepared]], count: int, *, copies: int = 1) -> PixelCache:
    """Decode units 0 to ``count - 1`` into a cache, several at a time.

    Args:
        decode: see ``BaseDataset.decode``.
        count: number of units.
        copies: processes on this machine that each fill one.

    Raises:
        ValueError: a unit cannot be decoded, or the estimate exceeds the free memory.
    """
    # The first of all methods is the default; get_start_method() without allow_none would fix it for the whole program.
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    shared = method != "fork"
    size = estimate(decode, count)
    check_memory(size, copies=copies, shared=shared)
    begin = time.perf_counter()
    cache = PixelCache(shared=shared, chunk_bytes=min(_CHUNK_BYTES, size + size // 50 + _ALIGNMENT))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for pictures in tqdm(pool.map(decode, range(count)), "--cache ram", count, unit="image", disable=None):
            cache.append(pictures)
    seconds = time.perf_counter() - begin
    log.info("--cache ram: %s, %.0f MB, %.1f s", counted(count, "file"), cache.nbytes / 2**20, seconds)
    return cache


def estimate(decode: Callable[[int], Mapping[str, Prepared]], count: int) -> int:
    """Bytes that all units need, from the mean of a few of them."""
    probes = sorted({(count - 1) * step // (_PROBES - 1) for step in range(_PROBES)})
    sizes = [sum(map(_nbytes, decode(unit).values())) for unit in probes]
    return int(sum(sizes) / len(sizes) * count)


def _nbytes(picture: Prepared) -> int:
    return picture.array.nbytes + (0 if picture.missing is None else picture.missing.nbytes)


def check_memory(size: int, *, copies: int = 1, shared: bool = False) -> None:
    """Refuse a cache that does not fit.

    Raises:
        ValueError: with what is needed, what is free, and what to do.
    """
    need = size * copies
    each = f" ({copies} processes with {gigabytes(size)} each)" if copies > 1 else ""
    free = free_memory()
    if free is not None and need > free * _SHARE_OF_FREE:
        raise ValueError(
            f"--cache ram needs about {gigabytes(need)}{each}, but {gigabytes(free)} of memory are free: "
            f"use --cache none, a smaller --load_size, or --max_dataset_size"
        )
    if shared and Path("/dev/shm").is_dir():
        free = shutil.disk_usage("/dev/shm").free
        if need > free * _SHARE_OF_FREE:
            raise ValueError(
                f"--cache ram needs about {gigabytes(need)}{each} of shared memory, but /dev/shm has "
                f"{gigabytes(free)}: enlarge it (docker: --shm-size), or use --num_threads 0 or --cache none"
            )

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

_CHUNK_BYTES = 256 * 2**20
_ALIGNMENT = 16
_PROBES = 16
_SHARE_OF_FREE = 0.9

log = logging.getLogger(__name__)


class _Slot(NamedTuple):
    chunk: int
    offset: int
    shape: tuple[int, ...]
    dtype: str
    format: Format
    value_range: tuple[float, ...]


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
        return {
            side: Prepared(self._view(slot), slot.format, slot.value_range) for side, slot in self._slots[unit].items()
        }

    def _store(self, picture: Prepared) -> _Slot:
        size = -(-picture.array.nbytes // _ALIGNMENT) * _ALIGNMENT
        if not self._chunks or self._used + size > self._chunks[-1].numel():
            chunk = torch.empty(max(size, self._chunk_bytes), dtype=torch.uint8)
            self._chunks.append(chunk.share_memory_() if self._shared else chunk)
            self._used = 0
        array, place = picture.array, (len(self._chunks) - 1, self._used)
        slot = _Slot(*place, array.shape, array.dtype.name, picture.format, picture.value_range)
        self._view(slot)[...] = picture.array
        self._used += size
        return slot

    def _view(self, slot: _Slot) -> np.ndarray[Any, Any]:
        size = int(np.prod(slot.shape)) * np.dtype(slot.dtype).itemsize
        raw = self._chunks[slot.chunk].numpy()[slot.offset : slot.offset + size]
        return raw.view(slot.dtype).reshape(slot.shape)


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
    log.info("--cache ram: %d files, %.0f MB, %.1f s", count, cache.nbytes / 2**20, seconds)
    return cache


def estimate(decode: Callable[[int], Mapping[str, Prepared]], count: int) -> int:
    """Bytes that all units need, from the mean of a few of them."""
    probes = sorted({(count - 1) * step // (_PROBES - 1) for step in range(_PROBES)})
    sizes = [sum(picture.array.nbytes for picture in decode(unit).values()) for unit in probes]
    return int(sum(sizes) / len(sizes) * count)


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

"""How much memory is free, and what becomes of memory that was freed."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from pathlib import Path

_CHECKED_FROM = 2**28
"""Bytes; for less the free memory is not looked at."""


def free_memory() -> int | None:
    """Bytes that can be used without swapping, container limits included; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):
        return free
    return free if limit == "max" else min(free, max(int(limit) - used, 0))


def free_if_short(need: int) -> int | None:
    """Bytes of free memory where ``need`` bytes do not fit; None where they do, and below 256 MB unasked."""
    free = free_memory() if need >= _CHECKED_FROM else None
    return free if free is not None and need > free else None


def require_memory(need: int) -> None:
    """Refuse what does not fit into the free memory.

    Args:
        need: bytes.

    Raises:
        ValueError: with both numbers.
    """
    if (free := free_if_short(need)) is not None:
        raise ValueError(f"needs {gigabytes(need)} of memory, but {gigabytes(free)} are free")


def gigabytes(size: float) -> str:
    """A number of bytes in GB, or in MB below one GB."""
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{size / 2**20:.0f} MB"


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_NEVER = -1


def keep_freed_memory(environment: Mapping[str, str] = os.environ, *, largest: int = 2**30) -> bool:
    """Let glibc keep what this process frees, for its next allocation, instead of giving it back to the system.

    A training step allocates the same activations and gradients over and over. By default glibc takes every block of
    more than 32 MiB from the system and gives it back when it is freed; the system clears its pages again, one page
    fault for every 4 KiB: about a seventh of a U-Net step's time. The peak stays the same. A user's own setting wins.

    Args:
        environment: in which a user's setting would be.
        largest: blocks of more bytes go back as ever; where blocks of many sizes come one after the other, as of large
            pictures, kept ones would add to the peak.

    Returns:
        whether it was set; False on systems without glibc.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in environment):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, largest) and mallopt(_M_TRIM_THRESHOLD, _NEVER))

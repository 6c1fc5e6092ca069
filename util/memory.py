"""How much memory is free."""

from __future__ import annotations

from pathlib import Path


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


def require_memory(need: int) -> None:
    """Refuse what does not fit into the free memory; less than 256 MB is not looked at.

    Args:
        need: bytes.

    Raises:
        ValueError: with both numbers.
    """
    free = free_memory() if need >= 2**28 else None
    if free is not None and need > free:
        raise ValueError(f"needs {gigabytes(need)} of memory, but {gigabytes(free)} are free")


def gigabytes(size: float) -> str:
    """A number of bytes in GB, or in MB below one GB."""
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{size / 2**20:.0f} MB"

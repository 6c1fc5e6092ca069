"""A tensor that lies in a file, and the pieces of a file that is not what it should be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a file, not yet read.

    Attributes:
        shape: its shape there.
        dtype: its type there.
        load: reads it; a read-only array that may be a view of the mapped file.

    ``load`` raises ValueError if the bytes are damaged.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    load: Callable[[], Array]


def map_file(file: Path, offset: int = 0, size: int | None = None) -> NDArray[np.uint8]:
    """Bytes of a file, mapped: what is not looked at is not read, and memory is free again once the array is gone.

    Args:
        file: its path.
        offset: of the first byte.
        size: how many bytes, all that follow by default; the file has them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it cannot be read.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no such file")
    try:
        count = file.stat().st_size - offset if size is None else size
        if not count:  # cannot be mapped
            return np.zeros(0, np.uint8)
        return np.memmap(file, np.uint8, mode="r", offset=offset, shape=(count,))
    except (OSError, ValueError) as error:  # ValueError: the file has become shorter
        raise ValueError(f"{file}: cannot be read ({error})") from None


def by(shape: tuple[int, ...]) -> str:
    """A shape for messages, such as ``3x3x64x128``."""
    return "x".join(map(str, shape)) or "scalar"

"""The smallest type that files of training hold values in without a loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def compact(array: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers as int16 where that holds them, else as uint16; everything else as float32.

    uint8, uint16 and int16 stay what they are. Whole numbers beyond 16 bits are rounded to the 24 bits of float32.
    """
    if array.dtype.name in ("uint8", "uint16", "int16", "float32"):
        return array if array.dtype.name != "float32" else _whole(array)
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"holds {array.dtype} instead of numbers")
    return _whole(array)


def _whole(array: NDArray[Any]) -> NDArray[Any]:
    if array.size and np.isfinite(array).all() and (array.dtype.kind in "iu" or (np.rint(array) == array).all()):
        low, high = array.min(), array.max()
        for kind in ("int16", "uint16"):
            limits = np.iinfo(kind)
            if limits.min <= low and high <= limits.max:
                return array.astype(kind)
    with np.errstate(over="ignore"):
        return array.astype(np.float32)

"""Square grids of generated images, as uint8, the way the published SAGAN program writes them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def to_uint8_truncating(x: Tensor) -> NDArray[np.uint8]:
    """``floor((x + 1) / 2 * 255)``: the published way, which cuts where ``image_io.to_uint8`` rounds.

    Args:
        x: any shape and device, in [-1, 1]; what lies outside is clipped.

    Returns:
        an array of the same shape; only 1 itself becomes 255.
    """
    scaled = (x.detach().float().cpu().clamp(-1, 1) + 1) / 2 * 255
    return scaled.numpy().astype(np.uint8)


def tile(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One picture of many: row by row into a square of ``ceil(sqrt(N))`` cells a side.

    Each cell has one black pixel at its right and one below it, the last ones too; cells without an image are black.

    Args:
        images: ``[N, C, H, W]``, N at least 1.

    Returns:
        ``[side * (H + 1), side * (W + 1), C]``, as image files want it.

    Raises:
        ValueError: no images, or another shape.
    """
    if images.ndim != 4 or not len(images):
        raise ValueError(f"a grid is made of images [N, C, H, W] with N at least 1, not of {list(images.shape)}")
    count, channels, height, width = images.shape
    side = math.isqrt(count - 1) + 1
    cells = np.zeros((side * side, channels, height + 1, width + 1), np.uint8)
    cells[:count, :, :height, :width] = images
    rows = cells.reshape(side, side, channels, height + 1, width + 1)
    return np.ascontiguousarray(rows.transpose(0, 3, 1, 4, 2)).reshape(
        side * (height + 1), side * (width + 1), channels
    )

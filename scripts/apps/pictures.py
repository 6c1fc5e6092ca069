"""Pictures for the page, and files in the depth of the run: windows, spreads of several draws, pairs."""

from __future__ import annotations

import base64
import io
import secrets
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from util.images.io import save_array
from util.run.inference import STD_FACTOR


def window_of(arrays: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """The window that shows these pictures as they are: 0 to 255 of 8 bit, else from the smallest to the largest value.

    Args:
        arrays: ``[H, W, C]`` of one type, at least one.
    """
    if arrays[0].dtype == np.uint8:
        return 0.0, 255.0
    low, high = min(float(array.min()) for array in arrays), max(float(array.max()) for array in arrays)
    return (low, high) if high > low else (low, low + 1)


def shown(array: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """A picture to look at: values from ``low`` to ``high`` become 0 to 255, and what lies beyond is cut.

    Args:
        array: ``[H, W, C]``; of 1 and 2 channels the first is shown, of more the first three.
        low: becomes black.
        high: becomes white; no more than ``low`` makes two levels.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    seen = array[:, :, :3] if array.shape[2] >= 3 else np.repeat(array[:, :, :1], 3, axis=2)
    if seen.dtype == np.uint8 and (low, high) == (0, 255):
        return np.ascontiguousarray(seen)
    scaled = (seen.astype(np.float64) - low) / max(high - low, np.finfo(np.float64).tiny)
    return np.rint(scaled.clip(0, 1) * 255).astype(np.uint8)


def spread(arrays: Sequence[NDArray[Any]]) -> NDArray[np.uint8]:
    """Where several draws differ: ``STD_FACTOR`` times the standard deviation, white from 1 / 8 of the scale on.

    Args:
        arrays: ``[H, W, C]`` uint8 pictures of one size, as ``shown`` gives them.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    deviation = np.stack(arrays).astype(np.float32).std(axis=0)
    return np.rint((deviation * STD_FACTOR).clip(0, 255)).astype(np.uint8)


def side_by_side(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """A pair as ``--dataset_mode aligned`` reads it; of unlike channels or types both become 8-bit RGB."""
    if left.shape[2] != right.shape[2] or left.dtype != right.dtype:
        left, right = (shown(each, *window_of([each])) for each in (left, right))
    return np.concatenate([left, right], axis=1)


def save_file(array: NDArray[Any], folder: Path, name: str) -> str:
    """Write a picture as PNG, or as TIFF where PNG cannot hold it, into a new folder with a random name.

    Args:
        array: ``[H, W, C]`` uint8, uint16, int16 or float32; it is written as it is.
        folder: of the app's temporary files.
        name: without suffix, of our own making.

    Returns:
        the path of the file.
    """
    place = folder / secrets.token_hex(8)
    return str(save_array(place / f"{name}.png", array))


def data_url(image: NDArray[np.uint8]) -> str:
    """uint8 ``[H, W, 3]`` as ``data:image/png;base64,...``."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def file_url(array: NDArray[Any]) -> str:
    """A picture in its own depth, as PNG or, where PNG cannot hold it, TIFF: ``data:image/...;base64,...``."""
    with TemporaryDirectory() as folder:
        file = save_array(Path(folder) / "picture.png", array)
        kind = "tiff" if file.suffix == ".tif" else "png"
        return f"data:image/{kind};base64," + base64.b64encode(file.read_bytes()).decode("ascii")


def scaled_map(ids: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A map of class ids ``[H, W]`` in another size ``(width, height)``, by the nearest pixel."""
    if size == ids.shape[::-1]:
        return ids
    return np.asarray(Image.fromarray(ids).resize(size, Image.Resampling.NEAREST))

"""Label maps: the labels that a network chose, the colours that they are shown in, and the file that holds both."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from util.files import replacing
from util.images.io import Geo, Pixels, save_array, to_display
from util.wording import counted

MOST_LABELS = 256


def _palette() -> NDArray[np.uint8]:
    """The bits of a label, lowest first, become the highest bits of red, green, blue, red...: that of PASCAL VOC."""
    labels = np.arange(MOST_LABELS)
    colours = np.zeros((MOST_LABELS, 3), np.uint8)
    for bit in range(8):
        colours[:, bit % 3] |= ((labels >> bit & 1) << (7 - bit // 3)).astype(np.uint8)
    return colours


LABEL_COLOURS = _palette()
"""``[256, 3]`` uint8: a colour for each label, all different; 0 is black, 1 dark red, 2 dark green."""


def label_map(values: Pixels) -> NDArray[np.uint8]:
    """``[H, W, 1]``: for each pixel of ``[C, H, W]`` the channel with the largest value, the first of equal ones."""
    array = values if isinstance(values, np.ndarray) else values.detach().float().cpu().numpy()
    return array.argmax(axis=0).astype(np.uint8)[:, :, None]


def in_label_colours(labels: NDArray[Any]) -> NDArray[np.uint8]:
    """Labels ``[H, W, 1]`` as uint8 ``[H, W, 3]`` to look at."""
    return LABEL_COLOURS[labels[:, :, 0]]


def displayed(values: Pixels, labels: int = 0) -> NDArray[Any]:
    """``[C, H, W]`` in ``[-1, 1]`` as a uint8 ``[H, W, 3]`` to look at; with ``labels`` the colours of a label map."""
    return in_label_colours(label_map(values)) if labels else to_display(values)


def label_image(labels: NDArray[np.uint8]) -> Image.Image:
    """Labels ``[H, W, 1]`` as a Pillow image of mode ``P``: its pixels are the labels, its palette their colours."""
    image = Image.fromarray(labels[:, :, 0]).convert("P")
    image.putpalette(LABEL_COLOURS.tobytes())
    return image


def write_label_map(path: Path, labels: NDArray[np.uint8], *, geo: Geo | None = None) -> Path:
    """Write ``[H, W, 1]`` as a PNG whose pixels are the labels, with a table of colours; returns ``path``.

    Args:
        path: ends in ``.png``.
        labels: 0 to 255.
        geo: georeference; a GeoTIFF with the labels is written beside the PNG.

    Raises:
        OSError: it cannot be written.
    """
    out = io.BytesIO()
    label_image(labels).save(out, "PNG", compress_level=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(out.getvalue())
    if geo is not None:
        save_array(path.with_suffix(".tif") if path.suffix == ".png" else path, labels, geo=geo)
    return path


def checked_labels(array: NDArray[Any], count: int, path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """The labels ``[H, W, 1]`` of a file.

    Raises:
        ValueError: more than one channel, no whole numbers, or one beyond ``count - 1``; the message names the file.
    """
    if array.shape[2] != 1 or array.dtype.kind == "f":
        raise ValueError(
            f"{os.fspath(path)}: has {counted(array.shape[2], 'channel')} of {array.dtype}; an index map has whole "
            "numbers in one"
        )
    least, most = int(array.min()), int(array.max())
    if least < 0 or most >= count:
        raise ValueError(
            f"{os.fspath(path)}: has label {least if least < 0 else most}, but the labels are 0 to {count - 1}"
        )
    return array.astype(np.uint8)

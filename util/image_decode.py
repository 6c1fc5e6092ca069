"""Decoding of image files to arrays, by Pillow where it loses nothing, else by ``image_codecs``."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from util import image_codecs

Format = Literal["uint8", "uint16", "float32"]
Alpha = Literal["drop", "white", "keep"]

# What decoders raise on broken data; a programming error (TypeError, AttributeError) is not among them.
BROKEN: tuple[type[Exception], ...] = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, RuntimeError, struct.error, zlib.error),
    Image.DecompressionBombError,
)

_BROKEN_EXIF: tuple[type[Exception], ...] = (*BROKEN, TypeError)
_ORIENTATION = 0x0112  # EXIF tag


@dataclass(frozen=True)
class Header:
    """What a file says of itself before its pixels are decoded; sizes are those after the EXIF orientation."""

    width: int
    height: int
    channels: int  # with the alpha channel, if there is one
    format: Format
    alpha: bool
    orientation: int  # EXIF, 1 = upright


def decode(name: str, data: bytes, alpha: Alpha) -> NDArray[Any]:
    """The pixels ``[H, W, C]`` of a file's bytes as uint8, uint16 or float32, upright, transparency treated.

    Args:
        name: the file's name; only the suffix ``.npy`` is looked at.
        data: all its bytes.
        alpha: see ``image_io.read_image``.

    Raises:
        Exception: one of ``BROKEN``.
    """
    return _supported(_decode(name, data, alpha))


def decode_header(name: str) -> Header:
    """What a file says of itself; raises one of ``BROKEN``."""
    if name.lower().endswith(".npy"):
        return _npy_header(name)
    with open(name, "rb") as file:
        start = file.read(32)
    return _image_header(name, image_codecs.is_png16(start))


def _decode(name: str, data: bytes, alpha: Alpha) -> NDArray[Any]:
    if name.lower().endswith(".npy"):
        return _npy_pixels(np.load(io.BytesIO(data), allow_pickle=False))
    if image_codecs.is_png16(data):
        array = image_codecs.read_png16(data)
        has_alpha, orientation = array.shape[2] in (2, 4), _orientation(_open(data))
    elif _needs_tifffile(data):
        array, has_alpha, orientation = image_codecs.read_tiff(data)
    else:
        image = _open(data)
        image.load()
        # After load: for TIFF, Pillow turns the picture itself and takes the tag away.
        orientation = _orientation(image)
        array, has_alpha = _pillow_pixels(image, alpha)
    if has_alpha:
        array = _treat_alpha(array, alpha)
    return _upright(array, orientation)


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def _needs_tifffile(data: bytes) -> bool:
    """Whether Pillow would refuse this TIFF, or cut its depth, channels or pages."""
    if data[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return False
    try:
        return not _pillow_keeps(_open(data))
    except BROKEN:
        return True


def _pillow_keeps(image: Image.Image) -> bool:
    tags: Any = getattr(image, "tag_v2", {})
    bits = set(tags.get(258, (1,)))
    whole = tags.get(277, 1) == len(image.getbands()) and getattr(image, "n_frames", 1) == 1
    return whole and (bits <= {1, 2, 4, 8} or image.mode == "F" or image.mode.startswith("I;16"))


def _pillow_pixels(image: Image.Image, alpha: Alpha) -> tuple[NDArray[Any], bool]:
    """Pixels ``[H, W, C]`` of a loaded Pillow image, and whether the last channel is alpha."""
    mode, has_alpha = _target_mode(image)
    if has_alpha and alpha == "drop":
        mode, has_alpha = {"LA": "L", "RGBA": "RGB"}[mode], False
    if mode == "I;16":
        array = np.asarray(image).astype(np.uint16)
    else:
        array = np.asarray(image if image.mode == mode else image.convert(mode))
    return (array[:, :, None] if array.ndim == 2 else array), has_alpha


def _target_mode(image: Image.Image) -> tuple[str, bool]:
    """The Pillow mode that keeps what the image holds, and whether its last channel is alpha."""
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format in ("PNG", "PPM")):
        return "I;16", False
    if mode in ("I", "F"):
        return mode, False
    if mode in ("LA", "La") or (mode in ("1", "L") and "transparency" in image.info):
        return "LA", True
    if mode in ("RGBA", "RGBa", "PA") or "transparency" in image.info:
        return "RGBA", True
    return ("L" if mode in ("1", "L") else "RGB"), False


def _treat_alpha(array: NDArray[Any], alpha: Alpha) -> NDArray[Any]:
    if alpha == "keep":
        return array
    if alpha == "drop":
        return array[:, :, :-1]
    full = 1.0 if array.dtype.kind == "f" else float(np.iinfo(array.dtype).max)
    cover = array[:, :, -1:].astype(np.float64) / full
    mixed = array[:, :, :-1] * cover + full * (1 - cover)
    return (mixed if array.dtype.kind == "f" else np.rint(mixed)).astype(array.dtype)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except _BROKEN_EXIF:  # a broken EXIF block says nothing about the pixels
        return 1


def _upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    turned = {
        2: lambda: array[:, ::-1],
        3: lambda: array[::-1, ::-1],
        4: lambda: array[::-1],
        5: lambda: array.swapaxes(0, 1),
        6: lambda: array[::-1].swapaxes(0, 1),
        7: lambda: array[::-1, ::-1].swapaxes(0, 1),
        8: lambda: array[:, ::-1].swapaxes(0, 1),
    }
    return turned[orientation]() if orientation in turned else array


def _npy_pixels(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim not in (2, 3) or 0 in array.shape or array.dtype.kind not in "buif":
        raise ValueError(f"an array of {array.dtype} {array.shape}; expected numbers [H, W] or [H, W, C]")
    return array[:, :, None] if array.ndim == 2 else array


def _supported(array: NDArray[Any]) -> NDArray[Any]:
    """uint8 and uint16 as they are, bool as 0 and 255, every other kind of number as float32."""
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    kind = _stored_as(array.dtype)
    return np.ascontiguousarray(array, dtype=kind)


def _stored_as(dtype: np.dtype[Any]) -> Format:
    if dtype.kind == "b":
        return "uint8"
    return {("u", 1): "uint8", ("u", 2): "uint16"}.get((dtype.kind, dtype.itemsize), "float32")  # type: ignore[return-value]


def _npy_header(name: str) -> Header:
    array = _npy_pixels(np.load(name, mmap_mode="r", allow_pickle=False))
    return Header(array.shape[1], array.shape[0], array.shape[2], _stored_as(array.dtype), False, 1)


def _image_header(name: str, png16: bool) -> Header:
    try:
        image = Image.open(name)
    except OSError:
        if not name.lower().endswith((".tif", ".tiff")):
            raise
        return _tiff_header(name)
    with image:
        if image.format == "TIFF" and not _pillow_keeps(image):
            return _tiff_header(name)
        mode, has_alpha = _target_mode(image)
        channels = {"LA": 2, "RGB": 3, "RGBA": 4}.get(mode, 1)
        kind: Format = "uint16" if png16 or mode == "I;16" else "float32" if mode in ("I", "F") else "uint8"
        if png16:
            channels = {0: 1, 2: 3, 4: 2, 6: 4}[_png_colour_type(name)]
            has_alpha = channels in (2, 4)
        orientation = _orientation(image)
        # From the tags: whether a turned TIFF has its size swapped at opening depends on Pillow's version.
        tags: Any = getattr(image, "tag_v2", {})
        width, height = tags.get(256, image.width), tags.get(257, image.height)
        if orientation >= 5:
            width, height = height, width
    return Header(width, height, channels, kind, has_alpha, orientation)


def _png_colour_type(name: str) -> int:
    with open(name, "rb") as file:
        return file.read(26)[25]


def _tiff_header(name: str) -> Header:
    (height, width, channels), dtype, has_alpha, orientation = image_codecs.tiff_shape(name)
    if orientation >= 5:
        height, width = width, height
    return Header(width, height, channels, _stored_as(dtype), has_alpha, orientation)

"""Decoding and encoding of image files, by Pillow where it loses nothing."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from util.images import decode as image_codecs

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> grey, grey + alpha, RGB, RGBA
_TIFF_ORIENTATION = 274
_TIFF_ALPHA = (1, 2)  # values of the ExtraSamples tag: associated, unassociated


def is_png16(data: bytes) -> bool:
    """Whether the bytes are a PNG with 16 bits a channel (Pillow would cut colours to 8)."""
    return data[:8] == _PNG_SIGNATURE and len(data) > 25 and data[24] == 16


def read_png16(data: bytes) -> NDArray[Any]:
    """Decode a 16-bit PNG to uint16 ``[H, W, C]``, C in 1 to 4.

    Pillow's decoder keeps one byte of each number. Run with raw modes that take the other one, or that know nothing of
    16 bit, it gives all of them.

    Raises:
        ValueError: broken data.
        OSError: broken data (Pillow's message).
    """
    header, packed = _png_chunks(data)
    width, height, _, colour_type, _, _, interlace = struct.unpack(">IIBBBBB", header)
    channels = {kind: count for count, kind in _PNG_COLOUR_TYPES.items()}[colour_type]

    def unpacked(mode: str, raw_mode: str) -> NDArray[Any]:
        return np.asarray(Image.frombytes(mode, (width, height), packed, "zip", raw_mode, interlace))

    if channels == 1:
        return unpacked("I;16", "I;16B")[:, :, None].astype(np.uint16)
    if channels == 2:  # four bytes a pixel, as 8-bit RGBA
        return unpacked("RGBA", "RGBA").view(">u2").astype(np.uint16)
    mode = "RGB" if channels == 3 else "RGBA"
    high, low = unpacked(mode, f"{mode};16B"), unpacked(mode, f"{mode};16L")
    return high.astype(np.uint16) << 8 | low


def _png_chunks(data: bytes) -> tuple[bytes, bytes]:
    """The IHDR chunk and all IDAT chunks together."""
    header, packed, at = b"", [], len(_PNG_SIGNATURE)
    while at + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        if data[at + 8 + size : at + 12 + size] != struct.pack(">I", zlib.crc32(kind + body)):
            raise ValueError(f"broken or truncated PNG chunk {kind.decode('latin-1')}")
        if kind == b"IHDR":
            header = body
        elif kind == b"IDAT":
            packed.append(body)
        elif kind == b"IEND":
            return header, b"".join(packed)
        at += 12 + size
    raise ValueError("PNG without an end: the file is truncated")


def encode_png16(array: NDArray[Any], level: int = 2) -> bytes:
    """A 16-bit PNG of uint16 ``[H, W, C]``, C in 1 to 4; ``level`` is zlib's."""
    height, width, channels = array.shape
    rows = np.ascontiguousarray(array, dtype=">u2").view(np.uint8).reshape(height, -1)
    # Filter "Up": smooth pictures become small numbers, in one numpy operation for the whole image.
    above = np.zeros_like(rows)
    above[1:] = rows[:-1]
    filtered = np.full((height, 1 + rows.shape[1]), 2, dtype=np.uint8)
    filtered[:, 1:] = rows - above
    header = struct.pack(">IIBBBBB", width, height, 16, _PNG_COLOUR_TYPES[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes(), level)), (b"IEND", b""))
    return _PNG_SIGNATURE + b"".join(_png_chunk(kind, body) for kind, body in chunks)


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def read_tiff(data: bytes) -> tuple[NDArray[Any], bool, int]:
    """The first picture of a TIFF: array ``[H, W, C]`` as stored, whether its last channel is alpha, EXIF orientation.

    Raises:
        ValueError: no ``[H, W]`` picture with channels in it, or a package is missing to read it.
    """
    with io.BytesIO(data) as file, _tifffile().TiffFile(file) as tiff:
        if not tiff.series:
            raise ValueError("a TIFF without pictures")
        series, page = tiff.series[0], tiff.pages[0]
        array, axes = series.asarray(), series.axes
        tag = page.tags.get(_TIFF_ORIENTATION)
        has_alpha = any(int(kind) in _TIFF_ALPHA for kind in page.extrasamples)
    return channels_last(array, axes), has_alpha, int(tag.value) if tag else 1


def tiff_shape(path: str) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """Of a TIFF's first picture, from the headers: stored shape [H, W, C], type, has alpha, EXIF orientation."""
    with _tifffile().TiffFile(path) as tiff:
        series, page = tiff.series[0], tiff.pages[0]
        shape = channels_last(np.broadcast_to(np.uint8(0), series.shape), series.axes).shape
        tag = page.tags.get(_TIFF_ORIENTATION)
        has_alpha = any(int(kind) in _TIFF_ALPHA for kind in page.extrasamples)
        return shape, np.dtype(series.dtype), has_alpha, int(tag.value) if tag else 1


def encode_tiff(array: NDArray[Any]) -> bytes:
    """A TIFF of ``[H, W, C]``, uint8, uint16 or float32, any C, losslessly compressed.

    Raises:
        ValueError: tifffile is not installed.
    """
    out = io.BytesIO()
    plain = array[:, :, 0] if array.shape[2] == 1 else array
    layout: dict[str, Any] = {"photometric": "rgb"} if array.shape[2] == 3 else {"photometric": "minisblack"}
    if array.shape[2] > 1:
        layout["planarconfig"] = "contig"
    _tifffile().imwrite(out, plain, compression="zlib", metadata=None, **layout)
    return out.getvalue()


def channels_last(array: NDArray[Any], axes: str) -> NDArray[Any]:
    """``[H, W, C]`` from an array whose axes are named by TIFF letters (``Y``, ``X`` and anything else).

    Raises:
        ValueError: more than one axis beside ``Y`` and ``X`` is longer than 1.
    """
    if "Y" not in axes or "X" not in axes:
        raise ValueError(f"axes {axes} hold no picture")
    others = [axis for axis, name in enumerate(axes) if name not in "YX"]
    long = [axis for axis in others if array.shape[axis] > 1]
    if len(long) > 1:
        raise ValueError(f"{array.ndim} dimensions {array.shape}: a picture has height, width and channels only")
    last = long or others[:1]
    drop = [axis for axis in others if axis not in last]
    order = [axes.index("Y"), axes.index("X"), *last, *drop]
    moved = array.transpose(order)
    return moved.reshape(*moved.shape[:2], moved.shape[2] if last else 1)


def _tifffile() -> ModuleType:
    try:
        import tifffile
    except ImportError:
        raise ValueError("this kind of TIFF needs the package tifffile: pip install tifffile") from None
    return tifffile


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

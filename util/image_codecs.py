"""The file formats that Pillow reads or writes with loss: 16-bit colour PNG, multi-channel and wide TIFF."""

from __future__ import annotations

import io
import struct
import zlib
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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

"""Formats that Pillow does not read, or cuts to 8 bits, by imagecodecs: deep PNG, PPM and AVIF, JPEG 2000, JPEG XL."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from util.images.header import Refused, require_memory

Kind = Literal["PNG", "PNM", "JPEG 2000", "JPEG XL", "AVIF"]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JXL_BOXES = b"\0\0\0\x0cJXL \r\n\x87\n"
_JP2_BOXES = b"\0\0\0\x0cjP  \r\n\x87\n"
_JXL_STREAM, _JP2_STREAM = b"\xff\x0a", b"\xff\x4f\xff\x51"
_PNM_HEADER = re.compile(rb"P([2356])(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)\s")
_JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


@dataclass(frozen=True)
class Shape:
    """What the first bytes say.

    Attributes:
        channels: with alpha; 0 if only decoding tells, as for ``dtype``, ``alpha`` and ``bits`` then.
    """

    width: int
    height: int
    channels: int = 0
    dtype: np.dtype[Any] = field(default=np.dtype(np.uint8))
    alpha: bool = False
    bits: int = 0


def kind_of(data: bytes) -> Kind | None:
    """Which of these formats a file is, by its first 64 KB; None for all others."""
    if data[:8] == _PNG_SIGNATURE:
        return "PNG" if len(data) > 25 and data[24] == 16 else None
    if data[:2] in (b"P2", b"P3", b"P5", b"P6"):
        found = _PNM_HEADER.match(data)
        return "PNM" if found and int(found[4]) > 255 else None
    if data.startswith((_JP2_BOXES, _JP2_STREAM)):
        return "JPEG 2000"
    if data.startswith((_JXL_BOXES, _JXL_STREAM)):
        return "JPEG XL"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        # Pillow gives 8 bits; the configuration of an AV1 stream says whether it has more.
        return "AVIF" if any(data[at.end() + 1] & 0x40 for at in _avif_streams(data)) else None
    return None


def shape_of(kind: Kind, data: bytes) -> Shape:
    """Size and, where it is known without decoding, channels and depth.

    Args:
        kind: see ``kind_of``.
        data: the file, or its first part; of JPEG 2000 and JPEG XL all of it.

    Raises:
        ValueError, struct.error, IndexError: broken data.
    """
    if kind == "PNG":
        width, height, colour_type = struct.unpack_from(">IIxB", data, 16)
        channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
        # A colour that is transparent (tRNS) is decoded to an alpha channel.
        channels += channels in (1, 3) and any(chunk == b"tRNS" for chunk, _ in png_chunks(io.BytesIO(data)))
        return Shape(width, height, channels, np.dtype(np.uint16), channels in (2, 4), 16)
    if kind == "PNM":
        found = _PNM_HEADER.match(data)
        assert found is not None
        grey, bits = found[1] in (b"2", b"5"), int(found[4]).bit_length()
        return Shape(int(found[2]), int(found[3]), 1 if grey else 3, np.dtype(np.uint16), False, bits)
    if kind == "JPEG 2000":
        return _jpeg2000_shape(data)
    if kind == "JPEG XL":
        return Shape(*_jpegxl_size(data))
    return Shape(*_avif_size(data))


def _imagecodecs() -> Any:
    """The library; ``decode`` names it and the way to install it where it is missing."""
    import imagecodecs

    return imagecodecs


def decode_kind(kind: Kind, data: bytes) -> tuple[NDArray[Any], Shape]:
    """Pixels ``[H, W, C]`` as stored, and what they are.

    Numbers are those of the file: 10-bit AVIF gives 0 to 1023 and a PPM of maximum 4095 gives 0 to 4095, as uint16.
    JPEG XL is scaled to the full range of its type by its decoder. Of animations, the first picture.

    Raises:
        Exception: whatever imagecodecs raises on broken data; ``Refused``: more memory needed than is free.
    """
    known = shape_of(kind, data)
    require_memory(known.width, known.height, (known.channels or 4) * known.dtype.itemsize)
    if kind == "PNG":
        array = _imagecodecs().png_decode(data)
    elif kind == "PNM":
        array = _pnm_pixels(data)
    elif kind == "JPEG 2000":
        array = _imagecodecs().jpeg2k_decode(data)
    elif kind == "JPEG XL":
        array = _imagecodecs().jpegxl_decode(data, index=0)
    else:
        # Never with an index: imagecodecs 2026.3.6 then writes beyond its memory for files of several pictures.
        array = _imagecodecs().avif_decode(data)
    array = array[:, :, None] if array.ndim == 2 else array
    if array.ndim != 3:
        raise ValueError(f"{kind} of the dimensions {array.shape}")
    if known.channels:
        return array, known
    height, width, channels = array.shape
    # Neither JPEG XL nor AVIF has other channels than these in use.
    alpha, bits = channels in (2, 4), 8 * array.dtype.itemsize
    if kind == "AVIF" and bits == 16:
        bits = _avif_bits(data)
    return array, Shape(width, height, channels, array.dtype, alpha, bits)


def encode_png16(array: NDArray[Any]) -> bytes:
    """A 16-bit PNG of uint16 ``[H, W, C]``: grey, grey and alpha, RGB or RGBA."""
    plain = np.ascontiguousarray(array[:, :, 0] if array.shape[2] == 1 else array)
    return bytes(_imagecodecs().png_encode(plain, level=1))


def png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Type and first bytes of the chunks of a PNG, as far as the file goes."""
    at = len(_PNG_SIGNATURE)
    while True:
        file.seek(at)
        chunk = file.read(30)
        if len(chunk) < 8:
            return
        size, kind = struct.unpack_from(">I4s", chunk)
        yield kind, chunk[8:]
        at += 12 + size


def _pnm_pixels(data: bytes) -> NDArray[Any]:
    found = _PNM_HEADER.match(data)
    assert found is not None
    width, height, most = (int(each) for each in found.groups()[1:])
    channels = 1 if found[1] in (b"2", b"5") else 3
    count = width * height * channels
    if most > 65535:
        raise ValueError(f"a maximum of {most}")
    if found[1] in (b"5", b"6"):
        numbers = np.frombuffer(data, ">u2", offset=found.end(), count=min(count, (len(data) - found.end()) // 2))
    else:
        numbers = np.array(data[found.end() :].split(maxsplit=count)[:count], dtype=np.int64)
    if len(numbers) < count:
        raise ValueError(f"{len(numbers)} of {count} numbers: the file is truncated")
    if numbers.size and int(numbers.max()) > most:
        raise ValueError(f"a number above the maximum of {most}")
    return numbers.astype(np.uint16).reshape(height, width, channels)


def _boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """(type, first byte, end) of the contents of the ISO boxes in a part of a file."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", data, start + 8), 16
        stop = end if size == 0 else start + size
        if stop < start + head:
            raise ValueError(f"broken box {kind.decode('latin-1')}")
        yield kind, start + head, min(stop, end)
        start = stop


def _jpeg2000_shape(data: bytes) -> Shape:
    """From the codestream's SIZ marker; opacity from the channel definitions, colours from the palette."""
    alpha, palette, stream = -1, None, 0
    for kind, start, end in _boxes(data) if data.startswith(_JP2_BOXES) else ():
        if kind == b"jp2c":
            stream = start
            break
        for inner, at, stop in _boxes(data, start, end) if kind == b"jp2h" else ():
            if inner == b"pclr":
                palette = (data[at + 2], (data[at + 3] & 127) + 1)
            elif inner == b"cdef":
                entries = np.frombuffer(data[at + 2 : stop], ">u2").reshape(-1, 3)
                alpha = next((int(channel) for channel, use, _ in entries if use in (1, 2)), -1)
    if data[stream : stream + 4] != _JP2_STREAM:
        raise ValueError("JPEG 2000 without a codestream")
    x1, y1, x0, y0 = struct.unpack_from(">IIII", data, stream + 8)
    (channels,) = struct.unpack_from(">H", data, stream + 40)
    depths = [data[stream + 42 + 3 * channel] for channel in range(channels)]
    bits, signed = max((depth & 127) + 1 for depth in depths), any(depth & 128 for depth in depths)
    if palette:
        (channels, bits), signed = palette, False
    dtype = np.dtype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2 if bits <= 16 else 4}")
    return Shape(x1 - x0, y1 - y0, channels, dtype, 0 < alpha == channels - 1, bits)


def _jpegxl_size(data: bytes) -> tuple[int, int]:
    """Width and height from the codestream's SizeHeader, before its orientation (ISO/IEC 18181-1)."""
    start = 0
    for kind, at, _ in _boxes(data) if data.startswith(_JXL_BOXES) else ():
        if kind in (b"jxlc", b"jxlp"):
            start = at + (4 if kind == b"jxlp" else 0)
            break
    if data[start : start + 2] != _JXL_STREAM:
        raise ValueError("JPEG XL without a codestream")
    bits, used = int.from_bytes(data[start + 2 : start + 14], "little"), 0

    def take(count: int) -> int:
        nonlocal used
        value = bits >> used & (1 << count) - 1
        used += count
        return value

    small = take(1)
    side = (lambda: 8 * (take(5) + 1)) if small else (lambda: take((9, 13, 18, 30)[take(2)]) + 1)
    height = side()
    ratio = take(3)
    width = side() if ratio == 0 else height * _JXL_RATIOS[ratio - 1][0] // _JXL_RATIOS[ratio - 1][1]
    return width, height


def _avif_streams(data: bytes) -> Iterator[re.Match[bytes]]:
    return re.finditer(rb"av1C\x81", data)


def _avif_size(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        if getattr(image, "n_frames", 1) > 1:
            raise Refused("is an animation of more than 8 bits: save its pictures as PNG")
        return image.size


def _avif_bits(data: bytes) -> int:
    """10 or 12, from the configuration of the deepest AV1 stream (AV1-ISOBMFF, section 2.3)."""
    return 12 if any(data[at.end() + 1] & 0x60 == 0x60 for at in _avif_streams(data)) else 10

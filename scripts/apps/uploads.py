"""What visitors send: files and label maps, checked before they are decoded, and refused in plain words."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
from numpy.typing import NDArray

from scripts.apps.palettes import FITS, Palette
from util.images.decode import Picture, decode, decode_header

_NUMPY = b"\x93NUMPY"
_KINDS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"BM": "BMP",
    b"RIFF": "WebP",
    _NUMPY: "NumPy",
}
"""How a file begins -> what it is. Kinds whose size is known only after decoding (AVIF, JPEG XL) are left out."""

KINDS = ", ".join(dict.fromkeys(_KINDS.values()))
SUFFIXES = [".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".npy"]

_MOST_CHANNELS = 64
_DATA_URL = re.compile(r"data:[\w/.+-]*;base64,")


@dataclass(frozen=True)
class Limits:
    """How large an upload may be.

    Attributes:
        max_pixels: width times height.
        max_mb: size of the file in megabytes.
    """

    max_pixels: int
    max_mb: float

    @property
    def max_bytes(self) -> int:
        return int(self.max_mb * 1e6)

    def check_pixels(self, width: int, height: int) -> None:
        """Refuse too large a picture.

        Raises:
            ValueError: with both sizes.
        """
        if width * height > self.max_pixels:
            raise ValueError(
                f"The picture has {width} x {height} = {width * height / 1e6:.1f} megapixels; this app takes "
                f"{self.max_pixels / 1e6:g} at most. Scale it down and try again."
            )


def read_upload(file: str | Path, limits: Limits, *, indices: bool = False) -> Picture:
    """The picture of an uploaded file, in its own depth, opacity left out.

    The file's name decides nothing, and no message has it: it is that of a temporary file.

    Args:
        file: where the upload lies.
        limits: of the app.
        indices: of a palette picture the indices instead of the colours.

    Raises:
        ValueError: the file is gone, too large, broken, or no picture of ``KINDS``.
    """
    path = Path(file)
    try:
        size = path.stat().st_size
        start = path.open("rb").read(16)
    except OSError:
        raise ValueError(
            "The file is no longer on the server, which keeps uploads for a while only. Upload it again."
        ) from None
    if size > limits.max_bytes:
        raise ValueError(f"The file has {size / 1e6:.1f} MB; this app takes {limits.max_mb:g} MB at most.")
    kind = next((name for magic, name in _KINDS.items() if start.startswith(magic)), "")
    if not kind:
        raise ValueError(f"The file is no picture of a kind that this app reads ({KINDS}).")
    if (kind == "NumPy") != (path.suffix.lower() == ".npy"):
        raise ValueError("The name of a NumPy file ends with .npy, and that of no other file does. Rename the file.")
    try:
        header = decode_header(str(path))
        limits.check_pixels(header.width, header.height)
        if header.channels > _MOST_CHANNELS:
            raise ValueError(f"it has {header.channels} channels, and {_MOST_CHANNELS} at most are read")
        picture = decode(path.name, path.read_bytes(), "drop", "indices" if indices else "colours")
    except ValueError as error:
        text = str(error)
        if text.startswith("The picture has"):
            raise
        raise ValueError(f"The {kind} file cannot be read: {text.replace(str(path), 'the file')}.") from None
    if picture.format == "float32" and not np.isfinite(picture.array).all():
        raise ValueError("The picture holds NaN or infinite values. Replace them and try again.")
    return picture


def label_ids(file: str | Path, palette: Palette, limits: Limits) -> NDArray[np.uint8]:
    """The class of every pixel of an uploaded label map: by the nearest colours, or by the indices of an index map.

    An index map is a grey or palette picture whose numbers are below the number of classes, and whose colours are far
    from the palette's.

    Returns:
        uint8 ``[H, W]``.

    Raises:
        ValueError: as ``read_upload``; or its numbers are no colours.
    """
    picture = read_upload(file, limits)
    if picture.format != "uint8" or picture.array.shape[2] not in (1, 3):
        raise ValueError("A label map has 8-bit colours, or class numbers in one channel; this file has neither.")
    colours = np.broadcast_to(picture.array, (*picture.array.shape[:2], 3))
    if palette.distance(colours) > FITS:
        numbers = read_upload(file, limits, indices=True).array
        if numbers.shape[2] == 1 and numbers.max() < len(palette.names):
            return np.ascontiguousarray(numbers[:, :, 0])
    return palette.ids(colours)


def decode_upload(text: str, limits: Limits) -> Picture:
    """The picture of a file that a program sends in base64, with or without ``data:image/...;base64,`` before it.

    Raises:
        ValueError: it is no such text, or as ``read_upload``.
    """
    if len(text) > limits.max_bytes * 4 / 3 + 100:
        raise ValueError(f"The picture has more than {limits.max_mb:g} MB.")
    try:
        data = base64.b64decode(_DATA_URL.sub("", text, count=1), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("The picture is no file in base64.") from None
    suffix = ".npy" if data.startswith(_NUMPY) else ""
    with NamedTemporaryFile(suffix=suffix) as file:
        file.write(data)
        file.flush()
        return read_upload(file.name, limits)

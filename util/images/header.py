"""What a file says of its picture before any pixel is decoded, and the errors that speak for themselves."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from util.memory import free_if_short, gigabytes

Format = Literal["uint8", "uint16", "int16", "float32"]
Alpha = Literal["drop", "white", "keep"]

GEO_TAGS = {33550: "d", 33922: "d", 34264: "d", 34735: "H", 34736: "d", 34737: "s"}
"""GeoTIFF tag -> TIFF type: ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory and its two stores."""
NODATA_TAG, _GDAL_METADATA = 42113, 42112

_GEOREFERENCED = (33550, 33922, 34264, 34735)
_UNIT = re.compile(r'<Item\b[^>]*\brole="unittype"[^>]*>([^<]*)</Item>')
_COPIES = 3  # of a picture's pixels that lie in memory at once: decoded, turned upright, without alpha


class Refused(ValueError):
    """A picture that is not read, with the remedy in the message: the file itself may be sound."""


@dataclass(frozen=True)
class Geo:
    """The georeference of a GeoTIFF, to be copied to a picture of the same size and place.

    Attributes:
        size: width and height of the picture it belongs to, in pixels.
        tags: (TIFF tag, value), the value as tifffile gives it: a tuple of numbers, or text.
    """

    size: tuple[int, int]
    tags: tuple[tuple[int, Any], ...]

    def cut(self, x: int, y: int, width: int, height: int) -> Geo:
        """The georeference of a part that begins at pixel (x, y): tie points (33922) and matrix (34264) are moved."""
        tags = []
        for tag, value in self.tags:
            if tag == 33922:  # (column, row, level, and the place on the map) for each point
                numbers = list(value)
                numbers[0::6] = [column - x for column in numbers[0::6]]
                numbers[1::6] = [row - y for row in numbers[1::6]]
                value = tuple(numbers)
            elif tag == 34264:  # 4 x 4, by rows: the place of pixel (0, 0) is its last column
                numbers = list(value)
                for row in range(0, 12, 4):
                    numbers[row + 3] += numbers[row] * x + numbers[row + 1] * y
                value = tuple(numbers)
            tags.append((tag, value))
        return Geo((width, height), tuple(tags))


@dataclass(frozen=True)
class Header:
    """What a file says of its picture; sizes are those after the EXIF orientation.

    Attributes:
        channels: with the alpha channel, if there is one; a palette counts as its colours.
        format: how ``read_image`` gives the numbers.
        alpha: the last channel is opacity.
        orientation: EXIF, 1 = upright.
        bits: significant bits per number: 12 for 12-bit data, which ``read_image`` gives as uint16 of 0 to 4095.
        palette: the pixels are indices into a table of colours.
        geo: georeference, of a GeoTIFF.
        nodata: the number that stands for missing pixels (GDAL's tag 42113), NaN included.
        unit: of the numbers (GDAL's metadata), e.g. ``m``.
        remark: what of the file is used in a way that may not be meant, in a few words; else empty.
    """

    width: int
    height: int
    channels: int
    format: Format
    alpha: bool
    orientation: int
    bits: int = 8
    palette: bool = False
    geo: Geo | None = None
    nodata: float | None = None
    unit: str = ""
    remark: str = ""


def stored_as(dtype: np.dtype[Any]) -> Format:
    """The format in which numbers of a type are given: its own, or the next that loses nothing but float32 rounding.

    Raises:
        Refused: complex numbers, or none.
    """
    if dtype.kind == "c":
        raise Refused("has complex numbers: save amplitude and phase, or real and imaginary part, as channels")
    if dtype.kind not in "buif":
        raise Refused(f"holds {dtype} instead of numbers")
    if dtype.kind in "bu" and dtype.itemsize <= 2:
        return "uint8" if dtype.itemsize == 1 else "uint16"
    return "int16" if dtype.kind == "i" and dtype.itemsize <= 2 else "float32"


def georeference(get: Callable[[int], Any], size: tuple[int, int]) -> Geo | None:
    """The GeoTIFF tags of a picture.

    Args:
        get: TIFF tag -> its value, None where the file does not have it.
        size: width and height of the picture.
    """
    tags = tuple((tag, value) for tag in GEO_TAGS if (value := get(tag)) is not None)
    return Geo(size, tags) if any(tag in _GEOREFERENCED for tag, _ in tags) else None


def nodata_value(get: Callable[[int], Any]) -> float | None:
    """The value of GDAL's tag 42113; None where there is none, or no number in it."""
    text = str(get(NODATA_TAG) or "").strip("\0 ")
    try:
        return float(text)
    except ValueError:
        return None


def nodata_text(value: float) -> str:
    """A nodata value as GDAL writes it: ``nan``, ``-9999``."""
    return "nan" if math.isnan(value) else f"{value:.17g}"


def value_unit(get: Callable[[int], Any]) -> str:
    """The unit of the first band, from GDAL's metadata (XML); empty where there is none."""
    found = _UNIT.search(str(get(_GDAL_METADATA) or ""))
    return found[1].strip() if found else ""


def require_memory(width: int, height: int, bytes_per_pixel: int) -> None:
    """Refuse a picture that does not fit into the free memory.

    Raises:
        Refused: with the size, and how to cut tiles.
    """
    need = width * height * bytes_per_pixel * _COPIES
    if (free := free_if_short(need)) is not None:
        raise Refused(
            f"has {width}x{height} pixels ({width * height / 1e6:.0f} megapixels), which need {gigabytes(need)} of "
            f"memory, but {gigabytes(free)} are free: cut it into tiles first, for example by ImageMagick (magick FILE "
            f"-crop 2048x2048 +repage tile_%04d.png) or GDAL (gdal_retile.py -ps 2048 2048 -targetDir TILES FILE)"
        )

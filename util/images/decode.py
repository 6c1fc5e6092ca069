"""Decoding of image files to arrays: by Pillow where it loses nothing, else by ``codecs`` and ``tiff``."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from util.images.codecs import Kind, decode_kind, kind_of, png_chunks, shape_of
from util.images.header import (
    Alpha,
    Format,
    Header,
    Refused,
    georeference,
    nodata_value,
    require_memory,
    stored_as,
    value_unit,
)
from util.images.tiff import has_bands, is_tiff, read_tiff, tiff_header

Palette = Literal["colours", "indices"]

# Pillow's limit of 179 megapixels is meant for web servers. The files here are the user's own, and require_memory
# looks at every size before a picture is decoded.
Image.MAX_IMAGE_PIXELS = None
# What Pillow thinks of a file's metadata would be printed with a line of its source.
warnings.filterwarnings("ignore", module=r"PIL\.")

_START = 65536  # bytes by which a format is known
_ORIENTATION = 0x0112  # EXIF tag
# None, CCITT, LZW, JPEG, Deflate (two numbers), PackBits: what every build of Pillow reads in TIFF.
_PILLOW_COMPRESSIONS = (1, 2, 3, 4, 5, 7, 8, 32946, 32773)
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_TURNING_TEXTS = (b"Raw profile type exif", b"XML:com.adobe.xmp")
_BLOCKS = (273, 279, 324, 325)  # TIFF: where strips and tiles begin, and how many bytes they have


@dataclass(frozen=True)
class Picture:
    """What a file holds.

    Attributes:
        array: ``[H, W, C]``, uint8, uint16, int16 or float32, in the file's own units.
        format: the name of that type.
        alpha: the last channel is opacity (only with ``alpha="keep"``).
        nodata: the number that stands for missing pixels, where a TIFF names one (GDAL's tag 42113).
    """

    array: NDArray[Any]
    format: Format
    alpha: bool = False
    nodata: float | None = None


def decode(name: str, data: bytes, alpha: Alpha, palette: Palette = "colours") -> Picture:
    """The picture in a file's bytes, upright, transparency treated.

    Args:
        name: the file's name; only the suffix ``.npy`` is looked at.
        data: all its bytes.
        alpha: see ``io.read_image``.
        palette: see ``io.read_image``.

    Raises:
        Refused: a kind of picture that is not read, a missing package or too little memory, with the remedy.
        ValueError: broken data, with the decoder's reason.
    """
    return _guarded(lambda: _decode(name, data, alpha, palette))


def decode_header(name: str) -> Header:
    """What a file says of itself. Raises as ``decode`` does, and OSError if the file cannot be opened."""
    if name.lower().endswith(".npy"):
        return _guarded(lambda: _npy_header(name))
    with open(name, "rb") as file:
        return _guarded(lambda: _header(name, file))


def _guarded(work: Callable[[], Any]) -> Any:
    """``work()``; whatever a decoder raises becomes a ValueError of one line."""
    try:
        return work()
    except Refused:
        raise
    except MemoryError:
        raise Refused("needs more memory than is free: scale it down or cut it into tiles") from None
    except ImportError as error:
        raise Refused(f"cannot be read as a package is missing ({error}): pip install imagecodecs tifffile") from error
    # Decoders raise RuntimeError, SyntaxError, struct.error and many more on broken data; their lists change.
    except Exception as error:
        reason = _reason(error)
        if "imagecodecs" in reason and "requires" in reason:
            raise Refused(f"cannot be read as a package is missing ({reason}): pip install imagecodecs") from error
        raise ValueError(reason) from error


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "no image format that Pillow knows"
    first = (str(error).splitlines() or [""])[0]
    return first or type(error).__name__


def _decode(name: str, data: bytes, alpha: Alpha, palette: Palette) -> Picture:
    if name.lower().endswith(".npy"):
        return _picture(_npy_pixels(np.load(io.BytesIO(data), allow_pickle=False)))
    start = data[:_START]
    nodata = None
    if kind := kind_of(start):
        array, shape = decode_kind(kind, data)
        has_alpha, orientation = shape.alpha, _kind_orientation(kind, io.BytesIO(data))
    elif is_tiff(start) and _tiff_for_pillow(io.BytesIO(data)) is None:
        array, header = read_tiff(data, palette=palette == "indices")
        has_alpha, orientation, nodata = header.alpha, header.orientation, header.nodata
    else:
        image = Image.open(io.BytesIO(data))
        require_memory(image.width, image.height, len(image.getbands()))
        nodata = _nodata(image)
        image.load()
        # After load: for TIFF, Pillow turns the picture itself and takes the tag away.
        orientation = _orientation(image)
        array, has_alpha = _pillow_pixels(image, alpha, palette)
    if has_alpha:
        array = _treat_alpha(array, alpha)
    return _picture(_upright(array, orientation), has_alpha and alpha == "keep", nodata)


def _picture(array: NDArray[Any], alpha: bool = False, nodata: float | None = None) -> Picture:
    """The picture of an array of any numbers: bool as 0 and 255, 8-bit signed as int16, others as ``stored_as``."""
    kind = stored_as(array.dtype)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, which is refused by its own message
        return Picture(np.ascontiguousarray(array, dtype=kind), kind, alpha, nodata)


def _tiff_for_pillow(file: BinaryIO) -> Image.Image | None:
    """The TIFF opened by Pillow; None if it would refuse it, or cut its depth, bands or pages."""
    try:
        image = Image.open(file)
        return image if _pillow_keeps(image) else None
    except Exception:  # tifffile says what is wrong
        return None


def _pillow_keeps(image: Image.Image) -> bool:
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(259, 1) not in _PILLOW_COMPRESSIONS or getattr(image, "n_frames", 1) != 1 or tags.get(254, 0) & 1:
        return False
    # GDAL leaves out blocks in which all is missing. Pillow would decode the file's first bytes in their place.
    if any(0 in tags.get(tag, ()) for tag in _BLOCKS):
        return False
    photometric, samples = tags.get(262, 1), tags.get(277, 1)
    geo = georeference(tags.get, image.size)
    if samples != len(image.getbands()) or has_bands(samples, photometric, tuple(tags.get(338, ())), geo):
        return False
    if set(tags.get(258, (1,))) <= {1, 2, 4, 8}:
        return set(tags.get(339, (1,))) == {1}
    return photometric == 1 and (image.mode == "F" or image.mode.startswith("I;16"))


def _nodata(image: Image.Image) -> float | None:
    return nodata_value(getattr(image, "tag_v2", {}).get)


def _pillow_pixels(image: Image.Image, alpha: Alpha, palette: Palette) -> tuple[NDArray[Any], bool]:
    """Pixels ``[H, W, C]`` of a loaded Pillow image, and whether the last channel is alpha."""
    if palette == "indices" and image.mode == "P":
        return np.asarray(image)[:, :, None], False
    if image.mode == "La":  # the only conversion that Pillow has for it
        image = image.convert("LA")
    mode, has_alpha = _target_mode(image)
    if has_alpha and alpha == "drop":
        mode, has_alpha = {"LA": "L", "RGBA": "RGB"}[mode], False
    if mode == "I;16":
        array = np.asarray(image).astype(np.uint16)
    elif image.mode == "CMYK":
        array = np.asarray(_without_inks(image))
    else:
        array = np.asarray(image if image.mode == mode else image.convert(mode))
    return (array[:, :, None] if array.ndim == 2 else array), has_alpha


def _without_inks(image: Image.Image) -> Image.Image:
    """CMYK as sRGB: by the profile in the file, or without one by Pillow's ``255 - ink``."""
    if profile := _ink_profile(image):
        source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
        assert converted is not None  # None is for inPlace
        return converted
    return image.convert("RGB")


def _ink_profile(image: Image.Image) -> bytes:
    """The colour profile of a CMYK picture; empty if it has none, or one of other colours."""
    profile = image.info.get("icc_profile") or b""
    return profile if profile[16:20] == b"CMYK" else b""  # the profile's colour space (ICC.1, section 7.2.6)


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
    except Exception:  # a broken EXIF block says nothing about the pixels
        return 1


def _kind_orientation(kind: Kind, file: BinaryIO) -> int:
    """The EXIF orientation of what Pillow does not decode. JPEG XL is turned by its decoder."""
    if kind == "AVIF" or (kind == "PNG" and _png_may_turn(file)):
        file.seek(0)
        return _orientation(Image.open(file))
    return 1


def _png_may_turn(file: BinaryIO) -> bool:
    """Whether a PNG has a chunk that can hold an orientation: Pillow decodes the whole picture to look for it."""
    return any(
        kind == b"eXIf" or (kind in _TEXT_CHUNKS and start.startswith(_TURNING_TEXTS))
        for kind, start in png_chunks(file)
    )


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
    if array.dtype.kind == "c":
        stored_as(array.dtype)  # refuses it
    if array.ndim not in (2, 3) or 0 in array.shape or array.dtype.kind not in "buif":
        raise ValueError(f"an array of {array.dtype} {array.shape}; expected numbers [H, W] or [H, W, C]")
    return array[:, :, None] if array.ndim == 2 else array


def _npy_header(name: str) -> Header:
    array = _npy_pixels(np.load(name, mmap_mode="r", allow_pickle=False))
    height, width, channels = array.shape
    return Header(width, height, channels, stored_as(array.dtype), False, 1, bits=8 * array.dtype.itemsize)


def _header(name: str, file: BinaryIO) -> Header:
    start = file.read(_START)
    if kind := kind_of(start):
        return _kind_header(kind, file)
    file.seek(0)
    if is_tiff(start) and _tiff_for_pillow(file) is None:
        return tiff_header(name)
    file.seek(0)
    image = Image.open(file)
    mode, has_alpha = _target_mode(image)
    channels = {"LA": 2, "RGB": 3, "RGBA": 4}.get(mode, 1)
    kind_: Format = "uint16" if mode == "I;16" else "float32" if mode in ("I", "F") else "uint8"
    orientation = 1 if image.format == "PNG" and not _png_may_turn(file) else _orientation(image)
    tags: Any = getattr(image, "tag_v2", {})
    # From the tags: whether a turned TIFF has its size swapped at opening depends on Pillow's version.
    width, height = tags.get(256, image.width), tags.get(257, image.height)
    if orientation >= 5:
        width, height = height, width
    return Header(
        width=width,
        height=height,
        channels=channels,
        format=kind_,
        alpha=has_alpha,
        orientation=orientation,
        bits=max(tags.get(258, (16,))) if kind_ == "uint16" else 8 if kind_ == "uint8" else 32,
        palette=image.mode in ("P", "PA"),
        geo=georeference(tags.get, (width, height)) if orientation == 1 else None,
        nodata=nodata_value(tags.get),
        unit=value_unit(tags.get),
        remark=_ink_remark(image),
    )


def _ink_remark(image: Image.Image) -> str:
    if image.mode != "CMYK":
        return ""
    how = "by the file's profile" if _ink_profile(image) else "without a profile, so that they may be off"
    return f"CMYK colours are converted to RGB {how}"


def _kind_header(kind: Kind, file: BinaryIO) -> Header:
    file.seek(0)
    data = file.read(_START if kind in ("PNG", "PNM") else -1)
    shape = shape_of(kind, data)
    if not shape.channels:
        # No library gives the channels and the depth of these without decoding.
        shape = decode_kind(kind, data)[1]
    orientation = _kind_orientation(kind, file)
    width, height = (shape.height, shape.width) if orientation >= 5 else (shape.width, shape.height)
    return Header(width, height, shape.channels, stored_as(shape.dtype), shape.alpha, orientation, shape.bits)

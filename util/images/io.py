"""Pictures from files and to files, with the depth and the channels that they have.

Read: 8 and 16 bit, signed and float, grey, palette, RGB, RGBA, many bands, of the kinds in ``IMAGE_SUFFIXES``; EXIF
orientation is applied. Written: PNG with 8 or 16 bit where it can hold the picture, else TIFF; a file appears complete
or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from util.files import replacing
from util.images.codecs import encode_png16
from util.images.decode import Palette, Picture, decode, decode_header
from util.images.header import Alpha, Format, Geo, Header, Refused
from util.images.tiff import encode_tiff

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Alpha", "Format", "Geo", "Header", "Palette", "Picture"]

Pixels = Union["Tensor", NDArray[Any]]

FORMATS: tuple[Format, ...] = ("uint8", "uint16", "int16", "float32")
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".ppm", ".pgm", ".pnm", ".bmp", ".gif", ".tga", ".tif", ".tiff", ".webp"),
    *(".jp2", ".avif", ".jxl", ".npy"),
)

_JPEG, _TIFF = (".jpg", ".jpeg"), (".tif", ".tiff")
WRITTEN_IMAGES = (".png", *_JPEG, *_TIFF, ".webp", ".npy")
"""What ``save_array`` writes."""
_NAME_BYTES = 255  # of a file's name, on the usual file systems
_REMEDY = "replace the file or leave it out (scripts/check_data.py lists all such files of a data set)"


def read_image(
    path: str | os.PathLike[str],
    *,
    alpha: Alpha = "drop",
    palette: Palette = "colours",
    allow_nonfinite: bool = False,
) -> Picture:
    """Read a picture without losing depth or channels; EXIF orientation applied.

    8 and 16-bit numbers, signed 16-bit ones too, are those of the file; 8-bit signed become int16; all others float32.
    10 and 12-bit files give uint16 of 0 to 1023 and 0 to 4095 (``Header.bits`` says so).

    Args:
        path: image file or ``.npy`` with ``[H, W]`` or ``[H, W, C]``.
        alpha: what becomes of opacity: ``drop`` ignores it, ``white`` puts the picture on white, ``keep`` returns it
            as the last channel. It is what the file calls alpha; channels of a GeoTIFF are always data.
        palette: of a palette picture give its ``colours``, or the ``indices`` into their table as uint8 ``[H, W, 1]``;
            without effect on others.
        allow_nonfinite: return NaN and infinite values; see ``missing_values``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is empty, truncated, broken, of an unsupported kind, or holds NaN or infinite values.
    """
    name = os.fspath(path)
    try:
        _check_plain(name)
        data = Path(name).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}: there is no such file") from None
    except OSError as error:
        raise ValueError(f"{name}: cannot be opened ({error.strerror or error})") from error
    return picture_of(name, data, alpha=alpha, palette=palette, allow_nonfinite=allow_nonfinite)


def picture_of(
    name: str, data: bytes, *, alpha: Alpha = "drop", palette: Palette = "colours", allow_nonfinite: bool = False
) -> Picture:
    """``read_image`` of the bytes of a file that is called ``name``.

    Raises:
        ValueError: as ``read_image`` does.
    """
    if not data:
        raise ValueError(f"{name}: the file is empty (0 bytes): {_REMEDY}")
    with _naming(name):
        picture = decode(name, data, alpha, palette)
    if not allow_nonfinite and picture.format == "float32" and not np.isfinite(picture.array).all():
        raise ValueError(
            f"{name}: holds NaN or infinite values: if they stand for missing pixels, give --nodata_A nan "
            f"(or --nodata_B); else {_REMEDY}"
        )
    return picture


def read_header(path: str | os.PathLike[str]) -> Header:
    """Size, channels, depth, alpha, georeference, nodata and unit without decoding the pixels.

    Of JPEG XL and AVIF the pixels are decoded, as nothing else tells their channels. Raises as ``read_image`` does.
    """
    name = os.fspath(path)
    try:
        if _check_plain(name) == 0:
            raise ValueError(f"{name}: the file is empty (0 bytes): {_REMEDY}")
        with _naming(name):
            return decode_header(name)
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}: there is no such file") from None
    except OSError as error:
        raise ValueError(f"{name}: cannot be opened ({error.strerror or error})") from error


def _check_plain(name: str) -> int:
    """The size of a file; refuses a pipe, which would be waited for without end, and a device."""
    found = os.stat(name)
    if stat.S_ISFIFO(found.st_mode) or stat.S_ISCHR(found.st_mode) or stat.S_ISSOCK(found.st_mode):
        raise ValueError(f"{name}: is a pipe or a device and no file: {_REMEDY}")
    return found.st_size


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Errors of decoding with the file's name and a remedy."""
    try:
        yield
    except Refused as error:
        raise ValueError(f"{name}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{name}: cannot be read as an image ({error}): {_REMEDY}") from error


def missing_values(array: NDArray[Any], nodata: float) -> NDArray[np.bool_]:
    """Which numbers of ``[H, W, C]`` stand for missing pixels, same shape.

    Args:
        array: as ``read_image`` gives it, with ``allow_nonfinite`` for float files.
        nodata: the value, NaN for NaN. It is rounded to the array's type first, as files hold it in decimal.
    """
    if math.isnan(nodata):
        return np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, np.bool_)
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # GDAL's -1.8e308 of float64 files is read as infinite
            return array == np.asarray(nodata, array.dtype)
    return array == nodata if nodata == int(nodata) else np.zeros(array.shape, np.bool_)


def scale_of(format: Format) -> tuple[float, float]:
    """The numbers that black and white are by default: the full scale of 8 and 16 bit, else 0 and 1."""
    return 0.0, {"uint8": 255.0, "uint16": 65535.0}.get(format, 1.0)


def fitting_format(format: Format, *values: float) -> Format:
    """The format, or the next of uint16, int16 and float32 that can hold all values.

    ``fitting_format("uint16", -1000, 2000)`` is ``int16``: what a CT predicted from an unsigned MR needs.
    """
    for kind in (format, "uint16", "int16"):
        limits = None if kind == "float32" else np.iinfo(kind)
        if limits is None or all(limits.min <= value <= limits.max for value in values):
            return kind
    return "float32"


def to_uint8(values: Pixels) -> NDArray[Any]:
    """Values in ``[-1, 1]``, any shape, as uint8 of the same shape: clipped, then truncated.

    ``(v + 1) / 2 * 255`` is cut, not rounded: the published conversion. NaN becomes 0.
    """
    scaled = (_to_numpy(values) + np.float32(1)) / np.float32(2) * np.float32(255)
    return np.nan_to_num(scaled, nan=0.0).clip(0, 255).astype(np.uint8)


def to_display(values: Pixels) -> NDArray[Any]:
    """``[C, H, W]`` in ``[-1, 1]`` as a uint8 ``[H, W, 3]`` to look at.

    Channels shown: of 1 and 2 the first, as grey; of 3 and more the first three.
    """
    first = to_uint8(values[:3] if values.shape[0] >= 3 else values[:1]).transpose(1, 2, 0)
    return np.ascontiguousarray(first if first.shape[2] == 3 else np.repeat(first, 3, axis=2))


def write_image(
    path: str | os.PathLike[str],
    values: Pixels,
    format: Format = "uint8",
    *,
    value_range: tuple[float, float] | None = None,
    alpha: bool = False,
    geo: Geo | None = None,
    nodata: float | None = None,
    missing: NDArray[np.bool_] | None = None,
    quality: int = 95,
) -> Path:
    """Write ``[C, H, W]`` in ``[-1, 1]`` (clipped) in the units that ``read_image`` gave for it.

    Rounded, not truncated: what was read as 8 or 16 bit is written back equal. No number is clipped by the type of
    the file: where ``format`` cannot hold the range (or ``nodata``), ``fitting_format`` widens it; int16 without a
    range, which has no full scale, is written as float32 of 0 to 1.

    Args:
        path: wanted file; the suffix gives way to the format, see ``written_path``.
        values: tensor on any device, or array.
        format: how the file stores numbers.
        value_range: the numbers in the file that -1 and 1 stand for (default: ``scale_of`` the format).
        alpha: the last channel is opacity.
        geo: georeference of the file, which then is a GeoTIFF; its size must be that of the picture.
        nodata: the number that stands for missing pixels; a TIFF names it (GDAL's tag 42113).
        missing: ``[H, W]`` or ``[C, H, W]``, where ``nodata`` is written instead of the values.
        quality: of JPEG and WebP, 1 to 100; WebP of 100 loses nothing.

    Returns:
        The file that was written.

    Raises:
        ValueError: NaN in the values, an unknown format, another size than ``geo`` has, or a package is missing.
    """
    if format not in FORMATS:
        raise ValueError(f"image format {format!r}: choose one of {', '.join(FORMATS)}")
    numbers = [nodata] if nodata is not None and missing is not None and missing.any() else []
    kind = stored_format(format, value_range, *numbers)
    try:
        stored = stored_pixels(values, format, kind, value_range=value_range, nodata=nodata, missing=missing)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None
    return save_array(path, stored, alpha=alpha, geo=geo, nodata=nodata, quality=quality)


def stored_format(format: Format, value_range: tuple[float, float] | None, *numbers: float) -> Format:
    """The format that ``write_image`` stores values in.

    Args:
        format: of the domain.
        value_range: the numbers that -1 and 1 stand for; None for the full scale.
        numbers: others that the file must hold, such as that of missing pixels.
    """
    low, high = value_range or scale_of(format)
    kind: Format = "float32" if format == "int16" and value_range is None else fitting_format(format, low, high)
    return fitting_format(kind, low, high, *numbers) if numbers else kind


def stored_pixels(
    values: Pixels,
    format: Format,
    kind: Format,
    *,
    value_range: tuple[float, float] | None = None,
    nodata: float | None = None,
    missing: NDArray[np.bool_] | None = None,
) -> NDArray[Any]:
    """``[C, H, W]`` in ``[-1, 1]`` as ``[H, W, C]`` of ``kind``, which ``stored_format`` gave; see ``write_image``.

    Raises:
        ValueError: NaN in the values.
    """
    array = _to_numpy(values).transpose(1, 2, 0)
    if np.isnan(array).any():
        raise ValueError("the picture has NaN values and cannot be written")
    low, high = value_range or scale_of(format)
    scaled = low + (array.clip(-1, 1).astype(np.float64) + 1) / 2 * (high - low)
    if missing is not None and nodata is not None and missing.any():
        scaled = np.where(missing[:, :, None] if missing.ndim == 2 else missing.transpose(1, 2, 0), nodata, scaled)
    with np.errstate(over="ignore"):  # a nodata value beyond float32
        return (scaled if kind == "float32" else np.rint(scaled)).astype(kind)


def save_array(
    path: str | os.PathLike[str],
    array: NDArray[Any],
    *,
    alpha: bool = False,
    geo: Geo | None = None,
    nodata: float | None = None,
    quality: int = 95,
) -> Path:
    """Write uint8, uint16, int16 or float32 ``[H, W, C]`` as it is (``.npy``: numbers of any type).

    Returns the file written; arguments and errors as of ``write_image``.
    """
    if array.dtype.name not in FORMATS and Path(path).suffix.lower() != ".npy":
        raise ValueError(
            f"{os.fspath(path)}: {array.dtype} cannot be written; convert it to one of {', '.join(FORMATS)}"
        )
    height, width, channels = array.shape
    if geo is not None and geo.size != (width, height):
        raise ValueError(
            f"{os.fspath(path)}: the georeference is that of {geo.size[0]}x{geo.size[1]} pixels, the picture has "
            f"{width}x{height}"
        )
    format: Format = array.dtype.name  # type: ignore[assignment]
    file = written_path(path, channels, format, alpha=alpha, geo=geo is not None)
    suffix = file.suffix.lower()
    if suffix == ".npy":
        data = _encode_npy(array)
    elif suffix in _JPEG:
        data = _encode_pillow(array, "JPEG", quality=quality)
    elif suffix == ".webp":
        # exact: else the colours below full transparency are lost
        data = _encode_pillow(array, "WEBP", quality=quality, lossless=quality == 100, exact=quality == 100)
    elif suffix == ".png":
        data = _encode_pillow(array, "PNG", compress_level=1) if format == "uint8" else encode_png16(array)
    elif channels == 1 and format != "int16" and geo is None and nodata is None:
        data = _encode_pillow(array, "TIFF")
    else:
        data = encode_tiff(array, alpha=alpha, geo=geo, nodata=nodata)
    _replace_file(file, data)
    return file


def written_path(
    path: str | os.PathLike[str], channels: int, format: Format, *, alpha: bool = False, geo: bool = False
) -> Path:
    """The file that ``save_array`` makes of a wanted path.

    PNG for grey and RGB of 8 or 16 bit, with opacity too; TIFF for everything else: float32, int16, other numbers of
    channels, georeference. A path that ends in ``.npy``, ``.tif``, ``.tiff``, ``.jpg``, ``.jpeg`` or ``.webp`` keeps
    its kind where that can hold the picture.
    """
    wanted = Path(path)
    suffix = wanted.suffix.lower()
    colours = channels - alpha
    if suffix == ".npy" and not geo:
        return wanted
    if suffix in _JPEG and format == "uint8" and colours in (1, 3) and not alpha and not geo:
        return wanted
    if suffix in _TIFF or (suffix == ".webp" and format == "uint8" and channels == 3 + alpha and not geo):
        return wanted
    if colours in (1, 3) and format in ("uint8", "uint16") and not geo:
        return wanted if suffix == ".png" else _with_suffix(wanted, ".png")
    return _with_suffix(wanted, ".tif")


def short_name(name: str, tail: int = 0) -> str:
    """A file name without suffix, cut so that it and ``tail`` bytes more stay within 255 bytes.

    A cut name ends with ``-`` and 8 digits of its hash, so that names which begin alike stay apart. Folders before the
    name are kept; names that fit are returned as they are.
    """
    folder, _, last = name.rpartition("/")
    raw = os.fsencode(last)
    if len(raw) + tail <= _NAME_BYTES:
        return name
    digest = hashlib.sha256(raw).hexdigest()[:8]
    # A character that is cut through is left out; what is no Unicode stays as it is.
    kept = os.fsdecode(raw[: _NAME_BYTES - tail - len(digest) - 1])
    while kept and len(os.fsencode(kept)) and "\udc80" <= kept[-1] <= "\udcff":
        kept = kept[:-1]
    return f"{folder}/{kept}-{digest}" if folder else f"{kept}-{digest}"


def _with_suffix(path: Path, suffix: str) -> Path:
    """A known image suffix is replaced; a dot inside a name ("frame.001_fake_B") is no suffix."""
    return path.with_suffix(suffix) if path.suffix.lower() in IMAGE_SUFFIXES else path.with_name(path.name + suffix)


def _replace_file(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        temporary.write_bytes(data)


def _encode_pillow(array: NDArray[Any], kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    plain = np.ascontiguousarray(array[:, :, 0] if array.shape[2] == 1 else array)
    Image.fromarray(plain).save(out, kind, **options)
    return out.getvalue()


def _encode_npy(array: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _to_numpy(values: Pixels) -> NDArray[Any]:
    if isinstance(values, np.ndarray):
        return values.astype(np.float32, copy=False)
    return values.detach().float().cpu().numpy()


def save_gif(path: Path, frames: Sequence[Image.Image], *, loop: int = 0, duration: int = 200) -> None:
    """Write an animation, by default of 5 frames per second.

    Args:
        path: the file; a reader never sees a part of it.
        frames: at least one.
        loop: repetitions, 0 for endless.
        duration: of a frame in milliseconds.

    Raises:
        OSError: it cannot be written.
    """
    rest = list(frames[1:])
    with replacing(path) as temporary:
        frames[0].save(temporary, format="GIF", save_all=True, append_images=rest, duration=duration, loop=loop)

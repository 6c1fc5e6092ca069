"""Pictures from files and to files, with the depth and the channels that they have.

Read: 8 and 16 bit, grey, palette, RGB, RGBA, float TIFF, multi-channel TIFF, ``.npy``; EXIF orientation is applied.
Written: PNG with 8 or 16 bit where it can hold the picture, else TIFF; a file appears complete or not at all.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from util.images import decode as image_codecs
from util.images.decode import BROKEN, Alpha, Format, Header, decode, decode_header

if TYPE_CHECKING:
    from torch import Tensor

Pixels = Union["Tensor", NDArray[Any]]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".tif", ".tiff", ".webp", ".npy")

_FULL_SCALE = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
_REMEDY = "replace the file or take it out of the data set (scripts/check_data.py lists all such files)"


@dataclass(frozen=True)
class Picture:
    """What a file holds.

    Attributes:
        array: ``[H, W, C]``, uint8, uint16 or float32, in the file's own units.
        format: the name of that type.
    """

    array: NDArray[Any]
    format: Format


def read_image(path: str | os.PathLike[str], *, alpha: Alpha = "drop") -> Picture:
    """Read a picture without losing depth or channels; EXIF orientation applied.

    Args:
        path: image file or ``.npy`` with ``[H, W]`` or ``[H, W, C]``.
        alpha: what becomes of transparency: ``drop`` ignores it, ``white`` puts the picture on white, ``keep``
            returns it as the last channel.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is empty, truncated, broken, of an unsupported kind, or holds NaN or infinite values.
    """
    name = os.fspath(path)
    try:
        data = Path(name).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}: there is no such file") from None
    if not data:
        raise ValueError(f"{name}: the file is empty (0 bytes): {_REMEDY}")
    try:
        array = decode(name, data, alpha)
    except BROKEN as error:
        raise ValueError(f"{name}: cannot be read as an image ({_reason(error)}): {_REMEDY}") from error
    if array.dtype == np.float32 and not np.isfinite(array).all():
        raise ValueError(f"{name}: holds NaN or infinite values: {_REMEDY}")
    return Picture(array, str(array.dtype))  # type: ignore[arg-type]


def read_header(path: str | os.PathLike[str]) -> Header:
    """Size, channels and depth without decoding the pixels. Raises as ``read_image`` does."""
    name = os.fspath(path)
    try:
        if os.path.getsize(name) == 0:
            raise ValueError(f"{name}: the file is empty (0 bytes): {_REMEDY}")
        return decode_header(name)
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}: there is no such file") from None
    except BROKEN as error:
        if str(error).startswith(name):
            raise
        raise ValueError(f"{name}: cannot be read as an image ({_reason(error)}): {_REMEDY}") from error


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
) -> Path:
    """Write ``[C, H, W]`` in ``[-1, 1]`` (clipped) in the units that ``read_image`` gave for it.

    Rounded, not truncated: what was read as 8 or 16 bit is written back equal. PNG for 1, 3 and 4 channels of 8 or 16
    bit, else TIFF; a path that ends in ``.npy``, ``.tif``, ``.tiff``, ``.jpg`` or ``.jpeg`` keeps its kind where that
    can hold the picture.

    Args:
        path: wanted file; the suffix gives way to the format.
        values: tensor on any device, or array.
        format: how the file stores numbers.
        value_range: the numbers in the file that -1 and 1 stand for (default: 0 and the full scale; 1.0 for float32).

    Returns:
        The file that was written.

    Raises:
        ValueError: NaN in the values, an unknown format, or a package is missing to write it.
    """
    if format not in _FULL_SCALE:
        raise ValueError(f"image format {format!r}: choose one of {', '.join(_FULL_SCALE)}")
    array = _to_numpy(values).transpose(1, 2, 0)
    if np.isnan(array).any():
        raise ValueError(f"{os.fspath(path)}: the picture has NaN values and cannot be written")
    low, high = value_range or (0.0, _FULL_SCALE[format])
    scaled = low + (array.clip(-1, 1).astype(np.float64) + 1) / 2 * (high - low)
    if format != "float32":
        scaled = np.rint(scaled).clip(0, _FULL_SCALE[format])
    return save_array(path, scaled.astype(format))


def save_array(path: str | os.PathLike[str], array: NDArray[Any]) -> Path:
    """Write uint8, uint16 or float32 ``[H, W, C]`` as it is; returns the file written (see ``write_image``)."""
    wanted = Path(path)
    suffix = wanted.suffix.lower()
    small = array.shape[2] in (1, 3, 4) and array.dtype != np.float32
    if suffix == ".npy":
        file, data = wanted, _encode_npy(array)
    elif suffix in (".jpg", ".jpeg") and array.dtype == np.uint8 and array.shape[2] in (1, 3):
        file, data = wanted, _encode_pillow(array, "JPEG", quality=95)
    elif small and suffix not in (".tif", ".tiff"):
        file = wanted if suffix == ".png" else _with_suffix(wanted, ".png")
        eight_bit = array.dtype == np.uint8
        data = _encode_pillow(array, "PNG", compress_level=1) if eight_bit else image_codecs.encode_png16(array)
    else:
        file = wanted if suffix in (".tif", ".tiff") else _with_suffix(wanted, ".tif")
        data = _encode_pillow(array, "TIFF") if array.shape[2] == 1 else image_codecs.encode_tiff(array)
    _replace_file(file, data)
    return file


def _with_suffix(path: Path, suffix: str) -> Path:
    """A known image suffix is replaced; a dot inside a name ("frame.001_fake_B") is no suffix."""
    return path.with_suffix(suffix) if path.suffix.lower() in IMAGE_SUFFIXES else path.with_name(path.name + suffix)


def _replace_file(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


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


def _reason(error: BaseException) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "no image format that Pillow knows"
    first = (str(error).splitlines() or [""])[0]
    return first or type(error).__name__


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
    temporary = path.with_name(path.name + ".tmp")
    rest = list(frames[1:])
    frames[0].save(temporary, format="GIF", save_all=True, append_images=rest, duration=duration, loop=loop)
    os.replace(temporary, path)

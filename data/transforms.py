"""From the pixels of a file to a tensor: channels, scaling, crop, flip, normalisation.

What does not depend on random numbers (``prepare``) comes before what does (``draw_placement``, ``finish``), so that
the first part can be kept in memory. 8-bit pictures go through Pillow exactly as published; deeper ones keep their
depth.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from data.pixels import Cut, Meaning
from options.base_options import DataOptions, SideOptions
from util.images.io import Format, Picture, fitting_format, missing_values, scale_of
from util.wording import counted


def shorter_to(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height after scaling by which the shorter side becomes ``size``; the other is cut to whole pixels."""
    return (size, size * height // width) if width <= height else (size * width // height, size)


def centred_corner(width: int, height: int, size: int) -> tuple[int, int]:
    """x and y where the square of ``size`` pixels in the middle begins; 0 where the picture is smaller."""
    return max(0, (width - size) // 2), max(0, (height - size) // 2)


_NONE_MULTIPLE = 4  # --preprocess none: both sides become multiples of this
_CENTRED = "shorter_and_center_crop"
_GREY = np.array([299, 587, 114], dtype=np.float64) / 1000  # ITU-R 601 luma, the weights of Pillow's mode "L"


@dataclass(frozen=True)
class Prepared:
    """A picture with the wanted channels and the scaled size.

    Attributes:
        array: ``[H, W, C]`` in the units of the file.
        format: how the file stored it.
        value_range: values that become -1 and 1; empty for the full scale of the format.
        labels: number of labels of an index map, whose channel becomes this many; 0 for pictures.
        missing: ``[H, W]`` bool, pixels that the file marks as missing and scaled pixels that such a pixel had a part
            in; None without ``--nodata``.
        nodata: the number that marks them; None where the file names none.
        clipped: share of the file's values that ``--clip_range`` changed, 0 to 1.
    """

    array: NDArray[Any]
    format: Format
    value_range: tuple[float, ...] = ()
    labels: int = 0
    missing: NDArray[np.bool_] | None = None
    nodata: float | None = None
    clipped: float = 0.0


@dataclass(frozen=True)
class Placement:
    """Where to cut, and whether to flip: drawn once for all sides of a sample."""

    x: int
    y: int
    flip: bool


def prepare(
    picture: Picture, channels: int, options: DataOptions, *, path: str, flag: str, side: SideOptions
) -> Prepared:
    """Bring a picture to its channels and its scaled size; nothing random.

    Args:
        picture: what the file holds.
        channels: wanted.
        options: ``preprocess``, ``load_size``, ``crop_size``, ``alpha`` are used.
        path: file name for messages.
        flag: the flag that asked for the channels, for messages.
        side: which bands, which range, how to scale.

    Raises:
        ValueError: the channels, bands or labels do not fit, values lie outside the range, or the picture is smaller
            than the crop.
    """
    whole = unscaled(picture, channels, options, path=path, flag=flag, side=side)
    array, missing, resample = whole.array, whole.missing, "nearest" if side.label_nc else side.resample
    height, width = array.shape[:2]
    size = scaled_size(width, height, options)
    if "crop" in options.preprocess and min(size) < options.crop_size:
        raise ValueError(
            f"{path}: {size[0]}x{size[1]} pixels are too few for --crop_size {options.crop_size}: "
            f"lower --crop_size, or use --preprocess resize_and_crop, which scales to --load_size first"
        )
    if missing is not None and size != (width, height):
        marked = resize(missing[:, :, None].astype(np.float32), size, resample)[:, :, 0]
        missing = np.abs(marked) > 1e-6
    return replace(whole, array=resize(array, size, resample), missing=missing)


def unscaled(
    picture: Picture, channels: int, options: DataOptions, *, path: str, flag: str, side: SideOptions
) -> Prepared:
    """The picture with its channels, in its own size. Arguments and errors as of ``prepare``."""
    array = stored = chosen_bands(picture.array, side, path)
    clipped = 0.0
    missing = nodata = None
    if side.label_nc:
        array = index_map(array, side.label_nc, channels, path=path, flag=flag, side=side.name)
    else:
        if side.nodata:
            nodata = nodata_of(picture, side)
            stored, missing = filled(array, side, nodata, path)
        array = in_range(stored, side, path, unread=None if side.nodata else picture.nodata)
        clipped = 0.0 if array is stored else clipped_share(stored, side)
        array = to_channels(array, channels, path=path, flag=flag, alpha=options.alpha)
    return Prepared(
        array,
        picture.format,
        side.value_range,
        labels=side.label_nc,
        missing=missing,
        nodata=nodata,
        clipped=clipped,
    )


def index_map(array: NDArray[Any], labels: int, channels: int, *, path: str, flag: str, side: str) -> NDArray[np.uint8]:
    """The labels ``[H, W, 1]`` of a file, checked.

    Args:
        array: ``[H, W, C]`` of the file.
        labels: ``--label_nc`` of the side.
        channels: of the model's tensor, which one-hot labels become.
        path: file name for messages.
        flag: ``input_nc`` or ``output_nc``, which asks for the channels.
        side: ``A`` or ``B``.

    Raises:
        ValueError: the channels are not as many as the labels, the file has more than one channel or other numbers than
            whole ones, or a label lies beyond ``labels - 1``.
    """
    name = f"--label_nc_{side} {labels}"
    if channels != labels:
        raise ValueError(f"{name} makes {labels} channels, but --{flag} is {channels}: give --{flag} {labels}")
    if array.shape[2] != 1 or array.dtype.kind == "f":
        raise ValueError(
            f"{path}: has {counted(array.shape[2], 'channel')} of {array.dtype}, but {name} reads index maps: whole "
            "numbers in one channel, or a palette picture"
        )
    least, most = int(array.min()), int(array.max())
    if least < 0 or most >= labels:
        wrong = least if least < 0 else most
        remedy = f"give --label_nc_{side} {most + 1}, or " if least >= 0 and most < 256 else ""
        raise ValueError(f"{path}: has label {wrong}, but {name} allows 0 to {labels - 1}: {remedy}change the file")
    return array.astype(np.uint8)


def nodata_of(picture: Picture, side: SideOptions) -> float | None:
    """The number that stands for missing pixels, NaN for NaN; None without ``--nodata``, or where the file has none."""
    if not side.nodata:
        return None
    return picture.nodata if side.nodata == "file" else float(side.nodata)


def missing_pixels(picture: Picture, side: SideOptions) -> NDArray[np.bool_] | None:
    """``[H, W]``, pixels of which a band is missing; None where nothing stands for that."""
    nodata = nodata_of(picture, side)
    return None if nodata is None else np.asarray(missing_values(picture.array, nodata).any(axis=2))


def checked_values(picture: Picture, side: SideOptions, path: str) -> NDArray[np.bool_] | None:
    """The missing pixels of a picture ``[H, W]``, None where nothing stands for them, after a look at the others.

    Raises:
        ValueError: labels beyond those of the side, or NaN that its ``--nodata`` does not name; the message has the
            file.
    """
    if side.label_nc:
        index_map(picture.array, side.label_nc, side.label_nc, path=path, flag="input_nc", side=side.name)
    elif side.nodata:
        return filled(picture.array, side, nodata_of(picture, side), path)[1]
    return None


def filled(
    array: NDArray[Any], side: SideOptions, nodata: float | None, path: str
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The array with missing pixels filled by the smallest value of the range, and where they are, ``[H, W]``.

    A pixel is missing if one of its bands is. Where a file names no value, none is.

    Raises:
        ValueError: other NaN or infinite values are left.
    """
    if nodata is None:
        missing: NDArray[np.bool_] = np.zeros(array.shape[:2], np.bool_)
    else:
        missing = np.asarray(missing_values(array, nodata).any(axis=2))
    low = (side.value_range or scale_of(array.dtype.name))[0]
    if missing.any():
        # The range may begin below what the file's type holds, or between two of its numbers.
        limits = (low, float(array.min()), float(array.max()))
        kind = fitting_format(array.dtype.name, *limits) if low == int(low) else "float32"
        array = np.where(missing[:, :, None], np.asarray(low, kind), array.astype(kind, copy=False))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(
            f"{path}: holds NaN or infinite values which --nodata_{side.name} {side.nodata} does not name: give "
            f"--nodata_{side.name} nan, or replace the file"
        )
    return array, missing


def scaled_size(width: int, height: int, options: DataOptions) -> tuple[int, int]:
    """Width and height after scaling, before the crop.

    ``scale_width`` and ``scale_height`` keep the shape of the picture (the published code stretches it where the other
    side falls below ``crop_size``); with a crop to follow, the picture is scaled up until the crop fits.
    """
    mode, load = options.preprocess, options.load_size
    least = options.crop_size if "crop" in mode else 1
    if mode == "resize_and_crop":
        return load, load
    if mode == "resize_2to1":
        return 2 * load, load
    if mode == _CENTRED:
        return shorter_to(width, height, load)
    if mode.startswith("scale_width"):
        other = max(load * height // width, 1)
        return (load, other) if other >= least else (max(least * width // height, load), least)
    if mode.startswith("scale_height"):
        other = max(load * width // height, 1)
        return (other, load) if other >= least else (least, max(least * height // width, load))
    if mode == "none":
        return _to_multiple(width), _to_multiple(height)
    return width, height


def final_size(width: int, height: int, options: DataOptions) -> tuple[int, int]:
    """Width and height of the tensor that a file of this size becomes."""
    if "crop" in options.preprocess:
        return options.crop_size, options.crop_size
    return scaled_size(width, height, options)


def draw_placement(rng: random.Random, width: int, height: int, options: DataOptions) -> Placement:
    """Draw the crop's corner and the flip for a picture of the scaled size.

    Always three draws, in the published order: x, y, flip; used or not.
    """
    x = rng.randint(0, max(0, width - options.crop_size))
    y = rng.randint(0, max(0, height - options.crop_size))
    return placement_of(x, y, rng.random() > 0.5, width, height, options)


def placement_of(x: int, y: int, flip: bool, width: int, height: int, options: DataOptions) -> Placement:
    """The placement of what was drawn, as far as the options use it: a centred crop has its place, and some never flip.

    Args:
        x: drawn corner of the crop.
        y: drawn corner of the crop.
        flip: drawn.
        width: of the picture after scaling.
        height: of the picture after scaling.
        options: ``preprocess``, ``crop_size`` and ``no_flip`` are used.
    """
    if options.preprocess == _CENTRED:
        x, y = centred_corner(width, height, options.crop_size)
    return Placement(x, y, flip and not options.no_flip)


def finish(prepared: Prepared, placement: Placement, options: DataOptions) -> Tensor:
    """Crop, flip and normalise: float32 ``[C, H, W]`` in ``[-1, 1]``."""
    return cut(prepared, placement, options).tensor()


def cut(prepared: Prepared, placement: Placement, options: DataOptions) -> Cut:
    """The part that is placed, not yet flipped and scaled."""
    part = cropped(prepared.array, placement, options)
    return Cut(part, placement.flip, Meaning(prepared.value_range, prepared.labels))


def cut_missing(prepared: Prepared, placement: Placement, options: DataOptions) -> Cut | None:
    """Which pixels are missing, cut as ``cut`` does; None without ``--nodata``."""
    if prepared.missing is None:
        return None
    part = cropped(prepared.missing[:, :, None], placement, options)
    return Cut(part, placement.flip, Meaning(missing=True))


def cropped(array: NDArray[Any], placement: Placement, options: DataOptions) -> NDArray[Any]:
    """The crop of ``[H, W, C]``, a view; all of it without a crop."""
    if "crop" not in options.preprocess:
        return array
    size = options.crop_size
    return array[placement.y : placement.y + size, placement.x : placement.x + size]


def one_hot(labels: NDArray[np.uint8], count: int) -> Tensor:
    """``[H, W, 1]`` as float32 ``[count, H, W]``: 1 in the channel of the label, -1 in the others."""
    return Cut(labels, meaning=Meaning(labels=count)).tensor()


def normalise(array: NDArray[Any], value_range: tuple[float, ...] = ()) -> Tensor:
    """``[H, W, C]`` in the units of the file as float32 ``[C, H, W]`` in ``[-1, 1]``, see ``pixels.normalised``."""
    return Cut(array, meaning=Meaning(value_range)).tensor()


def dequantise(array: NDArray[np.uint8], rng: random.Random) -> Tensor:
    """``[H, W, C]`` of 8 bit as float32 ``[C, H, W]``: ``x / 128 - 1 + U(0, 1 / 128)``, one draw a value.

    The published scaling of SAGAN's images, from -1 up to 1: without the noise all values are multiples of 1 / 128, by
    which a discriminator can tell them from a generator's.
    """
    planes = np.array(array.transpose(2, 0, 1), dtype=np.float32, order="C")
    noise = np.random.default_rng(rng.getrandbits(64)).random(planes.shape, dtype=np.float32)
    return torch.from_numpy((planes + noise) / np.float32(128) - np.float32(1))


def to_channels(array: NDArray[Any], channels: int, *, path: str, flag: str, alpha: str) -> NDArray[Any]:
    """``[H, W, channels]``: colour becomes grey for 1, grey is repeated for 3, anything else must fit.

    Raises:
        ValueError: it does not.
    """
    has = array.shape[2]
    if has == channels:
        return array
    if has == 1 and channels == 3:
        return np.repeat(array, 3, axis=2)
    if has == 3 and channels == 1:
        return _grey(array)
    hint = f"give --{flag} {has}, or other files"
    if has in (1, 3) and channels in (2, 4):
        hint += "; --alpha keep adds the alpha channel of files that have one" if alpha != "keep" else ""
    elif has in (2, 4) and alpha == "keep":
        hint += "; --alpha drop or white takes the alpha channel away"
    elif has > 4 and path.endswith(".npy"):
        hint += "; arrays are [H, W, C]"
    raise ValueError(
        f"{path}: has {counted(has, 'channel')}, but --{flag} {channels} (with --alpha {alpha}) was asked for: {hint}"
    )


def resize(array: NDArray[Any], size: tuple[int, int], resample: str = "bicubic") -> NDArray[Any]:
    """Scaling of ``[H, W, C]`` to ``size`` = (width, height), in the type that it has.

    8-bit pictures as Pillow does it; others in 32-bit float, channel by channel, so that their depth survives.
    ``nearest`` takes the pixel whose centre is nearest, so that no new value appears.
    """
    height, width = array.shape[:2]
    if size == (width, height):
        return array
    if resample == "nearest":
        columns = ((np.arange(size[0]) + 0.5) * (width / size[0])).astype(np.intp)
        rows = ((np.arange(size[1]) + 0.5) * (height / size[1])).astype(np.intp)
        return array[rows[:, None], columns]
    if array.dtype == np.uint8 and array.shape[2] == 3:
        return np.asarray(Image.fromarray(np.ascontiguousarray(array)).resize(size, Image.Resampling.BICUBIC))
    kind = np.uint8 if array.dtype == np.uint8 else np.float32
    planes = [
        np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize(size, Image.Resampling.BICUBIC))
        for plane in array.transpose(2, 0, 1).astype(kind, copy=False)
    ]
    scaled = np.stack(planes, axis=2)
    if array.dtype.kind == "f" or kind is np.uint8:
        return scaled
    limits = np.iinfo(array.dtype)  # bicubic scaling overshoots at edges
    return np.rint(scaled).clip(limits.min, limits.max).astype(array.dtype)


def _grey(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype == np.uint8:
        return np.asarray(Image.fromarray(np.ascontiguousarray(array)).convert("L"))[:, :, None]
    grey = (array @ _GREY)[:, :, None]
    return (grey if array.dtype.kind == "f" else np.rint(grey)).astype(array.dtype)


def _to_multiple(side: int) -> int:
    # Half to even, as Python rounds and the published code does: 50 becomes 48.
    return max(round(side / _NONE_MULTIPLE) * _NONE_MULTIPLE, _NONE_MULTIPLE)


def chosen_bands(array: NDArray[Any], side: SideOptions, path: str) -> NDArray[Any]:
    """The bands of ``[H, W, C]`` that ``--bands_A`` or ``--bands_B`` names, in its order.

    Raises:
        ValueError: the file has fewer.
    """
    if not side.bands:
        return array
    if max(side.bands) > array.shape[2]:
        given = ",".join(map(str, side.bands))
        raise ValueError(
            f"{path}: has {counted(array.shape[2], 'band')}, but --bands_{side.name} {given} asks for more"
        )
    return np.ascontiguousarray(array[:, :, [band - 1 for band in side.bands]])


def in_range(array: NDArray[Any], side: SideOptions, path: str, *, unread: float | None = None) -> NDArray[Any]:
    """The values, clipped to the side's range with ``--clip_range``.

    ``unread`` is the number that the file has for missing pixels, where no flag asks for it.

    Raises:
        ValueError: without it, values lie outside the range.
    """
    if not side.value_range and array.dtype in (np.uint8, np.uint16):
        return array
    low, high = side.value_range or scale_of(array.dtype.name)
    least, most = float(array.min()), float(array.max())
    slack = 1e-6 * (high - low)  # float32 rounding of values computed elsewhere
    if low - slack <= least and most <= high + slack:
        return array
    if side.clip:
        # In float: the type of the file may not hold the ends of the range.
        clipped = array.astype(np.float64).clip(low, high)
        same = clipped.astype(array.dtype)
        return same if np.array_equal(same, clipped) else clipped.astype(np.float32)
    given = (
        f"--value_range_{side.name} {low:g},{high:g}"
        if side.value_range
        else f"the range {low:g} to {high:g} of {array.dtype} files"
    )
    found = f"{path}: values from {least:g} to {most:g} lie outside {given}"
    if unread is not None and missing_values(array, unread).any():
        raise ValueError(
            f"{found}, where {unread:g} stands for missing pixels by the file's tag: give --nodata_{side.name} file"
        )
    raise ValueError(f"{found}: give --value_range_{side.name} LOW,HIGH that covers every file, or --clip_range")


def clipped_share(array: NDArray[Any], side: SideOptions) -> float:
    """Share of the values of ``[H, W, C]`` that lie outside the side's range, 0 to 1."""
    if not side.value_range and array.dtype in (np.uint8, np.uint16):
        return 0.0
    low, high = side.value_range or scale_of(array.dtype.name)
    return float(np.mean((array < low) | (array > high)))

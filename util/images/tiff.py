"""TIFF by tifffile and imagecodecs: what Pillow refuses, or would cut in depth, bands or pages; and GeoTIFF."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from util.images.header import (
    GEO_TAGS,
    NODATA_TAG,
    Geo,
    Header,
    Refused,
    georeference,
    nodata_text,
    nodata_value,
    require_memory,
    stored_as,
    value_unit,
)

# What matters is raised. Beside that tifffile reports tags it does not like, with several lines per file.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

_WHITE_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 2, 3, 6  # values of PhotometricInterpretation that are read
_REFUSED_COLOURS = {
    4: "a transparency mask without a picture",
    5: "inks (CMYK) of more than 8 bits",
    8: "CIE L*a*b* colours",
    9: "ICC L*a*b* colours",
    10: "ITU L*a*b* colours",
    32803: "the raw data of a camera (colour filter array)",
    34892: "the raw data of a camera",
}
_JPEG = (6, 7, 34892)  # compressions whose decoder gives RGB for YCbCr
_ASSOCIATED, _UNASSOCIATED = 1, 2  # values of ExtraSamples: alpha with colours multiplied by it, and without
_FILE_NAME = re.compile(r'\bFileName="([^"]*)"')  # in OME-XML, of each plane
_SLICES = {"Z": "slices", "T": "frames"}  # what the entries of an axis are called; else pages


def is_tiff(start: bytes) -> bool:
    """Whether a file that starts so is a TIFF or BigTIFF."""
    return start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def has_bands(samples: int, photometric: int, extra: tuple[int, ...], geo: Geo | None) -> bool:
    """Whether a TIFF has channels beside its colours that are data, not opacity.

    A GeoTIFF's fourth band is data, whatever its ExtraSamples tag says: GDAL calls it alpha by default.
    """
    beside = samples - (3 if photometric in (_RGB, _YCBCR) else 4 if photometric == 5 else 1)
    return beside > 1 or (beside == 1 and (geo is not None or extra not in ((_ASSOCIATED,), (_UNASSOCIATED,))))


def _tifffile() -> Any:
    """The library, imported with the first TIFF that needs it: it takes a tenth of a second of every start."""
    import tifffile

    return tifffile


def read_tiff(data: bytes, *, palette: bool = False) -> tuple[NDArray[Any], Header]:
    """The picture of a TIFF: array ``[H, W, C]`` as stored, not turned upright, and its header.

    Args:
        data: the whole file.
        palette: give the indices of a palette picture instead of its colours.

    Raises:
        Exception: whatever tifffile and imagecodecs raise on broken data; ``Refused`` for pictures of other kinds.
    """
    with io.BytesIO(data) as file, _opened(file) as tiff:
        source, page = _picture(tiff)
        header = _header(source, page)
        stored = np.dtype(page.dtype).itemsize * (header.channels if not header.palette else 1)
        require_memory(header.width, header.height, stored)
        array = channels_last(source.asarray(maxworkers=1), source.axes)
        if page.photometric == _WHITE_IS_ZERO:
            # As Pillow reads 8 bit, and as screens show it.
            array = ~array if array.dtype == np.bool_ else array.dtype.type(2**header.bits - 1) - array
        if header.palette and not palette:
            array = (page.colormap.T[array[:, :, 0]] >> 8).astype(np.uint8)
        if header.alpha and int(page.extrasamples[-1]) == _ASSOCIATED:
            array = _divided_by_alpha(array)
    return array, header


def tiff_header(path: str) -> Header:
    """What a TIFF says of its picture. Raises as ``read_tiff`` does."""
    with _opened(path) as tiff:
        return _header(*_picture(tiff))


def ome_files(tiff: Any) -> list[str]:
    """The files that the OME metadata of a TIFF names for its planes, each once; more than one are a set."""
    return list(dict.fromkeys(_FILE_NAME.findall(tiff.ome_metadata or ""))) if tiff.is_ome else []


def is_cut(series: Any) -> bool:
    """Whether planes of a series of tifffile's are not there; it would give zeros for them."""
    return any(page is None for page in series.pages)


@contextlib.contextmanager
def _opened(file: str | io.BytesIO) -> Iterator[Any]:
    """A TIFF by tifffile, closed at the end.

    Of one file of a set (OME, a file for each channel or slice) tifffile gives all planes of the set, with zeros for
    those in other files. Here it has its own.

    Raises:
        ValueError: an OME-TIFF without some of its planes.
    """
    with _tifffile().TiffFile(file) as tiff:
        names = ome_files(tiff)
        whole = len(names) < 2 and not (tiff.is_ome and any(map(is_cut, tiff.series)))
        if not whole and not names:
            raise ValueError("some of its planes are not there: the file is truncated")
        if whole:
            yield tiff
            return
    if not isinstance(file, str):
        file.seek(0)
    with _tifffile().TiffFile(file, is_ome=False) as tiff:
        yield tiff


def _picture(tiff: Any) -> tuple[Any, Any]:
    """What holds the pixels (a series of pages, or one page), and the page with its tags.

    Previews are passed over: pages that say so, and a first page of less than half the pixels of a later one.
    """
    candidates = list(_candidates(tiff))
    if not candidates:
        raise ValueError("a TIFF without pictures")
    if tiff.is_imagej:
        # ImageJ has one entry for a whole stack; of a file that was cut tifffile gives the first slice alone.
        source = candidates[0][0]
        there = math.prod(size for size, axis in zip(source.shape, source.axes) if axis not in "YXS")
        named = (tiff.imagej_metadata or {}).get("images", 1)
        if there < named:
            raise ValueError(f"{there} of {named} slices: the file is truncated")
    areas = [_area(source) for source, _ in candidates]
    return next(candidate for candidate, area in zip(candidates, areas) if 2 * area >= max(areas))


def _area(source: Any) -> int:
    return math.prod(size for size, axis in zip(source.shape, source.axes) if axis in "YX")


def _candidates(tiff: Any) -> Iterator[tuple[Any, Any]]:
    reduced = []
    for series in tiff.series:
        page = series.keyframe
        if page.is_reduced:
            reduced.append((series, page))
            # Cameras and scanners put the picture below its preview.
            reduced += [(sub, sub) for sub in page.pages or () if not sub.is_reduced]
        else:
            yield series, page
    below = [pair for pair in reduced if not pair[1].is_reduced]
    if below or len(reduced) == len(tiff.series):
        yield from below or reduced


def _header(source: Any, page: Any) -> Header:
    photometric, bits = int(page.photometric), int(page.bitspersample)
    if photometric in _REFUSED_COLOURS:
        raise Refused(f"holds {_REFUSED_COLOURS[photometric]}: convert it to RGB")
    if photometric == _YCBCR and int(page.compression) not in _JPEG:
        raise Refused("holds YCbCr colours: convert it to RGB")
    kind = stored_as(np.dtype(source.dtype))
    if photometric == _WHITE_IS_ZERO and np.dtype(source.dtype).kind not in "bu":
        raise Refused(f"says that 0 is white, but {kind} numbers have no black: invert it, and save it as BlackIsZero")
    height, width, channels = channels_last(np.broadcast_to(np.uint8(0), source.shape), source.axes).shape
    palette = photometric == _PALETTE
    if palette:
        channels, kind, bits = 3, "uint8", 8

    def value(tag: int) -> Any:
        found = page.tags.get(tag)
        return None if found is None else found.value

    orientation = int(value(274) or 1)
    if orientation >= 5:
        height, width = width, height
    geo = georeference(value, (width, height)) if orientation == 1 else None
    extra = tuple(int(each) for each in page.extrasamples)
    samples = int(page.samplesperpixel)
    alpha = bool(extra) and extra[-1] in (_ASSOCIATED, _UNASSOCIATED) and geo is None and channels == samples
    return Header(
        width=width,
        height=height,
        channels=channels,
        format=kind,
        alpha=alpha,
        orientation=orientation,
        bits=8 if np.dtype(source.dtype) == np.bool_ else bits,
        palette=palette,
        geo=geo,
        nodata=nodata_value(value),
        unit=value_unit(value),
        remark=_stack(source),
    )


def _stack(source: Any) -> str:
    """Which axis that is no colour channel is taken for one."""
    for size, axis in zip(source.shape, source.axes):
        if size > 1 and axis not in "YXSC":
            return f"{size} {_SLICES.get(axis, 'pages')} (axis {axis}) are taken as channels"
    return ""


def channels_last(array: NDArray[Any], axes: str) -> NDArray[Any]:
    """``[H, W, C]`` from an array whose axes are named by TIFF letters (``Y``, ``X`` and anything else).

    Raises:
        Refused: more than one axis beside ``Y`` and ``X`` is longer than 1.
    """
    if "Y" not in axes or "X" not in axes:
        raise ValueError(f"axes {axes} hold no picture")
    others = [axis for axis, name in enumerate(axes) if name not in "YX"]
    long = [axis for axis in others if array.shape[axis] > 1]
    if len(long) > 1:
        sizes = ", ".join(f"{axes[axis]} {array.shape[axis]}" for axis in long)
        raise Refused(
            f"is a stack with the axes {axes} ({sizes}); a picture has height, width and channels only: save each "
            f"slice, page or frame as a file of its own"
        )
    last = long or others[:1]
    drop = [axis for axis in others if axis not in last]
    order = [axes.index("Y"), axes.index("X"), *last, *drop]
    moved = array.transpose(order)
    return moved.reshape(*moved.shape[:2], moved.shape[2] if last else 1)


def _divided_by_alpha(array: NDArray[Any]) -> NDArray[Any]:
    """Colours that were multiplied by the last channel as they were before; 0 where it is 0."""
    full = 1.0 if array.dtype.kind == "f" else float(np.iinfo(array.dtype).max)
    cover = array[:, :, -1:].astype(np.float64) / full
    colours = np.divide(array[:, :, :-1], cover, out=np.zeros(array[:, :, :-1].shape), where=cover > 0).clip(0, full)
    whole = np.concatenate([colours, array[:, :, -1:]], axis=2)
    return (whole if array.dtype.kind == "f" else np.rint(whole)).astype(array.dtype)


def encode_tiff(
    array: NDArray[Any], *, alpha: bool = False, geo: Geo | None = None, nodata: float | None = None
) -> bytes:
    """A TIFF of ``[H, W, C]``, uint8, uint16, int16 or float32, any C, losslessly compressed.

    Args:
        array: pixels.
        alpha: the last channel is opacity (not multiplied into the colours); without it, channels beside the colours
            are unspecified extra samples, which no program takes for opacity.
        geo: georeference to write.
        nodata: value of GDAL's nodata tag.
    """
    channels = array.shape[2]
    rgb = channels == 3 or (channels == 4 and alpha)
    layout: dict[str, Any] = {"photometric": "rgb" if rgb else "minisblack"}
    if channels > 1:
        layout["planarconfig"] = "contig"
    if extra := channels - (3 if rgb else 1):
        layout["extrasamples"] = ["unspecified"] * (extra - alpha) + ["unassalpha"] * alpha
    tags = [(tag, GEO_TAGS[tag], len(value), value, True) for tag, value in (geo.tags if geo else ())]
    if nodata is not None:
        text = nodata_text(nodata)
        tags.append((NODATA_TAG, "s", len(text) + 1, text, True))
    out = io.BytesIO()
    plain = array[:, :, 0] if channels == 1 else array
    _tifffile().imwrite(out, plain, compression="zlib", metadata=None, extratags=tags, **layout)
    return out.getvalue()

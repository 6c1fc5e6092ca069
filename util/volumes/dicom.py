"""DICOM: files sorted into series, and a series as one volume in the unit that its scanner gave it."""

from __future__ import annotations

import logging
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from util.memory import require_memory
from util.volumes.errors import one_line
from util.volumes.grid import LPS_TO_RAS, Volume, is_tilted, zeros
from util.volumes.numbers import compact
from util.wording import counted

# What matters is raised. Beside that pydicom reports tags it does not like, with several lines per file.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

SUFFIXES = (".dcm", ".dicom", ".ima")

_QUANTITIES = ("CT", "PT")
"""Modalities whose values have a unit after the rescale: they are never turned over for display."""
_UNITS = {"BQML": "Bq/ml", "GML": "g/ml", "HU": "HU"}
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COPIES = 3  # of a volume that lie in memory at once
_ASKED = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "InstanceNumber"),
    *("PatientID", "Modality", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
)
_UNEVEN = 0.1  # of a slice distance by which a slice may lie off its place
_SPLITTING = (
    *("EchoTime", "EchoNumbers", "AcquisitionNumber", "TemporalPositionIdentifier", "TriggerTime"),
    *("DiffusionBValue", "ImageType", "AcquisitionTime", "ContentTime"),
)
"""What tells several pictures of one place apart, tried in this order."""


def is_dicom(path: Path) -> bool:
    """Whether the file begins as DICOM files do, or has a suffix of old ones that begin otherwise."""
    with open(path, "rb") as file:
        start = file.read(132)
    return start[128:] == b"DICM" or path.suffix.lower() in SUFFIXES


@dataclass(frozen=True)
class Header:
    """One file without its pixels."""

    path: Path
    tags: Any


def read_header(path: Path) -> Header:
    """The tags of a file that holds pictures.

    Raises:
        ValueError: it is broken, or holds none.
    """
    with _quiet():
        tags = _read(path, pixels=False)
        _frames(tags)
    if not {"Rows", "Columns"} <= set(tags.dir()):
        kind = tags.get("Modality") or getattr(tags.get("SOPClassUID"), "name", "") or "DICOM"
        raise ValueError(f"holds no picture, but {kind} data")
    sizes = [tags.get(keyword, 1) for keyword in ("SamplesPerPixel", "Columns", "Rows")]
    if not all(isinstance(size, int) and size > 0 for size in sizes) or sizes[0] > 3:
        raise ValueError(f"{sizes[0]} samples of {sizes[1]}x{sizes[2]} pixels are no picture")
    return Header(path, tags)


def _read(path: Path, *, pixels: bool) -> Any:
    import pydicom.pixels  # came with version 3: before, colours stayed YBR and unused bits as they were

    with open(path, "rb") as file:
        usual = file.read(132)[128:] == b"DICM"
    try:
        tags = pydicom.dcmread(path, force=not usual, stop_before_pixels=not pixels)
        for keyword in _ASKED:  # values are read, and found broken, when they are asked for
            tags.get(keyword)
    except Exception as error:  # pydicom raises many kinds on broken files
        raise ValueError(f"cannot be read as DICOM ({one_line(error)})") from None
    if not usual:
        if "SOPClassUID" not in tags:
            raise ValueError("is no DICOM file")
        if not getattr(tags, "file_meta", None) or "TransferSyntaxUID" not in tags.file_meta:
            tags.ensure_file_meta()
            implicit, little = tags.original_encoding if hasattr(tags, "original_encoding") else (True, True)
            tags.file_meta.TransferSyntaxUID = _syntax(bool(implicit), bool(little))
    return tags


def _syntax(implicit: bool, little: bool) -> Any:
    from pydicom import uid

    if not little:
        return uid.ExplicitVRBigEndian
    return uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian


@contextmanager
def _quiet() -> Iterator[None]:
    """Without pydicom's warnings of tags that break a rule."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# --- files to series --------------------------------------------------------------------------------------------------


def sort_into_series(headers: Iterable[Header]) -> tuple[list[list[Header]], list[str]]:
    """The files of each series in the order of their places, and one line for each group that is no series.

    A series is split where its pictures have other sizes, directions or spacings (localizers), and where several have
    one place: by echo, acquisition, time. A file of several frames is a series of its own.
    """
    groups: dict[tuple[Any, ...], list[Header]] = defaultdict(list)
    for header in headers:
        groups[_key(header)].append(header)
    found, problems = [], []
    for group in groups.values():
        try:
            found += _split(_distinct(group))
        except ValueError as error:
            problems.append(f"{group[0].path.parent}: {error}")
    return found, problems


def _key(header: Header) -> tuple[Any, ...]:
    tags = header.tags
    series = str(tags.get("SeriesInstanceUID") or header.path.parent)
    if _frames(tags) > 1:
        return (series, str(tags.get("SOPInstanceUID") or header.path))
    directions = tuple(round(value, 2) for value in _numbers(tags.get("ImageOrientationPatient")) or ())
    spacing = tuple(round(value, 4) for value in _numbers(tags.get("PixelSpacing")) or ())
    size = (tags.Rows, tags.Columns, tags.get("SamplesPerPixel", 1), tags.get("PhotometricInterpretation", ""))
    return (str(tags.get("PatientID", "")), series, *size, directions, spacing)


def _distinct(group: Sequence[Header]) -> list[Header]:
    """Without copies of a file."""
    kept: dict[str, Header] = {}
    for header in group:
        kept.setdefault(str(header.tags.get("SOPInstanceUID") or header.path), header)
    return list(kept.values())


def _split(group: list[Header]) -> list[list[Header]]:
    places = [_place(header.tags) for header in group]
    if any(place is None for place in places):
        return [sorted(group, key=lambda header: (_number(header.tags.get("InstanceNumber")) or 0.0, header.path))]
    ordered = [header for _, header in sorted(zip(places, group), key=lambda pair: (pair[0], pair[1].path))]
    if len(set(places)) == len(places):
        return [ordered]
    for keyword in _SPLITTING:
        parts: dict[str, list[Header]] = defaultdict(list)
        for header in ordered:
            parts[str(header.tags.get(keyword, ""))].append(header)
        if len(parts) > 1 and all(len({_place(each.tags) for each in part}) == len(part) for part in parts.values()):
            return list(parts.values())
    raise ValueError(
        f"{len(group)} pictures of one series lie in {counted(len(set(places)), 'place')}, and no tag says which "
        "belong together: sort them into a folder for each volume, and take SeriesInstanceUID out"
    )


def _place(tags: Any) -> float | None:
    """Millimetres along the normal of the slices; None where the file does not say."""
    position, directions = _numbers(tags.get("ImagePositionPatient")), _numbers(tags.get("ImageOrientationPatient"))
    if position is None or directions is None or len(position) != 3 or len(directions) != 6:
        return None
    return round(float(np.dot(np.cross(directions[:3], directions[3:]), position)), 3)


def _numbers(value: Any) -> list[float] | None:
    """A tag of one or several numbers; None where it is missing, empty or no number."""
    if value is None or value == "":
        return None
    try:
        return [
            float(each) for each in (value if hasattr(value, "__iter__") and not isinstance(value, str) else [value])
        ]
    except (TypeError, ValueError):
        return None


def _number(value: Any) -> float | None:
    found = _numbers(value)
    return found[0] if found else None


def _frames(tags: Any) -> int:
    try:
        return int(tags.get("NumberOfFrames") or 1)
    except (TypeError, ValueError):
        raise ValueError(f"says that it has {tags.get('NumberOfFrames')} frames") from None


def patient_of(header: Header) -> str:
    """PatientID; empty where the file has none."""
    return str(header.tags.get("PatientID") or "").strip()


def series_name(header: Header) -> str:
    """Number and description of a series, as far as the file has them."""
    tags = header.tags
    parts = [str(tags.get(keyword) or "") for keyword in ("Modality", "SeriesNumber", "SeriesDescription")]
    return " ".join(part.strip() for part in parts if part.strip())


# --- a series as a volume ---------------------------------------------------------------------------------------------


def read_series(paths: Sequence[Path], *, voxels: bool = True) -> Volume:
    """The volume of a series, its files in the order of ``sort_into_series``.

    Values are those after the modality transformation (Rescale Slope and Intercept, the modality LUT, or the dose
    scaling), once: Hounsfield units of a CT. MONOCHROME1 is turned over, so that large is bright, unless the values are
    a quantity; YBR becomes RGB. Padding (Pixel Padding Value, and Range Limit) is ``nodata``.

    Args:
        paths: of the files.
        voxels: False: only the headers are read, for ``grid.difference``; all values are 0, of one channel.

    Raises:
        ValueError: a file cannot be decoded, or does not fit to the others.
    """
    try:
        return _read_series(paths) if voxels else _read_grid(paths)
    except (ValueError, ModuleNotFoundError, MemoryError):
        raise
    except Exception as error:  # a tag with several values or words where one number is meant
        raise ValueError(f"cannot be used as DICOM ({one_line(error)})") from None


def _read_series(paths: Sequence[Path]) -> Volume:
    with _quiet():
        one = read_header(paths[0]).tags
        voxels = len(paths) * _frames(one) * int(one.Rows) * int(one.Columns) * int(one.get("SamplesPerPixel", 1))
        require_memory(_COPIES * voxels * 4)
        files = [_read(path, pixels=True) for path in paths]
        parts, gaps = [], []
        for path, tags in zip(paths, files):
            try:
                values, gap = _values(tags)
            except ValueError as error:
                raise ValueError(f"{path.name}: {error}" if len(paths) > 1 else str(error)) from None
            parts.append(values)
            gaps.append(gap)
            tags.pop("PixelData", None)  # else the whole series lies in memory twice
        shapes = {part.shape[1:] for part in parts}
        if len(shapes) > 1:
            raise ValueError(f"its pictures have different sizes: {', '.join(map(str, sorted(shapes)))}")
        return _assembled(files, parts, gaps)


def _read_grid(paths: Sequence[Path]) -> Volume:
    with _quiet():
        files = [read_header(path).tags for path in paths]
    slices = sum(_frames(tags) for tags in files)
    geometry = _Geometry.of(files, slices)
    array = zeros((int(files[0].Columns), int(files[0].Rows), slices))
    return Volume(array, geometry.affine, oriented=geometry.oriented, uneven=geometry.uneven)


def _assembled(files: Sequence[Any], parts: list[NDArray[Any]], gaps: list[NDArray[np.bool_] | None]) -> Volume:
    array = compact(np.concatenate(parts))
    nodata = None
    if any(gap is not None and gap.any() for gap in gaps):
        gone = np.concatenate(
            [np.zeros(part.shape[:3], np.bool_) if gap is None else gap for part, gap in zip(parts, gaps)]
        )
        array, nodata = _with_nodata(array, gone)
    order = array.transpose(2, 1, 0, 3)  # columns, rows, slices
    first = files[0]
    geometry = _Geometry.of(files, array.shape[0])
    return Volume(
        order,
        geometry.affine,
        oriented=geometry.oriented,
        uneven=geometry.uneven,
        unit=_unit(first),
        nodata=nodata,
        modality=str(first.get("Modality", "")),
        frame=str(first.get("FrameOfReferenceUID", "")),
    )


def _with_nodata(array: NDArray[Any], gone: NDArray[np.bool_]) -> tuple[NDArray[Any], float]:
    """Padding under one value that no measured voxel has: that of the first, if it is free."""
    padded = array[gone]
    measured = array[~gone]
    value = float(padded.flat[0])
    if measured.size and (measured == value).any():
        value = min(float(measured.min()) - 1, -1.0)
    wide = compact(np.where(gone[..., None], value, array.astype(np.float64)))
    return wide, value


def _unit(tags: Any) -> str:
    if "DoseGridScaling" in tags:
        return {"GY": "Gy"}.get(str(tags.get("DoseUnits", "")), "")
    modality = str(tags.get("Modality", ""))
    if modality == "PT":
        return _UNITS.get(str(tags.get("Units", "")), str(tags.get("Units", "")))
    said = str(tags.get("RescaleType", "") or "")
    if modality == "CT" and (said in ("", "HU")) and _has_rescale(tags):
        return "HU"
    return _UNITS.get(said, "")


def _has_rescale(tags: Any) -> bool:
    return "RescaleIntercept" in tags or _group(tags, 0, "PixelValueTransformationSequence") is not None


def _values(tags: Any) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """``[F, H, W, C]`` of a file after the modality transformation, and where ``[F, H, W]`` it is padding."""
    photometric, samples = str(tags.get("PhotometricInterpretation", "")), int(tags.get("SamplesPerPixel", 1))
    known = (*_COLOURS, *_GREY, "PALETTE COLOR")
    if photometric not in known:
        raise ValueError(f"has colours of the kind {photometric or '(none)'}, which are not read")
    stored = _pixels(tags)
    if stored.ndim == 2 + (samples > 1):
        stored = stored[None]
    if photometric == "PALETTE COLOR":
        return _palette(stored, tags), None
    if samples > 1:
        return stored, None
    gap = _padding(stored, tags)
    return _physical(stored, tags, photometric)[..., None], gap


def _pixels(tags: Any) -> NDArray[Any]:
    """The stored numbers: sign extended, bits beyond BitsStored cleared, colours RGB."""
    if not {"PixelData", "FloatPixelData", "DoubleFloatPixelData"} & set(tags.dir()):
        raise ValueError("holds no pixels")
    if "TransferSyntaxUID" not in getattr(tags, "file_meta", {}):
        raise ValueError("does not say how its pixels are stored (no transfer syntax)")
    try:
        stored: NDArray[Any] = tags.pixel_array
    except Exception as error:  # pydicom, its plugins and their libraries raise many kinds
        raise ValueError(f"its pixels cannot be decoded ({one_line(error)})") from None
    return stored


def _palette(stored: NDArray[Any], tags: Any) -> NDArray[Any]:
    from pydicom.pixels import apply_color_lut

    try:
        return np.stack([apply_color_lut(frame, tags) for frame in stored])
    except Exception as error:  # a table that is missing or too short
        raise ValueError(f"its palette cannot be used ({one_line(error)})") from None


def _padding(stored: NDArray[Any], tags: Any) -> NDArray[np.bool_] | None:
    value, limit = _number(tags.get("PixelPaddingValue")), _number(tags.get("PixelPaddingRangeLimit"))
    if value is None:
        return None
    if stored.dtype.kind == "i" and value > np.iinfo(stored.dtype).max:  # read as unsigned
        value -= 2 ** (8 * stored.dtype.itemsize)
    low, high = sorted((value, value if limit is None else limit))
    return np.asarray((stored >= low) & (stored <= high))


def _physical(stored: NDArray[Any], tags: Any, photometric: str) -> NDArray[Any]:
    """``[F, H, W]`` in the unit of the modality; MONOCHROME1 turned over unless it is a quantity."""
    turned = photometric == "MONOCHROME1" and str(tags.get("Modality", "")) not in _QUANTITIES
    turned = turned and "DoseGridScaling" not in tags
    if turned and "ModalityLUTSequence" not in tags:
        bits, signed = int(tags.BitsStored), int(tags.get("PixelRepresentation", 0))
        ends = -1 if signed else 2**bits - 1  # smallest plus largest number that can be stored
        stored = ends - stored.astype(np.int64 if stored.dtype.kind in "iu" else stored.dtype)
        stored = compact(stored)
    if "DoseGridScaling" in tags:
        return (stored * float(tags.DoseGridScaling)).astype(np.float32)
    if "ModalityLUTSequence" in tags:
        from pydicom.pixels import apply_modality_lut

        values = compact(apply_modality_lut(stored, tags))
        if turned:
            values = compact(int(values.min()) + int(values.max()) - values.astype(np.int64))
        return values
    frames = []
    for number, frame in enumerate(stored):
        slope, intercept = _rescale(tags, number)
        frames.append(frame if (slope, intercept) == (1, 0) else compact(frame.astype(np.float64) * slope + intercept))
    return np.stack(frames)


def _rescale(tags: Any, frame: int) -> tuple[float, float]:
    holder = _group(tags, frame, "PixelValueTransformationSequence") or tags
    slope, intercept = _number(holder.get("RescaleSlope")), _number(holder.get("RescaleIntercept"))
    return (1.0 if slope is None else slope), (0.0 if intercept is None else intercept)


def _group(tags: Any, frame: int, keyword: str) -> Any:
    """What the functional groups of an enhanced file say of a frame; None where they do not."""
    per_frame = tags.get("PerFrameFunctionalGroupsSequence") or []
    shared = tags.get("SharedFunctionalGroupsSequence") or []
    for groups in (per_frame[frame : frame + 1], shared[:1]):
        for each in groups:
            if found := each.get(keyword):
                return found[0]
    return None


# --- where it lies ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Geometry:
    affine: NDArray[np.float64]
    oriented: bool
    uneven: str = ""

    @classmethod
    def of(cls, files: Sequence[Any], count: int) -> _Geometry:
        first = files[0]
        spacing = _numbers(_of_frame(first, 0, "PixelMeasuresSequence", "PixelSpacing"))
        spacing = spacing or _numbers(first.get("ImagerPixelSpacing"))
        rows, columns = spacing if spacing and len(spacing) == 2 and min(spacing) > 0 else (1.0, 1.0)
        thickness = _number(_of_frame(first, 0, "PixelMeasuresSequence", "SpacingBetweenSlices")) or _number(
            _of_frame(first, 0, "PixelMeasuresSequence", "SliceThickness")
        )
        directions = _numbers(_of_frame(first, 0, "PlaneOrientationSequence", "ImageOrientationPatient"))
        places = _positions(files, count)
        if directions is None or len(directions) != 6 or places is None or spacing is None:
            affine = np.diag([columns, rows, abs(thickness or 1.0), 1.0])
            return cls(affine, oriented=False)
        along, down = np.array(directions[:3]), np.array(directions[3:])
        step = np.cross(along, down) * abs(thickness or 1.0)
        uneven = ""
        if count > 1:
            step = (places[-1] - places[0]) / (count - 1)
            off = np.linalg.norm(places - places[0] - np.arange(count)[:, None] * step, axis=1)
            if not np.linalg.norm(step) or off.max() > _UNEVEN * np.linalg.norm(step):
                apart = np.linalg.norm(np.diff(places, axis=0), axis=1)
                uneven = f"its slices are {apart.min():.4g} to {apart.max():.4g} mm apart"
                step = np.cross(along, down) * float(np.median(apart) or 1.0)
        affine = np.eye(4)
        affine[:3, :3] = np.stack([along * columns, down * rows, step], axis=1)
        affine[:3, 3] = places[0]
        affine = LPS_TO_RAS @ affine
        if not uneven and is_tilted(affine):
            uneven = "its slices are shifted against each other (a tilted gantry)"
        return cls(affine, oriented=True, uneven=uneven)


def _of_frame(tags: Any, frame: int, sequence: str, keyword: str) -> Any:
    group = _group(tags, frame, sequence)
    return tags.get(keyword) if group is None or keyword not in group else group.get(keyword)


def _positions(files: Sequence[Any], count: int) -> NDArray[np.float64] | None:
    """``[count, 3]``: where the first pixel of each slice lies, in LPS millimetres; None where the files do not say."""
    if len(files) == count:
        found = [_numbers(_of_frame(tags, 0, "PlanePositionSequence", "ImagePositionPatient")) for tags in files]
    else:
        (tags,) = files
        found = [_numbers(_of_frame(tags, k, "PlanePositionSequence", "ImagePositionPatient")) for k in range(count)]
        offsets, directions = _numbers(tags.get("GridFrameOffsetVector")), _numbers(tags.get("ImageOrientationPatient"))
        if offsets and directions and len(offsets) == count and found[0] is not None:
            normal = np.cross(directions[:3], directions[3:])
            return np.array(found[0]) + np.outer(np.array(offsets) - offsets[0], normal)
        if _group(tags, 0, "PlanePositionSequence") is None:
            return None  # one place for all frames of a film
    if any(each is None or len(each) != 3 for each in found):
        return None
    return np.array(found)

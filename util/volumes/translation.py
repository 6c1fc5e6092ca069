"""A volume translated slice by slice by generators of pictures, and put together on its own grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from util.images.io import Format
from util.volumes import dicom, files
from util.volumes.grid import (
    Volume,
    from_slices,
    missing,
    on_grid,
    resampled,
    select_bands,
    slices_of,
    view_of,
    windowed,
)
from util.volumes.series import Series, find_series
from util.volumes.slices import SideSettings
from util.wording import counted

Pictures = Sequence[NDArray[Any]]


@dataclass(frozen=True)
class SliceModel:
    """A generator of slices, and how the slices that it was trained on were cut.

    Attributes:
        translate: ``[H, W, C]`` in the unit of the source, several of one size -> ``[H, W, C]`` in that of the target.
        view: axial, coronal, sagittal or stored; empty for axial where a volume says how the patient lies, else stored.
        resample: millimetres of a voxel; 0 for those of each file.
        source: window, bands and labels of the source.
        low: value that voxels take which were not measured.
    """

    translate: Callable[[Pictures], Pictures]
    view: str
    resample: float = 0.0
    source: SideSettings = field(default_factory=SideSettings)
    low: float = 0.0


def is_volume(path: Path) -> bool:
    """Whether a command that reads pictures and volumes should read this as a volume: by suffix, or DICOM."""
    if path.is_dir():
        below = (each for each in sorted(path.rglob("*")) if each.is_file() and not each.name.startswith("."))
        first = next(below, None)
        return first is not None and (files.suffix_of(first) not in files.SUFFIXES and dicom.is_dicom(first))
    return path.is_file() and (
        files.suffix_of(path) in (*files.NIFTI, *files.ITK)
        or (files.suffix_of(path) not in files.TIFF and dicom.is_dicom(path))
    )


def read_volume(path: Path) -> Volume:
    """The one volume of a file or of a folder with a DICOM series.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: it cannot be read, or holds several volumes.
    """
    found, problems = find_series([path])
    if len(found) != 1:
        names = ", ".join(f"{series.name} ({counted(len(series.paths), 'file')})" for series in found[:4])
        raise ValueError(f"{path}: holds {len(found)} volumes, one is translated: {names or (problems or [''])[0]}")
    series: Series = found[0]
    try:
        return series.load()
    except ValueError as error:
        raise ValueError(f"{series.source}: {error}") from None


def translate_volume(volume: Volume, models: Sequence[SliceModel], format: Format) -> NDArray[Any]:
    """The translation ``[I, J, K, C]`` on the grid of the volume, averaged over the models.

    Args:
        volume: in the unit of the training's source.
        models: one, or one for each view.
        format: type of the target's numbers; whole ones are rounded once, at the end.

    Raises:
        ValueError: the volume cannot be cut as the training's were.
    """
    if volume.uneven:
        raise ValueError(f"{volume.uneven}: a volume of equal distances is needed to write one")
    views = [_translated(volume, model) for model in models]
    mean = views[0] if len(views) == 1 else np.mean(views, axis=0, dtype=np.float64)
    if format == "float32":
        return np.asarray(mean, np.float32)
    limits = np.iinfo(format)
    return np.rint(mean).clip(limits.min, limits.max).astype(format)


def _translated(volume: Volume, model: SliceModel) -> NDArray[np.float32]:
    chosen = windowed(select_bands(volume, model.source.bands), model.source.window)
    view = view_of(chosen, model.view)
    if model.resample:
        chosen = resampled(chosen, model.resample, nearest=model.source.labels)
    chosen = _filled(chosen, model.low)
    slices = np.stack(list(model.translate([np.ascontiguousarray(each) for each in slices_of(chosen, view)])))
    array = from_slices(slices.reshape(*slices.shape[:3], -1).astype(np.float32), chosen, view)
    return on_grid(array, chosen.affine, volume) if model.resample else array


def _filled(volume: Volume, low: float) -> Volume:
    """What was not measured as the smallest value of the range: as training fills it."""
    gone = missing(volume)
    if gone is None:
        return volume
    kind = volume.array.dtype if low == int(low) else np.dtype(np.float32)
    filled = np.where(gone[..., None], np.asarray(low, kind), volume.array)
    return replace(volume, array=filled.astype(kind), nodata=None)

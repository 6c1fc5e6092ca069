"""A volume with its place in the patient: slices upright in the standard view, other spacings, equal grids.

World coordinates are those of NIfTI: millimetres toward the patient's Right, Anterior, Superior (RAS). DICOM and ITK
count toward Left, Posterior, Superior (LPS): both signs of x and y differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from util.types import STORED, VIEWS
from util.wording import counted

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

# Where columns, rows and slices of a view run to. The reader faces the patient: the patient's right is on the left of
# axial and coronal pictures, the face on the left of sagittal ones; front or head is up.
_DIRECTIONS = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIL"}
_OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "S": "I", "I": "S"}
_AS_STORED = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])  # nibabel's orientation that changes nothing
_SAME_PLACE = 0.1  # voxels by which the corners of equal grids may lie apart: headers round
_TILTED = 0.01  # cosine between two axes from which they are no longer perpendicular

Affine = NDArray[np.float64]


@dataclass(frozen=True)
class Volume:
    """Voxels with their place and meaning.

    Attributes:
        array: ``[I, J, K, C]``; I runs along the columns of a stored picture, J along its rows, K through the slices.
        affine: 4 x 4, voxel indices (centres) -> RAS millimetres; without ``oriented`` only the spacing is known.
        oriented: the file says how the patient lies.
        uneven: why the slices are no block of equal distances, in a few words; else empty.
        unit: of the values, such as ``HU``; may be empty.
        nodata: value of the voxels that were not measured, NaN included; None where there are none.
        modality: ``CT``, ``MR``, ...; may be empty.
        unnamed_bands: what the channels are where they are no picture's channels, such as ``20 time points``.
        frame: DICOM's frame of reference: positions of different frames are not comparable. May be empty.
        header: of a NIfTI file.
    """

    array: NDArray[Any]
    affine: Affine
    oriented: bool = True
    uneven: str = ""
    unit: str = ""
    nodata: float | None = None
    modality: str = ""
    unnamed_bands: str = ""
    frame: str = ""
    header: Any = None

    @property
    def shape(self) -> tuple[int, int, int]:
        i, j, k = self.array.shape[:3]
        return i, j, k

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between neighbours along I, J, K."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)


def zeros(shape: Sequence[int]) -> NDArray[np.uint8]:
    """``[*shape, 1]``, read only, in one byte of memory: in the place of voxels that nobody asks for."""
    return np.broadcast_to(np.zeros((), np.uint8), (*shape, 1))


def missing(volume: Volume) -> NDArray[np.bool_] | None:
    """``[I, J, K]``: where a voxel was not measured; None where all were."""
    if volume.nodata is None:
        return None
    gone = np.isnan(volume.array) if np.isnan(volume.nodata) else volume.array == volume.nodata
    return np.asarray(gone.any(axis=3))


def select_bands(volume: Volume, bands: Sequence[int]) -> Volume:
    """The volume with these channels, counted from 1, in this order; all of them for an empty choice.

    Raises:
        ValueError: there is no such band, or the file has several without saying that they belong into one picture.
    """
    count = volume.array.shape[3]
    if not bands and volume.unnamed_bands:
        raise ValueError(f"has {volume.unnamed_bands}: choose which become channels, e.g. --bands 1")
    if wrong := [band for band in bands if not 1 <= band <= count]:
        raise ValueError(f"has {counted(count, 'band')}: --bands {wrong[0]} does not exist")
    return replace(volume, array=volume.array[..., [band - 1 for band in bands]]) if bands else volume


def windowed(volume: Volume, window: Sequence[float]) -> Volume:
    """The volume clipped to LOW and HIGH in its own unit; voxels that were not measured stay, an empty window too."""
    if not window:
        return volume
    low, high = window
    array, gone = volume.array, missing(volume)
    if array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        low, high = max(np.ceil(low), limits.min), min(np.floor(high), limits.max)
    clipped = np.clip(array, np.asarray(low, array.dtype), np.asarray(high, array.dtype))
    return replace(volume, array=clipped if gone is None else np.where(gone[..., None], array, clipped))


# --- slices -----------------------------------------------------------------------------------------------------------


def view_of(volume: Volume, view: str) -> str:
    """The view to cut in: the wanted one; if none is wanted, axial where the file says how the patient lies.

    Raises:
        ValueError: the volume cannot be cut in the wanted view.
    """
    if not view:
        view = VIEWS[0] if volume.oriented else STORED
    if view == STORED:
        return view
    if not volume.oriented:
        raise ValueError(f"does not say how the patient lies: --view {view} is unknown, --view {STORED} cuts as stored")
    if _native(volume) != view and (volume.uneven or volume.shape[2] == 1):
        reason = volume.uneven or "it is one slice"
        raise ValueError(f"{reason}: it has no {view} view, only --view {_native(volume)}")
    return view


def _native(volume: Volume) -> str:
    """The view whose slices are those that the file has."""
    from nibabel.orientations import aff2axcodes

    through = aff2axcodes(volume.affine)[2]
    return next(view for view, codes in _DIRECTIONS.items() if through in (codes[2], _OPPOSITE[codes[2]]))


def _turning(volume: Volume, view: str) -> NDArray[Any]:
    """nibabel's orientation transform from the stored axes to columns, rows and slices of a view."""
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    if view == STORED:
        return _AS_STORED
    turning: NDArray[Any] = ornt_transform(io_orientation(volume.affine), axcodes2ornt(tuple(_DIRECTIONS[view])))
    return turning


def turned(volume: Volume, view: str) -> Volume:
    """The volume with axes I, J, K along columns, rows and slices of a view: no voxel is changed."""
    from nibabel.orientations import apply_orientation, inv_ornt_aff

    turning = _turning(volume, view)
    affine = volume.affine @ inv_ornt_aff(turning, volume.shape)
    return replace(volume, array=apply_orientation(volume.array, turning), affine=affine, header=None)


def slices_of(volume: Volume, view: str) -> NDArray[Any]:
    """``[S, H, W, C]``: the slices of a view, upright as radiologists look at them."""
    return turned(volume, view).array.transpose(2, 1, 0, 3)


def from_slices(slices: NDArray[Any], volume: Volume, view: str) -> NDArray[Any]:
    """``[I, J, K, C]`` in the axes of ``volume``, from slices as ``slices_of`` cuts them."""
    from nibabel.orientations import apply_orientation, ornt_transform

    back = ornt_transform(_AS_STORED, _turning(volume, view))
    array: NDArray[Any] = apply_orientation(slices.transpose(2, 1, 0, 3), back)
    return array


# --- other spacings ---------------------------------------------------------------------------------------------------


def resampled(volume: Volume, spacing: float, *, nearest: bool = False) -> Volume:
    """The volume with voxels of ``spacing`` millimetres in all directions, in its middle; less than one is cut off.

    Averaging (a triangle as wide as the larger of both voxels), so that nothing finer than the new voxels remains as
    noise and no value lies outside the old ones. Where half of a voxel or more was not measured, it is not.

    Args:
        volume: of any spacing.
        spacing: millimetres.
        nearest: take the nearest value instead: for labels.

    Raises:
        ValueError: the slices have no equal distances, or the volume is thinner than one voxel.
    """
    if volume.uneven:
        raise ValueError(f"{volume.uneven}: it cannot be resampled")
    if not volume.oriented:
        raise ValueError("does not say where its slices lie: it cannot be resampled to millimetres")
    steps = [spacing / old for old in volume.spacing]
    counts = [int(size / step + 1e-6) for size, step in zip(volume.shape, steps)]
    if not all(counts):
        raise ValueError(f"is thinner than --resample {spacing:g} mm: it has {_described(volume)}")
    starts = [max((size - count * step) / 2, 0.0) for size, count, step in zip(volume.shape, counts, steps)]
    boxes = [(start, start + count * step) for start, count, step in zip(starts, counts, steps)]
    affine = volume.affine.copy()
    affine[:3, :3] = volume.affine[:3, :3] * steps
    first = [start + step / 2 - 0.5 for start, step in zip(starts, steps)]  # where the first new centre lies
    affine[:3, 3] = volume.affine[:3, :3] @ first + volume.affine[:3, 3]
    array = _resampled(volume, counts, boxes, nearest=nearest)
    return replace(volume, array=array, affine=affine, header=None)


def _resampled(
    volume: Volume, counts: Sequence[int], boxes: Sequence[tuple[float, float]], *, nearest: bool
) -> NDArray[Any]:
    kind = volume.array.dtype
    gone = missing(volume)
    if nearest or gone is None:
        return _stored(_resized(volume.array, counts, boxes, nearest=nearest), kind)
    known = _resized(~gone[..., None], counts, boxes, nearest=False)
    sums = _resized(np.where(gone[..., None], 0, volume.array), counts, boxes, nearest=False)
    means = np.divide(sums, known, out=np.zeros_like(sums), where=known > 0)
    return np.where(known <= 0.5, np.asarray(volume.nodata, kind), _stored(means, kind))


def _resized(
    array: NDArray[Any], counts: Sequence[int], boxes: Sequence[tuple[float, float]], *, nearest: bool
) -> NDArray[np.float32]:
    """float32 ``[I, J, K, C]`` of ``counts`` voxels from the part of the array that ``boxes`` name, axis by axis."""
    method = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR

    def resize(plane: NDArray[Any], size: tuple[int, int], box: tuple[float, float, float, float]) -> NDArray[Any]:
        picture = Image.fromarray(np.ascontiguousarray(plane, np.float32))
        return np.asarray(picture.resize(size, method, box))

    (i0, i1), (j0, j1), (k0, k1) = boxes
    flat = np.empty((counts[0], counts[1], *array.shape[2:]), np.float32)
    for k in range(array.shape[2]):
        for c in range(array.shape[3]):
            flat[:, :, k, c] = resize(array[:, :, k, c], (counts[1], counts[0]), (j0, i0, j1, i1))
    done = np.empty((*counts, array.shape[3]), np.float32)
    for i in range(counts[0]):
        for c in range(array.shape[3]):
            done[i, :, :, c] = resize(flat[i, :, :, c], (counts[2], counts[1]), (k0, 0, k1, counts[1]))
    return done


def _stored(values: NDArray[np.float32], kind: np.dtype[Any]) -> NDArray[Any]:
    return values.astype(kind) if kind.kind == "f" else np.rint(values).astype(kind)


def on_grid(values: NDArray[np.float32], affine: Affine, grid: Volume) -> NDArray[np.float32]:
    """Values of a resampled volume at the voxels of the volume that it was made from.

    Args:
        values: ``[I, J, K, C]``.
        affine: as ``resampled`` gave it.
        grid: what was resampled. Its voxels beyond the outermost new centres take the nearest value.

    Returns:
        float32 ``[I, J, K, C]`` with the first three sizes of ``grid``, linearly interpolated.
    """
    steps = np.linalg.norm(affine[:3, :3], axis=0) / grid.spacing
    first = np.linalg.solve(grid.affine[:3, :3], affine[:3, 3] - grid.affine[:3, 3])
    for axis, size in enumerate(grid.shape):
        place = ((np.arange(size) - first[axis]) / steps[axis]).clip(0, values.shape[axis] - 1)
        below = np.floor(place).astype(int)
        above = np.minimum(below + 1, values.shape[axis] - 1)
        shape = [1] * values.ndim
        shape[axis] = size
        part = (place - below).reshape(shape).astype(np.float32)
        values = values.take(below, axis) * (1 - part) + values.take(above, axis) * part
    return values


# --- equal grids ------------------------------------------------------------------------------------------------------


def difference(a: Volume, b: Volume) -> str:
    """How the grids of two volumes differ, in a few words; empty where voxels of one index lie in one place.

    In which order the files store the axes does not matter.
    """
    if a.oriented != b.oriented:
        return "one of them does not say how the patient lies"
    if a.oriented:
        a, b = turned(a, VIEWS[0]), turned(b, VIEWS[0])
    if a.shape != b.shape or not np.allclose(a.spacing, b.spacing, rtol=0.01):
        return f"{_described(a)}, and {_described(b)}"
    corners = np.array([[i, j, k, 1.0] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    corners[:, :3] *= np.array(a.shape) - 1
    apart = float(np.linalg.norm((corners @ a.affine.T - corners @ b.affine.T)[:, :3], axis=1).max())
    return f"the same voxels, but up to {apart:.3g} mm apart" if apart > _SAME_PLACE * min(a.spacing) else ""


def _described(volume: Volume) -> str:
    sizes, steps = "x".join(map(str, volume.shape)), "x".join(f"{step:.4g}" for step in volume.spacing)
    return f"{sizes} voxels of {steps} mm"


def is_tilted(affine: Affine) -> bool:
    """Whether the slices are shifted against each other, as by a tilted gantry."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    products = axes.T @ axes
    return bool(np.abs(products - np.eye(3)).max() > _TILTED)

"""NIfTI, NRRD, MetaImage and TIFF stacks as volumes, and volumes as NIfTI."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from util.files import replacing
from util.images.tiff import is_cut, ome_files
from util.memory import require_memory
from util.volumes.errors import one_line
from util.volumes.grid import LPS_TO_RAS, Volume, zeros
from util.volumes.numbers import compact

NIFTI, ITK, TIFF = (".nii", ".nii.gz", ".hdr", ".mgz", ".mgh"), (".nrrd", ".nhdr", ".mha", ".mhd"), (".tif", ".tiff")
SUFFIXES = (*NIFTI, *ITK, *TIFF)
COMPANIONS = (".img", ".img.gz", ".raw", ".zraw", ".raw.gz", ".json")
"""Suffixes of files that others name (pixels of .hdr, .mhd and .nhdr), or that describe others (BIDS)."""

_EXR = "no package of this project reads EXR: convert it to a TIFF of 32 bits, e.g. oiiotool IN.exr -o OUT.tif"
_COPIES = 3  # of a volume that lie in memory at once
_OME_SIZE = re.compile(r'PhysicalSize([XYZ])="([\d.eE+-]+)"')
_OME_UNIT = re.compile(r'PhysicalSize([XYZ])Unit="([^"]+)"')
_MILLIMETRES = {"mm": 1.0, "cm": 10.0, "m": 1e3, "nm": 1e-6, "um": 1e-3, "µm": 1e-3, "micron": 1e-3, "meter": 1e3}
_MILLIMETRES |= {"\\u00B5m": 1e-3, "&#181;m": 1e-3, "pixel": 1.0, "unknown": 1.0}


def suffix_of(path: Path) -> str:
    """The suffix in small letters, ``.nii.gz`` as one."""
    name = path.name.lower()
    return next((suffix for suffix in (*SUFFIXES, *COMPANIONS) if name.endswith(suffix)), path.suffix.lower())


def read_file(path: Path, *, voxels: bool = True) -> Volume:
    """The volume of one file of the kinds in ``SUFFIXES``.

    Args:
        path: of the file.
        voxels: False: only the header is read, for ``grid.difference``; all values are 0, of one channel.

    Raises:
        ValueError: it is broken, of another kind, or too large for the free memory.
        ModuleNotFoundError: the package that reads it is missing.
    """
    suffix = suffix_of(path)
    if suffix == ".exr":
        raise ValueError(_EXR)
    readers: dict[tuple[str, ...], Callable[[Path, bool], Volume]] = {NIFTI: _nifti, ITK: _itk, TIFF: _tiff}
    reader = next((reader for suffixes, reader in readers.items() if suffix in suffixes), None)
    if reader is None:
        raise ValueError("is no volume: DICOM, " + ", ".join(SUFFIXES) + " are read")
    try:
        volume = reader(path, voxels)
    except (ValueError, ModuleNotFoundError, MemoryError):
        raise
    except Exception as error:  # the libraries raise many kinds on broken files
        raise ValueError(f"cannot be read ({one_line(error)})") from None
    if not all(volume.array.shape):
        raise ValueError("has no voxels")
    return _with_nan(volume)


def _with_nan(volume: Volume) -> Volume:
    array = volume.array
    if array.dtype.kind != "f":
        return volume
    if np.isinf(array).any():
        raise ValueError("holds infinite values")
    return replace(volume, nodata=math.nan) if np.isnan(array).any() else volume


def _native(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("="), copy=False)


# --- NIfTI, MGH, Analyze ----------------------------------------------------------------------------------------------


def _nifti(path: Path, voxels: bool) -> Volume:
    import nibabel

    nibabel.imageglobals.logger.setLevel("CRITICAL")  # what matters is raised
    try:
        image: Any = nibabel.load(path)
    except (nibabel.filebasedimages.ImageFileError, FileNotFoundError) as error:
        raise ValueError(f"cannot be read ({one_line(error)})") from None
    shape, header = tuple(int(size) for size in image.shape), image.header
    affine = np.asarray(image.affine, np.float64).copy()
    affine[:3] *= _MILLIMETRES.get(_space_unit(header), 1.0)
    if not np.isfinite(affine).all() or not np.linalg.norm(affine[:3, :3], axis=0).all():
        raise ValueError("its affine has no size")
    oriented = "sform_code" in header and bool(int(header["sform_code"]) or int(header["qform_code"]))
    oriented = oriented or path.name.lower().endswith((".mgz", ".mgh"))
    if not voxels:
        return Volume(zeros([*shape, 1, 1][:3]), affine, oriented=oriented)
    require_memory(_COPIES * math.prod(shape) * max(image.get_data_dtype().itemsize, 4))
    stored = _native(np.asanyarray(image.dataobj))  # slope and intercept applied, if the file has any
    if stored.dtype.fields:
        stored = np.stack([stored[name] for name in stored.dtype.fields], axis=-1)
        array, bands = stored, ""
    else:
        while stored.ndim > 3 and stored.shape[3] == 1:
            stored = stored[:, :, :, 0]
        if stored.ndim > 4:
            raise ValueError(f"has {len(shape)} axes ({'x'.join(map(str, shape))}): save a file of three or four")
        several = "time points" if len(shape) == 4 else "components"
        bands = f"{stored.shape[3]} {several}" if stored.ndim == 4 else ""
        while stored.ndim < 4:
            stored = stored[..., None]
        array = stored
    return Volume(compact(array), affine, oriented=oriented, unnamed_bands=bands, header=header)


def _space_unit(header: Any) -> str:
    return str(header.get_xyzt_units()[0]) if hasattr(header, "get_xyzt_units") and "xyzt_units" in header else ""


def write_nifti(path: Path, array: NDArray[Any], grid: Volume, *, description: str = "") -> None:
    """Write ``[I, J, K]`` or ``[I, J, K, C]`` on the grid of a volume: its affine, and its header if it has one.

    Values are stored as they are in the type of the array. nibabel alone would stretch floats over the whole range of
    the integers that an old header names, with a slope that label readers ignore.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        array: uint8, int16, uint16 or float32.
        grid: where the voxels lie; the file counts in the unit of its header (micrometres), or in millimetres.
        description: at most 79 letters, kept in the file.

    Raises:
        OSError: the file cannot be written.
    """
    import nibabel

    plain = array[..., 0] if array.ndim == 4 and array.shape[3] == 1 else array
    header = grid.header.copy() if isinstance(grid.header, nibabel.Nifti1Header) else None
    affine = grid.affine.copy()
    affine[:3] /= 1.0 if header is None else _MILLIMETRES.get(_space_unit(header), 1.0)
    image = nibabel.Nifti1Image(plain, affine, header)
    image.set_data_dtype(plain.dtype)  # not the source's
    image.header.set_slope_inter(1, 0)
    image.header["descrip"] = description.encode("ascii", "replace")[:79]
    image.header["cal_min"] = image.header["cal_max"] = 0  # the window in which viewers showed the source
    if header is None:
        image.header.set_xyzt_units("mm")
        image.set_sform(grid.affine, code=1 if grid.oriented else 0)
        image.set_qform(grid.affine, code=1 if grid.oriented else 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        data = image.to_bytes()
        if path.name.lower().endswith(".gz"):
            import gzip

            data = gzip.compress(data, 6, mtime=0)  # equal volumes make equal files
        temporary.write_bytes(data)


# --- NRRD, MetaImage --------------------------------------------------------------------------------------------------


def _itk(path: Path, voxels: bool) -> Volume:
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)  # it would write lines of its own
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    dimensions, components = reader.GetDimension(), reader.GetNumberOfComponents()
    if dimensions not in (2, 3):
        raise ValueError(f"has {dimensions} axes ({'x'.join(map(str, reader.GetSize()))}): save a file of three")
    affine = np.eye(4)
    direction = np.array(reader.GetDirection()).reshape(dimensions, dimensions)
    affine[:dimensions, :dimensions] = direction * np.array(reader.GetSpacing())
    affine[:dimensions, 3] = reader.GetOrigin()
    affine = LPS_TO_RAS @ affine
    oriented = dimensions == 3 and (("nrrd" not in path.suffix and "nhdr" not in path.suffix) or _has_space(reader))
    if not voxels:
        return Volume(zeros([*reader.GetSize(), 1][:3]), affine, oriented=oriented)
    require_memory(_COPIES * math.prod(reader.GetSize()) * components * 8)
    array = SimpleITK.GetArrayFromImage(reader.Execute())  # z, y, x, channels
    array = array if components > 1 else array[..., None]
    array = array if dimensions == 3 else array[None]
    colours = components == 3 and array.dtype == np.uint8
    bands = f"{components} components" if components > 1 and not colours else ""
    return Volume(compact(array.transpose(2, 1, 0, 3)), affine, oriented=oriented, unnamed_bands=bands)


def _has_space(reader: Any) -> bool:
    return "NRRD_space" in reader.GetMetaDataKeys()


# --- stacks -----------------------------------------------------------------------------------------------------------


def _tiff(path: Path, voxels: bool) -> Volume:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        page = series.keyframe
        if int(page.photometric) not in (0, 1, 2):
            raise ValueError(f"holds colours of the kind {page.photometric.name}: convert it to grey or RGB")
        affine = np.diag([*_tiff_spacing(tiff, page), 1.0])
        if not voxels:
            size = _stack(zeros(series.shape)[..., 0], series.axes).shape[:3]
            return Volume(zeros(size), affine, oriented=False)
        require_memory(_COPIES * math.prod(series.shape) * np.dtype(series.dtype).itemsize)
        named = (tiff.imagej_metadata or {}).get("images", 1) if tiff.is_imagej else 1
        there = math.prod(size for size, axis in zip(series.shape, series.axes) if axis not in "YXS")
        if there < named or is_cut(series):
            names = ome_files(tiff)
            if gone := [name for name in names if not (path.parent / name).is_file()]:
                raise ValueError(f"belongs to a set of {len(names)} files (OME), of which {gone[0]} is not beside it")
            raise ValueError("some of its slices are not there: the file is truncated")
        array = _stack(_native(series.asarray(maxworkers=1)), series.axes)
        if int(page.photometric) == 0:
            array = ~array if array.dtype == np.bool_ else array.dtype.type(2 ** int(page.bitspersample) - 1) - array
    return Volume(compact(array), affine, oriented=False)


def set_of(path: Path) -> frozenset[Path]:
    """All files of the set (OME-TIFF, a file for each channel or slice) that a file belongs to: each of them is read as
    the whole set. Empty for files that are a volume of their own, and for those that cannot be read."""
    import tifffile

    if suffix_of(path) not in TIFF:
        return frozenset()
    try:
        with tifffile.TiffFile(path) as tiff:
            names = ome_files(tiff)
    except Exception:  # reading it says what is wrong
        return frozenset()
    return frozenset(path.parent / name for name in names) if len(names) > 1 else frozenset()


def _stack(array: NDArray[Any], axes: str) -> NDArray[Any]:
    """``[I, J, K, C]`` from an array whose axes have TIFF letters: C and S are channels, Z, T or pages are slices."""
    long = "".join(axis for axis, size in zip(axes, array.shape) if size > 1 or axis in "YX")
    array = array.reshape([size for axis, size in zip(axes, array.shape) if size > 1 or axis in "YX"])
    channels = [axis for axis in long if axis in "CS"]
    others = [axis for axis in long if axis not in "YXCS"]
    if len(channels) > 1 or len(others) > 1:
        raise ValueError(f"is a stack with the axes {axes}: save a file for each {(others or channels)[0]}")
    for axis in "CZ":
        if not (channels if axis == "C" else others):
            array, long = array[..., None], long + axis
    order = [long.index("X"), long.index("Y"), long.index((others or "Z")[0]), long.index((channels or "C")[0])]
    return array.transpose(order)


def _tiff_spacing(tiff: Any, page: Any) -> tuple[float, float, float]:
    """Millimetres along X, Y, Z; 1 where the file does not say."""
    if tiff.is_ome:
        text = tiff.ome_metadata or ""
        units = dict(_OME_UNIT.findall(text))
        sizes = {
            axis: float(size) * _MILLIMETRES.get(units.get(axis, "µm"), 1e-3) for axis, size in _OME_SIZE.findall(text)
        }
        return sizes.get("X", 1.0), sizes.get("Y", 1.0), sizes.get("Z", 1.0)
    if tiff.is_imagej:
        metadata = tiff.imagej_metadata or {}
        factor = _MILLIMETRES.get(str(metadata.get("unit", "")), 1.0)
        x, y = (1 / value if value else 1.0 for value in page.get_resolution())
        return x * factor, y * factor, float(metadata.get("spacing", 1.0)) * factor
    return 1.0, 1.0, 1.0

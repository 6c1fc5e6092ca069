"""Volumes that tests draw: a head in NIfTI, and a CT as the DICOM files of a scanner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def head(size: int = 16, slices: int = 6, *, seed: int = 0) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """An MR (0 to 1000) and a CT (-1000 to 1200 HU) of a ball of tissue in a shell of bone, ``[I, J, K]``."""
    rng = np.random.default_rng(seed)
    centre = (np.array([size, size, slices]) - 1) / 2 + rng.uniform(-1, 1, 3)
    grid = np.indices((size, size, slices)).transpose(1, 2, 3, 0)
    far = np.sqrt((((grid - centre) / (size / 2, size / 2, slices)) ** 2).sum(axis=3))
    mr = np.select([far < 0.6, far < 0.8], [600 + 300 * (far < 0.3), 100], 0) + rng.integers(0, 20, far.shape)
    ct = np.select([far < 0.3, far < 0.6, far < 0.8], [20, 40, 1200], -1000)
    return mr.astype(np.int16), ct.astype(np.int16)


def write_nifti(path: Path, array: NDArray[Any], affine: NDArray[Any] | None = None) -> Path:
    """A NIfTI with 1 x 1 x 2 mm voxels, the patient's left first, unless an affine is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([-1.0, 1.0, 2.0, 1.0]) if affine is None else affine
    image = nibabel.Nifti1Image(array, affine)
    image.set_sform(affine, code=1)
    image.to_filename(path)
    return path


def slice_tags(stored: NDArray[Any], z: float, *, number: int = 1, **tags: Any) -> FileDataset:
    """One axial CT slice in memory, with the rescale to Hounsfield units of most scanners."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    found = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    found.SOPClassUID, found.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    found.Modality, found.PatientID, found.SeriesInstanceUID = "CT", "p1", "1.2.3"
    found.SeriesNumber, found.SeriesDescription, found.InstanceNumber = 4, "thorax", number
    found.Rows, found.Columns = stored.shape[:2]
    found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
    found.BitsAllocated = found.BitsStored = stored.dtype.itemsize * 8
    found.HighBit, found.PixelRepresentation = found.BitsStored - 1, int(stored.dtype.kind == "i")
    found.PixelSpacing, found.SliceThickness = [0.5, 0.25], 3.0
    found.ImagePositionPatient, found.ImageOrientationPatient = [10.0, 20.0, z], [1, 0, 0, 0, 1, 0]
    found.RescaleSlope, found.RescaleIntercept = 1, -1024
    found.PixelData = stored.tobytes()
    for name, value in tags.items():
        if value is None:
            delattr(found, name)
        else:
            setattr(found, name, value)
    return found


def write_dicom(path: Path, stored: NDArray[Any], z: float = 0.0, **tags: Any) -> Path:
    """The slice of ``slice_tags`` as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, slice_tags(stored, z, **tags), enforce_file_format=True)
    return path

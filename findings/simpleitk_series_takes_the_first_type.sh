#!/usr/bin/env bash
# SimpleITK 2.5.7: a DICOM series whose first slice has whole numbers loses the fractions of all others.
#
# A good guess:  the series reader gives every slice after its own Rescale Slope (PET has another for each slice), in a type
#                that holds all of them, as it does where the first slope is a fraction.
# What happens:  the type is that of the first slice. One of slope 1, as an empty slice at the end of a PET has, makes the
#                whole volume an integer one: values of 0.25, 0.5 and 0.75 in the slices behind it are 0. Nothing warns, and
#                the same files in the other direction, or each alone, are right.
# Versions:      SimpleITK 2.5.7 (ITK 5.4, GDCM 3), pydicom 3.0.2 writes the files
# Source:        itk::ImageSeriesReader: the first file decides about the output; DICOM PS3.3 C.7.6.1, C.11.1.1.2
#
# Run it: bash findings/simpleitk_series_takes_the_first_type.sh     (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet SimpleITK==2.5.7 pydicom==3.0.2 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import sys

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage, generate_uid

study, series, frame = generate_uid(), generate_uid(), generate_uid()
stored = np.arange(4, dtype=np.uint16).reshape(2, 2)


def write(name, place, slope):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = PositronEmissionTomographyImageStorage, generate_uid()
    tags = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    tags.SOPClassUID, tags.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    tags.StudyInstanceUID, tags.SeriesInstanceUID, tags.FrameOfReferenceUID, tags.Modality = study, series, frame, "PT"
    tags.InstanceNumber, tags.SliceThickness, tags.PixelSpacing = place + 1, 3, [4, 4]
    tags.ImagePositionPatient, tags.ImageOrientationPatient = [0, 0, 3 * place], [1, 0, 0, 0, 1, 0]
    tags.Rows, tags.Columns = stored.shape
    tags.BitsAllocated, tags.BitsStored, tags.HighBit, tags.PixelRepresentation = 16, 16, 15, 0
    tags.SamplesPerPixel, tags.PhotometricInterpretation = 1, "MONOCHROME2"
    tags.RescaleSlope, tags.RescaleIntercept = slope, 0
    tags.PixelData = stored.tobytes()
    tags.save_as(name, enforce_file_format=True)


for place, slope in enumerate((1, 0.25, 0.25)):
    write(f"{place}.dcm", place, slope)
files = ["0.dcm", "1.dcm", "2.dcm"]
seen = {}
for name, order in (("slope 1 first", files), ("slope 0.25 first", files[::-1])):
    image = sitk.ReadImage(order)
    array = sitk.GetArrayFromImage(image)
    seen[name] = array[order.index("1.dcm")].ravel().tolist()
    print(f"{name}: {image.GetPixelIDTypeAsString()}, the second slice {seen[name]}")
alone = sitk.GetArrayFromImage(sitk.ReadImage("1.dcm")).ravel().tolist()
print("the second slice alone:", alone)
print("SimpleITK", sitk.Version_VersionString(), "pydicom", pydicom.__version__)
right = [0.0, 0.25, 0.5, 0.75]
sys.exit(0 if (alone, seen["slope 0.25 first"], seen["slope 1 first"]) == (right, right, [0, 0, 0, 0]) else "the behaviour has changed")
PY

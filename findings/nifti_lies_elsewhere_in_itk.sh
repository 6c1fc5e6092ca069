#!/usr/bin/env bash
# One NIfTI file lies in two places: nibabel 5.4.2 follows its sform, SimpleITK 2.5.7 its qform, and their units differ.
#
# A good guess:  two readers of one format put a voxel in one place (signs of x and y aside: RAS and LPS). Which transform
#                counts is known: the sform, where its code is not 0; ITK has said so since version 5.2.
# What happens:  of a file with qform_code 1 (scanner) and sform_code 2 (aligned), as registration tools leave behind,
#                nibabel takes the sform and SimpleITK the qform. With sform_code 1, both take the sform. And a file in
#                micrometres, as of microscopes and small animals, has a spacing of 2 (of its own unit) in nibabel and 0.002
#                (millimetres) in SimpleITK. Pairs of which one went through each library are shifted, without a word.
# Versions:      nibabel 5.4.2, SimpleITK 2.5.7 (ITK 5.4)
# Source:        nibabel, "Choosing the image affine"; itk::NiftiImageIO, SetImageIOOrientationFromNIfTI; ANTsX/ANTs issue 1141
#
# Run it: bash findings/nifti_lies_elsewhere_in_itk.sh     (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet nibabel==5.4.2 SimpleITK==2.5.7 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import sys

import nibabel
import numpy as np
import SimpleITK as sitk

voxels = np.zeros((4, 5, 6), np.int16)


def origins(name):
    """Where the first voxel lies in RAS millimetres, by nibabel and by SimpleITK."""
    x, y, z = sitk.ReadImage(name).GetOrigin()
    return nibabel.load(name).affine[:3, 3].tolist(), [-x, -y, z]


scanner, aligned = np.eye(4), np.eye(4)
aligned[:3, 3] = 10, 20, 30
seen = {}
for qform_code, sform_code in ((1, 2), (1, 1)):
    image = nibabel.Nifti1Image(voxels, aligned)
    image.set_qform(scanner, qform_code)
    image.set_sform(aligned, sform_code)
    nibabel.save(image, "a.nii")
    seen[qform_code, sform_code] = origins("a.nii")
    print(f"qform_code {qform_code}, sform_code {sform_code}: nibabel {seen[qform_code, sform_code][0]}, SimpleITK {seen[qform_code, sform_code][1]}")
image = nibabel.Nifti1Image(voxels, np.diag([2.0, 2.0, 2.0, 1.0]))
image.header.set_xyzt_units("micron")
nibabel.save(image, "b.nii")
spacings = [float(nibabel.load("b.nii").header.get_zooms()[0]), round(sitk.ReadImage("b.nii").GetSpacing()[0], 6)]
print(f"voxels of 2 micrometres: nibabel {spacings[0]}, SimpleITK {spacings[1]}")
print("nibabel", nibabel.__version__, "SimpleITK", sitk.Version_VersionString())
sform, qform = [10.0, 20.0, 30.0], [0.0, 0.0, 0.0]
sys.exit(0 if (seen[1, 2], seen[1, 1], spacings) == ((sform, qform), (sform, sform), [2.0, 0.002]) else "the behaviour has changed")
PY

#!/usr/bin/env bash
# nibabel 5.4.2 stretches floats over all of int16 when they are saved with the header of an int16 file.
#
# A good guess:  a segmentation computed as floats 0.0 and 3.0, saved by Nifti1Image(labels, scan.affine, scan.header) of an
#                int16 scan, holds the numbers 0 and 3 in the file; header["scl_slope"] says whether values are scaled.
# What happens:  the file holds -32768 and 32767, with a slope and an intercept that bring them back near 0 and 3 (to
#                float64 rounding). A reader that takes the stored numbers for labels sees two that do not exist, and one that
#                compares floats with 3 may find none. header["scl_slope"] of the loaded image is nan, as of every image;
#                only image.dataobj.slope tells.
# Versions:      nibabel 5.4.2, numpy 2.4.6
# Source:        nibabel, "Data scaling": the data type of the header decides, floats are fitted into it
#
# Run it: bash findings/nibabel_stretches_labels.sh     (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 nibabel==5.4.2
cd "$folder"
venv/bin/python - <<'PY'
import sys

import nibabel
import numpy as np

scan = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
labels = np.zeros((2, 3, 4))
labels[0] = 3
nibabel.save(nibabel.Nifti1Image(labels, scan.affine, scan.header), "floats.nii")
nibabel.save(nibabel.Nifti1Image(labels.astype(np.int16), scan.affine, scan.header), "whole.nii")
seen = {}
for name in ("floats", "whole"):
    image = nibabel.load(f"{name}.nii")
    stored = sorted(set(image.dataobj.get_unscaled().ravel().tolist()))
    seen[name] = (stored, image.dataobj.slope == 1, bool(np.isnan(image.header["scl_slope"])))
    print(f"{name}: stored {stored}, slope {image.dataobj.slope}, header['scl_slope'] {image.header['scl_slope']}")
print("nibabel", nibabel.__version__, "numpy", np.__version__)
as_described = seen == {"floats": ([-32768, 32767], False, True), "whole": ([0, 3], True, True)}
sys.exit(0 if as_described else "the behaviour has changed")
PY

#!/usr/bin/env bash
# scikit-image 0.26.0: io.imread of a stack of three or four slices is a colour picture; of two or five it is a stack.
#
# A good guess:  a TIFF of grey slices is read as [slices, H, W] whatever their number, as tifffile reads it.
# What happens:  where the first axis has 3 or 4 entries it is moved to the end, as if it were channels. Of a folder of
#                z-stacks those with three or four slices come as [H, W, 3] and [H, W, 4], all others as [Z, H, W].
#                Depth is taken for colour, and x[0] is a row instead of a slice. The tag that says grey (photometric
#                minisblack) does not help. tifffile.imread leaves the axes as they are.
# Versions:      scikit-image 0.26.0, tifffile 2026.3.3
# Source:        skimage/io/_io.py, imread; scikit-image issue 5242
#
# Run it: bash findings/skimage_three_slices_become_colours.sh     (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scikit-image==0.26.0 tifffile==2026.3.3 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PY'
import sys

import numpy as np
import skimage
import skimage.io
import tifffile

print(f"scikit-image {skimage.__version__}, tifffile {tifffile.__version__}")
as_described = True
for slices in (2, 3, 4, 5):
    stack = np.arange(slices * 32 * 48, dtype=np.uint16).reshape(slices, 32, 48)
    tifffile.imwrite("stack.tif", stack, photometric="minisblack", metadata={"axes": "ZYX"})
    read = skimage.io.imread("stack.tif")
    print(f"{slices} slices of 32x48: scikit-image {read.shape}, tifffile {tifffile.imread('stack.tif').shape}")
    expected = stack.transpose(1, 2, 0) if slices in (3, 4) else stack
    as_described = as_described and np.array_equal(read, expected)
    as_described = as_described and np.array_equal(tifffile.imread("stack.tif"), stack)
sys.exit(0 if as_described else "the behaviour has changed")
PY

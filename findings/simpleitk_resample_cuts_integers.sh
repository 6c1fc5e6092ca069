#!/usr/bin/env bash
# SimpleITK 2.5.7: Resample of whole numbers cuts the fraction off towards zero, it does not round.
#
# A good guess:  a CT of int16 that is resampled linearly has the interpolated values to the nearest unit, with errors of
#                up to half a unit of both signs, and no bias.
# What happens:  1.9 becomes 1 and -1.9 becomes -1: every positive value is lowered and every negative one raised by half a
#                unit in the mean. What makes it a matter is images of few levels (PET counts, 8 bit, distance maps, labels
#                that are interpolated), and each further resampling, which takes off as much again: half a level of 8-bit
#                pictures each time. SetOutputPixelType(sitkFloat32), Round and Cast give the nearest numbers.
# Versions:      SimpleITK 2.5.7 (ITK 5.4)
# Source:        itk::ResampleImageFilter, CastPixelWithBoundsChecking (a static_cast); SimpleITK issue 2098
#
# Run it: bash findings/simpleitk_resample_cuts_integers.sh     (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet SimpleITK==2.5.7 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import sys

import numpy as np
import SimpleITK as sitk


def shifted(values, x):
    """The values at places that lie ``x`` further to the right, one row."""
    image = sitk.GetImageFromArray(np.tile(values, (3, 1)))
    found = sitk.Resample(image, [len(values) - 1, 1], sitk.Transform(), sitk.sitkLinear, [x, 1.0], [1.0, 1.0], [1.0, 0.0, 0.0, 1.0], 0.0)
    return sitk.GetArrayFromImage(found)[0]


ramp = np.arange(6)
seen = {}
for kind in (np.int16, np.uint8, np.float32):
    seen[kind.__name__] = shifted(ramp.astype(kind), 0.9)
    print(f"{kind.__name__} 0 to 5 at 0.9, 1.9, ...: {np.round(seen[kind.__name__], 2).tolist()}")
seen["negative"] = shifted(-ramp.astype(np.int16), 0.9)
print("int16 0 to -5 at the same places:", seen["negative"].tolist())
picture = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8))
half = sitk.Resample(picture, picture, sitk.TranslationTransform(2, [0.3, 0.4]), sitk.sitkLinear)
exact = sitk.Resample(sitk.Cast(picture, sitk.sitkFloat64), picture, sitk.TranslationTransform(2, [0.3, 0.4]), sitk.sitkLinear)
bias = float((sitk.GetArrayFromImage(half).astype(float) - sitk.GetArrayFromImage(exact)).mean())
print(f"8-bit noise moved by a part of a pixel: mean error {bias:.2f} levels")
print("SimpleITK", sitk.Version_VersionString())
as_described = (
    seen["int16"].tolist() == seen["uint8"].tolist() == [0, 1, 2, 3, 4]
    and seen["negative"].tolist() == [0, -1, -2, -3, -4]
    and np.allclose(seen["float32"], ramp[:-1] + 0.9)
    and -0.6 < bias < -0.4
)
sys.exit(0 if as_described else "the behaviour has changed")
PY

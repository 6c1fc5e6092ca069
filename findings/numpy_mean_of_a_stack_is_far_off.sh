#!/usr/bin/env bash
# numpy 2.4.6: the channel means of a float32 stack [N, H, W, 3] are off by 15 per cent; of [N, 3, H, W] they are right.
#
# A good guess:  the mean and the standard deviation of a data set, by mean(axis=(0, 1, 2)) and std(axis=(0, 1, 2)),
#                are right to five digits or so, as the mean over everything is, and do not depend on the order of the
#                axes.
# What happens:  numpy adds pairwise only along the axis that is contiguous in memory. Over the first axes of [N, H, W,
#                3] it adds one number after the other in float32. Of 128 pictures of 512x512 with temperatures of 300
#                K +- 5 K the means are 256 K: from 2**32 on the sum has steps of 512, and from 2**33 on of 1024, in
#                which 300 is lost. The standard deviation is over 40 instead of 5. No warning. The same numbers as [N,
#                3, H, W] have the right means, and so has dtype=np.float64.
# Versions:      numpy 2.4.6
# Source:        numpy.sum, "Notes" (pairwise summation along the fast axis)
#
# Run it: bash findings/numpy_mean_of_a_stack_is_far_off.sh     (exit 0: as described; 1: the behaviour has changed)
# It needs 1 GB of memory.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import sys

import numpy as np

picture = np.random.default_rng(0).normal(300, 5, (512, 512, 3)).astype(np.float32)
stack = np.empty((128, 512, 512, 3), np.float32)
stack[:] = picture
whole = stack.mean()
means, deviations = stack.mean(axis=(0, 1, 2)), stack.std(axis=(0, 1, 2))
precise = stack.mean(axis=(0, 1, 2), dtype=np.float64)
del stack
first = np.empty((128, 3, 512, 512), np.float32)
first[:] = picture.transpose(2, 0, 1)
planes = first.mean(axis=(0, 2, 3))
print(f"numpy {np.__version__}, 128 pictures of 512x512, 300 K +- 5 K, float32")
print(f"all numbers:              mean {whole:.3f}")
print(f"[N, H, W, 3] per channel: mean {np.round(means, 3)}, standard deviation {np.round(deviations, 3)}")
print(f"[N, 3, H, W] per channel: mean {np.round(planes, 3)}")
print(f"dtype=np.float64:         mean {np.round(precise, 3)}")
right = [abs(whole - 300) < 0.1, (abs(planes - 300) < 0.1).all(), (abs(precise - 300) < 0.1).all()]
wrong = [(means < 270).all(), (deviations > 20).all()]
sys.exit(0 if all(right + wrong) else "the behaviour has changed")
PY

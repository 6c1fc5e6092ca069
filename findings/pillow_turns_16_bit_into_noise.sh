#!/usr/bin/env bash
# Pillow 12.3.0: rotate and transform of a 16-bit picture with BILINEAR or BICUBIC give noise below 256.
#
# A good guess:  a picture of mode I;16 that resize, crop, flips and rotate(NEAREST) treat rightly is rotated rightly with
#                the other filters, too, or refused, as filters and reduce refuse it.
# What happens:  the filters read single bytes of the two that make a pixel. A 16-bit ramp from 20000 to 40000 comes back as
#                numbers from 0 to 255, in the right shape and type. torchvision's RandomRotation and RandomAffine of PIL
#                images give the same, as they call Pillow: 16-bit X-ray or thermal pictures lose everything by an
#                augmentation that works on 8 bits. Mode F is right: convert there and back.
# Versions:      pillow 12.3.0, numpy 2.4.6
# Source:        Pillow, "Concepts, Modes" (I;16 has limited support); python-pillow/Pillow issue 1127, of 2015
#
# Run it: bash findings/pillow_turns_16_bit_into_noise.sh     (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==12.3.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import sys

import numpy as np
import PIL
from PIL import Image

ramp = np.linspace(20000, 40000, 64 * 64).reshape(64, 64).astype(np.uint16)
deep, exact = Image.fromarray(ramp), Image.fromarray(ramp.astype(np.float32))
filters, inside = Image.Resampling, (slice(24, 40), slice(24, 40))
ways = {
    "resize, bicubic": lambda picture: picture.resize((50, 50), filters.BICUBIC),
    "rotate, nearest": lambda picture: picture.rotate(30),
    "rotate, bilinear": lambda picture: picture.rotate(30, filters.BILINEAR),
    "rotate, bicubic": lambda picture: picture.rotate(30, filters.BICUBIC),
    "transform, bilinear": lambda picture: picture.transform((64, 64), Image.Transform.AFFINE, (1, 0, 0.5, 0, 1, 0), filters.BILINEAR),
}
seen = {}
for name, way in ways.items():
    found, wanted = np.asarray(way(deep)), np.asarray(way(exact))
    seen[name] = (found.dtype == np.uint16, float(np.abs(found[inside] - wanted[inside].astype(float)).max()), int(found[inside].max()))
    print(f"{name}: {found.dtype}, largest error {seen[name][1]:.0f}, largest value {seen[name][2]}")
print("pillow", PIL.__version__, "numpy", np.__version__)
right, wrong = ("resize, bicubic", "rotate, nearest"), ("rotate, bilinear", "rotate, bicubic", "transform, bilinear")
as_described = all(seen[name][1] <= 1 for name in right) and all(seen[name][0] and seen[name][2] < 256 for name in wrong)
sys.exit(0 if as_described else "the behaviour has changed")
PY

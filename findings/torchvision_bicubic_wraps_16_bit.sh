#!/usr/bin/env bash
# torchvision 0.29.1: Resize with BICUBIC of a 16-bit tensor wraps around at edges: white pixels beside black ones.
#
# A good guess:  v2.Resize takes uint16 and int16 tensors and rounds the result; where bicubic scaling overshoots, it is
#                clipped to the type, as it is for uint8, and as Pillow and OpenCV clip.
# What happens:  only uint8 is clipped. An overshoot below 0 of uint16 comes out near 65535, one above 32767 of int16 near
#                -32768: a dark background gets a dotted white line along each edge. Bilinear scaling does not overshoot.
#                decode_image gives 16-bit PNG files as uint16, so that nothing in between makes floats of them.
# Versions:      torchvision 0.29.1, torch 2.14.1
# Source:        resize_image in torchvision/transforms/v2/functional/_geometry.py; pytorch/vision pull request 6892
#
# Run it: bash findings/torchvision_bicubic_wraps_16_bit.sh     (exit 0: as described; 1: the behaviour has changed)
# It installs torch, about 6 GB.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import sys

import torch
import torchvision
from torchvision.transforms import v2

resize = v2.Resize([8, 17], interpolation=v2.InterpolationMode.BICUBIC)
seen = {}
for kind, bright in ((torch.uint8, 200), (torch.uint16, 60000), (torch.int16, 32767)):
    edge = torch.zeros(1, 8, 8, dtype=kind)
    edge[:, :, 4:] = bright
    seen[kind] = resize(edge)[0, 0].tolist()
    print(f"{kind}, an edge from 0 to {bright}: {seen[kind][4:12]}")
print("torchvision", torchvision.__version__, "torch", torch.__version__)
as_described = max(seen[torch.uint8][:7]) == 0 and max(seen[torch.uint16][:7]) > 65000 and min(seen[torch.int16][8:]) < -32000
sys.exit(0 if as_described else "the behaviour has changed")
PY

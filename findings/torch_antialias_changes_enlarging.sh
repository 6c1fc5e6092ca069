#!/usr/bin/env bash
# torch 2.14.1: antialias=True makes another picture of a bicubic enlargement too, where there is nothing to filter.
#
# A good guess:  antialias matters when scaling down; enlarging gives the same numbers with and without it, as bilinear
#                mode does.
# What happens:  the two have different cubic kernels: a = -0.75 without it (OpenCV's) and a = -0.5 with it (Pillow's).
#                At an edge from 0 to 1 the overshoot of a doubled picture is 0.106 without and 0.070 with it, and
#                pictures of noise differ by 6 per cent of the range. Pillow's picture is the one with antialias=True.
#                So the low and high resolution pairs, the "bicubic" baseline and the inputs of a model depend on which
#                function scaled them; torchvision's resize has antialias=True, torch's interpolate False.
# Versions:      torch 2.14.1, Pillow 12.3.0
# Source:        aten/src/ATen/native/cpu/UpSampleKernel.cpp
#
# Run it: bash findings/torch_antialias_changes_enlarging.sh     (exit 0: as described; 1: the behaviour has changed)
# It installs torch, about 6 GB.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 pillow==12.3.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import sys

import numpy as np
import PIL
import torch
from PIL import Image
from torch.nn.functional import interpolate

noise = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
edge = torch.zeros(1, 1, 8, 8)
edge[:, :, :, 4:] = 1
by_pillow = np.asarray(Image.fromarray(noise[0, 0].numpy()).resize((32, 32), Image.Resampling.BICUBIC))
print("torch", torch.__version__, "Pillow", PIL.__version__)
made, over = {}, {}
for mode in ("bilinear", "bicubic"):
    for antialias in (False, True):
        made[mode, antialias] = interpolate(noise, scale_factor=2, mode=mode, antialias=antialias)
        over[mode, antialias] = float(interpolate(edge, scale_factor=2, mode=mode, antialias=antialias).max()) - 1
differ = {mode: float((made[mode, True] - made[mode, False]).abs().max()) for mode in ("bilinear", "bicubic")}
far = {each: float(np.abs(made["bicubic", each][0, 0].numpy() - by_pillow).max()) for each in (False, True)}
for mode, difference in differ.items():
    print(f"doubled noise, {mode}: with and without antialias differ by {difference:.4f}")
print(f"bicubic from Pillow's: without antialias {far[False]:.4f}, with it {far[True]:.4f}")
print(f"overshoot at an edge: without antialias {over['bicubic', False]:.3f}, with it {over['bicubic', True]:.3f}")
as_described = differ["bilinear"] < 1e-5 < 0.02 < differ["bicubic"] and far[True] < 1e-5 < 0.02 < far[False]
sys.exit(0 if as_described else "the behaviour has changed")
PY

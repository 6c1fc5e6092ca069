#!/usr/bin/env bash
# torchvision 0.29.1: a transform of v2 that is given two plain tensors changes the first and leaves the second alone.
#
# A good guess:  v2 takes any structure and applies the same flip and crop to everything in it:
#                RandomHorizontalFlip()(photograph, target) keeps the two together, or refuses what it cannot tell.
# What happens:  of plain tensors only the first is a picture; the others pass through, as labels would. Flips and
#                crops part the pairs, silently. In a dict it is the first key; and where one is a tv_tensors.Image or
#                a PIL picture, no plain tensor is touched. Wrapped as tv_tensors.Image and tv_tensors.Mask both are
#                flipped.
# Versions:      torchvision 0.29.1, torch 2.14.1
# Source:        "Getting started with transforms v2" in the documentation of torchvision (pure tensors)
#
# Run it: bash findings/torchvision_v2_flips_one_of_a_pair.sh     (exit 0: as described; 1: the behaviour has changed)
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
from torchvision import tv_tensors
from torchvision.transforms import v2

flip = v2.RandomHorizontalFlip(p=1)
picture = torch.arange(12, dtype=torch.uint8).reshape(1, 3, 4)
given = {
    "two tensors": (picture, picture),
    "dict of tensors": {"A": picture, "B": picture},
    "tensor and tv_tensors.Image": (picture, tv_tensors.Image(picture)),
    "tv_tensors.Image and Mask": (tv_tensors.Image(picture), tv_tensors.Mask(picture)),
}
print("torchvision", torchvision.__version__, "torch", torch.__version__)
seen = []
for name, pair in given.items():
    made = flip(pair)
    each = list(made.values()) if isinstance(made, dict) else made
    seen.append([torch.equal(torch.as_tensor(part), picture.flip(-1)) for part in each])
    print(f"{name}: flipped {seen[-1]}")
expected = [[True, False], [True, False], [False, True], [True, True]]
sys.exit(0 if seen == expected else "the behaviour has changed")
PY

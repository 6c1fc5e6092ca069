#!/usr/bin/env bash
# torch-fidelity 0.4.0 reads 16-bit grey PNG files as white pictures: any two sets of them are equal.
#
# A good guess:  KID, FID and IS of folders with 16-bit grey PNG files (X-ray, thermal, microscopes) are those of the
#                pictures scaled down to 8 bits, or the files are refused.
# What happens:  the files are opened by Pillow and made RGB, which clips at 255 instead of scaling. Of a picture with
#                values from 1000 to 5000 nothing but 255 is left, so that two unrelated sets have equal features: a KID
#                and FID of about 0, the best there is. torchvision's ImageFolder hands out the same white pictures. Nothing
#                warns. torchvision.io.decode_image keeps the 16 bits.
# Versions:      torch-fidelity 0.4.0, torchvision 0.29.1, pillow 12.3.0
# Source:        torch_fidelity/datasets.py (ImagesPathDataset); Pillow, "Concepts, Modes"; torchvision, default_loader
#
# Run it: bash findings/torch_fidelity_sees_16_bit_as_white.sh     (exit 0: as described; 1: the behaviour has changed)
# It installs torch, about 6 GB.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 torch-fidelity==0.4.0 pillow==12.3.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch_fidelity.datasets import ImagesPathDataset
from torchvision.datasets import ImageFolder
from torchvision.io import decode_image

noise = np.random.default_rng(0).integers(1000, 5000, (64, 64))
ramp = np.linspace(300, 40000, 64 * 64).reshape(64, 64)
for name, picture in (("noise", noise), ("ramp", ramp)):
    Path(f"pictures/{name}").mkdir(parents=True)
    Image.fromarray(picture.astype(np.uint16)).save(f"pictures/{name}/1.png")
read = {name: ImagesPathDataset([f"pictures/{name}/1.png"])[0] for name in ("noise", "ramp")}
folder = [np.unique(np.asarray(picture)).tolist() for picture, _ in ImageFolder("pictures")]
kept = [int(decode_image(f"pictures/{name}/1.png").int().max()) for name in ("noise", "ramp")]
print("torch-fidelity: the values of the noise", read["noise"].unique().tolist(), "and of the ramp", read["ramp"].unique().tolist())
print("ImageFolder:", *folder)
print("largest values by decode_image:", *kept)
print(*(f"{name} {version(name)}" for name in ("torch-fidelity", "torchvision", "pillow")))
as_described = torch.equal(read["noise"], read["ramp"]) and folder == [[255], [255]] and min(kept) > 4000
sys.exit(0 if as_described else "the behaviour has changed")
PY

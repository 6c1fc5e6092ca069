#!/usr/bin/env bash
# wandb 0.31.0 shows float pictures in [0, 1] as black; 0.21.0 scaled them.
#
# A good guess:  wandb.Image of a float array scales [0, 1] to 8 bits, as it did, or refuses it.
# What happens:  numbers are cut to whole ones and taken modulo 256. A grey of 0.5 is 0 and white (1.0) is 1: a page of
#                black pictures. 16-bit arrays wrap around: 256 is black. Nothing warns. After an upgrade the same
#                program logs other pictures than the runs beside it. Arrays of uint8 are the same in both.
# Versions:      wandb 0.31.0 and 0.21.0, numpy 2.4.6
# Source:        wandb/sdk/data_types/image.py; 0.21.0 warns that the scaling will go
#
# Run it: bash findings/wandb_shows_floats_black.sh     (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >show.py <<'PY'
import numpy as np
import wandb

PICTURES = {
    "float32 in [0, 1]": np.array([0, 0.5, 1], np.float32),
    "uint16": np.array([0, 256, 1000], np.uint16),
    "uint8": np.array([0, 100, 255], np.uint8),
}
for name, values in PICTURES.items():
    picture = wandb.Image(np.tile(values[None, :, None], (2, 1, 3))).image
    print(f"{wandb.__version__} {name}: {np.asarray(picture)[0, :, 0].tolist()}")
PY
for version in 0.21.0 0.31.0; do
    "${PYTHON:-python3}" -m venv "venv$version"
    "venv$version/bin/pip" install --quiet "wandb==$version" pillow==12.3.0 numpy==2.4.6
    WANDB_MODE=offline WANDB_SILENT=true "venv$version/bin/python" -W ignore show.py 2>>errors.txt | tee -a seen.txt
done
cat >expected.txt <<'TEXT'
0.21.0 float32 in [0, 1]: [0, 127, 255]
0.21.0 uint16: [0, 255, 255]
0.21.0 uint8: [0, 100, 255]
0.31.0 float32 in [0, 1]: [0, 0, 1]
0.31.0 uint16: [0, 0, 232]
0.31.0 uint8: [0, 100, 255]
TEXT
diff expected.txt seen.txt || { echo "the behaviour has changed"; exit 1; }

#!/usr/bin/env bash
# rasterio 1.4.4, Pillow 12.3.0: scaling a tile of red, green, blue and near infrared erases the colours where NIR is 0.
#
# A good guess:  four bands of bytes written by rasterio are four bands; Image.open(...).resize scales each of them by
#                itself.
# What happens:  GDAL tags the fourth of four 8-bit bands as alpha unless told otherwise, Pillow opens the file as
#                RGBA, and its resize weights colours by alpha. Over water, where NIR is 0, red, green and blue become
#                0: the colour of the sea is gone, though no pixel had a value other than 200, 100, 50. Scale band by
#                band: Image.fromarray(band).resize.
# Versions:      rasterio 1.4.4 (GDAL 3.10.3), Pillow 12.3.0
# Source:        GTiff driver of GDAL, creation options PHOTOMETRIC and ALPHA; PIL/Image.py, Image.resize (modes LA and
#                RGBA)
#
# Run it: bash findings/pillow_resize_takes_near_infrared_for_opacity.sh
#         (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet rasterio==1.4.4 pillow==12.3.0 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PY'
import sys

import numpy as np
import PIL
import rasterio
from PIL import Image

bands = np.empty((4, 4, 4), np.uint8)
bands[:3] = np.array([200, 100, 50])[:, None, None]
bands[3] = [0, 0, 80, 80]  # near infrared: water on the left, land on the right
with rasterio.open("tile.tif", "w", driver="GTiff", width=4, height=4, count=4, dtype="uint8") as file:
    file.write(bands)
with rasterio.open("tile.tif") as file:
    tagged = [each.name for each in file.colorinterp]
picture = Image.open("tile.tif")
scaled = np.asarray(picture.resize((2, 2), Image.Resampling.BOX))[0].tolist()
by_band = np.stack([Image.fromarray(band).resize((2, 2), Image.Resampling.BOX) for band in bands], axis=2)[0].tolist()
print(f"rasterio {rasterio.__version__}, GDAL {rasterio.__gdal_version__}, Pillow {PIL.__version__}")
print(f"rasterio calls the bands {tagged}; Pillow opens {picture.mode}")
print(f"scaled as one picture: water {scaled[0]}, land {scaled[1]}")
print(f"scaled band by band:   water {by_band[0]}, land {by_band[1]}")
as_described = (
    tagged[3] == "alpha"
    and picture.mode == "RGBA"
    and scaled[0] == [0, 0, 0, 0]
    and by_band == [[200, 100, 50, 0], [200, 100, 50, 80]]
)
sys.exit(0 if as_described else "the behaviour has changed")
PY

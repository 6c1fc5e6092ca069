#!/usr/bin/env bash
# rasterio 1.4.4: read(out_shape=..., resampling=Resampling.average) averages nothing in a file that has overviews.
#
# A good guess:  a read at half the size with Resampling.average gives the mean of every 2x2 pixels, whatever else is
#                in the file; overviews are for viewers.
# What happens:  GDAL takes the nearest overview that is large enough and resamples only from there to the size asked
#                for. Overviews are made of the nearest pixels by default, so that the "average" is every second pixel.
#                Of a picture in which one pixel in four is 255 all pixels of the smaller one are 255 instead of 64.
#                The same file without overviews, or opened with OVERVIEW_LEVEL="NONE", gives 64: pairs made of files
#                of both kinds do not belong together.
# Versions:      rasterio 1.4.4 (with its GDAL 3.10.3)
# Source:        GDALRasterIO and the open option OVERVIEW_LEVEL in the documentation of GDAL; rasterio issue 2183
#
# Run it: bash findings/rasterio_average_takes_the_overviews.sh
#         (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet rasterio==1.4.4 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PY'
import sys

import numpy as np
import rasterio
from rasterio.enums import Resampling

picture = np.zeros((256, 256), np.uint8)
picture[::2, ::2] = 255
with rasterio.open("scene.tif", "w", driver="GTiff", width=256, height=256, count=1, dtype="uint8") as file:
    file.write(picture, 1)


def half(**how: str) -> np.ndarray:
    with rasterio.open("scene.tif", **how) as file:
        return file.read(1, out_shape=(128, 128), resampling=Resampling.average)


seen = {"without overviews": half()}
with rasterio.open("scene.tif", "r+") as file:
    file.build_overviews([2, 4])
seen["with overviews"] = half()
seen["with overviews, OVERVIEW_LEVEL=NONE"] = half(OVERVIEW_LEVEL="NONE")
print(f"rasterio {rasterio.__version__}, GDAL {rasterio.__gdal_version__}; mean of the whole picture {picture.mean()}")
for name, array in seen.items():
    print(f"{name}: {array.min()} to {array.max()}")
expected = {"without overviews": 64, "with overviews": 255, "with overviews, OVERVIEW_LEVEL=NONE": 64}
sys.exit(0 if all((seen[name] == value).all() for name, value in expected.items()) else "the behaviour has changed")
PY

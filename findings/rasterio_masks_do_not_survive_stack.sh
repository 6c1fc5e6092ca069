#!/usr/bin/env bash
# rasterio 1.4.4 with numpy 2.4.6: np.stack of masked tiles is a masked array in which nothing is masked.
#
# A good guess:  src.read(masked=True) marks the pixels without data, and np.stack of such tiles marks them too, as its
#                result is a MaskedArray; the mean of the stack leaves them out, as the mean of each tile does.
# What happens:  stack, concatenate and vstack of numpy return a MaskedArray whose mask is False. The nodata value is a
#                number again: two tiles of 20 degrees with one missing corner each have a mean of -606.2 degrees, and
#                a normalisation, a loss or a clip to the value range takes -9999 for a temperature. np.ma.stack keeps
#                the masks.
# Versions:      rasterio 1.4.4, numpy 2.4.6
# Source:        numpy.concatenate, "Notes"; numpy issue 18675
#
# Run it: bash findings/rasterio_masks_do_not_survive_stack.sh     (exit 0: as described; 1: the behaviour has changed)
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

tile = np.full((1, 4, 4), 20, np.float32)
tile[0, 0, 0] = -9999
with rasterio.open("tile.tif", "w", driver="GTiff", width=4, height=4, count=1, dtype="float32", nodata=-9999) as file:
    file.write(tile)
with rasterio.open("tile.tif") as file:
    tiles = [file.read(masked=True) for _ in range(2)]
made = {
    "one tile": tiles[0],
    "np.stack": np.stack(tiles),
    "np.concatenate": np.concatenate(tiles),
    "np.vstack": np.vstack(tiles),
    "np.ma.stack": np.ma.stack(tiles),
}
print(f"rasterio {rasterio.__version__}, numpy {np.__version__}")
for name, array in made.items():
    print(f"{name}: {type(array).__name__}, masked pixels {np.ma.count_masked(array)}, mean {array.mean():.1f}")
lost = [made[each] for each in ("np.stack", "np.concatenate", "np.vstack")]
kept = [made[each] for each in ("one tile", "np.ma.stack")]
as_described = (
    all(isinstance(each, np.ma.MaskedArray) and np.ma.count_masked(each) == 0 for each in lost)
    and all(round(float(each.mean()), 1) == -606.2 for each in lost)
    and all(each.mean() == 20 for each in kept)
)
sys.exit(0 if as_described else "the behaviour has changed")
PY

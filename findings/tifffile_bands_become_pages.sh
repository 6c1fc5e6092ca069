#!/usr/bin/env bash
# tifffile 2026.3.3 writes an array [H, W, 6] as H pages of W x 6 pixels, not as one picture of 6 bands.
#
# A good guess:  imwrite(file, array) of shape [32, 48, 6] with photometric="minisblack" is one picture, 48 x 32 pixels,
#                with six samples per pixel, as the same call gives for [32, 48, 3] with photometric="rgb".
# What happens:  without planarconfig="contig" the file has 32 pages of 6 x 48 pixels with one sample each. Nothing warns,
#                and tifffile's own imread gives the array back unchanged, so that the writer does not notice; a reader
#                that takes the first page gets a picture of 6 x 48 pixels. With planarconfig="contig" it is one page.
# Versions:      tifffile 2026.3.3, numpy 2.4.6
# Source:        tifffile, docstring of TiffWriter.write (photometric, planarconfig: "samples per pixel")
#
# Run it: bash findings/tifffile_bands_become_pages.sh     (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 tifffile==2026.3.3
cd "$folder"
venv/bin/python - <<'PY'
import sys

import numpy as np
import tifffile

bands = np.arange(32 * 48 * 6, dtype=np.uint16).reshape(32, 48, 6)
seen = {}
for name, layout in (("plain", {}), ("contig", {"planarconfig": "contig"})):
    tifffile.imwrite(f"{name}.tif", bands, photometric="minisblack", **layout)
    with tifffile.TiffFile(f"{name}.tif") as tiff:
        page = tiff.pages[0]
        seen[name] = (len(tiff.pages), page.imagewidth, page.imagelength, page.samplesperpixel)
    same = np.array_equal(tifffile.imread(f"{name}.tif"), bands)
    print(f"{name}: pages, width, height, samples per pixel = {seen[name]}; imread gives the array back: {same}")
print("tifffile", tifffile.__version__, "numpy", np.__version__)
sys.exit(0 if seen == {"plain": (32, 6, 48, 1), "contig": (1, 48, 32, 6)} else "the behaviour has changed")
PY

#!/usr/bin/env bash
# pydicom 3.0.2 gives RGB for YBR pictures, and leaves the tag at YBR_FULL_422; 2.4.4 gave YBR under the same tag.
#
# A good guess:  where PhotometricInterpretation says YBR_FULL_422, pixel_array has luma and colour differences, and has to
#                be turned by convert_color_space, as tutorials show.
# What happens:  with pydicom 3 pixel_array is RGB already. Code that believes the tag turns it a second time, without an
#                error: of the packaged picture of colour bars the red one becomes green and the white one pink. The
#                tag is the same in both versions, so that only the version of the library tells.
# Versions:      pydicom 3.0.2 and 2.4.4, numpy 1.26.4
# Source:        docstring of pydicom.pixels.pixel_array (raw)
#
# Run it: bash findings/pydicom_turns_ybr_but_not_the_tag.sh     (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for version in 3.0.2 2.4.4; do
    "${PYTHON:-python3}" -m venv "venv$version"
    "venv$version/bin/pip" install --quiet numpy==1.26.4 "pydicom==$version"
done
cp "$(venv3.0.2/bin/python -c 'import pydicom, pathlib; print(pathlib.Path(pydicom.__file__).parent)')/data/test_files/SC_ybr_full_422_uncompressed.dcm" bars.dcm
cat > look.py <<'PY'
import sys

import pydicom

dataset = pydicom.dcmread("bars.dcm")
pixels = dataset.pixel_array
if sys.argv[1:] == ["again"]:
    from pydicom.pixels import convert_color_space

    pixels = convert_color_space(pixels, dataset.PhotometricInterpretation, "RGB")
print(dataset.PhotometricInterpretation, pixels[5, 50].tolist(), pixels[95, 50].tolist())  # the red bar, and the white
PY
new="$(venv3.0.2/bin/python look.py)"
old="$(venv2.4.4/bin/python look.py)"
twice="$(venv3.0.2/bin/python look.py again)"
printf '%s\n' "3.0.2: $new" "2.4.4: $old" "3.0.2, turned as the tag says: $twice"
[ "$new" = "YBR_FULL_422 [254, 0, 0] [255, 255, 255]" ] &&
    [ "$old" = "YBR_FULL_422 [76, 85, 255] [255, 128, 128]" ] &&
    [ "$twice" = "YBR_FULL_422 [75, 255, 27] [255, 121, 255]" ] || {
    echo "the behaviour has changed"
    exit 1
}

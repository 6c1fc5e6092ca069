#!/usr/bin/env bash
# PyAV 18.1.0: VideoFrame.rotation is the same for a mirrored video and for one that is upside down.
#
# A good guess:  frame.rotation and a turn by that angle make the frames of a phone's video upright.
# What happens:  the angle is taken from two of the four numbers of the display matrix. A horizontal mirror (as phones
#                write for a front camera) gives -180, as a turn by half a circle does, and a transposed picture gives
#                -90, as a quarter turn does. frame.side_data["DISPLAYMATRIX"] has the whole matrix.
# Versions:      PyAV 18.1.0 (FFmpeg 8.0)
# Source:        PyAV, docstring of VideoFrame.rotation ("the rotation component of the DISPLAYMATRIX")
#
# Run it: bash findings/pyav_rotation_hides_mirrors.sh     (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import struct
import sys

import av
import numpy as np

with av.open("plain.mp4", "w") as file:
    stream = file.add_stream("mpeg4", rate=25)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for _ in range(3):
        file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
    file.mux(stream.encode(None))
data = bytearray(open("plain.mp4", "rb").read())
place = data.index(b"tkhd") + 44  # of the display matrix in the track header, version 0
one = 1 << 16
matrices = {  # a, b, c, d of x' = a x + c y, y' = b x + d y
    "half turn": (-one, 0, 0, -one),
    "horizontal mirror": (-one, 0, 0, one),
    "quarter turn": (0, one, -one, 0),
    "transposed": (0, one, one, 0),
}
seen = {}
for name, (a, b, c, d) in matrices.items():
    struct.pack_into(">9i", data, place, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    open("turned.mp4", "wb").write(data)
    with av.open("turned.mp4") as file:
        seen[name] = next(file.decode(video=0)).rotation
    print(f"{name}: rotation {seen[name]}")
print("PyAV", av.__version__)
same = seen["half turn"] == seen["horizontal mirror"] and seen["quarter turn"] == seen["transposed"]
sys.exit(0 if same and len(set(seen.values())) == 2 else "the behaviour has changed")
PY

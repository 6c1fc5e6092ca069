#!/usr/bin/env bash
# PyAV 18.1.0: an MP4 whose last bytes are missing is decoded without an error, and frames are missing.
#
# A good guess:  container.decode raises for a file that was copied in part.
# What happens:  where the index comes first (movflags=faststart, as on the web) and the cut falls between two frames,
#                decoding ends as at the end of a whole file. stream.frames still counts all frames, but edit lists may
#                make it larger than what is shown, too; that an entry of stream.index_entries ends beyond the file is
#                a sure sign.
# Versions:      PyAV 18.1.0 (FFmpeg 8.0)
# Source:        PyAV, documentation of InputContainer.decode
#
# Run it: bash findings/pyav_cut_mp4_is_quiet.sh     (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import os
import sys

import av
import numpy as np

with av.open("whole.mp4", "w", container_options={"movflags": "faststart"}) as file:
    stream = file.add_stream("mpeg4", rate=25)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    noise = np.random.default_rng(0)
    for _ in range(30):
        image = noise.integers(0, 256, (48, 64, 3), np.uint8)
        file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
    file.mux(stream.encode(None))
with av.open("whole.mp4") as file:
    entries = file.streams.video[0].index_entries
    cut = entries[20].pos  # where frame 20 begins
open("cut.mp4", "wb").write(open("whole.mp4", "rb").read()[:cut])
with av.open("cut.mp4") as file:
    stream = file.streams.video[0]
    shown = sum(1 for _ in file.decode(stream))
    beyond = any(entry.pos + entry.size > os.path.getsize("cut.mp4") for entry in stream.index_entries)
    print(f"cut before frame 20: {shown} of {stream.frames} frames, no error; the index goes beyond the file: {beyond}")
print("PyAV", av.__version__)
sys.exit(0 if (shown, stream.frames, beyond) == (20, 30, True) else "the behaviour has changed")
PY

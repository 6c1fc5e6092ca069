#!/usr/bin/env bash
# PyAV 18.1.0: a stream tagged BT.709 is written with the numbers of BT.601, so that every player shows other colours.
#
# A good guess:  an encoder whose codec_context says colorspace BT.709 converts RGB frames by BT.709: what is read back
#                has the colours that were written, as reading heeds the tag.
# What happens:  the conversion from RGB uses BT.601 whatever the stream says; the tag is only written down. Pure red
#                is read back as (255, 24, 0), with a loss-free codec, so that generated frames differ from what was
#                generated before any compression. The other way round, a video of 1080 lines without a tag (most
#                players take BT.709 for it) is read by BT.601: its red becomes (233, 0, 2).
#                frame.reformat(dst_colorspace="ITU709") before encoding, and src_colorspace="ITU709" in reading, are
#                right.
# Versions:      av 18.1.0
# Source:        VideoFrame.reformat in the documentation of PyAV; PyAV issues 873 and 2230
#
# Run it: bash findings/pyav_bt709_is_only_a_tag.sh     (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import sys

import av
import numpy as np

WIDTH, HEIGHT = 1920, 1080
BT709, UNSPECIFIED, LIMITED = 1, 2, 1  # numbers of FFmpeg's AVColorSpace and AVColorRange
RED = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
RED[:, :, 0] = 255


def write(frame: av.VideoFrame, tagged: bool) -> None:
    with av.open("red.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.options = WIDTH, HEIGHT, "yuv444p", {"qp": "0"}  # no loss
        if tagged:
            stream.codec_context.colorspace = BT709
            stream.codec_context.color_range = LIMITED
        container.mux([*stream.encode(frame), *stream.encode(None)])


def read(**how: str) -> list[int]:
    with av.open("red.mp4") as container:
        frame = next(container.decode(video=0))
        return frame.to_ndarray(format="rgb24", **how)[HEIGHT // 2, WIDTH // 2].tolist()


def by_709() -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(RED, format="rgb24").reformat(format="yuv444p", dst_colorspace="ITU709")


write(av.VideoFrame.from_ndarray(RED, format="rgb24"), tagged=True)
seen = {"RGB frame, stream tagged BT.709": read()}
write(by_709(), tagged=True)
seen["converted by BT.709, tagged"] = read()
frame = by_709()
frame.colorspace = UNSPECIFIED
write(frame, tagged=False)
seen["converted by BT.709, not tagged"] = read()
seen["the same, read with src_colorspace"] = read(src_colorspace="ITU709")
print(f"av {av.__version__}, red of {WIDTH}x{HEIGHT} without loss")
for name, colour in seen.items():
    print(f"{name}: {colour}")
first, second, third, fourth = seen.values()
right = all(each[0] > 250 and max(each[1:]) <= 2 for each in (second, fourth))
as_described = right and first[1] > 20 and third[0] < 240
sys.exit(0 if as_described else "the behaviour has changed")
PY

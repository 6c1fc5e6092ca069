"""Videos made here, frame by frame with known numbers, read and written again."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from util.images import video_writer
from util.images.video import is_video, read_video
from util.images.video_writer import write_video

LUMA = {"601": (0.299, 0.114), "709": (0.2126, 0.0722), "2020": (0.2627, 0.0593)}
"""Weights of red and blue in the luma, of ITU-R BT.601, BT.709 and BT.2020."""
ONE = 1 << 16  # of a display matrix


def rgb_of(y: int, cb: int, cr: int, matrix: str, full: bool) -> list[float]:
    """The formula of the recommendations: E'Y = kr R + kg G + kb B, Cb = (B - Y) / (2 - 2 kb), Cr likewise."""
    luma, blue, red = (y / 255, (cb - 128) / 255, (cr - 128) / 255)
    if not full:
        luma, blue, red = ((y - 16) / 219, (cb - 128) / 224, (cr - 128) / 224)
    kr, kb = LUMA[matrix]
    r, b = luma + 2 * (1 - kr) * red, luma + 2 * (1 - kb) * blue
    return [255 * min(max(value, 0), 1) for value in (r, (luma - kr * r - kb * b) / (1 - kr - kb), b)]


def encode_planes(path, planes, *, size=(64, 48), matrix=2, range_=0, pix_fmt="yuv420p"):
    """A video of one frame with constant Y, Cb, Cr, without loss."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast"})
        (stream.width, stream.height), stream.pix_fmt = size, pix_fmt
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, range_
        frame = av.VideoFrame(*size, pix_fmt)
        frame.colorspace, frame.color_range = matrix, range_
        for plane, value in zip(frame.planes, planes):
            plane.update(bytes([value]) * plane.buffer_size)
        file.mux([*stream.encode(frame), *stream.encode(None)])


def picture(height, width, number=0):
    """Four quarters, red, green, blue and white, with a dark stripe that moves."""
    image = np.zeros((height, width, 3), np.uint8)
    middle_y, middle_x = height // 2, width // 2
    image[:middle_y, :middle_x], image[:middle_y, middle_x:] = (220, 30, 20), (30, 200, 40)
    image[middle_y:, :middle_x], image[middle_y:, middle_x:] = (20, 40, 230), (240, 240, 240)
    image[:, 2 * number % width] = 60
    return image


def make_video(path, count=10, *, size=(64, 48), codec="libx264", pix_fmt="yuv420p", times=None, sound=None):
    """A video of ``count`` frames; ``times`` in milliseconds; ``sound``: its codec."""
    width, height = size
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        track = file.add_stream(sound, rate=48000, layout="mono") if sound else None
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(picture(height, width, number), format="rgb24")
            if times:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if track is not None:
            wave = (np.sin(np.arange(48000 * count // 25) * 0.05) * 9000).astype(np.int16)
            heard = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
            heard.sample_rate = 48000
            file.mux([*track.encode(heard), *track.encode(None)])


def turn(path, matrix):
    """Put a display matrix into the track header of an MP4 file: 9 numbers after 40 bytes of version 0."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    assert struct.unpack_from(">9i", data, start) == (ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, start, *matrix)
    path.write_bytes(data)


def copy(source_path, target_path, **how):
    source = read_video(source_path)
    with write_video(Path(target_path), source, **how) as output:
        for frame in source.frames():
            output.write(frame.image, frame.pts)
    return read_video(target_path), output.notes


def streams_of(path):
    with av.open(str(path)) as file:
        return {stream.type: (stream.codec_context.codec.canonical_name, stream) for stream in file.streams}


def test_names():
    assert is_video("a/B.MP4") and is_video("x.webm")
    assert not is_video("a.png") and not is_video("a/.hidden.mp4")


# matrix and range as numbers of ISO 23091: 1 BT.709, 5 and 6 BT.601, 9 BT.2020, 2 unsaid; 1 limited, 2 full, 0 unsaid
@pytest.mark.parametrize(
    ("matrix", "range_", "size", "expected", "full", "words"),
    [
        (1, 1, (64, 48), "709", False, "BT.709, limited range"),
        (1, 2, (64, 48), "709", True, "BT.709, full range"),
        (5, 1, (64, 48), "601", False, "BT.601, limited range"),
        (6, 2, (64, 48), "601", True, "BT.601, full range"),
        (9, 1, (64, 48), "2020", False, "BT.2020, limited range"),
        (2, 1, (64, 48), "601", False, "BT.601 (assumed: the file does not say), limited range"),
        (2, 0, (96, 720), "709", False, "BT.709 (assumed: "),
        (2, 0, (1280, 64), "709", False, "BT.709 (assumed: "),
        (2, 0, (64, 718), "601", False, "BT.601 (assumed: "),
    ],
)
def test_colours(tmp_path, matrix, range_, size, expected, full, words):
    for planes in ((81, 90, 200), (150, 160, 100), (16, 128, 128), (235, 128, 128)):
        encode_planes(tmp_path / "a.mp4", planes, size=size, matrix=matrix, range_=range_)
        source = read_video(tmp_path / "a.mp4")
        (frame,) = source.frames()
        assert np.abs(frame.image - np.array(rgb_of(*planes, expected, full))).max() <= 1
    assert source.colours.startswith(words)


def test_four_colours_by_hand(tmp_path):
    """BT.709 of limited range: (63, 102, 240) is pure red, (173, 42, 26) green, (32, 240, 118) blue."""
    for planes, colour in (
        ((63, 102, 240), (255, 0, 0)),
        ((173, 42, 26), (0, 255, 0)),
        ((32, 240, 118), (0, 0, 255)),
        ((126, 128, 128), (128, 128, 128)),
    ):
        encode_planes(tmp_path / "a.mp4", planes, matrix=1, range_=1)
        assert np.abs(next(read_video(tmp_path / "a.mp4").frames()).image - np.array(colour)).max() <= 2


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((0, ONE, 0, -ONE, 0, 0, 48 * ONE, 0, 1 << 30), lambda image: np.rot90(image, -1)),  # a phone held upright
        ((-ONE, 0, 0, 0, -ONE, 0, 64 * ONE, 48 * ONE, 1 << 30), lambda image: np.rot90(image, 2)),
        ((0, -ONE, 0, ONE, 0, 0, 0, 64 * ONE, 1 << 30), np.rot90),
        ((-ONE, 0, 0, 0, ONE, 0, 64 * ONE, 0, 1 << 30), np.fliplr),  # a mirrored selfie
        ((0, ONE, 0, ONE, 0, 0, 0, 0, 1 << 30), lambda image: image.swapaxes(0, 1)),
    ],
)
def test_frames_are_upright(tmp_path, matrix, expected):
    make_video(tmp_path / "a.mp4", 2)
    plain = next(read_video(tmp_path / "a.mp4").frames()).image
    turn(tmp_path / "a.mp4", matrix)
    source = read_video(tmp_path / "a.mp4")
    found = next(source.frames()).image
    np.testing.assert_array_equal(found, expected(plain))
    assert found.shape == (source.height, source.width, 3)


def test_a_turned_video_is_written_upright(tmp_path):
    make_video(tmp_path / "a.mp4", 3)
    turn(tmp_path / "a.mp4", (0, ONE, 0, -ONE, 0, 0, 48 * ONE, 0, 1 << 30))
    written, _ = copy(tmp_path / "a.mp4", tmp_path / "b.mp4", crf=0)
    assert (written.width, written.height) == (48, 64)
    corner = next(written.frames()).image[8:24, 28:44].mean((0, 1))  # red came from the left to the right
    assert np.abs(corner - (220, 30, 20)).max() <= 3


def test_written_colours_are_tagged_and_right(tmp_path):
    """SD without tags is read as BT.601 and written as BT.709: same colours, other numbers."""
    encode_planes(tmp_path / "a.mp4", (81, 90, 200))
    copy(tmp_path / "a.mp4", tmp_path / "b.mp4", crf=0)
    context = streams_of(tmp_path / "b.mp4")["video"][1].codec_context
    said = (context.colorspace, context.color_range, context.color_primaries, context.color_trc)
    assert [int(each) for each in said] == [1, 1, 1, 1]
    with av.open(str(tmp_path / "b.mp4")) as file:
        planes = next(file.decode(video=0)).to_ndarray()  # Y above Cb above Cr
    red, green, blue = (value / 255 for value in rgb_of(81, 90, 200, "601", False))
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    assert planes[10, 10] == pytest.approx(16 + 219 * luma, abs=1)
    assert planes[48, 5] == pytest.approx(128 + 224 * (blue - luma) / 1.8556, abs=1)
    assert planes[60, 5] == pytest.approx(128 + 224 * (red - luma) / 1.5748, abs=1)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_times_are_kept(tmp_path, suffix):
    times = [0, 20, 90, 100, 400]
    make_video(tmp_path / "a.mp4", 5, times=times)
    source = read_video(tmp_path / "a.mp4")
    assert [frame.pts * source.time_base * 1000 for frame in source.frames()] == times
    assert source.span() == (0, 0.4)
    written, _ = copy(tmp_path / "a.mp4", tmp_path / f"b{suffix}")
    assert [float(frame.pts * written.time_base) for frame in written.frames()] == [each / 1000 for each in times]


def test_frame_rate_and_every(tmp_path):
    make_video(tmp_path / "a.mp4", 11)
    source = read_video(tmp_path / "a.mp4")
    assert (source.frame_rate, source.count, source.duration) == (25, 11, 0.44)
    assert [frame.number for frame in source.frames(every=4)] == [0, 4, 8]
    with write_video(tmp_path / "b.mp4", source) as output:
        for frame in source.frames(every=2):
            output.write(frame.image, frame.pts)
    written = read_video(tmp_path / "b.mp4")
    assert [frame.pts * written.time_base for frame in written.frames()] == [Fraction(2 * n, 25) for n in range(6)]
    assert written.duration == source.duration


def test_avi_has_even_times(tmp_path):
    make_video(tmp_path / "a.avi", 6, codec="mpeg4")
    source = read_video(tmp_path / "a.avi")
    assert [frame.pts * source.time_base for frame in source.frames()] == [Fraction(n, 25) for n in range(6)]


@pytest.mark.parametrize(
    ("source", "sound", "target", "codec", "copied"),
    [
        ("a.mp4", "aac", "b.mp4", "aac", True),
        ("a.mkv", "libopus", "b.webm", "opus", True),
        ("a.mov", "pcm_s16le", "b.mp4", "aac", False),
        ("a.mp4", "aac", "b.webm", "opus", False),
        ("a.ts", "aac", "b.mp4", "aac", True),  # its clock does not start at 0
    ],
)
def test_sound(tmp_path, source, sound, target, codec, copied):
    make_video(tmp_path / source, 25, sound=sound)
    written, notes = copy(tmp_path / source, tmp_path / target)
    name, stream = streams_of(tmp_path / target)["audio"]
    assert (name, not notes) == (codec, copied)
    assert written.has_sound
    with av.open(str(tmp_path / target)) as file:
        samples = [frame.to_ndarray() for frame in file.decode(audio=0)]
        assert file.streams[0].type == "video"
    heard = sum(each.shape[-1] for each in samples) / stream.rate
    assert heard == pytest.approx(1, abs=0.06)  # codecs work in blocks
    assert max(float(np.abs(each.astype(float)).max()) for each in samples) > 0.15
    if copied:
        packets = [
            [bytes(packet) for packet in av.open(str(tmp_path / name)).demux(audio=0) if packet.size]
            for name in (source, target)
        ]
        if source.endswith(".mp4"):
            assert packets[0] == packets[1]
    assert not copy(tmp_path / source, tmp_path / target, sound=False)[0].has_sound


@pytest.mark.parametrize(("target", "noted"), [("b.mp4", True), ("b.webm", False)])
def test_odd_sizes(tmp_path, target, noted):
    make_video(tmp_path / "a.webm", 2, size=(33, 27), codec="libvpx-vp9")
    written, notes = copy(tmp_path / "a.webm", tmp_path / target)
    assert (written.width, written.height) == (33, 27)
    assert any("4:4:4" in note for note in notes) == noted
    images = [next(read_video(tmp_path / name).frames()).image.astype(int) for name in ("a.webm", target)]
    assert np.abs(images[0] - images[1])[2:10, 4:12].mean() <= 4


def test_pixels_that_are_no_squares(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(16, 11)
        frame = av.VideoFrame.from_ndarray(picture(48, 64), format="rgb24")
        file.mux([*stream.encode(frame), *stream.encode(None)])
    turn(tmp_path / "a.mp4", (0, ONE, 0, -ONE, 0, 0, 48 * ONE, 0, 1 << 30))
    assert read_video(tmp_path / "a.mp4").pixel_aspect == Fraction(11, 16)
    assert copy(tmp_path / "a.mp4", tmp_path / "b.mp4")[0].pixel_aspect == Fraction(11, 16)


def test_another_encoder_where_there_is_no_libx264(tmp_path, monkeypatch):
    kind = video_writer._Container("mp4", ("not_there", "mpeg4"), frozenset())
    monkeypatch.setitem(video_writer._WRITTEN, ".mp4", kind)
    make_video(tmp_path / "a.ts", 30)  # clock of 1/90000, which MPEG-4 cannot store
    written, _ = copy(tmp_path / "a.ts", tmp_path / "b.mp4")
    assert streams_of(tmp_path / "b.mp4")["video"][0] == "mpeg4"
    assert [frame.pts * written.time_base for frame in written.frames()] == [Fraction(n, 25) for n in range(30)]
    monkeypatch.setitem(video_writer._WRITTEN, ".mp4", video_writer._Container("mp4", ("not_there",), frozenset()))
    with pytest.raises(ValueError, match="none of the encoders not_there"):
        copy(tmp_path / "a.ts", tmp_path / "b.mp4")


@pytest.mark.parametrize("damage", ["text", "empty", "no index", "cut", "cut between frames"])
def test_broken_videos_are_named(tmp_path, damage):
    good = tmp_path / "good.mp4"
    make_video(good, 30)
    copy(good, tmp_path / "bad.mp4")  # with its index in front
    bad = tmp_path / "bad.mp4"
    with av.open(str(bad)) as file:
        frame_20 = file.streams.video[0].index_entries[20].pos
    data = {
        "text": b"hello " * 99,
        "empty": b"",
        "no index": good.read_bytes()[:900],
        "cut": bad.read_bytes()[:-400],
        "cut between frames": bad.read_bytes()[:frame_20],
    }
    bad.write_bytes(data[damage])
    with pytest.raises(ValueError, match=r"bad\.mp4: ") as caught:
        list(read_video(bad).frames())
    assert "\n" not in str(caught.value)
    if "cut" in damage:
        assert "cut short" in str(caught.value)


def test_sound_alone_and_missing_files(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        track = file.add_stream("aac", rate=48000, layout="mono")
        heard = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), format="s16", layout="mono")
        heard.sample_rate = 48000
        file.mux([*track.encode(heard), *track.encode(None)])
    with pytest.raises(ValueError, match="no moving pictures"):
        read_video(tmp_path / "a.mp4")
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_video(tmp_path / "b.mp4")


def test_nothing_is_left_of_a_video_that_was_not_finished(tmp_path):
    make_video(tmp_path / "a.mp4", 4, sound="aac")
    source = read_video(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_text("older")
    for error in (KeyboardInterrupt, RuntimeError):
        with pytest.raises(error), write_video(tmp_path / "b.mp4", source) as output:
            output.write(next(source.frames()).image, 0)
            raise error
    with pytest.raises(ValueError, match="there is no frame"), write_video(tmp_path / "b.mp4", source):
        pass
    assert (tmp_path / "b.mp4").read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]
    with pytest.raises(ValueError, match=r"--output .*b\.txt: videos are written as \.mp4"):
        copy(tmp_path / "a.mp4", tmp_path / "b.txt")

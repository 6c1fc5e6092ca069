"""scripts/translate.py on videos that are made here, with a narrow network of random weights."""

from __future__ import annotations

import io
import logging
import shutil
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image

from models import exporting
from models.networks.factory import build_generator
from models.trained import load
from models.translation import TilePlan
from models.video import Change
from scripts import translate
from tests.util.images.test_video import make_video, streams_of
from util.images import video_writer
from util.images.io import Picture
from util.images.video import read_video

pytestmark = pytest.mark.usefixtures("workdir")


@pytest.fixture
def here(workdir):
    """A working directory with a run of the original code, weights alone, and a video of 7 frames with sound."""
    torch.manual_seed(0)
    for name, seen, shape in (("run", 3, {}), ("grey", 1, {"output_nc": 1})):
        folder = workdir / "checkpoints" / name
        folder.mkdir(parents=True)
        net = build_generator("resnet_6blocks", seen, shape.get("output_nc", 3), ngf=2, norm="instance", dropout=0.0)
        torch.save(net.state_dict(), folder / "latest_net_G.pth")
    make_video(workdir / "a.mp4", 7, size=(48, 32), sound="aac")
    return workdir


def video(*words, name="run"):
    return translate.main(["--name", name, "--gpu_ids", "-1", *map(str, words)])


def luma(image):
    """What H.264 keeps in full resolution."""
    return image @ np.array((0.2126, 0.7152, 0.0722))


def test_every_frame_is_translated_and_the_sound_stays(here, caplog):
    with caplog.at_level(logging.INFO):
        assert video("a.mp4", "--output", "out/b.mp4", "--batch_size", "3", "--crf", "0") == 0
    source, result = read_video("a.mp4"), read_video("out/b.mp4")
    assert (result.width, result.height, result.count, result.frame_rate) == (48, 32, 7, 25)
    assert streams_of(here / "out" / "b.mp4")["audio"][0] == "aac"
    run = load("run")
    for shown, made in zip(source.frames(), result.frames()):
        assert shown.pts * source.time_base == made.pts * result.time_base
        assert np.abs(luma(run(shown.image)) - luma(made.image)).mean() < 1
    assert "7 frames: out/b.mp4; neighbours differ by" in caplog.text
    assert "BT.601 (assumed: the file does not say)" in caplog.text


def test_every_third_frame(here):
    assert video("a.mp4", "--output", "b.webm", "--every", "3") == 0
    result = read_video("b.webm")
    assert [frame.pts * result.time_base for frame in result.frames()] == [0, Fraction(3, 25), Fraction(6, 25)]


def test_crf_decides_on_the_size_of_the_file(here):
    for crf in (5, 40):
        assert video("a.mp4", "--output", f"{crf}.mp4", "--crf", crf) == 0
    sizes = {crf: (here / f"{crf}.mp4").stat().st_size for crf in (5, 40)}
    assert sizes[40] < sizes[5]


@pytest.mark.parametrize(("crf", "quantizer"), [(18, 3), (24, 6), (12, 2), (0, 1), (51, 31)])
def test_the_quantizer_of_mpeg4_doubles_with_every_6(crf, quantizer):
    assert video_writer._mpeg4_quantizer(crf) == quantizer


def test_several_videos_into_a_folder(here):
    make_video(here / "odd.webm", 2, size=(33, 27), codec="libvpx-vp9")
    make_video(here / "old.avi", 3, codec="mpeg4")
    assert video("a.mp4", "odd.webm", "old.avi", "--output", "results") == 0
    found = {path.name: read_video(path) for path in (here / "results").iterdir()}
    assert {name: (each.width, each.height) for name, each in found.items()} == {
        "a.mp4": (48, 32),
        "odd.webm": (33, 27),
        "old.mp4": (64, 48),
    }


def test_pictures_and_videos_together_and_videos_in_a_folder_are_left(here, caplog, monkeypatch):
    folder = here / "in"
    folder.mkdir()
    Image.new("RGB", (20, 30), (200, 30, 90)).save(folder / "a.png")
    for name in ("b.mp4", "c.MP4"):
        shutil.copy("a.mp4", folder / name)
    monkeypatch.setattr("sys.stdin", io.StringIO("in/b.mp4\n"))
    with caplog.at_level(logging.INFO):
        assert video("a.mp4", "in", "-", "--output", "out", "--format", "jpg") == 0
    assert "in: 2 .mp4 files are not read: name videos on the command line" in caplog.text
    assert sorted(path.name for path in (here / "out").iterdir()) == ["a.jpg", "a.mp4", "b.mp4"]
    assert Image.open("out/a.jpg").size == (20, 30) and read_video("out/b.mp4").count == 7
    (here / "out" / "a.mp4").unlink()
    assert video("a.mp4", "in", "--output", "out", "--format", "jpg", "--existing", "skip") == 0
    assert (here / "out" / "a.mp4").exists()  # not taken for done because of a.jpg


@pytest.mark.parametrize(("engine", "kind"), [("torch", "torch"), ("onnxruntime", "onnx"), ("openvino", "onnx")])
def test_an_export_translates_videos(engine, kind, here):
    file = f"g{exporting.SUFFIX[kind]}"
    generator = load("run").generator()
    with exporting.frozen(generator) as told:
        facts = exporting.facts_of_run(load("run"), "latest", generator, told)
        exporting.write(exporting.traced(generator, facts), here / file, kind)
    # Without loss: libx264's rate control gives other files for the same frames from time to time (docs/video.md).
    assert video("a.mp4", "--output", "run.mp4", "--crf", "0") == 0
    assert video("a.mp4", "--output", "export.mp4", "--crf", "0", "--engine", engine, "--exported", file) == 0
    for one, other in zip(read_video("run.mp4").frames(), read_video("export.mp4").frames(), strict=True):
        assert np.abs(one.image.astype(int) - other.image).mean() < 0.1


def test_a_grey_run_gives_a_grey_video(here):
    assert video("a.mp4", "--output", "b.mp4", name="grey") == 0
    for frame in read_video("b.mp4").frames():
        assert np.ptp(frame.image.astype(int), axis=2).max() <= 2


def test_large_frames_go_by_tiles(here):
    assert video("a.mp4", "--output", "b.mp4", "--tile", "24", "--overlap", "8", "--crf", "0") == 0
    translator = load("run").translator(plan=TilePlan(24, 8))
    ready = translator.ready(Picture(next(read_video("a.mp4").frames()).image, "uint8"), "a.mp4")
    expected = translator.tiled(ready, 0, translator.grid(32, 48))
    assert np.abs(luma(expected) - luma(next(read_video("b.mp4").frames()).image)).mean() < 1


def test_refusals_make_nothing(here, capsys):
    (here / "bad.mp4").write_bytes(b"no video " * 40)
    (here / "c.png").write_bytes(b"")
    for words, reason in (
        (["bad.mp4", "--output", "b.mp4"], "bad.mp4: cannot be read as a video"),
        (["absent.mp4", "--output", "b.mp4"], "absent.mp4: there is no such file"),
        (["a.mp4", "c.png", "--output", "b.mp4"], "--output b.mp4: a file name, but there are 2 inputs; name a folder"),
        (["c.png", "--output", "b.mp4"], "--output b.mp4: is the name of a video, but c.png is a picture"),
        (["a.mp4", "--output", "b.gif"], "--output b.gif: videos are written as .mp4"),
        (["a.mp4", "--output", "a.mp4"], "a.mp4 is an input"),
        (["a.mp4", "a.mp4", "--output", "b.mp4"], "there are 2 videos"),
        (["a.mp4", "--output", "b.mp4", "--format", "png"], "--format: is for pictures; the suffix of --output"),
        (["a.mp4", "--output", "b.mp4", "--quality", "50"], "--quality: is for pictures; --crf is the quality of vid"),
    ):
        before = sorted(path.name for path in here.iterdir())
        assert video(*words) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("scripts/translate.py: error: ") and reason in error
        assert sorted(path.name for path in here.iterdir()) == before


def test_a_video_that_breaks_off_and_ctrl_c(here, capsys, monkeypatch):
    make_video(here / "cut.mp4", 60)
    data = bytearray((here / "cut.mp4").read_bytes())
    middle = len(data) // 3
    data[middle : middle + 400] = bytes(each ^ 0x5A for each in data[middle : middle + 400])
    (here / "cut.mp4").write_bytes(data)
    with pytest.raises(ValueError, match="damaged after frame"):
        list(read_video("cut.mp4").frames())
    assert video("cut.mp4", "a.mp4", "--output", "out") == 1
    assert "cut.mp4: damaged after frame" in capsys.readouterr().err
    assert [path.name for path in (here / "out").iterdir()] == ["a.mp4"]

    def stop(*_args, **_how):
        raise KeyboardInterrupt

    monkeypatch.setattr(translate.Translator, "stored", stop)
    assert video("a.mp4", "--output", "new.mp4") == 130
    assert not [path.name for path in here.iterdir() if "new" in path.name or path.suffix == ".tmp"]


def test_change_by_hand():
    """Every fourth pixel: one of four of them changes by 40 in all colours."""
    first = np.zeros((8, 8, 3), np.uint8)
    second = first.copy()
    second[4, 4] = 40
    change = Change()
    for image in (first, second, second):
        change.add(image)
    assert change.pairs == 2 and change.mean == pytest.approx((10 + 0) / 2)


def test_frames_keep_what_they_draw(here):
    """Dropout has the same mask in every frame, so that a still video stays still."""
    net = build_generator("resnet_6blocks", 3, 3, ngf=2, norm="instance", dropout=0.5)
    torch.save(net.state_dict(), here / "checkpoints" / "run" / "latest_net_G.pth")
    with av.open("still.mp4", "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv444p"
        image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
        for _ in range(4):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode(None))
    assert video("still.mp4", "--output", "b.mp4", "--batch_size", "2") == 0
    frames = [frame.image.astype(int) for frame in read_video("b.mp4").frames()]
    assert max(np.abs(frames[0] - frame).mean() for frame in frames) < 1

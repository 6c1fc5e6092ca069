"""Frames of videos that are made here, as a training set."""

from __future__ import annotations

import av
import numpy as np
import pytest
from PIL import Image

from datasets.prepare_video import main


def make_video(path, count=50, size=(64, 48)):
    """25 frames a second; frame n has the grey value 2n."""
    width, height = size
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p"
        for number in range(count):
            image = np.full((height, width, 3), 2 * number, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode(None))


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "walk.mp4")
    return tmp_path


def test_every_tenth_frame(here, capsys):
    assert main(["walk.mp4", "--out", "data", "--every", "10"]) == 0
    assert names(here / "data") == [f"train/walk_{number:06d}.png" for number in (0, 10, 20, 30, 40)]
    for number in (0, 10, 20, 30, 40):
        image = np.asarray(Image.open(here / "data" / "train" / f"walk_{number:06d}.png"))
        assert image.shape == (48, 64, 3)
        assert np.abs(image.astype(int) - 2 * number).max() <= 2
    out = capsys.readouterr().out
    assert "walk.mp4: 64x48, BT.601 (assumed: the file does not say)" in out
    assert "train: 5 images" in out


def test_the_last_part_is_for_validation(here):
    """Frames 0 to 49 last from 0 s to 1.96 s: the last half from 0.98 s on, 0.2 s before it belong to no one."""
    words = ["walk.mp4", "--out", "data", "--every", "1", "--val_share", "0.5", "--gap", "0.2", "--phase", "trainA"]
    assert main(words) == 0
    numbers = {
        phase: [int(name[-10:-4]) for name in names(here / "data") if name.startswith(phase)]
        for phase in ("trainA", "valA")
    }
    assert numbers == {"trainA": list(range(20)), "valA": list(range(25, 50))}


def test_size(here):
    assert main(["walk.mp4", "--out", "data", "--every", "50", "--size", "24"]) == 0
    assert Image.open(here / "data" / "train" / "walk_000000.png").size == (32, 24)


def test_several_videos_and_more_later(here):
    make_video(here / "run.mov", 20, size=(48, 64))
    assert main(["walk.mp4", "run.mov", "--out", "data", "--every", "25"]) == 0
    assert names(here / "data") == ["train/run_000000.png", "train/walk_000000.png", "train/walk_000025.png"]
    make_video(here / "swim.mkv", 20)
    assert main(["swim.mkv", "--out", "data"]) == 0
    assert len(names(here / "data")) == 4


def test_refusals_write_nothing(here, capsys):
    (here / "other").mkdir()
    make_video(here / "other" / "walk.mp4", 5)
    (here / "broken.mp4").write_bytes(b"no video " * 50)
    (here / "cut.mp4").write_bytes((here / "walk.mp4").read_bytes()[:2000])
    out = ["--out", "data"]
    for words, reason in (
        (["walk.mp4", "other/walk.mp4", *out], "equal names"),
        (["walk.mp4", "broken.mp4", *out], "broken.mp4: cannot be read as a video"),
        (["walk.mp4", "cut.mp4", *out], "cut.mp4"),
        (["absent.mp4", *out], "absent.mp4: there is no such file"),
        (["walk.mp4", *out, "--phase", "testA", "--val_share", "0.2"], "--val_share 0.2"),
        (["walk.mp4", *out, "--phase", "../train"], "--phase"),
        (["walk.mp4", *out, "--every", "0"], "--every 0"),
        (["walk.mp4", *out, "--val_share", "0.2", "--gap", "5"], "no frame is left for train, val;"),
    ):
        assert main(words) == 2, words
        error = capsys.readouterr().err
        assert error.count("prepare_video.py: error: ") == 1 and reason in error.splitlines()[-1], error
        assert not (here / "data").exists()


def test_images_are_never_replaced(here, capsys):
    assert main(["walk.mp4", "--out", "data"]) == 0
    before = names(here / "data")
    assert main(["walk.mp4", "--out", "data", "--every", "7"]) == 2
    assert "walk_000000.png exists" in capsys.readouterr().err
    assert names(here / "data") == before


def test_ctrl_c_leaves_nothing(here, monkeypatch):
    monkeypatch.setattr(Image.Image, "save", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main(["walk.mp4", "--out", "data"]) == 130
    assert not (here / "data").exists()


def test_without_the_package(here, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    assert main(["walk.mp4", "--out", "data"]) == 2
    assert "pip install av" in capsys.readouterr().err

"""Geometry and content of the animation's frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from models.atme.map_files import FloatMaps
from scripts.atme_brownian import float_frames, frame, published_D, published_frames, to_grey
from util.images.io import save_gif

PANELS = (slice(10, 266), slice(276, 532), slice(542, 798))  # 3 x 256 and 4 x 10 make 808
ROWS = slice(40, 296)


def checker(size: int) -> np.ndarray:
    return np.where(np.indices((size, size)).sum(axis=0) % 2, 200, 50).astype(np.uint8)


def test_geometry_of_a_frame() -> None:
    D, W, dW = checker(2), checker(256), checker(64)
    drawn = frame(D, W, dW, 12)
    assert drawn.size == (808, 346) and drawn.mode == "L"
    pixels = np.asarray(drawn)
    assert np.array_equal(pixels[ROWS, PANELS[0]], D.repeat(128, 0).repeat(128, 1))
    assert np.array_equal(pixels[ROWS, PANELS[1]], W)
    assert np.array_equal(pixels[ROWS, PANELS[2]], dW.repeat(4, 0).repeat(4, 1))
    assert all((pixels[ROWS, left : left + 10] == 255).all() for left in (0, 266, 532, 798))
    for panel in PANELS:  # a title above each, in its middle
        columns = np.flatnonzero((pixels[:40, panel] < 128).any(axis=0))
        assert abs(columns.mean() - 127.5) < 6 and len(columns) < 60
    columns = np.flatnonzero((pixels[296:] < 128).any(axis=0))
    assert 360 < columns.min() < columns.max() < 450  # the caption, in the middle of 808


def test_the_caption_tells_the_epoch() -> None:
    flat = np.zeros((4, 4), np.uint8)
    first, second = (np.asarray(frame(flat, flat, flat, epoch)) for epoch in (1, 2))
    assert np.array_equal(first[:296], second[:296]) and not np.array_equal(first[296:], second[296:])


def test_maps_that_are_not_square_keep_their_shape() -> None:
    wide = np.zeros((64, 128), np.uint8)
    pixels = np.asarray(frame(wide, wide, wide, 1))
    assert (pixels[104:232, PANELS[0]] == 0).all() and (pixels[40:104, PANELS[0]] == 255).all()


def test_to_grey_rounds_and_cuts() -> None:
    assert to_grey(np.array([-2.0, -1, 0, 0.5, 1, 2]), -1, 1).tolist() == [0, 0, 128, 191, 255, 255]


def test_published_D_has_a_second_sigmoid() -> None:
    # sigmoid(-1) = 0.26894 and sigmoid(1) = 0.73106: 255 * 1.26894 / 2 = 161.79 and 255 * 1.73106 / 2 = 220.71, cut
    assert published_D(np.array([[127, 255]], np.uint8)).tolist() == [[161, 220]]
    assert published_D(np.array([[80, 80]], np.uint8)).tolist() == [[191, 191]]  # sigmoid(0): 255 * 0.75 = 191.25


def test_published_frames_are_those_of_epochs_with_both_pictures() -> None:
    W = {epoch: checker(256) + np.uint8(epoch) for epoch in (1, 2, 4)}
    D = {epoch: np.array([[0, 255]], np.uint8) for epoch in (1, 2, 3)}
    frames = published_frames(D, W)
    assert len(frames) == 2
    first = np.asarray(frames[0])
    assert np.array_equal(first[ROWS, PANELS[2]], W[1])  # in epoch 1 dW is W
    assert set(np.unique(first[ROWS, PANELS[0]])) == {161, 220, 255}  # 255: room around a map that is not square


def test_float_frames_have_one_scale_for_all_epochs() -> None:
    W = np.zeros((5, 2, 2), np.float32)
    W[:, 0, 0] = [0.9, 0.0, 0.5, 0.5, 0.25]
    logits = np.zeros((5, 2, 2), np.float32)
    frames = float_frames(FloatMaps(1, [1, 2, 3, 4, 5], logits, W))
    assert len(frames) == 3  # of epochs 3, 4, 5
    corners = [np.asarray(each)[41, 543] for each in frames]
    # dW = 0.5, 0, -0.25 of a limit between 0.25 and 0.5 (99.5 % of twelve values)
    assert corners[0] == 255 and corners[1] == 128 and 60 < corners[2] < 68
    assert [np.asarray(each)[41, 277] for each in frames] == [191, 191, 159]  # W: (v + 1) / 2 * 255
    assert (np.asarray(frames[0])[ROWS, PANELS[0]] == 128).all()  # sigmoid(0)


def test_float_frames_without_two_epochs_in_a_row() -> None:
    maps = FloatMaps(1, [1, 2, 4], np.zeros((3, 1, 1), np.float32), np.zeros((3, 2, 2), np.float32))
    assert float_frames(maps) == []


def test_gif_holds_every_frame_unchanged(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    maps = [generator.integers(0, 256, (3, 256, 256), dtype=np.uint8) for _ in range(4)]
    frames = [frame(D, W, dW, epoch) for epoch, (D, W, dW) in enumerate(maps, start=1)]
    for loop in (0, 1):
        save_gif(tmp_path / "a.gif", frames, loop=loop)
        with Image.open(tmp_path / "a.gif") as read:
            assert read.n_frames == 4 and read.size == (808, 346)
            assert read.info["loop"] == loop and read.info["duration"] == 200
            for place, expected in enumerate(frames):
                read.seek(place)
                assert np.array_equal(np.asarray(read.convert("L")), np.asarray(expected))
    assert [file.name for file in tmp_path.iterdir()] == ["a.gif"]

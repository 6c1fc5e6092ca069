"""The folder of tracked maps: names, scales, exact numbers, and its index."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import torch
from PIL import Image

from models.atme.map_files import TrackedMapsLogger
from models.atme.maps import TrackedMaps


def record(index=3, logits=None, W=None, path="train/3.png"):
    logits = torch.zeros(3, 5) if logits is None else logits
    return TrackedMaps(index, path, logits, torch.zeros(6, 10) if W is None else W)


def write(run, *records, epoch=1):
    logger = TrackedMapsLogger(run, lambda: records)
    logger.start_epoch(epoch, 9, 10, 0)
    logger.advance(1)
    logger.close()
    return run / "images_noisy"


def test_every_record_of_a_batch_gets_its_three_files(tmp_path):
    folder = write(tmp_path, record(3), record(12), epoch=7)
    expected = {f"epoch_007_{name}" for i in (3, 12) for name in (f"D_{i}.png", f"W_{i}.png", f"{i}.npz")}
    assert {file.name for file in folder.iterdir()} == {*expected, "tracked.json"}


def test_the_names_of_an_epoch_follow_the_loop(tmp_path):
    logger = TrackedMapsLogger(tmp_path, lambda: [record()])
    for epoch in (99, 100, 1000):
        logger.start_epoch(epoch, 1000, 10, 0)
        logger.advance(1)
    logger.close()
    found = sorted(file.name for file in (tmp_path / "images_noisy").glob("*.npz"))
    assert found == ["epoch_099_3.npz", "epoch_1000_3.npz", "epoch_100_3.npz"]


def test_pictures_use_the_whole_scale(tmp_path):
    """D: 255 * sigmoid(logit), W: 255 * (w + 1) / 2, rounded; by hand."""
    logits = torch.tensor([[0.0, -100.0, 100.0, 1.0, -1.0]])
    W = torch.tensor([[0.0, -1.0, 1.0, 0.5, -0.25]])
    folder = write(tmp_path, record(logits=logits, W=W))
    for name, expected in (("D", [127.5, 0, 255, 186.42, 68.58]), ("W", [127.5, 0, 255, 191.25, 95.625])):
        picture = Image.open(folder / f"epoch_001_{name}_3.png")
        assert picture.mode == "L" and picture.size == (5, 1)
        assert np.asarray(picture)[0] == pytest.approx(expected, abs=0.51)


def test_pictures_have_the_size_of_their_map(tmp_path):
    folder = write(tmp_path, record())
    assert Image.open(folder / "epoch_001_D_3.png").size == (5, 3)
    assert Image.open(folder / "epoch_001_W_3.png").size == (10, 6)


def test_numbers_are_kept_exactly(tmp_path):
    logits, W = torch.randn(3, 5) * 10, torch.rand(6, 10) * 2 - 1
    folder = write(tmp_path, record(logits=logits, W=W))
    with np.load(folder / "epoch_001_3.npz") as arrays:
        assert set(arrays) == {"logits", "W"} and {array.dtype for array in arrays.values()} == {np.dtype("float32")}
        assert np.array_equal(arrays["logits"], logits.numpy()) and np.array_equal(arrays["W"], W.numpy())


def test_the_index_says_which_file_a_number_is(tmp_path):
    folder = write(tmp_path, record(12, path="train/b.png"), record(3, path="train/a.png"))
    expected = {"indices": [3, 12], "paths": ["train/a.png", "train/b.png"]}
    assert json.loads((folder / "tracked.json").read_text()) == expected


def test_the_index_grows_over_starts_and_processes_and_follows_the_files(tmp_path):
    write(tmp_path, record(3, path="train/a.png"), record(5, path="train/c.png"))
    folder = write(tmp_path, record(4, path="train/b.png"), record(5, path="train/d.png"), epoch=2)
    expected = {"indices": [3, 4, 5], "paths": ["train/a.png", "train/b.png", "train/d.png"]}
    assert json.loads((folder / "tracked.json").read_text()) == expected


def test_an_entry_that_another_process_overwrote_comes_back(tmp_path):
    logger = TrackedMapsLogger(tmp_path, lambda: [record(3, path="train/a.png")])
    file = tmp_path / "images_noisy" / "tracked.json"
    for epoch in (1, 2):
        logger.start_epoch(epoch, 2, 10, 0)
        logger.advance(1)
        if epoch == 1:
            end = time.monotonic() + 20
            while not file.exists() and time.monotonic() < end:
                time.sleep(0.01)
            file.write_text('{"indices": [8], "paths": ["train/h.png"]}')
    logger.close()
    assert json.loads(file.read_text()) == {"indices": [3, 8], "paths": ["train/a.png", "train/h.png"]}


def test_an_earlier_file_of_the_same_epoch_is_replaced(tmp_path):
    write(tmp_path, record(logits=torch.ones(3, 5)))
    folder = write(tmp_path, record(logits=torch.ones(3, 5) * 2))
    with np.load(folder / "epoch_001_3.npz") as arrays:
        assert float(arrays["logits"][0, 0]) == 2.0


def test_a_file_that_cannot_be_written_is_not_passed_over(tmp_path):
    logger = TrackedMapsLogger(tmp_path, lambda: [record()])
    (tmp_path / "images_noisy" / "epoch_000_3.npz").mkdir()
    logger.advance(1)
    with pytest.raises(OSError, match="epoch_000_3"):
        logger.close()


def test_nothing_is_written_without_maps(tmp_path):
    assert list(write(tmp_path).iterdir()) == []

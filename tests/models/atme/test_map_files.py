"""Finding and reading saved maps, and the published arithmetic against hand calculation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.atme.map_files import (
    draw_pixels,
    find_maps,
    longest_run,
    probabilities,
    published_increments,
    published_pixels,
    read_float_maps,
    read_pictures,
    stretch,
)


def grey(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint8).reshape(2, 2)


def save_floats(file: Path, logits: object = ((0.0,),), W: object = ((0.0, 0.5), (-0.5, 0.0))) -> None:
    np.savez(file, logits=np.array(logits, np.float32), W=np.array(W, np.float32))


# --- finding ----------------------------------------------------------------------------------------------------------


def test_maps_are_found_and_other_files_are_not(tmp_path: Path) -> None:
    for name in ("epoch_001_7", "epoch_002_7", "epoch_1000_12"):
        save_floats(tmp_path / f"{name}.npz")
    for name in ("epoch_001_W_7", "epoch_001_D_7", "epoch_001_dW_7", "epoch_001_DWdW_7", "sheet"):
        Image.fromarray(grey(0, 1, 2, 3)).save(tmp_path / f"{name}.png")
    (tmp_path / "epoch_003_7.npz.tmp").touch()
    (tmp_path / "tracked.json").write_text(json.dumps({"indices": [7, 12], "paths": ["a.jpg", "b.jpg"]}))
    found = find_maps(tmp_path, "--images x")
    assert {index: sorted(files) for index, files in found.floats.items()} == {7: [1, 2], 12: [1000]}
    assert found.pictures == {kind: {7: {1: tmp_path / f"epoch_001_{kind}_7.png"}} for kind in "DW"}
    assert found.sources == {7: "a.jpg", 12: "b.jpg"} and not found.published
    assert found.choose("all", pictures=False) == [7, 12] and found.choose("all", pictures=True) == [7]
    assert found.choose("12, 7,12", pictures=False) == [12, 7]
    with pytest.raises(ValueError, match=r"--ids 12: .* no pictures of W of 12; it has 7"):
        found.choose("12", pictures=True)
    with pytest.raises(ValueError, match=r"--ids x: give all, or indices such as 7,12"):
        found.choose("x", pictures=False)


def test_folders_without_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"--name p: there is no folder .*gone.*--n_save_noisy"):
        find_maps(tmp_path / "gone", "--name p")
    with pytest.raises(FileNotFoundError, match=r"no maps .* is empty; train.py writes them with --n_save_noisy"):
        find_maps(tmp_path, "--name p")
    Image.fromarray(grey(0, 1, 2, 3)).save(tmp_path / "epoch_001_W_7.png")
    found = find_maps(tmp_path, "--name p")
    assert found.published
    with pytest.raises(ValueError, match="8-bit pictures only: add --reference"):
        found.choose("all", pictures=False)
    (tmp_path / "epoch_001_W_7.png").unlink()
    save_floats(tmp_path / "epoch_001_7.npz")
    with pytest.raises(ValueError, match="no pictures of W: leave --reference out"):
        find_maps(tmp_path, "--name p").choose("all", pictures=True)
    (tmp_path / "tracked.json").write_text('{"indices": [1]}')
    with pytest.raises(ValueError, match=r"tracked.json: cannot be read .* delete the file"):
        find_maps(tmp_path, "--name p")


# --- reading ----------------------------------------------------------------------------------------------------------


def test_float_maps_come_in_the_order_of_epochs(tmp_path: Path) -> None:
    for epoch in (10, 2, 9):
        save_floats(tmp_path / f"epoch_{epoch:03d}_7.npz", [[epoch, -epoch]], [[epoch / 100]])
    found = read_float_maps(find_maps(tmp_path, ""), 7)
    assert found.epochs == [2, 9, 10] and found.W.dtype == np.float32
    assert found.W[:, 0, 0] == pytest.approx([0.02, 0.09, 0.1]) and found.logits[1].tolist() == [[9, -9]]
    part = found.part([9, 10])
    assert part.epochs == [9, 10] and part.W[:, 0, 0] == pytest.approx([0.09, 0.1]) and part.logits[0, 0, 0] == 9


@pytest.mark.parametrize(
    ("W", "said"),
    [
        ([[0.0, 0.0]], r"epoch_002_7.npz: W is 2x1, but 2x2 in epoch_001_7.npz"),
        ([[np.nan, 0.0], [0.0, 0.0]], r"epoch_002_7.npz: W has values that are not finite"),
        ([0.0, 0.0], r"epoch_002_7.npz: W is float32 \[2\], not float \[height, width\]"),
    ],
)
def test_unfit_float_maps_are_refused(tmp_path: Path, W: list[object], said: str) -> None:
    save_floats(tmp_path / "epoch_001_7.npz")
    save_floats(tmp_path / "epoch_002_7.npz", W=W)
    with pytest.raises(ValueError, match=said):
        read_float_maps(find_maps(tmp_path, ""), 7)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    save_floats(tmp_path / "epoch_001_7.npz")
    whole = (tmp_path / "epoch_001_7.npz").read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"text"):
        (tmp_path / "epoch_001_7.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"epoch_001_7.npz: cannot be read as maps .* delete the file"):
            read_float_maps(find_maps(tmp_path, ""), 7)
    np.savez(tmp_path / "epoch_001_7.npz", logits=np.zeros((2, 2), np.float32))
    with pytest.raises(ValueError, match="cannot be read as maps with logits and W"):
        read_float_maps(find_maps(tmp_path, ""), 7)
    (tmp_path / "epoch_001_W_7.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"epoch_001_W_7.png: cannot be read as a picture"):
        read_pictures(find_maps(tmp_path, ""), "W", 7)


def test_pictures_of_three_equal_channels_are_read_exactly(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(np.stack([values] * 3, axis=2)).save(tmp_path / "epoch_002_W_7.png")
    Image.fromarray(values).save(tmp_path / "epoch_001_W_7.png")
    maps = find_maps(tmp_path, "")
    found = read_pictures(maps, "W", 7)
    assert list(found) == [1, 2] and all(np.array_equal(picture, values) for picture in found.values())
    assert read_pictures(maps, "D", 7) == {}
    Image.fromarray(values[:8]).save(tmp_path / "epoch_003_W_7.png")
    Image.fromarray(values[:4, :9]).save(tmp_path / "epoch_001_W_8.png")
    with pytest.raises(ValueError, match=r"epoch_003_W_7.png: the picture is 16x8, but the first one .* 16x16"):
        read_pictures(find_maps(tmp_path, ""), "W", 7)
    assert find_maps(tmp_path, "").smallest([7, 8]) == (4, 9)


def test_probabilities_of_both_scales() -> None:
    assert probabilities(grey(0, 51, 102, 255), published=True).ravel() == pytest.approx([0, 0.2, 0.4, 1])
    # the published code draws p as (p + 1) / 2, cut: 0 as 127, 1 as 255
    assert probabilities(grey(127, 153, 204, 255), published=True).ravel() == pytest.approx([0, 0.2, 0.6, 1])
    assert probabilities(grey(153, 153, 204, 255), published=False).ravel() == pytest.approx([0.6, 0.6, 0.8, 1])


def test_longest_run() -> None:
    assert longest_run([5, 1, 2, 3, 7, 8]) == [1, 2, 3]
    assert longest_run([1, 2, 4, 5]) == [4, 5]
    assert longest_run([]) == []


def test_pixels_depend_on_seed_and_image_only_and_differ() -> None:
    places = draw_pixels(4, 3, 12, 0, 7)
    assert sorted(places) == [(row, column) for row in range(4) for column in range(3)]
    assert draw_pixels(4, 3, 5, 0, 7) == draw_pixels(4, 3, 5, 0, 7)
    assert draw_pixels(64, 64, 5, 0, 7) != draw_pixels(64, 64, 5, 0, 8) != draw_pixels(64, 64, 5, 1, 8)
    with pytest.raises(ValueError, match=r"--pixels 13: the maps have 12 pixels"):
        draw_pixels(4, 3, 13, 0, 7)


# --- as published -----------------------------------------------------------------------------------------------------

W1, W2, W3 = grey(0, 100, 50, 100), grey(0, 200, 100, 50), grey(0, 40, 10, 20)


def test_stretch_by_hand() -> None:
    assert stretch(W2).ravel().tolist() == [-1, 1, 0, -0.5]
    assert stretch(grey(9, 9, 9, 9)).ravel().tolist() == [0, 0, 0, 0]


def test_published_increments_by_hand() -> None:
    found = published_increments({1: W1, 2: W2, 3: W3})
    assert found[1] is W1
    # (-1 1 0 -0.5) - (-1 1 0 1) = (0 0 0 -1.5), stretched (1 1 1 -1)
    assert found[2].ravel().tolist() == [255, 255, 255, 0]
    # (-1 1 -0.5 0) - (-1 1 0 -0.5) = (0 0 -0.5 0.5), stretched (0 0 -1 1); 127.5 is cut, not rounded
    assert found[3].ravel().tolist() == [127, 127, 0, 255]
    assert found[3].dtype == np.uint8


def test_published_running_average_in_place_of_a_missing_epoch() -> None:
    # R = 0.05 * 0.95 W1 + 0.95 W3 = (0 42.75 11.875 23.75), stretched (-1 1 -0.444 0.111);
    # (-1 1 -0.5 0) minus that is (0 0 -0.0556 -0.1111), stretched (1 1 0 -1)
    assert published_increments({1: W1, 3: W3})[3].ravel().tolist() == [255, 255, 127, 0]


def test_a_first_epoch_without_the_one_before_is_compared_with_itself() -> None:
    # the average holds nothing else, so dW = 0 everywhere, where the published code divides 0 by 0
    assert published_increments({2: W2})[2].ravel().tolist() == [127] * 4


def test_published_pixels_are_those_of_the_seeded_notebook() -> None:
    np.random.seed(3)
    expected = np.random.randint(0, 256, (5, 5, 2))
    assert np.array_equal(published_pixels(256, 256, 5, 5, 3), expected)
    places = published_pixels(2, 50, 3, 40, 0)
    assert {row for each in places for row, _ in each} == {0, 1}
    assert max(column for each in places for _, column in each) > 40

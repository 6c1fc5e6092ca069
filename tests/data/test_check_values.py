"""What the checks say of the values in the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from data import DATASETS
from data.check import quick_check
from options.base_options import DataOptions
from scripts.check_data import main

SIZE = 40


def save(file: Path, array: NDArray[Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(file)


def noise(low: int, high: int, dtype: type, seed: int = 0, shape: tuple[int, ...] = (SIZE, SIZE)) -> NDArray[Any]:
    """Random values of which ``low`` and ``high`` are the extremes."""
    values = np.random.default_rng(seed).integers(low, high + 1, shape)
    values.flat[0], values.flat[1] = low, high
    return values.astype(dtype)


def pairs(root: Path, phase: str, low: int, high: int, dtype: type = np.uint16, count: int = 4) -> None:
    for number in range(count):
        for seed, side in enumerate("AB"):
            save(root / phase / side / f"{number}.png", noise(low, high, dtype, 10 * number + seed))


def quick(root: Path, mode: str = "aligned", channels: int = 1, **options: Any) -> list[str]:
    built = DataOptions(dataroot=str(root), **{"load_size": SIZE, "crop_size": SIZE, **options})
    return quick_check(DATASETS.get(mode)(built, input_nc=channels, output_nc=channels))


def lines(capsys: pytest.CaptureFixture[str], root: Path, *words: str, code: int = 0) -> list[str]:
    assert main([str(root), *words]) == code
    return capsys.readouterr().out.splitlines()


def test_twelve_bits_in_sixteen_are_named_with_the_range_that_fits(tmp_path, capsys):
    pairs(tmp_path, "train", 32, 4095)
    wanted = [f"side {side}: 16-bit values from 32 to 4095 of 65535: --value_range_{side} 0,4095?" for side in "AB"]
    assert quick(tmp_path) == wanted
    assert [line for line in lines(capsys, tmp_path) if line.startswith("warning")] == [
        f"warning: {line}" for line in wanted
    ]


def test_the_range_proposed_is_the_next_power_of_two(tmp_path):
    pairs(tmp_path, "train", 32, 3338)
    assert "--value_range_A 0,4095?" in quick(tmp_path)[0]
    assert quick(tmp_path, value_range_A=(0.0, 4095.0)) == quick(tmp_path)[1:]
    assert quick(tmp_path, value_range=(0.0, 4095.0)) == []


def test_values_near_the_full_scale_are_silent(tmp_path, capsys):
    pairs(tmp_path, "train", 0, 60000)
    assert quick(tmp_path) == []
    shown = lines(capsys, tmp_path)
    assert not [line for line in shown if line.startswith("warning")]
    assert "  train A: uint16 values from 0 to 60000" in shown


def test_a_quarter_of_the_scale_is_the_limit(tmp_path):
    pairs(tmp_path / "below", "train", 0, 16383)
    pairs(tmp_path / "above", "train", 0, 16384)
    assert len(quick(tmp_path / "below")) == 2
    assert quick(tmp_path / "above") == []


def test_a_narrow_range_far_from_zero_is_named(tmp_path):
    pairs(tmp_path, "train", 29021, 30985)  # centi-Kelvin
    assert quick(tmp_path)[0] == (
        "side A: 16-bit values from 29021 to 30985 of 65535 use 3 % of the scale: --value_range_A 29000,31000?"
    )


def test_the_halves_of_a_file_are_told_apart(tmp_path):
    for number in range(4):
        halves = [noise(0, 65535, np.uint16, number), noise(0, 1000, np.uint16, 9 + number)]
        save(tmp_path / "train" / f"{number}.png", np.concatenate(halves, axis=1))
    assert quick(tmp_path) == ["side B: 16-bit values from 0 to 1000 of 65535: --value_range_B 0,1023?"]


def test_phases_that_differ_in_range_or_type(tmp_path, capsys):
    pairs(tmp_path / "range", "train", 0, 20000)
    pairs(tmp_path / "range", "test", 0, 60000)
    found = "\n".join(lines(capsys, tmp_path / "range"))
    assert "side B: train has values from 0 to 20000, test values from 0 to 60000: are they in the same units?" in found
    pairs(tmp_path / "type", "train", 0, 65535)
    pairs(tmp_path / "type", "test", 0, 255, np.uint8)
    found = "\n".join(lines(capsys, tmp_path / "type"))
    assert "side A: train has uint16 files, test uint8: are they in the same units?" in found
    pairs(tmp_path / "alike", "train", 0, 60000)
    pairs(tmp_path / "alike", "test", 5000, 50000)
    assert "units" not in "\n".join(lines(capsys, tmp_path / "alike"))


def test_few_colours_look_like_a_label_map(tmp_path, capsys):
    palette = noise(0, 255, np.uint8, 1, (5, 3))
    for number in range(4):
        save(tmp_path / "train" / "A" / f"{number}.png", palette[noise(0, 4, np.uint8, number)])
        save(tmp_path / "train" / "B" / f"{number}.png", noise(0, 255, np.uint8, number, (SIZE, SIZE, 3)))
    wanted = "side A has 5 colours: a label map? --resample_A nearest keeps them"
    assert quick(tmp_path, channels=3) == [wanted]
    assert quick(tmp_path, channels=3, resample_A="nearest") == []
    assert f"warning: {wanted}" in lines(capsys, tmp_path)


def test_an_index_map_is_named_with_its_labels(tmp_path):
    pairs(tmp_path, "train", 0, 33, np.uint8)
    found = quick(tmp_path)
    assert len(found) == 2 and "side A has the values 0 to 33 in one channel: an index map?" in found[0]
    assert "--label_nc_A 34" in found[0] and "--resample_A nearest" in found[0]
    pairs(tmp_path, "train", 0, 64, np.uint8)  # 65 values: a dark photograph
    assert quick(tmp_path) == []


def test_masks_flat_pictures_and_floats_are_no_label_maps(tmp_path):
    for number in range(4):
        save(tmp_path / "mask" / f"{number}.png", 255 * noise(0, 1, np.uint8, number))
        save(tmp_path / "flat" / f"{number}.png", np.full((SIZE, SIZE), 50 * number, np.uint8))
        (tmp_path / "float").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "float" / f"{number}.tif", noise(0, 1, np.float32, number))
    for kind in ("mask", "flat", "float"):
        assert quick(tmp_path / kind, "single") == []


@pytest.mark.parametrize("folders", [("A/train", "B/train"), ("A", "B")])
def test_folders_above_the_phases_are_read_by_no_model(folders, tmp_path, capsys):
    for folder in folders:
        save(tmp_path / folder / "0.png", noise(0, 255, np.uint8))
    found = lines(capsys, tmp_path, code=1)
    assert any(line.startswith("problem: folders A and B lie above the phases") for line in found)
    assert any("train/A and train/B" in line for line in found)


def test_pairs_in_folders_of_other_names_are_pointed_out(tmp_path, capsys):
    for folder in ("input", "target"):
        for number in range(2):
            save(tmp_path / "train" / folder / f"{number}.png", noise(0, 255, np.uint8, number + len(folder)))
    found = "\n".join(lines(capsys, tmp_path))
    assert "the folders input and target hold files of the same names" in found
    assert "call the folders train/A and train/B" in found


def elevation(file: Path, *, gap: float, tag: str = "", seed: int = 0) -> None:
    """Values from 10 to 20 with 3 missing rows."""
    file.parent.mkdir(parents=True, exist_ok=True)
    values = noise(10, 20, np.float32, seed)
    values[-3:] = gap
    tags = [(42113, "s", len(tag) + 1, tag, True)] if tag else []
    tifffile.imwrite(file, values, photometric="minisblack", extratags=tags)


def test_missing_pixels_are_no_problem_once_they_are_named(tmp_path, capsys):
    for number in range(2):
        elevation(tmp_path / "train" / "A" / f"{number}.tif", gap=np.nan, seed=number)
        elevation(tmp_path / "train" / "B" / f"{number}.tif", gap=-9999, tag="-9999", seed=number)
    found = lines(capsys, tmp_path, code=1)
    assert sum("holds NaN or infinite values" in line for line in found) == 2
    assert (
        "warning: side B: files say that -9999 stands for missing pixels, which are taken for values: --nodata_B file "
        "leaves them out"
    ) in found
    found = lines(capsys, tmp_path, "--nodata_A", "nan", "--nodata_B", "file")
    assert {"  train A: float32 values from 10 to 20", "  train B: float32 values from 10 to 20"} <= set(found)
    assert not any("nodata" in line or line.startswith("problem") for line in found)
    found = lines(capsys, tmp_path, "--nodata_A", "-1", code=1)
    assert sum("which --nodata_A -1 does not name" in line for line in found) == 2


def test_the_look_at_a_start_leaves_missing_pixels_out(tmp_path):
    for number in range(2):
        values = noise(30000, 60000, np.uint16, number)
        values[:4] = 0
        save(tmp_path / f"{number}.png", values)
        values[4:] = 100
        save(tmp_path / "dark" / f"{number}.png", values)
    assert quick(tmp_path, "single", nodata_A="0") == []
    (line,) = quick(tmp_path / "dark", "single", nodata_A="0")
    assert line.startswith("side A: 16-bit values from 100 to 100 of 65535")


def test_the_nodata_tag_is_named_where_values_lie_outside(tmp_path):
    elevation(tmp_path / "0.tif", gap=-9999, tag="-9999")
    options = {"preprocess": "none", "value_range_A": (10.0, 20.0)}
    wanted = r"0\.tif: values from -9999 to 20 lie outside .* -9999 stands for missing pixels .*: give --nodata_A file$"
    with pytest.raises(ValueError, match=wanted):
        quick(tmp_path, "single", **options)
    assert quick(tmp_path, "single", nodata_A="file", **options) == []


@pytest.mark.parametrize("beside", [False, True])
def test_every_label_beyond_is_found_with_its_file(beside, tmp_path, capsys):
    for number in range(3):
        A, B = noise(0, 4 + (number == 1), np.uint8, number), noise(0, 255, np.uint8, number)
        if beside:
            save(tmp_path / "train" / f"{number}.png", np.concatenate([A, B], axis=1))
        else:
            save(tmp_path / "train" / "A" / f"{number}.png", A)
            save(tmp_path / "train" / "B" / f"{number}.png", B)
    found = [line for line in lines(capsys, tmp_path, "--label_nc_A", "5", code=1) if line.startswith("problem")]
    (line,) = found
    assert "1.png: has label 5, but --label_nc_A 5 allows 0 to 4" in line
    lines(capsys, tmp_path, "--label_nc_A", "6")
    assert main([str(tmp_path), "--label_nc_A", "6", "--nodata_A", "0"]) == 2
    assert "labels have no --nodata_A" in capsys.readouterr().err

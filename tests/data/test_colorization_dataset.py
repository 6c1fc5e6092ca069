"""Lightness and colours of photos: values, crops, grey and deep files, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data import DATASETS
from data.base_dataset import BaseDataset
from data.check import quick_check
from models import MODELS
from options.base_options import DataOptions
from options.parse import parse_test, parse_train
from options.schema import OptionError
from scripts import check_data
from tests.data.test_datasets import make
from util.images.codecs import encode_png16
from util.images.lab import join_colours

RED = (53.24 / 50 - 1, 80.09 / 110, 67.20 / 110)
PLAIN = {"preprocess": "none", "no_flip": True}


def save(file: Path, pixels: Any, mode: str = "RGB") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).convert(mode).save(file)


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def colours(root: Path, **options: Any) -> BaseDataset:
    return make("colorization", root, **options)


@pytest.mark.parametrize(
    ("rgb", "expected"), [((255, 255, 255), (1.0, 0.0, 0.0)), ((0, 0, 0), (-1.0, 0.0, 0.0)), ((255, 0, 0), RED)]
)
def test_pure_colours(rgb: tuple[int, ...], expected: tuple[float, ...], tmp_path: Path) -> None:
    save(tmp_path / "train/1.png", np.full((8, 8, 3), rgb))
    sample = colours(tmp_path, **PLAIN)[0]
    assert sample["A"].shape == (1, 8, 8) and sample["B"].shape == (2, 8, 8)
    found = torch.cat([sample["A"], sample["B"]])[:, 0, 0].tolist()
    assert found == pytest.approx(expected, abs=2e-4)


def test_crops_and_flips_are_those_of_the_picture(tmp_path: Path) -> None:
    """Joined again, a sample is what ``single`` gives of the same file, seed, epoch and index."""
    for number in range(3):
        save(tmp_path / f"train/{number}.png", noise(number, 50, 60, 3))
    same = {"crop_size": 32, "seed": 4}
    for preprocess in ("resize_and_crop", "crop"):
        rgb = make("single", tmp_path / "train", preprocess=preprocess, **same)
        lab = colours(tmp_path, preprocess=preprocess, **same)
        for key in [(epoch, index) for epoch in (1, 2) for index in range(3)]:
            sample = lab[key]
            torch.testing.assert_close(join_colours(sample["A"], sample["B"]), rgb[key]["A"], atol=2e-4, rtol=0)
            assert (sample["A_paths"], sample["A_format"]) == (rgb[key]["A_paths"], "uint8")
            assert (sample["B_paths"], sample["B_format"]) == (rgb[key]["A_paths"], "uint8")


def test_sixteen_bits_keep_their_depth(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (8, 8, 3), dtype=np.uint16)
    (tmp_path / "train").mkdir()
    (tmp_path / "train/1.png").write_bytes(encode_png16(deep))
    sample = colours(tmp_path, **PLAIN)[0]
    assert sample["A_format"] == sample["B_format"] == "uint16"
    back = (join_colours(sample["A"], sample["B"]) + 1) / 2 * 65535
    torch.testing.assert_close(back, torch.from_numpy(deep.transpose(2, 0, 1).astype(np.float32)), atol=3.0, rtol=0)


def test_a_grey_file_among_photos_has_no_colours(tmp_path: Path) -> None:
    save(tmp_path / "train/1.png", noise(0, 40, 40, 3))
    save(tmp_path / "train/2.png", noise(0, 40, 40, 3), "L")
    dataset = colours(tmp_path)
    assert float(dataset[1]["B"].abs().max()) < 1e-3 < float(dataset[0]["B"].abs().max())
    assert any("mixed channels" in warning for warning in quick_check(dataset))
    assert dataset.summary() == {
        "root": str(tmp_path / "train"),
        "photos": 2,
        "sizes": {"40x40": 2},
        "channels": [1, 3],
        "depth": ["uint8"],
        "preprocessed": {"32x32": 2},
    }


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_folder_of_grey_photos_can_be_coloured(mode: str, tmp_path: Path) -> None:
    save(tmp_path / "photos/1.png", np.full((8, 8, 3), 119), mode)
    dataset = colours(tmp_path / "photos", phase="test", **PLAIN)
    sample = dataset[0]
    assert set(sample) == {"A", "A_paths", "A_format", "index"} and dataset.counts() == {"grey photos": 1}
    assert float(sample["A"][0, 0, 0]) == pytest.approx(50.03 / 50 - 1, abs=1e-4)  # not 119 / 127.5 - 1


def test_wide_photos_are_no_pairs_to_check_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "train/1.png", noise(0, 20, 40, 3))
    for words, layout in (([], "side by side"), (["--dataset_mode", "colorization"], "single")):
        assert check_data.main([str(tmp_path), *words]) == 0
        assert f"train: {layout}, files: A 1" in capsys.readouterr().out


def test_transparency(tmp_path: Path) -> None:
    pixels = np.full((8, 8, 4), (255, 0, 0, 0))
    save(tmp_path / "train/1.png", pixels, "RGBA")
    lightness = {alpha: float(colours(tmp_path, alpha=alpha, **PLAIN)[0]["A"][0, 0, 0]) for alpha in ("drop", "white")}
    assert lightness == pytest.approx({"drop": RED[0], "white": 1.0}, abs=1e-4)
    with pytest.raises(ValueError, match=r"1\.png: has 4 channels with --alpha keep.*--alpha drop"):
        colours(tmp_path, alpha="keep", **PLAIN)[0]


def test_only_a_test_reads_the_data_root_itself(tmp_path: Path) -> None:
    """Else a run on loose files would be evaluated on the images that it is trained on."""
    save(tmp_path / "1.png", noise(0, 40, 40, 3))
    assert colours(tmp_path, phase="test").root == tmp_path
    for phase in ("train", "val"):
        with pytest.raises(FileNotFoundError, match=rf"--phase {phase}: there is no folder .*{phase}; .* has 1 file"):
            colours(tmp_path, phase=phase)
    save(tmp_path / "test/2.png", noise(0, 40, 40, 3))
    assert colours(tmp_path, phase="test").root == tmp_path / "test"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--direction", "BtoA"], r"--direction BtoA: colorization goes from lightness \(A\) to colours"),
        (["--input_nc", "3"], "--input_nc 3: --model colorization"),
        (["--output_nc", "1"], "--output_nc 1: --model colorization"),
    ],
)
@pytest.mark.parametrize("parse", [parse_train, parse_test])
def test_options_that_do_not_fit_are_refused(parse: Any, words: list[str], message: str, tmp_path: Path) -> None:
    argv = ["--model", "colorization", "--checkpoints_dir", str(tmp_path), *words]
    with pytest.raises(OptionError, match=message):
        parse(argv, MODELS, DATASETS)


@pytest.mark.parametrize(("flag", "value"), [("input_nc", 3), ("output_nc", 3)])
def test_channels_of_another_model_are_refused(flag: str, value: int, tmp_path: Path) -> None:
    options = DataOptions(dataroot=str(tmp_path))
    with pytest.raises(ValueError, match=f"--{flag} 3: --dataset_mode colorization") as error:
        DATASETS.get("colorization")(options, **{"input_nc": 1, "output_nc": 2, flag: value})
    assert "\n" not in str(error.value)


def test_any_model_gets_the_channels_of_the_data_set() -> None:
    options = parse_train(["--model", "pix2pix", "--dataset_mode", "colorization"], MODELS, DATASETS)
    assert (options.model.input_nc, options.model.output_nc) == (1, 2)

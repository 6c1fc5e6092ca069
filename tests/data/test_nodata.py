"""Missing pixels: filled for the network, marked in the batch, left out of the losses, written back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray

import test as test_program
import train
from data import DATASETS
from data.base_dataset import BaseDataset
from data.loader import create_loader
from models.losses.masked import masked_l1
from options.base_options import DataOptions
from options.schema import OptionError
from scripts import evaluate
from tests.conftest import SIZE, TRAINABLE_ARGS
from tests.util.metrics.test_paired import published_ssim
from util.images.io import read_image

GAP = 8  # rows that are missing


def tile(seed: int, size: int = SIZE) -> NDArray[np.float32]:
    """Values from 0 to 500 with both ends below the gap."""
    values = np.random.default_rng(seed).random((size, size)).astype(np.float32) * 500
    values[-1, :2] = 0, 500
    return values


def save(file: Path, values: NDArray[Any], nodata: float, tag: str = "") -> NDArray[Any]:
    file.parent.mkdir(parents=True, exist_ok=True)
    values = values.copy()
    values[:GAP] = nodata
    tags = [(42113, "s", len(tag) + 1, tag, True)] if tag else []
    tifffile.imwrite(file, values, photometric="minisblack", extratags=tags)
    return values


def single(root: Path, **options: Any) -> BaseDataset:
    given = {"preprocess": "none", "no_flip": True, "value_range_A": (0.0, 500.0), **options}
    return DATASETS.get("single")(DataOptions(dataroot=str(root), **given), input_nc=1, output_nc=1)


@pytest.mark.parametrize(
    ("value", "tag", "flag"),
    [(np.nan, "", "nan"), (-9999, "", "-9999"), (-9999, "-9999", "file"), (np.nan, "nan", "file")],
)
def test_missing_pixels_are_filled_and_marked(value, tag, flag, tmp_path):
    values = save(tmp_path / "0.tif", tile(0), value, tag)
    sample = single(tmp_path, nodata_A=flag)[0]
    assert torch.isfinite(sample["A"]).all()
    assert torch.equal(sample["A"][:, :GAP], torch.full((1, GAP, SIZE), -1.0))
    assert np.allclose(sample["A"][0, GAP:].numpy(), values[GAP:] / 250 - 1, atol=1e-6)
    wanted = torch.ones(1, SIZE, SIZE)
    wanted[:, :GAP] = 0
    assert torch.equal(sample["A_mask"], wanted)
    assert sample["A_nodata"] == pytest.approx(value, nan_ok=True)


def test_without_the_flag_there_is_no_mask_and_the_message_names_the_flag(tmp_path):
    save(tmp_path / "nan" / "0.tif", tile(0), np.nan)
    with pytest.raises(ValueError, match=r"0\.tif: holds NaN or infinite values.*--nodata_A nan"):
        single(tmp_path / "nan")[0]
    with pytest.raises(
        ValueError, match=r"0\.tif: holds NaN .* which --nodata_A -1 does not name: give --nodata_A nan"
    ):
        single(tmp_path / "nan", nodata_A="-1")[0]
    tifffile.imwrite(tmp_path / "0.tif", tile(0))
    assert not {"A_mask", "A_nodata"} & single(tmp_path)[0].keys()


def test_a_file_that_names_no_value_has_no_gaps(tmp_path):
    tifffile.imwrite(tmp_path / "0.tif", tile(0))
    sample = single(tmp_path, nodata_A="file")[0]
    assert sample["A_mask"].min() == 1 and sample["A_nodata"] is None


def test_unsigned_files_are_filled_by_their_own_minimum(tmp_path):
    values = np.full((SIZE, SIZE), 60000, np.uint16)
    save(tmp_path / "0.tif", values, 65535)
    sample = single(tmp_path, nodata_A="65535", value_range_A=())[0]
    assert sample["A"][0, 0, 0] == -1 and sample["A"][0, -1, 0] == pytest.approx(60000 / 32767.5 - 1)
    for low in (-100.0, 0.5):  # no number of the file's type
        assert single(tmp_path, nodata_A="65535", value_range_A=(low, 60000.0))[0]["A"][0, 0, 0] == -1


def test_scaled_pixels_with_a_missing_part_are_missing(tmp_path):
    save(tmp_path / "0.tif", np.full((SIZE, SIZE), 500, np.float32), np.nan)
    sample = single(tmp_path, nodata_A="nan", preprocess="scale_width", load_size=2 * SIZE)[0]
    there = sample["A_mask"] == 1
    assert there.shape == (1, 2 * SIZE, 2 * SIZE) and not there[:, : 2 * GAP].any() and there[:, 2 * GAP + 8 :].all()
    assert (sample["A"][there] == 1).all()  # nothing of the fill


@pytest.mark.parametrize("cache", ["none", "ram"])
def test_crop_flip_cache_and_exchange_keep_the_mask_on_its_pixels(cache, tmp_path):
    for side in "AB":
        values = np.where(np.random.default_rng(1).random((SIZE, SIZE)) < 0.5, np.nan, 500).astype(np.float32)
        (tmp_path / "train" / side).mkdir(parents=True)
        tifffile.imwrite(tmp_path / "train" / side / "0.tif", values if side == "A" else np.full_like(values, 500))
    options = DataOptions(
        dataroot=str(tmp_path), preprocess="crop", crop_size=16, nodata_A="nan", value_range=(0.0, 500.0), cache=cache
    )
    dataset = DATASETS.get("aligned")(options, input_nc=1, output_nc=1)
    how: dict[str, Any] = {"batch_size": 1, "num_threads": 0, "serial_batches": True, "seed": 0}
    dataset.fill_cache()
    for epoch in range(1, 5):
        (batch,) = create_loader(dataset, direction="AtoB", **how).batches(epoch)
        assert batch["A_mask"].shape == (1, 1, 16, 16) and "B_mask" not in batch
        assert torch.equal(batch["A"] * 1.0, batch["A_mask"] * 2 - 1)
    (batch,) = create_loader(dataset, direction="BtoA", **how).batches(1)
    assert "B_mask" in batch and "A_mask" not in batch and len(batch["B_nodata"]) == 1


def test_the_masked_loss_is_the_mean_over_what_is_there():
    made, target = torch.tensor([[[[1.0, 2.0]], [[3.0, 9.0]]]]), torch.zeros(1, 2, 1, 2)
    mask = torch.tensor([[[[1.0, 0.0]]]])
    assert masked_l1(made, target, mask).item() == (1 + 3) / 2
    assert masked_l1(made, target).item() == 15 / 4
    assert masked_l1(made, target, torch.zeros_like(mask)).item() == 0


def test_other_words_are_refused():
    with pytest.raises(OptionError, match="--nodata_B none: give nan, a number such as -9999, or file"):
        DataOptions(nodata_B="none")


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """Pairs of elevation: A with gaps of -9999 in its first rows, B of NaN in its last columns."""
    folder = tmp_path_factory.mktemp("maps")
    for phase in ("train", "test"):
        for number in range(2):
            save(folder / phase / "A" / f"{number}.tif", tile(number), -9999, "-9999")
            (folder / phase / "B").mkdir(exist_ok=True)
            target = tile(number + 9)
            target[:, -4:] = np.nan
            tifffile.imwrite(folder / phase / "B" / f"{number}.tif", target)
    return folder


RANGES = ["--input_nc", "1", "--output_nc", "1", "--value_range", "0,500", "--nodata_A", "file", "--nodata_B", "nan"]


def test_results_have_the_gaps_of_their_files(maps, workdir):
    argv = ["--dataroot", str(maps), "--name", "run", *RANGES, "--n_epochs", "1", "--n_epochs_decay", "0", "--no_html"]
    assert train.main([*TRAINABLE_ARGS, *argv]) == 0
    assert test_program.main(["--gpu_ids", "-1", "--name", "run"]) == 0
    images = workdir / "results" / "run" / "test_latest" / "images"
    source = tifffile.imread(maps / "test" / "A" / "0.tif")
    real_A = read_image(images / "0_real_A.tif")
    assert real_A.nodata == -9999 and np.allclose(real_A.array[:, :, 0], source, atol=1e-3)
    real_B, fake_B = (
        read_image(images / f"0_{kind}_B.tif", allow_nonfinite=True).array[:, :, 0] for kind in ("real", "fake")
    )
    assert np.array_equal(np.isnan(real_B), np.isnan(tifffile.imread(maps / "test" / "B" / "0.tif")))
    # What is made of nothing is missing; what is made where the target is missing is kept.
    assert np.isnan(fake_B[:GAP]).all() and np.isfinite(fake_B[GAP:]).all()


def plain_numbers(images: Path) -> dict[str, float]:
    """L1, PSNR and SSIM of two results over what is there in both, by numpy alone."""
    l1, psnr, ssim = [], [], []
    for number in range(2):
        fake, real = (
            tifffile.imread(images / f"{number}_{kind}_B.tif").astype(np.float64) / 500 for kind in ("fake", "real")
        )
        error = (fake - real)[np.isfinite(fake) & np.isfinite(real)]
        l1.append(np.abs(error).mean())
        psnr.append(-10 * np.log10((error**2).mean()))
        ssim.append(published_ssim(*(255 * each[GAP:, :-4, None] for each in (fake, real))))  # the gaps are at borders
    return {"l1": float(np.mean(l1)), "psnr": float(np.mean(psnr)), "ssim": float(np.mean(ssim))}


def test_training_evaluation_and_numpy_agree_on_what_is_there(maps, workdir):
    argv = ["--dataroot", str(maps), "--name", "run", *RANGES, "--n_epochs", "1", "--n_epochs_decay", "0", "--no_html"]
    argv += ["--no_dropout", "--norm", "instance", "--eval_freq", "1", "--eval_metrics", "psnr,l1,ssim"]
    assert train.main([*TRAINABLE_ARGS, *argv]) == 0
    trained = json.loads((workdir / "checkpoints" / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert test_program.main(["--gpu_ids", "-1", "--name", "run"]) == 0
    assert evaluate.main(["--name", "run", "--metrics", "psnr,l1,ssim", "--gpu_ids", "-1"]) == 0
    results = workdir / "results" / "run"
    found = json.loads((results / "metrics.json").read_text())["measurements"]
    measured = {each["name"]: each for each in found}
    for name, value in plain_numbers(results / "test_latest" / "images").items():
        assert measured[name]["value"] == pytest.approx(value, rel=1e-4)
        (note,) = measured[name]["notes"]
        assert note.startswith("missing pixels (nodata) of 2 pairs are left out")
        assert trained["metrics"][name] == pytest.approx(value, rel=1e-4)

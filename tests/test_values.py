"""The values that come out are those that were meant: ranges, units and depths of each side, trained, tested, measured.

Expected numbers are computed from the written files by plain numpy.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import test as test_program
import train
from scripts import evaluate
from tests.conftest import trainable_args
from util.images.io import read_image
from util.metrics.measurement import read_measurements

SMALL = "--netG resnet_6blocks --ngf 2 --ndf 2 --load_size 24 --crop_size 24 --n_epochs 1 --n_epochs_decay 0"
TRAIN = [*SMALL.split(), *["--num_threads", "0", "--gpu_ids", "-1", "--no_html", "--name", "run"]]
TEST = ["--num_threads", "0", "--gpu_ids", "-1", "--name", "run"]
MEASURE = ["--gpu_ids", "-1", "--name", "run", "--metrics", "psnr,ssim,l1"]
ONE = ["--name", "run", "--n_epochs", "1", "--n_epochs_decay", "0"]
IMAGES = Path("results/run/test_latest/images")
EVAL = ["--eval_freq", "1", "--eval_metrics", "psnr,ssim,l1"]


def blobs(seed: int, size: int = 24) -> np.ndarray:
    """``[size, size]`` from 0 to 1, smooth; 0 and 1 occur."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    total = np.zeros((size, size))
    for _ in range(4):
        cy, cx, width = rng.uniform(0, size), rng.uniform(0, size), rng.uniform(2, 6)
        total += np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 2 / width**2)
    return (total - total.min()) / np.ptp(total)


def rgb(seed: int) -> np.ndarray:
    return np.stack([np.rint(255 * blobs(3 * seed + c)) for c in range(3)], 2).astype(np.uint8)


def draw(side_A, side_B, *, unpaired: bool = False) -> None:
    """``data`` with 3 pairs to train on and 2 to test; ``side_A(seed)`` and ``side_B(seed)`` are arrays."""
    for phase, first, count in (("train", 0, 3), ("test", 10, 2)):
        for number in range(count):
            for side, made in (("A", side_A), ("B", side_B)):
                array = made(first + number)
                folder = Path("data") / (f"{phase}{side}" if unpaired else f"{phase}/{side}")
                folder.mkdir(parents=True, exist_ok=True)
                plain = array.dtype in (np.uint8, np.uint16) and (array.ndim == 2 or array.dtype == np.uint8)
                if plain:
                    Image.fromarray(array).save(folder / f"{number}.png")
                else:
                    planar = "contig" if array.ndim == 3 else None
                    tifffile.imwrite(folder / f"{number}.tif", array, photometric="minisblack", planarconfig=planar)


def run_all(*flags: str) -> None:
    assert train.main([*TRAIN, "--dataroot", "data", *flags]) == 0
    assert test_program.main(TEST) == 0


def trained_numbers() -> dict[str, float]:
    lines = Path("checkpoints/run/metrics.jsonl").read_text().splitlines()
    return next(record["metrics"] for record in map(json.loads, lines) if record["kind"] == "epoch")


def measured() -> dict[str, float]:
    assert evaluate.main(MEASURE) == 0
    return {each.short: each.value for each in read_measurements(Path("results/run/metrics.json"))}


def by_numpy(low: float, high: float) -> dict[str, float]:
    """PSNR and L1 of the results from their files, with the data range ``high - low``."""
    psnr, l1 = [], []
    for number in range(2):
        fake, real = (read_image(only(f"{number}_{kind}_B")).array.astype(float) for kind in ("fake", "real"))
        psnr.append(10 * np.log10((high - low) ** 2 / np.mean((fake - real) ** 2)))
        l1.append(np.mean(np.abs(fake - real)) / (high - low))
    return {"psnr": float(np.mean(psnr)), "l1": float(np.mean(l1))}


def only(stem: str, images: Path = IMAGES) -> Path:
    """The file with the values: the TIFF, else the PNG."""
    tif = images / f"{stem}.tif"
    return tif if tif.exists() else images / f"{stem}.png"


def stored(stem: str, images: Path = IMAGES) -> np.ndarray:
    file = only(stem, images)
    return tifffile.imread(file) if file.suffix == ".tif" else np.asarray(Image.open(file))


def thermal(seed: int) -> np.ndarray:
    return np.rint(29000 + 2000 * blobs(3 * seed)).astype(np.uint16)


def ct(seed: int) -> np.ndarray:
    return np.rint(-1000 + 3000 * blobs(3 * seed)).astype(np.int16)


def mr(seed: int) -> np.ndarray:
    return np.rint(1200 * blobs(3 * seed)).astype(np.uint16)


CASES = {
    "12 bit in float": (
        lambda seed: (4095 * blobs(3 * seed)).astype(np.float32),
        lambda seed: (4095 * (1 - blobs(3 * seed))).astype(np.float32),
        1,
        (0, 4095),
    ),
    "six bands": (
        lambda seed: np.stack([10000 * blobs(6 * seed + c) for c in range(6)], 2).astype(np.uint16),
        lambda seed: np.stack([10000 * (1 - blobs(6 * seed + c)) for c in range(6)], 2).astype(np.uint16),
        6,
        (0, 10000),
    ),
    "CT": (ct, lambda seed: (1000 - ct(seed)).astype(np.int16), 1, (-1000, 2000)),
    "float of 0 to 1": (
        lambda seed: blobs(seed).astype(np.float32),
        lambda seed: blobs(seed + 99).astype(np.float32),
        1,
        (),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_numbers_of_training_of_evaluate_and_of_the_files_are_one(case, workdir):
    side_A, side_B, channels, value_range = CASES[case]
    draw(side_A, side_B)
    flags = [f"--value_range={value_range[0]},{value_range[1]}"] if value_range else []
    run_all("--input_nc", str(channels), "--output_nc", str(channels), *flags, *EVAL)
    found, logged = measured(), trained_numbers()
    assert found.keys() == logged.keys() == {"psnr", "ssim", "l1"}
    for name, value in found.items():
        assert value == pytest.approx(logged[name], rel=1e-6)
    for name, value in by_numpy(*(value_range or (0, 1))).items():
        assert value == pytest.approx(found[name], rel=1e-5)
    assert stored("0_fake_B").dtype == stored("0_real_B").dtype == side_B(10).dtype
    assert stored("0_fake_B").shape == side_B(10).shape


def test_bands_that_a_network_saw_are_named_and_L1_has_its_unit(workdir, tiny, capsys):
    side_A, side_B, _, _ = CASES["six bands"]
    draw(side_A, side_B)
    run_all("--input_nc", "6", "--output_nc", "6", "--value_range", "0,10000", "--unit_B", "reflectance")
    argv = [
        "--gpu_ids",
        "-1",
        "--name",
        "run",
        "--metrics",
        "kid,psnr,l1",
        "--kid_subset_size",
        "2",
        "--feature_cache",
        "none",
    ]
    assert evaluate.main(argv) == 0
    kid, psnr, l1 = read_measurements(Path("results/run/metrics.json"))
    assert kid.protocol["bands"] == "first 3 of 6" and "the network saw the first 3 of 6 bands" in kid.notes
    assert psnr.notes == () and "bands" not in psnr.protocol
    assert l1.notes == (f"{l1.value * 10000:.6g} reflectance",)
    assert l1.notes[0] in capsys.readouterr().out


def test_a_photo_becomes_16_bit_counts_in_their_range(workdir):
    draw(rgb, thermal)
    run_all("--input_nc", "3", "--output_nc", "1", "--value_range_B", "29000,31000", *EVAL)
    fake = stored("0_fake_B")
    assert fake.dtype == np.uint16 and 29000 <= fake.min() <= fake.max() <= 31000
    np.testing.assert_array_equal(stored("0_real_B"), thermal(10))
    np.testing.assert_array_equal(stored("0_real_A"), rgb(10))
    assert measured() == pytest.approx(trained_numbers(), rel=1e-6)
    assert by_numpy(29000, 31000)["l1"] == pytest.approx(trained_numbers()["l1"], rel=1e-5)
    one_sided = ["--model", "test", "--dataroot", "data/test/A", "--results_dir", "alone"]
    assert test_program.main([*TEST, *one_sided]) == 0
    alone = stored("0_fake", Path("alone/run/test_latest/images"))
    assert alone.dtype == np.uint16
    np.testing.assert_array_equal(alone, fake)


def test_without_a_range_the_depth_is_that_of_the_target(workdir):
    draw(rgb, thermal)
    run_all("--input_nc", "3", "--output_nc", "1")
    assert stored("0_fake_B").dtype == np.uint16 and stored("0_real_A").dtype == np.uint8


@pytest.mark.parametrize("turned", [False, True])
def test_the_way_back_gives_8_bits(turned, workdir):
    if turned:
        draw(rgb, thermal)
        run_all(
            *["--input_nc", "1", "--output_nc", "3", "--direction", "BtoA", "--value_range_B", "29000,31000"], *EVAL
        )
    else:
        draw(thermal, rgb)
        run_all(*["--input_nc", "1", "--output_nc", "3", "--value_range_A", "29000,31000"], *EVAL)
    assert stored("0_fake_B").dtype == np.uint8 and stored("0_fake_B").shape == (24, 24, 3)
    np.testing.assert_array_equal(stored("0_real_A"), thermal(10))
    assert measured() == pytest.approx(trained_numbers(), rel=1e-6)
    alone = ["--model", "test", "--dataroot", f"data/test/{'B' if turned else 'A'}", "--results_dir", "alone"]
    assert test_program.main([*TEST, *alone]) == 0
    np.testing.assert_array_equal(stored("0_fake", Path("alone/run/test_latest/images")), stored("0_fake_B"))


def test_each_visual_of_a_cycle_is_stored_like_its_domain(workdir):
    draw(rgb, thermal, unpaired=True)
    flags = "--model cycle_gan --input_nc 3 --output_nc 1 --value_range_B 29000,31000 --lambda_identity 0"
    run_all(*flags.split())
    kinds = {"real_A": np.uint8, "fake_A": np.uint8, "rec_A": np.uint8}
    kinds |= {"real_B": np.uint16, "fake_B": np.uint16, "rec_B": np.uint16}
    there = {kind: stored(f"0_{kind}").dtype for kind in kinds if only(f"0_{kind}").exists()}
    assert there.keys() >= {"real_A", "fake_B", "real_B", "fake_A"}
    assert there == {kind: kinds[kind] for kind in there}
    for side, wanted in (("A", "fake_B"), ("B", "fake_A")):
        alone = f"--model test --model_suffix _{side} --dataroot data/test{side} --results_dir alone{side} --no_dropout"
        assert test_program.main([*TEST, *alone.split()]) == 0
        found = stored("0_fake", Path(f"alone{side}/run/test_latest/images"))
        assert found.dtype == kinds[wanted]
        np.testing.assert_array_equal(found, stored(f"0_{wanted}"))


def test_from_MR_to_CT_nothing_below_zero_is_lost(workdir):
    draw(mr, ct)
    flags = "--input_nc 1 --output_nc 1 --value_range_A 0,1200 --value_range_B=-1000,2000"
    run_all(*flags.split(), *EVAL)
    fake = stored("0_fake_B")
    assert fake.dtype == np.int16 and fake.min() < 0 and fake.min() >= -1000 and fake.max() <= 2000
    np.testing.assert_array_equal(stored("0_real_B"), ct(10))
    np.testing.assert_array_equal(stored("0_real_A"), mr(10))
    assert measured() == pytest.approx(trained_numbers(), rel=1e-6)


def test_the_share_that_is_clipped_is_reported_at_the_start(workdir, caplog, capsys):
    def metal(seed: int) -> np.ndarray:
        array = ct(seed)
        array[:] = 100
        array[:6] = -1000  # a quarter is air
        return array

    draw(mr, metal)
    flags = "--input_nc 1 --output_nc 1 --value_range_A 0,1200 --value_range_B=-200,400 --clip_range"
    for dry in (["--dry_run"], []):
        caplog.clear()
        assert train.main([*TRAIN, "--dataroot", "data", *flags.split(), *dry]) == 0
        said = [record.getMessage() for record in caplog.records if "--clip_range" in record.getMessage()]
        assert any("side A: 0.00% of the values" in line for line in said)
        assert any("side B: 25.00% of the values" in line for line in said)
    assert test_program.main(TEST) == 0
    real = stored("0_real_B")
    assert (real[:6] == -200).all() and (real[6:] == 100).all() and stored("0_fake_B").dtype == np.int16


def test_a_run_without_the_file_of_sides_is_tested_and_measured_as_before(workdir):
    draw(lambda seed: (4095 * blobs(seed)).astype(np.uint16), lambda seed: (4095 * blobs(seed + 9)).astype(np.uint16))
    run_all("--input_nc", "1", "--output_nc", "1", "--value_range", "0,4095", *EVAL)
    first, numbers = stored("0_fake_B"), measured()
    for folder in ("checkpoints/run", "results/run/test_latest"):
        (Path(folder) / "sides.json").unlink()
    assert measured() == numbers == pytest.approx(trained_numbers(), rel=1e-6)
    assert test_program.main(TEST) == 0
    np.testing.assert_array_equal(stored("0_fake_B"), first)
    assert test_program.main([*TEST, "--model", "test", "--dataroot", "data/test/A", "--results_dir", "alone"]) == 0
    np.testing.assert_array_equal(stored("0_fake", Path("alone/run/test_latest/images")), first)


def test_results_written_in_another_range_are_measured_in_it(workdir):
    draw(lambda seed: (4095 * blobs(seed)).astype(np.uint16), lambda seed: (4095 * blobs(seed + 9)).astype(np.uint16))
    run_all("--input_nc", "1", "--output_nc", "1", "--value_range", "0,4095")
    assert test_program.main([*TEST, "--value_range_B", "0,9000"]) == 0
    assert measured()["l1"] == pytest.approx(by_numpy(0, 9000)["l1"], rel=1e-5)


def test_values_of_folders_have_a_range_and_copies_are_noticed(workdir, tiny, capsys):
    for number in range(4):
        for folder, shift in (("fake", 0), ("same", 0), ("half", 0 if number < 2 else 50), ("other", 70)):
            Path(folder).mkdir(exist_ok=True)
            array = (20 + 20 * blobs(number + shift)).astype(np.float32)
            tifffile.imwrite(f"{folder}/{number}.tif", array, photometric="minisblack")
    notes = {}
    for real in ("same", "half", "other"):
        argv = f"--fake fake --real {real} --value_range 20,40 --gpu_ids -1 --kid_subset_size 3 --feature_cache none"
        assert evaluate.main([*argv.split(), "--metrics", "kid,fid,l1", "--output", f"{real}.json"]) == 0
        kid, fid, l1 = read_measurements(Path(f"{real}.json"))
        assert set(kid.notes) <= set(fid.notes)
        notes[real] = kid.notes
        pairs = [(tifffile.imread(f"fake/{n}.tif"), tifffile.imread(f"{real}/{n}.tif")) for n in range(4)]
        assert l1.value == pytest.approx(np.mean([np.abs(a - b).mean() for a, b in pairs]) / 20, rel=1e-5)
    assert "both sides hold the same pictures: no value can be better" in notes["same"]
    assert "2 of the 4 images are among the real ones too" in notes["half"]
    assert not any("same pictures" in note or "too" in note for note in notes["other"])


@pytest.mark.parametrize(("way", "fake"), [("AtoB", "fake_B"), ("BtoA", "fake_A")])
def test_one_direction_of_two_stores_its_output_like_the_side_that_is_not_there(way, fake, workdir):
    draw(lambda seed: rgb(seed)[:, :, 0], thermal, unpaired=True)
    flags = ["--model", "ugatit", "--input_nc", "1", "--output_nc", "1", "--value_range_B", "29000,31000"]
    assert train.main([*trainable_args("ugatit"), "--no_html", "--dataroot", "data", *flags, *ONE]) == 0
    assert test_program.main([*TEST, "--ugatit_strip", "False"]) == 0
    alone = ["--dataset_mode", "single", "--test_direction", way, "--dataroot", f"data/test{way[0]}"]
    assert test_program.main([*TEST, *alone, "--ugatit_strip", "False", "--results_dir", "alone"]) == 0
    found = stored(f"0_{fake}", Path("alone/run/test_latest/images"))
    assert found.dtype == {"fake_A": np.uint8, "fake_B": np.uint16}[fake]
    np.testing.assert_array_equal(found, stored(f"0_{fake}"))

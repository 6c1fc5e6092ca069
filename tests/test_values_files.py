"""Drawn files of the kinds that once came out wrong: four bands, LZW, opacity, long names; their results measured.

The inputs are drawn at 64 pixels as they were when the faults were found.
"""

from __future__ import annotations

import csv
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

import test as test_program
import train
from data import DATASETS
from options.base_options import DataOptions
from scripts import evaluate
from tests.test_values import (
    EVAL,
    IMAGES,
    MEASURE,
    TEST,
    TRAIN,
    by_numpy,
    draw,
    measured,
    only,
    stored,
    trained_numbers,
)
from tests.test_values import rgb as small_rgb
from tests.test_values import thermal as small_thermal
from util.images.io import read_image
from util.metrics.measurement import read_measurements
from util.run.sides import read_sides

GEO = [
    (33550, "d", 3, (10.0, 10.0, 0.0), True),
    (33922, "d", 6, (0, 0, 0, 500000.0, 5400000.0, 0.0), True),
    (34735, "H", 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632), True),
]
TURNED = (0.0, 10.0, 0.0, 5e5, -10.0, 0.0, 0.0, 54e5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
"""ModelTransformation, of a picture whose rows do not run from west to east."""


def blobs(seed: int, size: int = 64) -> NDArray[np.float64]:
    """``[size, size]`` from 0 to 1, smooth."""
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[:size, :size]
    total = np.zeros((size, size))
    for _ in range(4):
        cy, cx, s = rng.uniform(0, size), rng.uniform(0, size), rng.uniform(5, 15)
        total += np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 2 / s / s)
    return total / total.max()


def rgb(seed: int) -> NDArray[np.uint8]:
    return np.stack([np.rint(255 * blobs(seed * 3 + c)) for c in range(3)], 2).astype(np.uint8)


def bands(seed: int) -> NDArray[np.uint16]:
    """Red, green, blue and near infrared, 0 to 10000."""
    return np.stack([np.rint(10000 * blobs(seed * 5 + c)) for c in range(4)], 2).astype(np.uint16)


def train_and_test(*flags: str, size: int = 64) -> None:
    sized = ["--load_size", str(size), "--crop_size", str(size)]
    assert train.main([*TRAIN, "--dataroot", "data", *sized, *flags]) == 0
    assert test_program.main(TEST) == 0


# -- bands and opacity -------------------------------------------------------------------------------------------------


def test_four_bands_stay_four_and_keep_their_place(workdir):
    for phase, first, count in (("train", 0, 4), ("test", 10, 2)):
        for number in range(count):
            for side, array in (("A", bands(first + number)), ("B", 10000 - bands(first + number))):
                file = Path("data", phase, side, f"{number}.tif")
                file.parent.mkdir(parents=True, exist_ok=True)
                how: dict[str, Any] = {"planarconfig": "contig", "extrasamples": ["unspecified"] * 3}
                tifffile.imwrite(file, array, photometric="minisblack", extratags=GEO, metadata=None, **how)
    train_and_test("--input_nc", "4", "--output_nc", "4", "--value_range", "0,10000", *EVAL)
    for kind in ("real_A", "fake_B", "real_B"):
        with tifffile.TiffFile(IMAGES / f"0_{kind}.tif") as opened:
            tags = opened.pages[0].tags
            assert {tag: tags[tag].value for tag, *_ in GEO} == {tag: tuple(value) for tag, _, _, value, _ in GEO}
            assert all(int(extra) == 0 for extra in tags["ExtraSamples"].value)
        assert read_image(IMAGES / f"0_{kind}.tif").array.shape == (64, 64, 4)
    np.testing.assert_array_equal(stored("0_real_A"), bands(10))
    assert measured() == pytest.approx(trained_numbers(), rel=1e-6)
    assert by_numpy(0, 10000)["psnr"] == pytest.approx(trained_numbers()["psnr"], rel=1e-5)
    assert by_numpy(0, 10000)["l1"] == pytest.approx(trained_numbers()["l1"], rel=1e-5)


def test_the_turned_place_of_an_input_is_copied(workdir):
    draw(small_rgb, small_thermal)
    train_and_test("--output_nc", "1", size=24)
    Path("map").mkdir()
    tags = [(34264, "d", 16, TURNED, True), GEO[2]]
    tifffile.imwrite("map/0.tif", small_rgb(1), photometric="rgb", extratags=tags, metadata=None)
    assert test_program.main([*TEST, "--model", "test", "--dataroot", "map", "--results_dir", "alone"]) == 0
    with tifffile.TiffFile("alone/run/test_latest/images/0_fake.tif") as opened:
        assert opened.pages[0].tags[34264].value == TURNED
        assert opened.pages[0].tags[34735].value == GEO[2][3]
        assert opened.pages[0].dtype == np.uint16


def test_opacity_that_is_kept_comes_out_as_opacity(workdir):
    def veiled(seed: int) -> NDArray[np.uint8]:
        return np.concatenate([small_rgb(seed), small_rgb(seed + 50)[:, :, :1]], axis=2)

    draw(veiled, lambda seed: 255 - veiled(seed))
    train_and_test("--input_nc", "4", "--output_nc", "4", "--alpha", "keep", *EVAL, size=24)
    for kind in ("real_A", "fake_B", "real_B"):
        with Image.open(IMAGES / f"0_{kind}.png") as image:
            assert image.mode == "RGBA", kind
    np.testing.assert_array_equal(stored("0_real_A"), veiled(10))
    assert measured() == pytest.approx(trained_numbers(), rel=1e-6)
    pairs = [[stored(f"{n}_{kind}_B")[:, :, :3].astype(float) for kind in ("fake", "real")] for n in range(2)]
    l1 = np.mean([np.abs(fake - real).mean() / 255 for fake, real in pairs])  # of the colours, as evaluate.py says
    assert l1 == pytest.approx(trained_numbers()["l1"], rel=1e-5)


# -- sides exchanged, many checkpoints, many runs ----------------------------------------------------------------------


def test_a_cycle_the_other_way_round_has_the_ranges_of_its_files(workdir):
    """``--value_range_B`` is that of the files in trainB, which are the input: domain A."""
    draw(small_rgb, small_thermal, unpaired=True)
    flags = "--model cycle_gan --direction BtoA --input_nc 1 --output_nc 3 --value_range_B 29000,31000"
    train_and_test(*flags.split(), "--lambda_identity", "0", size=24)
    np.testing.assert_array_equal(stored("0_real_A"), small_thermal(10))
    np.testing.assert_array_equal(stored("0_real_B"), small_rgb(10))
    for kind, dtype in (("fake_A", np.uint16), ("rec_A", np.uint16), ("fake_B", np.uint8), ("rec_B", np.uint8)):
        if only(f"0_{kind}").exists():
            assert stored(f"0_{kind}").dtype == dtype, kind
    assert stored("0_fake_A").min() >= 29000 and stored("0_fake_A").max() <= 31000
    sides = read_sides(IMAGES.parent)
    assert sides["A"].value_range == (29000, 31000) and sides["B"].value_range == ()


def test_every_checkpoint_is_measured_in_values(workdir):
    draw(small_rgb, small_thermal)
    flags = ["--output_nc", "1", "--value_range_B", "29000,31000", "--n_epochs", "2", "--save_epoch_freq", "1"]
    train_and_test(*flags, *EVAL, size=24)
    assert evaluate.main([*MEASURE, "--epoch", "all"]) == 0
    logged = {each.tag: each for each in read_measurements(Path("results/run/metrics.json")) if each.short == "l1"}
    assert logged.keys() == {"1", "2", "latest"}
    for tag, found in logged.items():
        images = Path(f"results/run/test_{tag}/images")
        fakes, reals = ([stored(f"{n}_{kind}_B", images).astype(float) for n in range(2)] for kind in ("fake", "real"))
        assert fakes[0].max() > 255
        error = np.mean([np.abs(fake - real).mean() for fake, real in zip(fakes, reals)]) / 2000
        assert found.value == pytest.approx(error, rel=1e-5), tag
    assert logged["latest"].value == pytest.approx(trained_numbers_of(2)["l1"], rel=1e-6)


def trained_numbers_of(epoch: int) -> dict[str, float]:
    rows = list(csv.DictReader(Path("checkpoints/run/loss_log.csv").read_text().splitlines()))
    return {name: float(rows[epoch - 1][name]) for name in ("psnr", "l1")}


def test_a_comparison_measures_values(workdir):
    draw(small_rgb, small_thermal)
    for name, seed in (("run", "0"), ("other", "1")):
        flags = ["--output_nc", "1", "--value_range_B", "29000,31000", "--name", name, "--seed", seed]
        assert train.main([*TRAIN, "--dataroot", "data", *flags]) == 0
    argv = ["--gpu_ids", "-1", "--compare", "run", "other", "--metrics", "l1"]
    assert evaluate.main(argv) == 0
    table = Path("results/comparison/comparison.md").read_text()
    for name in ("run", "other"):
        images = Path(f"results/{name}/test_latest/images")
        errors = [np.abs(stored(f"{n}_fake_B", images) - stored(f"{n}_real_B", images).astype(float)) for n in range(2)]
        l1 = np.mean([error.mean() for error in errors]) / 2000
        (found,) = read_measurements(Path(f"results/{name}/metrics.json"))
        assert found.value == pytest.approx(l1, rel=1e-5)
        assert f"{l1:.4f}" in table
    # Counts of 29000 to 31000 are one grey in a browser: pages show 8 bits of their range.
    for page in (Path("results/run/test_latest"), Path("results/comparison")):
        sources = re.findall(r'src="([^"]+fake_B\.png)"', (page / "index.html").read_text())
        pictures = [np.asarray(Image.open(page / source)) for source in sources]
        assert pictures and all(picture.dtype == np.uint8 and np.ptp(picture) > 50 for picture in pictures)
    assert all(image.dtype == np.uint16 for image in (stored("0_fake_B"), stored("0_real_B")))


# -- files -------------------------------------------------------------------------------------------------------------


def lzw(data: bytes) -> bytes:
    """TIFF's LZW with literal codes of 9 bits only."""
    bits, n, out = 0, 0, bytearray()
    codes = [code for at in range(0, len(data), 200) for code in (256, *data[at : at + 200])]
    for code in [*codes, 257]:
        bits, n = bits << 9 | code, n + 9
        while n >= 8:
            n -= 8
            out.append(bits >> n & 255)
        bits &= (1 << n) - 1
    return bytes(out + bytes([bits << (8 - n) & 255] if n else []))


def write_lzw(path: Path, array: NDArray[Any], photometric: int = 1) -> None:
    """A TIFF of one strip, as QGIS and GDAL compress by default, without the help of a library."""
    height, width, channels = array.shape
    bits, data = 8 * array.dtype.itemsize, lzw(array.astype(f"<u{array.dtype.itemsize}").tobytes())
    extra = channels - (3 if photometric == 2 else 1)
    tags: list[tuple[int, int, list[Any]]] = [(256, 4, [width]), (257, 4, [height]), (258, 3, [bits] * channels)]
    tags += [(259, 3, [5]), (262, 3, [photometric]), (273, 4, [None]), (277, 3, [channels]), (278, 4, [height])]
    tags += [(279, 4, [len(data)]), (284, 3, [1]), *([(338, 3, [0] * extra)] if extra > 0 else [])]
    at, body, entries = 14 + 12 * len(tags), b"", b""
    lengths = [(4 if kind == 4 else 2) * len(values) for _, kind, values in tags]
    begin = at + sum(length for length in lengths if length > 4)
    for tag, kind, values in tags:
        numbers = [begin if value is None else value for value in values]
        raw = struct.pack(f"<{len(numbers)}{'I' if kind == 4 else 'H'}", *numbers)
        if len(raw) <= 4:
            entries += struct.pack("<HHI", tag, kind, len(numbers)) + raw.ljust(4, b"\0")
        else:
            entries += struct.pack("<HHII", tag, kind, len(numbers), at + len(body))
            body += raw
    head = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(tags))
    path.write_bytes(head + entries + struct.pack("<I", 0) + body + data)


def test_lzw_of_every_depth_and_number_of_bands(tmp_path):
    eight = np.concatenate([rgb(1), rgb(2)], 2)
    sixteen = eight[:, :, :4].astype(np.uint16) * 257
    cases = {"rgb8": (rgb(1), 2), "rgb16": (sixteen[:, :, :3], 2), "grey16": (sixteen[:, :, :1], 1)}
    cases |= {"bands4_16": (sixteen, 1), "bands6_8": (eight, 1)}
    for name, (array, photometric) in cases.items():
        write_lzw(tmp_path / f"{name}.tif", array, photometric)
        np.testing.assert_array_equal(read_image(tmp_path / f"{name}.tif").array, array, err_msg=name)


def test_twenty_one_labels_of_a_palette_stay_twenty_one(tmp_path):
    for number in range(2):
        ids = np.kron(np.random.default_rng(number).integers(0, 21, (8, 8)), np.ones((8, 8), int)).astype(np.uint8)
        image = Image.frombytes("P", (64, 64), ids.tobytes())
        image.putpalette(np.random.default_rng(9).permutation(256)[:63].astype(np.uint8).tobytes())
        image.save(tmp_path / f"{number}.png")
    options = DataOptions(dataroot=str(tmp_path), load_size=71, crop_size=64, resample_A="nearest")
    dataset = DATASETS.get("single")(options, input_nc=3, output_nc=3)
    for number in range(2):
        tensor = dataset[1, number]["A"]
        pixels = ((tensor + 1) * 127.5).round().int().flatten(1).T.tolist()
        there = read_image(tmp_path / f"{number}.png").array.reshape(-1, 3).tolist()
        assert {tuple(pixel) for pixel in pixels} <= {tuple(pixel) for pixel in there}


def test_long_names_have_results_and_so_have_their_neighbours(workdir):
    draw(small_rgb, small_rgb)
    train_and_test(size=24)
    names = {"n" * 217, "m" * 244, "k" * 251, "図" * 80, "ok"}
    Path("long").mkdir()
    for name in names:
        Image.fromarray(small_rgb(1)).save(f"long/{name}.png")
    assert test_program.main([*TEST, "--model", "test", "--dataroot", "long", "--results_dir", "alone"]) == 0
    found = {file.name.removesuffix("_fake.png") for file in Path("alone/run/test_latest/images").glob("*_fake.png")}
    assert len(found) == 5 and {"n" * 217, "ok"} <= found
    assert len({name[:40] for name in found}) == 5  # each begins as its file does

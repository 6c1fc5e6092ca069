"""GeoTIFF in, GeoTIFF out: results lie on the map where their input lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import test as test_program
import train
from tests.conftest import SIZE, TRAINABLE_ARGS

TAGS = [
    (33550, "d", 3, (10.0, 10.0, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 500000.0, 5400000.0, 0.0), True),
    (34735, "H", 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632), True),
    (34736, "d", 2, (298.25, 6378137.0), True),
    (34737, "s", 8, "WGS 84|", True),
]


def draw(file: Path, seed: int, *, geo: bool = True, nodata: str = "", size: int = SIZE) -> None:
    """One band of uint16 up to 60000; with ``nodata`` its first 8 rows are 0."""
    file.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(1, 60001, (size, size)).astype(np.uint16)
    tags = [*TAGS] if geo else []
    if nodata:
        array[:8] = 0
        tags.append((42113, "s", len(nodata) + 1, nodata, True))
    tifffile.imwrite(file, array, photometric="minisblack", extratags=tags)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of pix2pix on one band, and folders ``maps`` to test on."""
    folder = tmp_path_factory.mktemp("geo")
    for phase, first in (("train", 0), ("test", 10)):
        for number in range(2):
            draw(folder / "maps" / phase / "A" / f"{number}.tif", first + number)
            draw(folder / "maps" / phase / "B" / f"{number}.tif", first + number + 50, geo=number == 0)
    argv = ["--dataroot", str(folder / "maps"), "--name", "run", "--checkpoints_dir", str(folder / "checkpoints")]
    argv += ["--input_nc", "1", "--output_nc", "1", "--n_epochs", "1", "--n_epochs_decay", "0", "--no_html"]
    assert train.main([*TRAINABLE_ARGS, *argv]) == 0
    return folder


def results_of(trained: Path, results: Path, *extra: str) -> Path:
    argv = ["--gpu_ids", "-1", "--name", "run", "--checkpoints_dir", str(trained / "checkpoints")]
    assert test_program.main([*argv, "--results_dir", str(results), *extra]) == 0
    return results / "run" / "test_latest" / "images"


def tags_of(file: Path) -> dict[int, object]:
    with tifffile.TiffFile(file) as opened:
        found = opened.pages[0].tags
        return {tag: found[tag].value for tag, *_ in TAGS if tag in found}


def test_the_tags_of_the_input_are_those_of_the_results(trained, tmp_path):
    images = results_of(trained, tmp_path)
    wanted = {tag: value for tag, _, _, value, _ in TAGS}
    for name in ("0_real_A", "0_fake_B", "0_real_B", "1_real_A", "1_fake_B"):
        assert tags_of(images / f"{name}.tif") == wanted, name
        assert Image.open(images / f"{name}.png").size == (SIZE, SIZE)  # for the page
    assert not (images / "1_real_B.tif").exists()  # its own file has no place
    source = tifffile.imread(trained / "maps" / "test" / "A" / "0.tif")
    assert np.array_equal(tifffile.imread(images / "0_real_A.tif"), source)
    assert tifffile.imread(images / "0_fake_B.tif").dtype == np.uint16


def test_an_input_without_partner_gives_its_place_too(trained, tmp_path):
    extra = ["--dataset_mode", "single", "--dataroot", str(trained / "maps" / "test" / "A")]
    images = results_of(trained, tmp_path, *extra)
    assert tags_of(images / "1_fake_B.tif") == {tag: value for tag, _, _, value, _ in TAGS}


@pytest.mark.parametrize(
    "extra",
    [
        ["--load_size", "64", "--crop_size", "64"],  # another size
        ["--load_size", "36", "--crop_size", "32"],  # the size of the file, but a part of the scaled picture
    ],
)
def test_what_lies_elsewhere_has_no_place(extra, trained, tmp_path):
    images = results_of(trained, tmp_path, *extra)
    assert {file.suffix for file in images.iterdir()} == {".png"}


def test_a_page_shows_the_pictures(trained, tmp_path):
    page = (results_of(trained, tmp_path).parent / "index.html").read_text()
    assert "0_fake_B.png" in page and ".tif" not in page

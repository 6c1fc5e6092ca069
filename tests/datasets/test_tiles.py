"""Large pictures cut into tiles for a training, and put together again."""

import csv
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from data import DATASETS
from datasets import join_tiles, make_tiles
from datasets.make_tiles import empty_share
from util.images.header import Geo
from util.images.io import read_header, read_image, save_array

SCALE, TIE = (33550, (2.0, 2.0, 0.0)), (33922, (0.0, 0.0, 0.0, 500000.0, 4000000.0, 0.0))


def drawn(height: int, width: int, channels: int = 3, dtype: str = "uint8", seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(1, 250, (height, width, channels)).astype(dtype)


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "tiles.csv", newline="") as file:
        return list(csv.DictReader(file))


def cut(*words: object) -> int:
    return make_tiles.main([str(word) for word in words])


def join(*words: object) -> int:
    return join_tiles.main([str(word) for word in words])


@pytest.mark.parametrize(
    ("dtype", "channels"), [("uint8", 3), ("uint8", 1), ("uint16", 1), ("int16", 2), ("float32", 6)]
)
@pytest.mark.parametrize(("size", "overlap"), [(32, 0), (32, 9), (256, 64)])
def test_what_is_cut_and_joined_is_as_before(
    dtype: str, channels: int, size: int, overlap: int, tmp_path: Path
) -> None:
    array = drawn(75, 101, channels, dtype)
    source = save_array(tmp_path / "a.png", array)
    assert cut("--A", source, "--out", tmp_path / "t", "--size", size, "--overlap", overlap) == 0
    table = rows(tmp_path / "t")
    assert {row["phase"] for row in table} == {"train"} and {row["group"] for row in table} == {"a"}
    for row in table:
        x, y, width, height = (int(row[name]) for name in ("x", "y", "width", "height"))
        tile = read_image(tmp_path / "t" / row["A"])
        np.testing.assert_array_equal(tile.array, array[y : y + height, x : x + width])
        assert (width, height) == (min(size, 101), min(size, 75)) and tile.format == dtype
    assert join(tmp_path / "t/tiles.csv", "--out", tmp_path / "joined") == 0
    (file,) = (tmp_path / "joined").iterdir()
    np.testing.assert_allclose(read_image(file).array, array, rtol=1e-6)


def test_a_training_reads_the_table(tmp_path: Path) -> None:
    for side in "AB":
        for name in "xyz":
            (tmp_path / side).mkdir(exist_ok=True)
            save_array(tmp_path / side / f"{name}.png", drawn(64, 96, seed=ord(name) + ord(side)))
    words = ["--A", tmp_path / "A", "--B", tmp_path / "B", "--out", tmp_path / "t", "--size", 32, "--test_share", 0.5]
    assert cut(*words, "--seed", 3) == 0
    table = rows(tmp_path / "t")
    phases = {row["group"]: row["phase"] for row in table}
    assert sorted(phases.values()) in (["test", "train", "train"], ["test", "test", "train"])
    assert all(row["phase"] == phases[row["group"]] for row in table) and len(table) == 18
    kind = DATASETS.get("table")
    dataset = kind(kind.Options(dataroot=str(tmp_path / "t"), load_size=32, crop_size=32), input_nc=3, output_nc=3)
    name, y, x = Path(dataset.unit_paths(1)[0]).stem.split("_")
    for side, path in zip("AB", dataset.unit_paths(1)):
        whole = read_image(tmp_path / side / f"{name}.png").array
        np.testing.assert_array_equal(read_image(path).array, whole[int(y[1:]) :, int(x[1:]) :][:32, :32])


def test_tiles_of_a_geotiff_lie_where_they_are(tmp_path: Path) -> None:
    array = drawn(64, 64, 4, "uint16")
    source = save_array(tmp_path / "s.tif", array, geo=Geo((64, 64), (SCALE, TIE)), nodata=0.0)
    assert cut("--A", source, "--out", tmp_path / "t", "--size", 32) == 0
    by_place = {(row["x"], row["y"]): read_header(tmp_path / "t" / row["A"]) for row in rows(tmp_path / "t")}
    geo = by_place["32", "32"].geo
    assert geo is not None and geo.size == (32, 32) and by_place["32", "32"].nodata == 0.0
    column, row, _, east, north, _ = dict(geo.tags)[33922]
    # Pixel (column, row) of the tile lies at (east, north), 2 m a pixel: its own first pixel 64 m east and south.
    assert (east + (0 - column) * 2, north - (0 - row) * 2) == (500064.0, 3999936.0)
    assert join(tmp_path / "t/tiles.csv", "--out", tmp_path / "j") == 0
    joined = read_header(tmp_path / "j/s.tif")
    assert joined.geo == read_header(source).geo and joined.channels == 4 and joined.nodata == 0.0
    np.testing.assert_array_equal(read_image(tmp_path / "j/s.tif").array, array)


def test_a_matrix_of_place_is_moved() -> None:
    matrix = (2.0, 0.5, 0.0, 100.0, 0.25, -2.0, 0.0, 900.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    geo = Geo((64, 64), ((34264, matrix), (34735, (1, 1, 0))))
    moved = dict(geo.cut(10, 4, 32, 32).tags)
    assert moved[34264][3] == 100 + 2 * 10 + 0.5 * 4 and moved[34264][7] == 900 + 0.25 * 10 - 2 * 4
    assert moved[34264][:3] == matrix[:3] and moved[34735] == (1, 1, 0)


def test_empty_tiles_are_left_out_and_come_back_as_missing(tmp_path: Path) -> None:
    array = drawn(32, 96, 1, "int16")
    array[:, :40] = -32768
    source = save_array(tmp_path / "dem.tif", array, nodata=-32768.0)
    assert cut("--A", source, "--out", tmp_path / "t", "--size", 32) == 0
    assert [row["x"] for row in rows(tmp_path / "t")] == ["32", "64"]
    assert join(tmp_path / "t/tiles.csv", "--out", tmp_path / "j") == 0
    np.testing.assert_array_equal(read_image(tmp_path / "j/dem.tif").array, array)
    assert cut("--A", source, "--out", tmp_path / "all", "--size", 32, "--skip_empty", 0) == 0
    assert cut("--A", source, "--out", tmp_path / "few", "--size", 32, "--skip_empty", 0.2) == 0
    assert [len(rows(tmp_path / name)) for name in ("all", "few")] == [3, 1]


def test_missing_values_do_not_bleed_into_their_neighbours_where_tiles_overlap(tmp_path: Path) -> None:
    array = np.full((32, 56, 1), 700, np.int16)
    array[10:20, 20:36] = -9999
    source = save_array(tmp_path / "d.tif", array, nodata=-9999.0)
    assert cut("--A", source, "--out", tmp_path / "t", "--size", 32, "--overlap", 8) == 0
    assert join(tmp_path / "t/tiles.csv", "--out", tmp_path / "j") == 0
    np.testing.assert_array_equal(read_image(tmp_path / "j/d.tif").array, array)


@pytest.mark.parametrize(
    ("empty", "nodata", "expected"),
    [("black", None, 0.25), ("white", None, 0.5), ("7", None, 0.125), ("nodata", None, 0.0), ("nodata", 7.0, 0.125)],
)
def test_what_is_empty(empty: str, nodata: float | None, expected: float) -> None:
    values = np.array([[0, 0, 7, 255], [240, 230, 250, 229]], np.uint8)
    assert empty_share(np.repeat(values[:, :, None], 3, 2), empty, nodata) == expected
    half = np.stack([values, np.full_like(values, 9)], axis=2)  # empty in one channel only
    assert empty_share(half, empty, nodata) == 0


def test_not_a_number_is_missing() -> None:
    assert empty_share(np.array([[[np.nan], [1.0]]], np.float32), "nodata", None) == 0.5


def test_a_single_picture_is_parted_by_an_area(tmp_path: Path) -> None:
    source = save_array(tmp_path / "a.png", drawn(64, 96))
    words = ["--A", source, "--size", 16, "--overlap", 0]
    assert cut(*words, "--out", tmp_path / "t", "--test_area", "0,0,40,64") == 0
    table = rows(tmp_path / "t")
    assert {(row["x"], row["phase"]) for row in table} == {
        *((x, "test") for x in ("0", "16")),
        *((x, "train") for x in ("48", "64", "80")),
    }


def test_results_of_a_test_are_joined_by_their_names(tmp_path: Path) -> None:
    array = drawn(48, 64)
    source = save_array(tmp_path / "a.png", array)
    assert cut("--A", source, "--out", tmp_path / "t", "--size", 32) == 0
    (tmp_path / "results").mkdir()
    for row in rows(tmp_path / "t"):
        tile = read_image(tmp_path / "t" / row["A"])
        save_array(tmp_path / "results" / f"{Path(row['A']).stem}_fake_B.png", 255 - tile.array)
    words = [tmp_path / "t/tiles.csv", "--tiles", tmp_path / "results", "--out", tmp_path / "j"]
    assert join(*words) == 2  # without the name of the visual
    assert join(*words, "--visual", "fake_B") == 0
    np.testing.assert_array_equal(read_image(tmp_path / "j/a.png").array, 255 - array)
    assert join(*words, "--visual", "fake_B") == 2  # exists already
    assert join(*words, "--visual", "fake_B", "--overwrite") == 0


def test_labels_are_never_blended(tmp_path: Path) -> None:
    array = np.zeros((32, 56, 1), np.uint8)
    array[:, 28:] = 4
    source = save_array(tmp_path / "a.png", array)
    assert cut("--A", source, "--out", tmp_path / "t", "--size", 32, "--overlap", 8) == 0
    for file in (tmp_path / "t/A").iterdir():  # each tile has a label of its own
        save_array(file, np.full((32, 32, 1), 8 if "x00000" in file.name else 2, np.uint8))
    assert join(tmp_path / "t/tiles.csv", "--out", tmp_path / "j", "--labels") == 0
    assert set(np.unique(read_image(tmp_path / "j/a.png").array)) == {2, 8}
    assert join(tmp_path / "t/tiles.csv", "--out", tmp_path / "b") == 0
    assert len(np.unique(read_image(tmp_path / "b/a.png").array)) > 2


def test_slides_by_whatever_package_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = drawn(96, 128)

    class FakeSlide:
        level_count, level_downsamples, level_dimensions = 2, (1.0, 2.0), ((128, 96), (64, 48))

        def __init__(self, path: str) -> None:
            assert path.endswith("s.svs")

        def read_region(self, corner: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
            step, (x, y) = 2**level, corner
            part = whole[y::step, x::step][: size[1], : size[0]]
            opacity = np.full((*part.shape[:2], 1), 255, np.uint8)
            opacity[0, 0] = 0
            return Image.fromarray(np.concatenate([part, opacity], 2))

        def close(self) -> None: ...

    (tmp_path / "slides").mkdir()
    (tmp_path / "slides/s.svs").touch()
    words = ["--A", tmp_path / "slides", "--out", tmp_path / "t", "--size", 32, "--level", 1]
    monkeypatch.setitem(sys.modules, "openslide", None)
    monkeypatch.setitem(sys.modules, "tiffslide", None)
    assert cut(*words) == 2
    monkeypatch.setitem(sys.modules, "tiffslide", types.SimpleNamespace(TiffSlide=FakeSlide))
    assert cut(*words) == 0
    tile = read_image(tmp_path / "t/A/s_y00016_x00032.png").array
    np.testing.assert_array_equal(tile[0, 0], 255)  # nothing there: white
    np.testing.assert_array_equal(tile[1:], whole[32::2, 64::2][1:])
    assert cut(*words[:-1], 2, "--out", tmp_path / "u") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--A", "gone", "--out", "t"], "--A gone: there is no such folder"),
        (["--A", "A", "--B", "B", "--out", "t"], "--A: no partner of the same name in --B for 1 picture, e.g. only"),
        (["--A", "A/x.png", "--out", "A"], "--out A: exists already"),
        (["--A", "A", "--out", "t", "--overlap", "256"], "--overlap 256: must be smaller than --size 256"),
        (["--A", "A", "--out", "t", "--test_area", "0,0,9,9"], "--test_area: it is for a single picture"),
        (["--A", "A/x.png", "--out", "t", "--test_share", "0.5"], "give --test_area X0,Y0,X1,Y1"),
        (["--A", "A/x.png", "--out", "t", "--test_area", "9,0,3,9"], "--test_area 9,0,3,9: give four numbers"),
        (["--A", "A/x.png", "--out", "t", "--empty", "blue"], "--empty blue: give nodata, black, white, or a number"),
        (["--A", "A/x.png", "--out", "t", "--empty", "3"], "nothing is left of 1 tile, empty by --empty 3"),
    ],
)
def test_wrong_words(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("A/x.png", "A/only.png", "B/x.png"):
        Path(name).parent.mkdir(exist_ok=True)
        save_array(name, np.full((40, 40, 1), 3, np.uint8))
    before = sorted(tmp_path.rglob("*"))
    assert make_tiles.main(words) == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_broken_pictures_are_named_and_the_others_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "A").mkdir()
    save_array(tmp_path / "A/good.png", drawn(40, 40))
    (tmp_path / "A/bad.png").write_bytes(b"no picture")
    assert cut("--A", tmp_path / "A", "--out", tmp_path / "t", "--size", 32) == 1
    assert "bad.png" in capsys.readouterr().err and len(rows(tmp_path / "t")) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "tiles.csv").write_text("A,B\nx,y\n"), "is no table of make_tiles.py, as it lacks"),
        (lambda folder: (folder / "tiles.csv").unlink(), "there is no such file"),
        (lambda folder: next((folder / "A").iterdir()).unlink(), "there is nothing of the tile"),
        (lambda folder: save_array(folder / "A/a_y00000_x00008.png", drawn(16, 16)), "is 16x16x3 uint8, but"),
    ],
)
def test_tiles_that_do_not_fit(change: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = save_array(tmp_path / "a.png", drawn(32, 40))
    assert cut("--A", source, "--out", tmp_path / "t", "--size", 32) == 0
    change(tmp_path / "t")
    assert join(tmp_path / "t/tiles.csv", "--out", tmp_path / "j") == 2
    assert message in capsys.readouterr().err and not (tmp_path / "j").exists()

"""The analysis of ATME's maps from the command line, on made-up runs whose nature is known; and its notebook."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.atme.map_files import find_maps
from scripts.atme_brownian import analyse, charts, main
from util.pages.charts import Chart

REPO = Path(__file__).resolve().parents[2]
INDICES = (3, 7, 21)


def save_run(root: Path, name: str, kind: str = "walk", epochs: int = 40, *, floats: bool = True) -> Path:
    """Save maps of three images: W walks, is white noise, or stays; D gets undecided. Without floats: as published."""
    folder = root / "checkpoints" / name / "images_noisy"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(1)
    for index in INDICES:
        steps = generator.normal(size=(epochs, 16, 16))
        W = {"walk": 0.03 * np.cumsum(steps, axis=0), "white": 0.1 * steps, "stuck": np.full(steps.shape, 0.5)}[kind]
        W = W.astype(np.float32)
        assert np.abs(W).max() < 1
        for epoch in range(1, epochs + 1):
            logits = (generator.normal(size=(6, 6)) * 5 / epoch).astype(np.float32)
            p = 1 / (1 + np.exp(-logits))
            for kind_of_map, grey in (("D", p if floats else (p + 1) / 2), ("W", (W[epoch - 1] + 1) / 2)):
                picture = (grey * 255).astype(np.uint8)
                if not floats:
                    picture = np.stack([picture] * 3, axis=2)
                Image.fromarray(picture).save(folder / f"epoch_{epoch:03d}_{kind_of_map}_{index}.png")
            if floats:
                np.savez(folder / f"epoch_{epoch:03d}_{index}.npz", logits=logits, W=W[epoch - 1])
    if floats:
        tracked = {"indices": INDICES, "paths": [f"photos/{index}.jpg" for index in INDICES]}
        (folder / "tracked.json").write_text(json.dumps(tracked))
    return folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "brownian.json").read_text())
    return found


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.open()))


def test_a_walk(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("statsmodels")
    save_run(root, "p")
    assert main(["--name", "p", "--gif", "--pixels", "4"]) == 0
    output = root / "results/p/brownian"
    names = {file.relative_to(output).as_posix() for file in output.rglob("*") if file.is_file()}
    charts = {f"{name}.svg" for name in ("W", "dW", "acf", "acf_inside", "displacement", "p_values", "entropy")}
    gifs = {f"images/DWdW_{index}.gif" for index in INDICES}
    assert names == {"index.html", "brownian.json", "series.csv", "entropy.csv", *charts, *gifs}

    found = results(output)
    assert found["mode"] == "increments" and found["numbers"]["series"] == 12
    assert found["numbers"]["slope_all_pixels"] == pytest.approx(1, abs=0.1)
    assert found["numbers"]["acf_inside"] > 0.97
    tests = {each["name"]: each for each in found["tests"]}
    assert tests["Dickey-Fuller"]["rejected"] >= 10 and tests["Ljung-Box 10"]["controlled"] <= 1
    assert found["images"][0]["source"] == "photos/3.jpg" and found["images"][0]["epochs"] == list(range(3, 41))

    series = rows(output / "series.csv")
    assert [int(row["index"]) for row in series] == [index for index in INDICES for _ in range(4)]
    assert float(series[5]["slope"]) == found["images"][1]["series"][1]["slope"]
    assert series[0]["length"] == "38" and series[0]["first_epoch"] == "3"
    entropies = rows(output / "entropy.csv")
    assert len(entropies) == 40 and float(entropies[0]["mean"]) < float(entropies[-1]["mean"]) < 0.6932
    assert float(entropies[4]["mean"]) == pytest.approx(
        np.mean([float(entropies[4][f"image_{index}"]) for index in INDICES])
    )

    with Image.open(output / "images/DWdW_7.gif") as gif:
        assert gif.size == (808, 346) and gif.n_frames == 38 and gif.info["loop"] == 0
    page = (output / "index.html").read_text()
    assert page.count("<figure") == 7 and page.count("<img") == 3 and "Image 7: photos/7.jpg" in page
    said = capsys.readouterr().out
    for words in ("necessary for a Brownian motion, but not sufficient", "no evidence for it", "38 epochs are few"):
        assert words in page and words in said
    assert "slope of the mean square over the lag, all pixels: " in said
    assert "written: results/p/brownian/index.html" in said


def test_charts_hold_the_numbers_of_the_analysis(root: Path) -> None:
    pytest.importorskip("statsmodels")
    folder = save_run(root, "p", epochs=30)
    found = analyse(find_maps(folder, "--images"), INDICES, name="p", pixels=2)
    drawn = charts(found)
    first = found.images[0].series[0]
    name = f"image 3, pixel {first.row},{first.column}"
    assert drawn["dW"].curves[name] == list(zip(range(3, 31), first.increments))
    assert drawn["W"].curves[name] == list(zip(range(2, 31), first.W))
    assert drawn["acf"].curves[name] == list(enumerate(first.acf, start=1))
    upper, lower = drawn["acf"].guides.values()
    assert upper[0] == (1, pytest.approx(2.5758293 / 28**0.5)) and lower[0] == (1, -upper[0][1])
    (inside,) = drawn["acf_inside"].curves.values()
    assert inside[0][1] == np.mean([abs(each.acf[0]) <= each.band[0] for each in found.series])
    (start, end), *_ = drawn["displacement"].guides.values()
    assert end[1] - start[1] == pytest.approx(end[0] - start[0])  # slope 1
    assert drawn["p_values"].curves["Shapiro-Wilk"][0] == (1 / 12, min(each.shapiro_p for each in found.series))
    assert drawn["entropy"].curves["image 7"][4] == (5, found.images[1].entropy[5])
    assert drawn["entropy"].guides["log 2 (D cannot tell)"][1] == (30, pytest.approx(0.693147))


def test_charts_for_a_paper(root: Path) -> None:
    pytest.importorskip("statsmodels")
    save_run(root, "p", epochs=14)
    assert main(["--name", "p", "--format", "pdf", "--ids", "3"]) == 0
    files = [*(root / "results/p/brownian").glob("*.pdf")]
    assert len(files) == 7 and all(file.read_bytes().startswith(b"%PDF-") for file in files)
    assert not [*(root / "results/p/brownian").glob("*.svg")]


def test_white_noise_is_no_walk(root: Path) -> None:
    pytest.importorskip("statsmodels")
    folder = save_run(root, "p", "white")
    assert main(["--images", str(folder), "--output", "out", "--ids", "21,3", "--seed", "4"]) == 0
    found = results(root / "out")
    assert found["name"] == "p" and found["seed"] == 4
    assert [image["index"] for image in found["images"]] == [21, 3]
    assert found["numbers"]["slope_all_pixels"] == pytest.approx(0, abs=0.03)
    assert np.mean([each["acf"][0] for image in found["images"] for each in image["series"]]) < -0.35
    assert not (root / "out/images").exists()


def test_what_never_changes_is_told_in_words(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("statsmodels")
    save_run(root, "p", "stuck", 20)
    assert main(["--name", "p", "--gif"]) == 0
    assert results(root / "results/p/brownian")["numbers"]["constant_series"] == 15
    assert "image 7: 5 of 5 series are constant and not tested" in capsys.readouterr().out
    page = (root / "results/p/brownian/index.html").read_text()
    assert page.count("<figure") == 1 and "Entropy of D" in page


def test_as_published(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("statsmodels")
    folder = save_run(root, "old", floats=False)
    (folder / "epoch_013_W_7.png").unlink()
    assert main(["--name", "old"]) == 2
    assert "8-bit pictures only: add --reference" in capsys.readouterr().err
    assert main(["--name", "old", "--reference", "--gif"]) == 0
    output = root / "results/old/brownian_reference"
    found = results(output)
    assert found["mode"] == "reference" and [each["name"] for each in found["tests"]] == [
        "Dickey-Fuller",
        "Shapiro-Wilk",
    ]
    np.random.seed(0)
    places = np.random.randint(0, 16, (3, 5, 2))
    assert [[each["row"], each["column"]] for each in found["images"][2]["series"]] == places[2].tolist()
    lengths = [len(image["series"][0]["increments"]) for image in found["images"]]
    assert lengths == [40, 39, 40]
    p = [each["shapiro_p"] for image in found["images"] for each in image["series"]]
    assert found["numbers"]["shapiro_share_above_alpha"] == pytest.approx(np.mean([each > 0.01 for each in p]))
    said = capsys.readouterr().out
    assert "image 7: no picture of epoch 13; a running average stands in" in said
    assert "unit root rejected (p < 0.01) in all series: " in said and "series with Shapiro-Wilk p > 0.01: " in said
    with Image.open(output / "images/DWdW_7.gif") as gif:
        assert gif.n_frames == 39 and gif.info["loop"] == 1
        first = np.asarray(gif.convert("L"))
    W = np.asarray(Image.open(folder / "epoch_001_W_7.png").convert("L")).repeat(16, 0).repeat(16, 1)
    assert np.array_equal(first[40:296, 276:532], W) and np.array_equal(first[40:296, 542:798], W)
    # D gets undecided in the course of training, also by the pictures that use 127..255 only
    entropies = [float(row["mean"]) for row in rows(output / "entropy.csv")]
    assert entropies[0] < 0.5 < 0.68 < entropies[-1] <= np.log(2)


def test_an_animation_needs_pictures_of_D(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("statsmodels")
    folder = save_run(root, "old", epochs=12, floats=False)
    for file in folder.glob("*_D_*"):
        file.unlink()
    assert main(["--name", "old", "--reference", "--gif", "--ids", "3"]) == 0
    assert "has no picture of D of image 3: no animation of it" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_files(root: Path) -> None:
    pytest.importorskip("statsmodels")
    folder = save_run(root, "p", epochs=20)
    for output, seed, ids in (("a", "1", "all"), ("b", "1", "7"), ("c", "2", "7")):
        assert main(["--images", str(folder), "--output", output, "--seed", seed, "--ids", ids]) == 0
    seven = [next(i for i in results(root / each)["images"] if i["index"] == 7) for each in "abc"]
    assert seven[0] == seven[1] and seven[1]["series"] != seven[2]["series"]


def test_an_image_with_few_epochs_is_left_out(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("statsmodels")
    folder = save_run(root, "p", epochs=20)
    for epoch in range(6, 21):
        (folder / f"epoch_{epoch:03d}_7.npz").unlink()
    assert main(["--name", "p"]) == 0
    assert [image["index"] for image in results(root / "results/p/brownian")["images"]] == [3, 21]
    assert "note: image 7: 4 epochs in a row after epoch 1; at least 11 are needed; left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give either --name RUN or --images DIR"),
        (["--name", "p", "--images", "x"], "give either --name RUN or --images DIR"),
        (["--name", "pp"], "there is no run checkpoints/pp; did you mean p?"),
        (["--name", "../p"], "give a plain name"),
        (["--images", "gone"], "--images gone: there is no folder gone"),
        (["--name", "p"], "no image has enough epochs: image 3: 4 epochs in a row after epoch 1"),
        (["--name", "p", "--reference"], "no image has enough epochs: image 3: pictures of W of 5 epochs"),
        (["--name", "p", "--ids", "4"], "has no float maps of 4; it has 3, 7, 21"),
        (["--name", "p", "--pixels", "0"], "--pixels 0: give 1 or more"),
        (["--name", "p", "--pixels", "257"], "--pixels 257: the maps have 256 pixels"),
        (["--name", "p", "--alpha", "1"], "--alpha 1.0: give a number between 0 and 1"),
        (["--name", "p", "--seed", "-1"], "--seed -1: give a number from 0"),
        (["--name", "p", "--output", "checkpoints/p/images_noisy/tracked.json/x"], "cannot be written"),
    ],
)
def test_bad_input(root: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    pytest.importorskip("statsmodels")
    save_run(root, "p", epochs=5)
    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert not (root / "results").exists()


def test_missing_packages(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    save_run(root, "p", epochs=12)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["--name", "p"]) == 2
    assert "scipy and statsmodels: pip install scipy statsmodels" in capsys.readouterr().err


# --- the notebook -----------------------------------------------------------------------------------------------------


def notebook() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((REPO / "docs/analyze_dW.ipynb").read_text(encoding="utf-8"))
    return found


def test_notebook_is_valid_and_holds_no_outputs() -> None:
    found = notebook()
    assert found["nbformat"] == 4 and found["metadata"]["kernelspec"]["language"] == "python"
    for cell in found["cells"]:
        assert cell["cell_type"] in ("code", "markdown") and isinstance(cell["metadata"], dict)
        assert isinstance(cell["source"], list) and all(line.endswith("\n") for line in cell["source"][:-1])
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None


@pytest.mark.parametrize("floats", [True, False])
def test_notebook_runs(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], floats: bool
) -> None:
    pytest.importorskip("statsmodels")
    save_run(root, "facades_atme", floats=floats)
    shown: list[Any] = []
    stand_in: Any = ModuleType("IPython.display")
    stand_in.display = shown.append
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", stand_in)
    scope: dict[str, Any] = {}
    for cell in notebook()["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), scope)
    drawn = [each._repr_svg_() for each in shown if isinstance(each, Chart)]
    assert len(drawn) == (12 if floats else 5) and all("</svg>" in each for each in drawn)
    assert [each.size for each in shown if isinstance(each, Image.Image)] == [(808, 346)] * (2 if floats else 1)
    said = capsys.readouterr().out
    assert "dW from -1 to 1" in said and "unit root rejected (p < 0.01) in all series" in said
    assert ("slope of the mean square" in said) == floats

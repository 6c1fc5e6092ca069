"""D_real + D_fake beside log 4: reading of logs old and new, smoothing, files."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import pytest

from scripts.plot_convergence import chart, main, moving_average, read_curve

OURS = "epoch,total_iters,G_GAN,G_L1,D_real,D_fake,D_entropy,lr,seconds"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(root: Path, name: str, *lines: str) -> Path:
    file = root / "checkpoints" / name / "loss_log.csv"
    file.parent.mkdir(parents=True)
    file.write_text("\n".join(lines) + "\n")
    return file


def ours(epoch: int, real: object, fake: object) -> str:
    return f"{epoch},{epoch * 10},1.5,20.0,{real},{fake},0.6,0.0002,3.25"


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.open()))


# --- reading ----------------------------------------------------------------------------------------------------------


def test_our_log(root: Path) -> None:
    file = save(root, "p", OURS, ours(1, 0.5, 0.25), ours(2, "", ""), ours(4, 0.75, 0.5))
    pair = ("D_real", "D_fake")
    assert read_curve(file) == [(pair, (1, 0.5, 0.25)), (pair, (4, 0.75, 0.5))]


def test_published_log_with_repeated_headers(root: Path) -> None:
    file = save(root, "p", "D_real, D_fake", "0.5,0.25", "0.5,0.5", "D_real, D_fake", "0.75,0.5", "0.6")
    assert [row for _, row in read_curve(file)] == [(1, 0.5, 0.25), (2, 0.5, 0.5), (3, 0.75, 0.5)]


def test_unpaired_losses(root: Path) -> None:
    published = save(root, "old", "D_A, D_B", "1.5,1.25")  # doubled there
    assert read_curve(published) == [(("D_A", "D_B"), (1, 0.75, 0.625))]
    new = save(root, "new", "epoch,total_iters,D_A,G_A,D_B,lr,seconds", "1,10,0.75,2.0,0.5,0.0002,1.0")
    assert read_curve(new) == [(("D_A", "D_B"), (1, 0.75, 0.5))]


def test_moving_average_by_hand() -> None:
    points = [(1.0, 1.0), (2.0, 2.0), (3.0, 6.0), (4.0, 4.0), (7.0, 5.0)]
    assert moving_average(points, 3) == [(1, 1.5), (2, 3), (3, 4), (4, 5), (7, 5)]
    assert moving_average(points, 1) == points


# --- the command ------------------------------------------------------------------------------------------------------


def test_one_run(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(root, "p", OURS, *(ours(epoch, 0.5, 0.1 * epoch) for epoch in range(1, 6)))
    assert main(["p", "--smooth", "3"]) == 0
    found = rows(root / "results/p/convergence.csv")
    assert [row["epoch"] for row in found] == list("12345") and {row["run"] for row in found} == {"p"}
    assert [float(row["sum"]) for row in found] == pytest.approx([0.6, 0.7, 0.8, 0.9, 1.0])
    assert [float(row["smoothed"]) for row in found] == pytest.approx([0.65, 0.7, 0.8, 0.9, 0.95])
    drawing = (root / "results/p/convergence.svg").read_text()
    assert "log 4" in drawing and "D_real + D_fake" in drawing and "mean of 3 epochs" in drawing
    assert drawing.count("stroke-opacity") == 1  # the thin curve
    assert "p: 0.65 at 1" in drawing and "p: 0.95 at 5" in drawing
    said = capsys.readouterr().out
    assert "p: epoch 5: 1.0000 (D_real 0.5000, D_fake 0.5000); mean of the last 3 epochs 0.9000\n" in said
    assert f"log 4 = {math.log(4):.4f}" in said
    assert "written: results/p/convergence.svg, results/p/convergence.csv" in said


def test_several_runs_of_all_kinds(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(root, "p", OURS, ours(1, 0.5, 0.5), ours(2, "nan", 0.5), ours(3, 0.5, 0.25))
    old = save(root, "old", "D_real, D_fake", "0.5,0.25", "0.25,0.25")
    folder = save(root, "cyc", "D_A, D_B", "1.5,1.25").parent
    (folder / "train_opt.json").write_text(json.dumps({"gan_mode": "lsgan"}))
    assert main(["p", str(old), str(folder), "--output", "figures/c.svg", "--smooth", "1"]) == 0
    found = [(row["run"], row["epoch"], float(row["sum"])) for row in rows(root / "figures/c.csv")]
    assert found == [("p", "1", 1), ("p", "3", 0.75), ("old", "1", 0.75), ("old", "2", 0.5), ("cyc", "1", 1.375)]
    drawing = (root / "figures/c.svg").read_text()
    assert "stroke-opacity" not in drawing
    assert re.findall("<title>(.*?)</title>", drawing) == [
        *("p: 1 at 1", "p: 0.75 at 3", "old: 0.75 at 1", "old: 0.5 at 2", "cyc: 1.375 at 1")
    ]
    said = capsys.readouterr().out
    assert "note: cyc was trained with --gan_mode lsgan, whose equilibrium is not log 4" in said
    assert "note: p" not in said and "old: epoch 2: 0.5000" in said


def test_the_chart_has_the_averages_before_the_single_values_and_log_4() -> None:
    smooth, raw = {"p": [(1.0, 1.5), (2.0, 1.25)]}, {"p": [(1.0, 2.0), (2.0, 0.5)]}
    found = chart(smooth, raw, 3)
    assert (found.curves, found.faint, found.x_label) == (smooth, raw, "epoch")
    assert found.guides == {"log 4": [(1, pytest.approx(1.386294)), (2, pytest.approx(1.386294))]}


@pytest.mark.parametrize(
    ("words", "file", "begin"),
    [
        (["--format", "pdf"], "results/p/convergence.pdf", b"%PDF-"),
        (["--output", "c.png"], "c.png", b"\x89PNG"),
        (["--format", "png", "--output", "a/c.PNG"], "a/c.PNG", b"\x89PNG"),
    ],
)
def test_formats_for_papers(root: Path, words: list[str], file: str, begin: bytes) -> None:
    save(root, "p", OURS, ours(1, 0.5, 0.5), ours(2, 0.5, 0.25))
    assert main(["p", *words]) == 0
    assert (root / file).read_bytes().startswith(begin)
    assert len(rows((root / file).with_suffix(".csv"))) == 2


def test_runs_of_one_folder_name_keep_apart(root: Path) -> None:
    first, second = (save(root, f"{each}/p", "D_real, D_fake", "0.5,0.25") for each in "ab")
    assert main([str(first), str(second), "--output", "c.svg"]) == 0
    assert [row["run"] for row in rows(root / "c.csv")] == [str(first), str(second)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pp"], "checkpoints/pp/loss_log.csv does not exist; did you mean p?"),
        (["p", "p"], "p: given twice"),
        (["p", "--smooth", "4"], "--smooth 4: give an odd number"),
        (["p", "--smooth", "-1"], "--smooth -1: give an odd number"),
        (["p", "--output", "c.jpg"], "--output c.jpg: name a file that ends in .svg or .png or .pdf"),
        (["p", "--output", "c.png", "--format", "pdf"], "--output c.png: name a file that ends in .pdf"),
        (["empty"], "no epoch with losses of D"),
        (["other"], "the header 'epoch,G_L1' has neither D_real and D_fake nor D_A and D_B"),
        (["torn"], "row 2 does not fit the header; remove the row"),
        (["mixed"], "name both D_real, D_fake and D_A, D_B"),
    ],
)
def test_bad_input(root: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    save(root, "p", OURS, ours(1, 0.5, 0.5))
    save(root, "empty", "D_real, D_fake")
    save(root, "other", "epoch,G_L1", "1,20")
    save(root, "torn", "D_real, D_fake", "0.5", "0.5,0.5")
    save(root, "mixed", "D_real, D_fake", "0.5,0.5", "D_A, D_B", "0.5,0.5")
    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert not (root / "results").exists()

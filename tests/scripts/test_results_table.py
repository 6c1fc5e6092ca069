"""A table of results as Markdown."""

import json
from pathlib import Path

import pytest
from PIL import Image

from scripts import results_table
from util.metrics.images import FolderImages
from util.metrics.measurement import FILE_NAME, Measurement, update_measurements


def write_run(root: Path, name: str, *, epochs: int, psnr: float | None, n: int = 4, **options: object) -> None:
    folder = root / "checkpoints" / name
    folder.mkdir(parents=True)
    (folder / "latest_net_G.pth").touch()
    saved = {"model": "pix2pix", "n_epochs": 2, "n_epochs_decay": 2, "name": name, **options}
    (folder / "train_opt.json").write_text(json.dumps(saved))
    common = {"kind": "epoch", "means": {"G_L1": 1.0}, "lr": 0.1, "seconds": 50.25, "metrics": {}}
    records = [{**common, "epoch": epoch, "total_iters": 10 * epoch} for epoch in range(1, epochs + 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    if psnr is not None:
        protocol = {"fake": {"n": n, "size": "32x32"}, "real": {"n": n, "size": "32x32"}}
        found = [Measurement("psnr", "psnr", psnr, 0.5, protocol, folder="test_latest")]
        update_measurements(root / "results" / name / FILE_NAME, found)


@pytest.fixture
def root(workdir: Path) -> Path:
    write_run(workdir, "base", epochs=4, psnr=20.0, ngf=64)
    write_run(workdir, "sweep/wide", epochs=2, psnr=21.126, ngf=128)
    write_run(workdir, "new", epochs=1, psnr=None, ngf=64)
    return workdir


def test_the_table(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert results_table.main(["base", "sweep/wide", "new"]) == 0
    assert capsys.readouterr().out.splitlines()[:-1] == [
        "| run | ngf | epochs | seconds | PSNR ↑ |",
        "| --- | --- | ---: | ---: | ---: |",
        "| base | 64 | 4 | 201 | 20.00 ± 0.50 |",
        "| sweep/wide | 128 | 2 | 100 | **21.13 ± 0.50** |",
        "| new | 64 | 1 | 50 | – |",
        "",
        "- PSNR: 4 images of 32x32, 4 real ones of 32x32",
        "- ±: the spread of a number over its subsets, splits or pairs, not over trainings",
        "- not measured: new",
    ]
    assert results_table.main(["base", "--options", "model,ngf", "--names", "Base, old"]) == 0
    assert capsys.readouterr().out.splitlines()[2] == "| Base, old | pix2pix | 64 | 4 | 201 | 20.00 ± 0.50 |"


def test_other_protocols_are_said_and_nothing_is_best(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(root, "few", epochs=4, psnr=30.0, n=2)
    assert results_table.main(["base", "few", "--options", "none"]) == 0
    text = capsys.readouterr().out
    assert "not comparable: PSNR: different number of images (fake.n): 4 in base; 2 in few" in text
    assert "**" not in text and text.startswith("| run | epochs |")


def test_a_block_of_a_file_is_replaced(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = root / "results.md"
    page.write_text("# Results\n<!-- table x: begin -->\nold\n<!-- table x: end -->\nend\n")
    assert results_table.main(["base", "--output", "results.md", "--block", "x"]) == 0
    first = page.read_text()
    assert first.startswith("# Results\n<!-- table x: begin -->\n\n| run |") and "old" not in first
    assert first.endswith("\n<!-- table x: end -->\nend\n")
    assert results_table.main(["base", "--output", "results.md", "--block", "x"]) == 0
    assert page.read_text() == first
    assert results_table.main(["base", "--output", "results.md", "--block", "y"]) == 2
    assert "--block y: results.md holds it 0 times" in capsys.readouterr().err and page.read_text() == first


def test_wrong_words(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["bese"], "bese: unknown run: did you mean 'base'"),
        (["base", "--metrics", "kid"], "--metrics kid: unknown measured metric: choose one of psnr; measure by"),
        (["new", "--metrics", "kid"], "--metrics kid: nothing was measured; measure by scripts/evaluate.py"),
        (["base", "--options", "nfg"], "did you mean 'ngf'"),
        (["base", "--names", "a", "b"], "2 names for 1 run"),
        (["base", "--block", "x"], "--block x: name the file that holds it by --output FILE"),
    ):
        assert results_table.main(words) == 2
        assert message in capsys.readouterr().err


def test_numbers_of_samples_are_of_the_samples_that_are_there(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = root / "results/new/eval_latest/images/0000_cat"
    folder.mkdir(parents=True)
    Image.new("RGB", (4, 4), "red").save(folder / "000_00000.png")
    content = FolderImages(folder.parent, "").content()
    protocol = {"fake": {"n": 1, "size": "4x4", "content": content}}
    found = [Measurement("is", "is", 1.5, None, protocol, folder="eval_latest")]
    update_measurements(root / "results/new" / FILE_NAME, found)
    assert results_table.main(["new", "--folder", "eval_latest"]) == 0
    assert "| new | 1 | 50 | 1.500 |" in capsys.readouterr().out
    Image.new("RGB", (4, 4), "blue").save(folder / "000_00000.png")
    assert results_table.main(["new", "--folder", "eval_latest"]) == 0
    assert "1.500" not in capsys.readouterr().out

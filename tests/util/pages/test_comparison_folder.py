"""Comparing runs: what is read, what is refused, and that an earlier page survives whatever goes wrong."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from options.files import read_options
from scripts import evaluate
from util.metrics.measurement import Measurement, update_measurements
from util.pages import comparison_folder
from util.pages.comparison import ComparedRun
from util.pages.comparison_folder import FILES, compare

OUT = Path("comparison")


def save_picture(file: Path, shade: int, size: int = 8) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size, 3), shade, np.uint8)).save(file)


def make_run(
    name: str,
    shade: int = 0,
    *,
    stems: tuple[str, ...] = ("2", "10", "sub/1"),
    folder: str = "test_latest",
    kinds: tuple[str, ...] = ("real_A", "fake_B", "real_B"),
    **options: object,
) -> Path:
    """A run as train.py, test.py and evaluate.py leave it; returns its folder of pictures."""
    checkpoints, results = Path("checkpoints") / name, Path("results") / name
    checkpoints.mkdir(parents=True)
    values = {"dataset_mode": "aligned", "model": "pix2pix", "name": name, "gpu_ids": "0", "lr": 0.1, **options}
    (checkpoints / "train_opt.json").write_text(json.dumps(values))
    scalars = {"kind": "scalars", "epoch": 1, "epoch_iter": 2, "total_iters": 2, "losses": {"G": 1.5}, "lr": 0.1}
    scalars |= dict.fromkeys(("t_comp", "t_data", "images_per_s", "data_wait", "memory_mb"), 1.0)
    epoch = {"kind": "epoch", "total_iters": 4, "means": {"G": 1.25}, "lr": 0.1, "seconds": 1.0}
    records = [scalars, *({**epoch, "epoch": n, "total_iters": 4 * n, "metrics": {"psnr": 20.0}} for n in (1, 2))]
    (checkpoints / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    for place, value in (("test_5", 90.0 - shade), (folder, 20.0 + shade)):
        found = Measurement("psnr", "psnr", value, None, {"pairs": 3}, (), place, place.partition("_")[2])
        update_measurements(results / "metrics.json", [found])
    for stem in stems:
        for kind in kinds:
            save_picture(results / folder / "images" / f"{stem}_{kind}.png", shade if "fake" in kind else 100)
    return results / folder / "images"


def compared(*names: str, **more: object) -> str:
    settings = {"checkpoints_dir": Path("checkpoints"), "results_dir": Path("results"), "output": OUT, **more}
    options = {name: read_options(Path("checkpoints") / name, required=False) or None for name in names}
    paired = {name: (known or {}).get("dataset_mode") != "unaligned" for name, known in options.items()}
    runs = [ComparedRun(name, options=options[name], is_paired=paired[name]) for name in names]
    settings["left_out"] = {"name", "gpu_ids"}
    return compare(runs, **settings).read_text(encoding="utf-8")  # type: ignore[arg-type]


def shown(text: str) -> dict[str, list[tuple[str, str]]]:
    """Stem -> (file, caption) of its row on the page."""
    rows = {}
    for row in text.split('<section class="entry">')[1:]:
        files = [unquote(file) for file in re.findall(r'<img [^>]*src="images/([^"]*)"', row)]
        (stem,) = re.findall("<h3>(.*?)</h3>", row)
        rows[stem] = list(zip(files, re.findall(r'alt="([^"]*)"', row)))
    return rows


def shade_of(file: str) -> int:
    return int(np.asarray(Image.open(OUT / "images" / file))[0, 0, 0])


def test_a_page_that_holds_everything(workdir: Path) -> None:
    make_run("a", 10, lr=0.1)
    make_run("b", 20, lr=0.2, gpu_ids="1")
    text = compared("a", "b")
    assert {each.name for each in OUT.iterdir()} == FILES
    rows = shown(text)
    assert list(rows) == ["2", "10", "sub/1"]
    assert [caption for _, caption in rows["sub/1"]] == ["input", "target", "a", "b"]
    assert [shade_of(file) for file, _ in rows["sub/1"]] == [100, 100, 10, 20]
    assert "2 epochs, 8 images" in text
    assert "<b>G</b>" in text and "<b>PSNR</b>" in text
    assert '<td class="number best">40.00</td>' in text
    with open(OUT / "comparison.csv", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert lines[1] == {"run": "b", "tag": "latest", "images": "8", "lr": "0.2", "psnr": "40.0", "psnr_std": ""}
    assert "| b | 2 epochs, 8 images | 0.2 | **40.00** |" in (OUT / "comparison.md").read_text(encoding="utf-8")


def test_the_page_can_be_moved_alone(workdir: Path) -> None:
    make_run("a"), make_run("b")
    compared("a", "b")
    moved = Path("elsewhere")
    OUT.rename(moved)
    shutil.rmtree("checkpoints"), shutil.rmtree("results")
    text = (moved / "index.html").read_text(encoding="utf-8")
    links = {unquote(link) for link in re.findall(r'(?:src|href)="([^"#][^"]*)"', text)}
    assert len(links) == 12 and all((moved / link).is_file() for link in links)


def test_images_that_are_left_out_are_told(workdir: Path) -> None:
    make_run("a", stems=("1", "2", "10", "only_a"))
    make_run("b", stems=("1", "2", "10"))
    text = compared("a", "b", num_images=2)
    assert list(shown(text)) == ["1", "2"]
    assert "2 test images; 1 more that all runs have are left out" in text
    assert "1 that not all runs have are left out (only_a)" in text
    assert len(list((OUT / "images").rglob("*.png"))) == 2 * 4
    assert shown(compared("a", "b", num_images=0)) == {}


def test_different_inputs_are_told_and_equal_pixels_are_not_different(workdir: Path) -> None:
    make_run("a")
    inputs = make_run("b")
    same = Image.open(inputs / "10_real_A.png")
    same.save(inputs / "10_real_A.png", compress_level=0)
    text = compared("a", "b")
    assert 'role="note"' not in text
    save_picture(inputs / "2_real_A.png", 7)
    save_picture(inputs / "sub/1_real_A.png", 100, size=16)
    text = compared("a", "b")
    assert "the inputs of b differ from those shown (2, sub/1): tested on other data" in text
    assert [caption for _, caption in shown(text)["2"]] == ["input of a", "target", "a", "b"]
    assert [caption for _, caption in shown(text)["10"]] == ["input", "target", "a", "b"]


def test_unpaired_runs_have_no_target_of_their_own(workdir: Path) -> None:
    kinds = ("real_A", "fake_B", "real_B", "fake_A")
    save_picture(make_run("u", 1, kinds=kinds, dataset_mode="unaligned") / "2_real_B.png", 55)
    make_run("v", 2, kinds=kinds, dataset_mode="unaligned")
    assert [caption for _, caption in shown(compared("u", "v"))["2"]] == ["input", "u", "v"]
    make_run("p")
    text = compared("u", "p")
    assert [(shade_of(f), caption) for f, caption in shown(text)["2"]][1] == (100, "target")
    assert 'role="note"' not in text
    files = [file for file, _ in shown(compared("u", "v", domain="A"))["2"]]
    assert files == ["0_input/2_real_B.png", "1_u/2_fake_A.png", "2_v/2_fake_A.png"]


def test_one_sided_results_and_names_in_folders(workdir: Path) -> None:
    make_run("a", 1, stems=("b/1",), kinds=("real", "fake"))
    make_run("a/b", 2, stems=("b/1", "1"))
    assert [(shade_of(f), caption) for f, caption in shown(compared("a", "a/b"))["b/1"]] == [
        *((100, "input"), (100, "target"), (1, "a"), (2, "a/b"))
    ]


def test_equal_names_in_different_folders_stay_apart(workdir: Path) -> None:
    for name in "ab":
        save_picture(make_run(name, 1, stems=("1", "sub/1")) / "sub/1_fake_B.png", 2)
    rows = shown(compared("a", "b"))
    assert {stem: [shade_of(file) for file, _ in row[2:]] for stem, row in rows.items()} == {
        "1": [1, 1],
        "sub/1": [2, 2],
    }


def test_another_folder_has_its_own_numbers(workdir: Path) -> None:
    make_run("a", 1, folder="val_5"), make_run("b", 2, folder="val_5")
    text = compared("a", "b", folder="val_5")
    assert "Results val_5" in text and "<td>5</td>" in text
    assert '<td class="number best">22.00</td>' in text


def test_a_run_without_checkpoints_is_shown_with_what_is_known(workdir: Path) -> None:
    make_run("a"), make_run("b")
    shutil.rmtree("checkpoints/b")
    Path("results/b/metrics.json").unlink()
    text = compared("a", "b")
    assert "no option file (train_opt.json) of b" in text
    assert "unknown (no metrics.jsonl)" in text and "b: not measured" in text


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), "name two runs or more"),
        (("facades",), "--compare facades: name two runs or more"),
        (("facades", "maps", "facades/"), "facades is there twice"),
        (("facades", "mapz"), "unknown run --compare mapz: did you mean 'maps'? choose one of facades, maps"),
        (("facades", "../maps"), "'../maps': give a plain name"),
    ],
)
def test_names_that_cannot_be_compared(workdir: Path, names: tuple[str, ...], said: str) -> None:
    make_run("facades"), make_run("maps")
    with pytest.raises(ValueError, match=re.escape(said)):
        compared(*names)
    assert not OUT.exists()


def test_no_runs_at_all(workdir: Path) -> None:
    with pytest.raises(ValueError, match="there are no runs in checkpoints and results; check --checkpoints_dir"):
        compared("a", "b")


@pytest.mark.parametrize(
    ("folder", "command"),
    [
        ("test_latest", "python test.py --name b"),
        ("val_5", "python test.py --name b --phase val --epoch 5"),
        ("test_best_kid", "python test.py --name b --epoch best_kid"),
        ("test_latest_iter400", "python test.py --name b --load_iter 400"),
    ],
)
def test_missing_results_name_the_command_that_makes_them(workdir: Path, folder: str, command: str) -> None:
    make_run("a", folder=folder), make_run("b", folder="test_other")
    with pytest.raises(FileNotFoundError) as error:
        compared("a", "b", folder=folder)
    assert str(error.value) == f"--compare b: results/b/{folder}/images does not exist; make it by: {command}"
    assert not OUT.exists()


def test_the_command_names_unusual_places(workdir: Path) -> None:
    make_run("a"), make_run("b")
    Path("results").rename("made")
    shutil.rmtree("made/b")
    with pytest.raises(FileNotFoundError, match=r"test\.py --name b --results_dir made$"):
        compared("a", "b", results_dir=Path("made"))


def test_results_without_a_common_image(workdir: Path) -> None:
    make_run("a", stems=("1", "2")), make_run("b", stems=("3",))
    with pytest.raises(ValueError, match="no fake_B image of test_latest is there in all runs: a has 1, 2, b has 3"):
        compared("a", "b")
    with pytest.raises(FileNotFoundError, match=r"no image \*_fake_A.png in results/a"):
        compared("a", "b", domain="A")
    assert not OUT.exists()


def test_an_earlier_comparison_is_replaced_whole(workdir: Path) -> None:
    make_run("a"), make_run("b"), make_run("c")
    compared("a", "b", "c")
    (OUT / ".DS_Store").touch()
    compared("a", "b", num_images=1)
    assert sorted(each.name for each in (OUT / "images").iterdir()) == ["0_input", "0_target", "1_a", "2_b"]
    assert sorted(each.name for each in Path().iterdir()) == ["checkpoints", "comparison", "results"]


@pytest.mark.parametrize("foreign", ["notes.txt", "index.html", "images/cat.png"])
def test_a_folder_with_other_things_is_refused_and_left_alone(workdir: Path, foreign: str) -> None:
    make_run("a"), make_run("b")
    (OUT / foreign).parent.mkdir(parents=True)
    (OUT / foreign).write_text("mine")
    with pytest.raises(ValueError, match="name a folder of its own"):
        compared("a", "b")
    assert (OUT / foreign).read_text() == "mine"
    assert sorted(each.name for each in Path().iterdir()) == ["checkpoints", "comparison", "results"]


def test_a_comparison_with_a_foreign_file_is_refused(workdir: Path) -> None:
    make_run("a"), make_run("b")
    compared("a", "b")
    (OUT / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds notes.txt, no part of a comparison"):
        compared("a", "b")
    assert (OUT / "notes.txt").exists()


def test_outputs_that_cannot_be_made(workdir: Path) -> None:
    make_run("a"), make_run("b")
    Path("file").touch()
    for output in ("file", "file/inside"):
        with pytest.raises(ValueError, match=r"^--output \S+"):
            compared("a", "b", output=Path(output))
    Path("comparison.partial").mkdir()
    Path("comparison.partial/mine").touch()
    with pytest.raises(ValueError, match=r"comparison\.partial is in the way"):
        compared("a", "b")
    assert Path("comparison.partial/mine").exists()


@pytest.mark.parametrize("at", ["csv_text", "comparison_page", "_swap"])
def test_who_is_stopped_keeps_the_old_page(workdir: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    make_run("a"), make_run("b"), make_run("c")
    before = compared("a", "b")

    def stop(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(comparison_folder, at, stop)
        with pytest.raises(KeyboardInterrupt):
            compared("a", "c")
    assert (OUT / "index.html").read_text(encoding="utf-8") == before
    assert sorted(each.name for each in Path().iterdir()) == ["checkpoints", "comparison", "results"]


def test_a_swap_that_fails_brings_the_old_page_back(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run("a"), make_run("b"), make_run("c")
    before = compared("a", "b")
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        with pytest.raises(KeyboardInterrupt):
            compared("a", "c")
    assert (OUT / "index.html").read_text(encoding="utf-8") == before
    assert sorted(each.name for each in Path().iterdir()) == ["checkpoints", "comparison", "results"]


def test_what_a_killed_call_left_is_put_in_order(workdir: Path) -> None:
    make_run("a"), make_run("b")
    compared("a", "b")
    OUT.rename("comparison.partial.old")  # killed between the two renames
    (Path("comparison.partial") / "images").mkdir(parents=True)
    with pytest.raises(FileNotFoundError):
        compared("a", "b", folder="test_7")
    assert (OUT / "index.html").exists()
    compared("a", "b")
    assert sorted(each.name for each in Path().iterdir()) == ["checkpoints", "comparison", "results"]


def test_damaged_files_are_named(workdir: Path) -> None:
    make_run("a"), make_run("b")
    Path("checkpoints/b/metrics.jsonl").write_text("no json\n{}\n")
    with pytest.raises(ValueError, match=r"checkpoints/b/metrics.jsonl: line 1"):
        compared("a", "b")
    assert not OUT.exists()


def test_from_the_command_line(workdir: Path, said) -> None:
    make_run("a"), make_run("b")
    assert evaluate.main(["--compare", "a", "b", "--output", "page", "--num_images", "1"]) == 0
    assert list(shown(Path("page/index.html").read_text(encoding="utf-8"))) == ["2"]
    assert evaluate.main(["--compare", "a", "bb"]) == 2
    assert "did you mean 'b'" in said()

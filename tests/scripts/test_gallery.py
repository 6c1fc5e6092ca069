"""The gallery: a resumed list of runs, and the pages that are made from the runs' files."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import DATASETS
from models import MODELS
from options.parse import parse_command, parse_test, parse_train
from scripts import evaluate
from scripts.experiments import gallery
from scripts.experiments.showcase import training
from scripts.experiments.showcase.page import PLACEHOLDER, read_words
from scripts.experiments.showcase.pictures import MOST_BYTES, at_equal_distances, visual_files
from scripts.experiments.showcase.runs import RUNS, GalleryRun
from scripts.experiments.showcase.training import RECORD, read_calls, shown_epochs
from util.metrics.measurement import FILE_NAME, Measurement, update_measurements

PAIRED = "pix2pix", "atme"


def value_after(words: Sequence[str], flag: str) -> str:
    return words[list(words).index(flag) + 1]


@dataclass
class Programs:
    """Write the files of the real programs at once. ``codes``: (step's program, run) -> exit codes, the first ones."""

    codes: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    words: list[list[str]] = field(default_factory=list)

    def __call__(self, words: Sequence[str]) -> int:
        program, name = Path(words[0]).stem, value_after(words, "--name")
        self.calls.append((program, name))
        self.words.append(list(words))
        codes = self.codes.get((program, name), [])
        code = codes.pop(0) if codes else 0
        if code == 1:
            print("step 1\ntrain.py: error: a loss is not finite: D_real", file=sys.stderr)
        getattr(self, f"{program}_files")(words, name, code)
        return code

    def train_files(self, words: Sequence[str], name: str, code: int) -> None:
        folder = Path("checkpoints") / name
        folder.mkdir(parents=True, exist_ok=True)
        for file in ("latest_net_G.pth", "latest_state.pth", "1_net_G.pth", "3_net_G.pth", "8_net_G.pth"):
            (folder / file).touch()
        (folder / "train_opt.json").write_text(
            json.dumps({"model": "pix2pix", "seed": 7, "crop_size": 8, "direction": "BtoA"})
        )
        common = {"lr": 0.1, "seconds": 30.0, "metrics": {"psnr": 12.5}}
        records = [
            {"kind": "scalars", "epoch": 1, "epoch_iter": 4, "total_iters": 4, "losses": {"G_L1": 2.0, "D_real": 1}}
        ]
        records[0] |= {"lr": 0.1, "t_comp": 1, "t_data": 0, "images_per_s": 1, "data_wait": 0, "memory_mb": 0}
        for epoch in (1, 2, 3):
            means = {"G_L1": 2.0 / epoch, "D_real": 0.5}
            records.append({"kind": "epoch", "epoch": epoch, "total_iters": 4 * epoch, "means": means, **common})
        (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))

    def test_files(self, words: Sequence[str], name: str, code: int) -> None:
        epoch = value_after(words, "--epoch") if "--epoch" in words else "latest"
        images = Path("results") / name / f"test_{epoch}" / "images"
        images.mkdir(parents=True, exist_ok=True)
        pixels = np.full((8, 8, 3), 90, np.uint8)
        for number in range(6):
            for visual in ("real_A", "Disc_B", "noisy_A", "fake_B", "real_B"):
                Image.fromarray(pixels + number).save(images / f"{number}_{visual}.png")

    def evaluate_files(self, words: Sequence[str], name: str, code: int) -> None:
        protocol = {"fake": {"n": 6, "size": "8x8"}, "real": {"n": 6, "size": "8x8"}}
        found = [Measurement("psnr", "psnr", 13.25, 0.5, protocol, folder="test_latest")]
        update_measurements(Path("results") / name / FILE_NAME, found)


@pytest.fixture
def programs(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    fakes = Programs()
    monkeypatch.setattr(training, "run_program", fakes)
    where = {"processor": "a processor, 2 cores", "torch": "2.0", "commit": "abc"}
    monkeypatch.setattr(training, "describe_machine", lambda: where)
    return fakes


STEPS, PROGRESS = ["train", "test", "evaluate"], ["test", "test"]  # the latter by two earlier checkpoints


# --- the list ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_command_lines_parse(run: GalleryRun) -> None:
    options = parse_train(run.train_words(), MODELS, DATASETS)
    assert options.run.model == run.model and options.engine.seed == 0
    parse_test(["--model", run.model, "--dataroot", "x", "--name", run.name, *run.test.split()], MODELS, DATASETS)
    for flags in run.measured:
        words, for_test = evaluate.split_words(["--name", run.name, *flags.split()])
        parse_command("scripts/evaluate.py", evaluate.RECORDS, words)
        parse_test(["--model", run.model, "--dataroot", "x", "--name", run.name, *for_test], MODELS, DATASETS)
    assert len(run.columns) == len(run.captions) and (not run.columns or run.progress in run.columns)


def test_every_model_that_learns_is_shown() -> None:
    assert {run.model for run in RUNS} == set(MODELS.summaries()) - {"test"}
    assert len({run.name for run in RUNS}) == len(RUNS)


def test_a_stopped_list_goes_on_and_finished_runs_are_skipped(programs: Programs) -> None:
    programs.codes = {("train", "atme"): [130]}
    assert gallery.main(["--runs", *PAIRED]) == 130
    assert programs.calls == [*((step, "pix2pix") for step in STEPS), ("train", "atme")]
    first = read_calls(Path("results/atme") / RECORD)
    assert [call.code for call in first] == [130]

    programs.calls.clear()
    assert gallery.main(["--runs", *PAIRED]) == 0
    of_atme, of_both = [(step, "atme") for step in STEPS], [(step, name) for name in PAIRED for step in PROGRESS]
    assert programs.calls == [*of_atme, *of_both]
    resumed = next(words for words in reversed(programs.words) if words[0] == "train.py")
    assert "--continue_train" in resumed and "--max_minutes" not in resumed

    programs.calls.clear()
    assert gallery.main(["--runs", *PAIRED]) == 0 and programs.calls == []


def test_the_time_of_a_stopped_training_is_used_up(programs: Programs) -> None:
    programs.codes = {("train", "pix2pix"): [130]}
    gallery.main(["--runs", "pix2pix"])
    file = Path("results/pix2pix") / RECORD
    content = json.loads(file.read_text())
    content[0]["seconds"] = 240.0
    file.write_text(json.dumps(content))
    gallery.main(["--runs", "pix2pix", "--max_minutes", "7"])
    assert value_after(programs.words[1], "--max_minutes") == "3"


def test_numbers_are_measured_again_after_another_test(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gallery.main(["--runs", "pix2pix"]) == 0
    programs.calls.clear()
    changed = [dataclasses.replace(run, test="--eval") for run in RUNS]
    monkeypatch.setattr(gallery, "RUNS", changed)
    assert gallery.main(["--runs", "pix2pix"]) == 0
    assert [step for step, _ in programs.calls] == ["test", "evaluate", "test", "test"]  # no training
    programs.calls.clear()
    assert gallery.main(["--runs", "pix2pix"]) == 0 and programs.calls == []


def test_a_failed_run_is_tried_again_and_the_others_go_on(
    programs: Programs, capsys: pytest.CaptureFixture[str]
) -> None:
    programs.codes = {("train", "pix2pix"): [1]}
    assert gallery.main(["--runs", *PAIRED]) == 1
    assert programs.calls == [("train", "pix2pix"), *((step, "atme") for step in [*STEPS, *PROGRESS])]
    assert "pix2pix failed (exit code 1)" in capsys.readouterr().err
    programs.calls.clear()
    assert gallery.main(["--runs", *PAIRED]) == 0
    assert programs.calls == [(step, "pix2pix") for step in [*STEPS, *PROGRESS]]


def test_dry_run_and_unknown_names(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    assert gallery.main(["--runs", "pix2pix", "--dry_run"]) == 0
    assert "pix2pix: to do\n    python train.py --dataroot datasets/facades" in capsys.readouterr().out
    assert programs.calls == []
    assert gallery.main(["--runs", "pix2px"]) == 2
    assert "did you mean 'pix2pix'" in capsys.readouterr().err


def test_the_epochs_that_are_shown(tmp_path: Path) -> None:
    assert shown_epochs(tmp_path) == []
    for epoch in (5, 10, 15, 20, 25, 30, 35, 40):
        (tmp_path / f"{epoch}_net_G.pth").touch()
    (tmp_path / "latest_net_G.pth").touch()
    assert shown_epochs(tmp_path) == [5, 15]


# --- the pages --------------------------------------------------------------------------------------------------------


def page(name: str) -> str:
    return (Path("docs/gallery") / f"{name}.md").read_text()


def test_pages_say_what_the_files_say(programs: Programs) -> None:
    gallery.main(["--runs", *PAIRED])
    assert gallery.main(["--pages"]) == 0
    text = page("atme")
    for expected in (
        "| PSNR (higher is better) | 13.25 ± 0.50 | 6 images of 8x8, 6 real ones of 8x8 |",
        "| finished epochs | 3; 1.5 min of training, evaluations left out | `metrics.jsonl` |",
        "| images seen, as logged | 12 | `metrics.jsonl` |",
        "| seed | 7 | `train_opt.json` |",
        "| machine | a processor, 2 cores | `gallery.json` |",
        "| commit | abc | `gallery.json` |",
        "python train.py --dataroot datasets/facades --name atme --model atme",
    ):
        assert expected in text
    lines = text.split("```bash\n")[1].split("\n```")[0].replace("\\\n", " ").splitlines()
    assert lines[1] == "python test.py --name atme --model atme --test_map two_pass"
    assert lines[2].startswith("python scripts/evaluate.py --name atme --metrics kid,") and len(lines) == 3
    words = shlex.split(lines[0])
    assert words[2:] == [*next(run for run in RUNS if run.name == "atme").train_words()]

    index = Path("docs/gallery.md").read_text()
    time = next(line for line in text.splitlines() if "processor time" in line).split(" | ")[1]
    assert time.endswith(" min")
    assert f"| [ATME](gallery/atme.md) | [![ATME](gallery/atme_small.jpg)](gallery/atme.md) | {time} |" in index
    assert "sagan" not in index  # was not started
    pictures = {file.name for file in Path("docs/gallery").glob("pix2pix*")}
    kinds = ("_test.jpg", "_progress.jpg", "_small.jpg", "_curves.png", ".md")
    assert pictures == {f"pix2pix{kind}" for kind in kinds}
    assert all(file.stat().st_size <= MOST_BYTES for file in Path("docs/gallery").iterdir())
    with Image.open("docs/gallery/atme_test.jpg") as grid:
        assert grid.width > grid.height  # five columns, four rows


def test_what_people_wrote_is_kept_until_the_run_is_another(programs: Programs) -> None:
    gallery.main(["--runs", "pix2pix"])
    gallery.main(["--pages"])
    assert PLACEHOLDER in page("pix2pix") and PLACEHOLDER in Path("docs/gallery.md").read_text()
    file = Path("docs/gallery/pix2pix.md")
    file.write_text(file.read_text().replace(PLACEHOLDER, "Walls are good,\nwindows are not.\n\nMore words."))
    gallery.main(["--pages"])
    first = page("pix2pix")
    assert "More words." in first and "about an earlier run" not in first
    assert "| Walls are good, windows are not. |" in Path("docs/gallery.md").read_text()

    record = Path("results/pix2pix") / RECORD
    calls = json.loads(record.read_text())
    calls[0]["began"] = "2031-01-01T00:00:00"
    record.write_text(json.dumps(calls))
    gallery.main(["--pages"])
    assert "about an earlier run" in page("pix2pix") and "More words." in page("pix2pix")
    assert read_words(file).run != "2031-01-01T00:00:00"


def test_a_training_that_was_made_longer_is_shown_as_such(programs: Programs) -> None:
    gallery.main(["--runs", "pix2pix"])
    record = Path("results/pix2pix") / RECORD
    calls = json.loads(record.read_text())
    for more in ([], ["--n_epochs", "900"]):  # a mere resumption sets nothing
        words = ["train.py", "--name", "pix2pix", "--checkpoints_dir", "checkpoints", "--continue_train", *more]
        calls.append({**calls[0], "words": words})
    record.write_text(json.dumps(calls))
    assert gallery.main(["--pages"]) == 0
    commands = page("pix2pix").split("```bash\n")[1].split("\n```")[0]
    assert commands.count("python train.py") == 2
    assert "\npython train.py --name pix2pix --continue_train --n_epochs 900\n" in commands


def test_a_failed_run_is_shown_as_failed(programs: Programs) -> None:
    programs.codes = {("train", "pix2pix"): [1]}
    gallery.main(["--runs", *PAIRED])
    assert gallery.main(["--pages"]) == 0
    said = "This run failed: train.py ended with exit code 1: a loss is not finite: D_real"
    assert f"**{said}.**" in page("pix2pix") and "## Numbers" not in page("pix2pix")
    assert f"{said}. {PLACEHOLDER}" in Path("docs/gallery.md").read_text()
    assert "failed:" not in page("atme")


def test_a_stopped_run_is_shown_as_stopped(programs: Programs) -> None:
    programs.codes = {("train", "pix2pix"): [130]}
    gallery.main(["--runs", "pix2pix"])
    gallery.main(["--pages"])
    assert "**This training has not come to its end.**" in page("pix2pix")


def test_tables_of_the_results_page_are_replaced(programs: Programs) -> None:
    gallery.main(["--runs", *PAIRED])
    results = Path("docs/results.md")
    results.parent.mkdir()
    blocks = "\n".join(
        f"<!-- table {name}: begin -->\n<!-- table {name}: end -->" for name in ("gallery_facades", "mine")
    )
    results.write_text(f"# Results\n{blocks}\n")
    assert gallery.main(["--pages"]) == 0
    text = results.read_text()
    assert "| pix2pix | pix2pix | 8 | BtoA |" in text and "| ATME | pix2pix | 8 | BtoA |" in text and "13.25" in text
    assert "<!-- table mine: begin -->\n<!-- table mine: end -->" in text


def test_files_of_a_visual(tmp_path: Path) -> None:
    for name in ("2_fake_B.png", "10_fake_B.png", "2_heat_fake_B.png", "2_fake_B_2.png"):
        (tmp_path / name).touch()
    assert [file.name for file in visual_files(tmp_path, "fake_B")] == ["2_fake_B.png", "10_fake_B.png"]
    assert [file.name for file in visual_files(tmp_path, "heat_fake_B")] == ["2_heat_fake_B.png"]
    assert at_equal_distances(10, 4) == [0, 2, 5, 7]


def test_a_damaged_record_is_named(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    gallery.main(["--runs", "pix2pix"])
    (Path("results/pix2pix") / RECORD).write_text("[{]")
    assert gallery.main(["--pages"]) == 2
    assert "gallery.json: damaged" in capsys.readouterr().err

"""Runs listed, compared and pruned."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from scripts import runs
from util.run.folder import open_run_folder
from util.run.listing import find_runs, named_run


def write_run(folder: Path, *, epochs: int, tags: tuple[str, ...] = ("latest",), **options: Any) -> Path:
    folder.mkdir(parents=True)
    saved = {"model": "pix2pix", "n_epochs": 2, "n_epochs_decay": 2, "name": folder.name, **options}
    (folder / "train_opt.json").write_text(json.dumps(saved))
    lines = [{"kind": "images", "epoch": 1}]
    for epoch in range(1, epochs + 1):
        metrics = {"psnr": 10.0 + epoch} if epoch == 2 else {}
        record = {"kind": "epoch", "epoch": epoch, "means": {"G_L1": 8.0 / epoch}, "seconds": 50.0, "metrics": metrics}
        lines.append(record)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text + '{"kind": "epoch", "epo')  # cut by a kill
    for tag in tags:
        for part in ("net_G", "net_D", "state"):
            (folder / f"{tag}_{part}.pth").write_bytes(bytes(1000))
    os.utime(folder / "metrics.jsonl", (0, 0))
    return folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_run(
        tmp_path / "checkpoints/base", epochs=4, tags=("latest", "best_psnr", "1", "2", "10", "iter_5", "iter_20")
    )
    write_run(tmp_path / "checkpoints/wide", epochs=3, ngf=128, lambda_L1=10.0)
    write_run(tmp_path / "checkpoints/sweep/trial_0", epochs=0)
    (tmp_path / "checkpoints/foreign").mkdir()
    (tmp_path / "checkpoints/foreign/latest_net_G.pth").touch()
    (tmp_path / "checkpoints/empty").mkdir()
    return tmp_path / "checkpoints"


def test_what_the_files_say(root: Path) -> None:
    found = {run.name: run for run in find_runs(root)}
    assert set(found) == {"base", "wide", "trial_0", "foreign"}
    states = {name: run.state for name, run in found.items()}
    assert states == {"base": "done", "wide": "stopped", "trial_0": "stopped", "foreign": "weights only"}
    base = found["base"]
    assert (base.epoch, base.last_epoch, base.seconds) == (4, 4, 200.0)
    assert base.metrics() == {"psnr": 12.0} and base.losses() == {"G_L1": 2.0}
    lock = open_run_folder(root / "wide", overwrite=False)
    assert named_run(root, "wide").state == "training"
    lock.close()


def test_the_list(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runs.main(["--sort", "time"]) == 0
    head, first, second, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "model", "state", "epoch", "time", "size", "changed", "metrics"]
    assert first.split()[:6] == ["base", "pix2pix", "done", "4/4", "3", "min"] and first.endswith("psnr 12")
    assert second.split()[:4] == ["wide", "pix2pix", "stopped", "3/4"]


def test_a_comparison_shows_what_differs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runs.main(["--compare", "base", "wide"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["ngf", "128"] in lines and ["lambda_L1", "10"] in lines and ["G_L1", "2", "2.66667"] in lines
    assert not any(line[:1] in (["name"], ["model"]) for line in lines)


def test_pruning_asks_and_keeps_the_newest_the_best_and_the_latest(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(root.rglob("*.pth"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert runs.main(["--prune", "base"]) == 0
    assert sorted(root.rglob("*.pth")) == before and "nothing was deleted" in capsys.readouterr().out
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert runs.main(["--prune", "base", "--keep", "1"]) == 0
    left = {file.name.rpartition("_net_")[0] for file in (root / "base").glob("*_net_G.pth")}
    assert left == {"latest", "best_psnr", "10", "iter_20"}
    assert runs.main(["--prune", "base", "--keep", "0", "--yes"]) == 0
    assert {file.name for file in (root / "base").glob("*_state.pth")} == {"latest_state.pth", "best_psnr_state.pth"}


def test_wrong_words(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["--compare", "base"], "give two runs or more"),
        (["--compare", "base", "gone"], "--name gone: there is no run in"),
        (["--compare", "base", "../x"], "give a plain name"),
        (["--checkpoints_dir", "nowhere"], "--checkpoints_dir nowhere: there is no such folder"),
        (["--compare", "base", "wide", "--prune", "base"], "give one of them"),
        (["--prune", "base"], "nobody can answer here; give --yes"),
    ):
        assert runs.main(words) == 2
        assert message in capsys.readouterr().err
    lock = open_run_folder(root / "base", overwrite=False)
    assert runs.main(["--prune", "base", "--yes"]) == 2 and "it is being trained" in capsys.readouterr().err
    lock.close()


def test_durations() -> None:
    assert [runs.duration(seconds) for seconds in (5, 130, 3599, 7500)] == ["5 s", "2 min", "1:00 h", "2:05 h"]

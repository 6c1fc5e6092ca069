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
    assert set(found) == {"base", "wide", "sweep/trial_0", "foreign"}
    states = {name: run.state for name, run in found.items()}
    assert states == {"base": "done", "wide": "stopped", "sweep/trial_0": "stopped", "foreign": "weights only"}
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


def test_what_is_left_of_damaged_runs_is_listed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        {"kind": "epoch"},
        {"kind": "epoch", "epoch": "3", "seconds": 5.0},
        {"kind": "epoch", "epoch": 4, "means": {"G_L1": 2.5, "G_GAN": None}, "metrics": [1], "seconds": 40.0},
        {"kind": "epoch", "epoch": 5, "means": [1], "metrics": {"kid": "low", "fid": 30}, "seconds": "long"},
    ]
    odd = write_run(root / "odd", epochs=0, tags=("latest", "5"), n_epochs="many", n_epochs_decay=[1], model=None)
    (odd / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (odd / "9_net_G.pth").symlink_to(root / "gone")
    (odd / "11_net_G.pth").mkdir()
    no_log = write_run(root / "no_log", epochs=1)
    (no_log / "metrics.jsonl").unlink()
    (no_log / "metrics.jsonl").mkdir()
    (no_log / "train_opt.json").write_bytes(b"\xff\x00")
    (root / "again").symlink_to(root)
    (root / "circle").symlink_to("circle")
    (root / "a file").touch()
    (root / "foreign" / "1.png").touch()
    found = {run.name: run for run in find_runs(root)}
    assert set(found) == {"base", "wide", "sweep/trial_0", "foreign", "odd", "no_log"}
    assert (found["odd"].epoch, found["odd"].last_epoch, found["odd"].seconds) == (5, 0, 40.0)
    assert found["odd"].metrics() == {"fid": 30.0} and found["odd"].losses() == {}
    assert (found["no_log"].epoch, found["no_log"].options) == (0, {})
    assert runs.main(["--sort", "size"]) == 0 and runs.main(["--compare", "odd", "sweep/trial_0"]) == 0
    assert "sweep/trial_0" in capsys.readouterr().out
    assert runs.main(["--prune", "odd", "odd", "--keep", "0", "--yes"]) == 0
    assert capsys.readouterr().out.count("odd: ") == 1
    left = sorted(file.name for file in odd.glob("*.pth"))
    assert left == ["11_net_G.pth", "latest_net_D.pth", "latest_net_G.pth", "latest_state.pth"]


def test_files_that_vanish_while_they_are_looked_at(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training with --keep_checkpoints deletes some all the time."""
    looked_at = Path.rglob

    def with_one_that_has_gone(self: Path, pattern: str) -> list[Path]:
        return [*looked_at(self, pattern), self / "3_net_G.pth"]

    size = named_run(root, "base").size
    monkeypatch.setattr(Path, "rglob", with_one_that_has_gone)
    assert named_run(root, "base").size == size > 0


def test_a_run_that_is_started_while_the_question_waits_is_not_pruned(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    locks, before = [], sorted(root.rglob("*.pth"))

    def answer(question: str) -> str:
        locks.append(open_run_folder(root / "base", overwrite=False))
        return "y"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", answer)
    assert runs.main(["--prune", "base"]) == 2
    assert "it is being trained; nothing was deleted" in capsys.readouterr().err
    assert sorted(root.rglob("*.pth")) == before
    locks[0].close()


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

"""The pipeline of two checkouts is measured, each by its own code."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import data_pipeline

SMALL = ["--load_size", "36", "--crop_size", "32", "--seconds", "0.05", "--rounds", "1", "--num_threads", "0"]
REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def no_startup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_pipeline, "startup_seconds", lambda *argv: 0.0)


def test_rows_are_measured(dataroot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = "none", "shards, disk, on device"
    assert data_pipeline.main(["--dataroot", str(dataroot), "--rows", "|".join(names), *SMALL]) == 0
    _, header, _, *rows, _, _ = capsys.readouterr().out.splitlines()
    assert header == data_pipeline.HEADER
    assert [row.split(" | ")[:3] for row in rows] == [[f"| {name}", "0", "new"] for name in names]
    numbers = [[float(each) for each in row.split(" | ")[3:8]] for row in rows]
    assert all(first > 0 and later == per_worker > 0 for first, later, per_worker, *_ in numbers)
    if sys.platform == "linux":
        assert all(memory > 50 for *_, memory, _ in numbers)


def test_another_checkout_is_the_base_and_may_lack_a_flag(
    dataroot: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(root: Path, argv: list[str], seconds: float) -> dict[str, float] | None:
        fast = root == data_pipeline.REPO
        found = {"first": 10.0, "later": 60.0 if fast else 20.0, "workers": 2, "memory": 9.0, "mapped": 1.0}
        return found if fast or "--cache" not in argv else None

    monkeypatch.setattr(data_pipeline, "measure", measured)
    argv = ["--dataroot", str(dataroot), "--old", "elsewhere", "--rows", "none|disk", *SMALL, "--num_threads", "2"]
    assert data_pipeline.main(argv) == 0
    rows = capsys.readouterr().out.splitlines()[3:6]
    assert rows == [
        "| none | 2 | old | 10 | 20 | 10 | 9 | 1 | 1.0 |",
        "| none | 2 | new | 10 | 60 | 30 | 9 | 1 | 3.0 |",
        "| disk | 2 | new | 10 | 60 | 30 | 9 | 1 | 3.0 |",
    ]


def test_a_failure_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data_pipeline.main(["--dataroot", str(tmp_path / "none"), "--rows", "none", *SMALL]) == 1
    assert "there is no such folder" in capsys.readouterr().err


@pytest.mark.parametrize("error", ["ValueError('no such flag')", "SystemExit(2)"])
def test_a_checkout_without_a_flag_is_no_failure(error: str, tmp_path: Path) -> None:
    modules = {
        "data/__init__.py": "DATASETS = {}",
        "models.py": "MODELS = {}",
        "data/loader.py": "create_loader = None",
    }
    modules |= {"options/__init__.py": "", "options/parse.py": f"def parse_train(*given): raise {error}"}
    for name, text in modules.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert data_pipeline.measure(tmp_path, ["--cache", "disk"], 0.1) is None

"""``benchmarks/cpu.sh`` runs the parts that are asked for, keeps what they print, and goes on after one that fails."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
SCRIPT = REPO / "benchmarks" / "cpu.sh"
FAKE = """#!/bin/sh
case "$2" in
benchmarks.link) echo "no root" >&2; exit 1 ;;
esac
echo "measured: $*"
"""


def run(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    python = tmp_path / "python"
    python.write_text(FAKE)
    python.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(python)}
    return subprocess.run(["bash", str(SCRIPT), *words], cwd=tmp_path, env=environment, capture_output=True, text=True)


def test_all_parts_are_measured_and_a_failure_is_told_at_the_end(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 1 and done.stderr == "no root\npart link failed\n"
    folder = tmp_path / "cpu_results"
    results = (folder / "results.md").read_text()
    assert re.findall(r"^## (\w+)$", results, re.MULTILINE) == ["step", "rate", "spin", "data", "link"]
    assert results == done.stdout
    assert len((folder / "step.md").read_text().splitlines()) == 2 and (folder / "link.md").read_text() == ""
    assert "benchmarks.data_pipeline --dataroot /" in (folder / "data.md").read_text()


def test_one_part_and_a_folder(tmp_path: Path) -> None:
    assert run(tmp_path, "--output", "here", "spin").returncode == 0
    assert sorted(file.name for file in (tmp_path / "here").iterdir()) == ["results.md", "spin.md"]


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "memory")
    assert done.returncode == 2 and "known: --output DIR, step, rate, spin, data, link" in done.stderr
    assert not (tmp_path / "cpu_results").exists()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"measure (\w+) ", SCRIPT.read_text()))))
def test_every_flag_of_a_part_is_one_of_its_own(name: str, tmp_path: Path) -> None:
    """What a benchmark does not know it hands on to train.py, so that a mistyped flag would be seen late."""
    source = (REPO / "benchmarks" / f"{name}.py").read_text()
    of_train = {"--gpu_ids", "--model"}
    for line in re.findall(rf"measure {name} (.*)$", SCRIPT.read_text(), re.MULTILINE):
        assert not [flag for flag in re.findall(r"--\w+", line) if f'"{flag}"' not in source and flag not in of_train]

"""Commands let their waiting threads sleep; libraries and users decide for themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from util.openmp import share_processors

REPO = Path(__file__).resolve().parents[2]


def test_sets_libgomps_spin_count() -> None:
    environment: dict[str, str] = {}
    share_processors(environment)
    assert environment == {"GOMP_SPINCOUNT": "1000"}


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_users_own_setting_wins(name: str) -> None:
    environment = {name: "7"}
    share_processors(environment)
    assert environment == {name: "7"}


def test_command_sets_it_before_libgomp_is_loaded(tmp_path: Path) -> None:
    """libgomp itself shows, when it is loaded, what it has read."""
    environment = {"OMP_DISPLAY_ENV": "verbose", "PATH": "", "PYTHONPATH": str(REPO)}
    command = [sys.executable, str(REPO / "train.py"), "--dataroot", str(tmp_path / "nothing"), "--gpu_ids", "-1"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("torch comes with another OpenMP library than GNU's")
    assert "GOMP_SPINCOUNT = '1000'" in done.stderr


def test_import_as_a_library_changes_nothing() -> None:
    code = "import os; before = dict(os.environ); import train; assert os.environ == before"
    subprocess.run([sys.executable, "-c", code], cwd=REPO, check=True, env={"PATH": ""})

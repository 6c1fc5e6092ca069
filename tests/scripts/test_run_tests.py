"""``scripts/run_tests.sh`` with a Python that only says how it was called."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]

PYTHON = """#!/bin/sh
echo "$ATEN_CPU_CAPABILITY $ONEDNN_MAX_CPU_ISA $OMP_NUM_THREADS: $*"
"""


@pytest.mark.parametrize(("flags", "arithmetic"), [(["--portable"], "avx2 AVX2"), ([], " ")])
def test_portable_is_for_every_check_and_no_argument_of_pytest(flags, arithmetic, tmp_path):
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    shutil.copy(REPO / "scripts/run_tests.sh", scripts)
    (scripts / "setup.sh").write_text(f"echo {tmp_path}/python\n")
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    chosen = {"ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "OMP_NUM_THREADS"}
    env = {name: value for name, value in os.environ.items() if name not in chosen}
    command = ["bash", str(scripts / "run_tests.sh"), *flags, "-n", "0", "tests/util"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    calls = [line for line in done.stdout.splitlines() if not line.startswith("==")]
    assert calls == [
        f"{arithmetic} 1: -m {words}"
        for words in ("ruff check .", "ruff format --check .", "mypy", "pytest -n 0 tests/util")
    ]

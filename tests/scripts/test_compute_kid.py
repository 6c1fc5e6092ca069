"""scripts/compute_kid.sh as a subprocess: what it asks scripts/evaluate.py for, and what it prints."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.measuring import save_results, save_run
from tests.runs import REPO

SCRIPT = REPO / "scripts" / "compute_kid.sh"
EVALUATE = str(REPO / "scripts" / "evaluate.py")
LINE = re.compile(r"KID\S* x100: -?\d+\.\d\d \+/- \d+\.\d\d")

pytestmark = pytest.mark.usefixtures("offline", "workdir")


def compute(*words, path=None, script=SCRIPT, **variables):
    bin_folder = Path(sys.executable).parent
    environment = {**os.environ, "VIRTUAL_ENV": str(bin_folder.parent), "OMP_NUM_THREADS": "1", **variables}
    environment["PATH"] = f"{path or bin_folder}:{os.environ['PATH']}"
    environment = {name: value for name, value in environment.items() if value}
    return subprocess.run(["bash", str(script), *words], env=environment, capture_output=True, text=True)


@pytest.fixture()
def asked(tmp_path):
    """A folder with a ``python`` that only says what it was asked for."""
    fake = tmp_path / "bin" / "python"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    return fake.parent


def expected(domain="B", *more):
    return [EVALUATE, "--name", "my run", "--domain", domain, "--metrics", "kid", *more]


@pytest.mark.parametrize(
    ("words", "asks"),
    [
        ([], expected()),
        (["B"], expected()),
        (["A"], expected("A")),
        (["DOMAIN=A"], expected("A")),
        (["DOMAIN=B", "--epoch", "5"], expected("B", "--epoch", "5")),
        (["--epoch", "5", "--phase", "val"], expected("B", "--epoch", "5", "--phase", "val")),
        (["A", "--results_dir", "a b", "--", "--eval"], expected("A", "--results_dir", "a b", "--", "--eval")),
        (["--metrics", "fid"], expected("B", "--metrics", "fid")),
    ],
)
def test_words(words, asks, asked):
    done = compute("my run", *words, path=asked)
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, asks, "")


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_usage(words, asked):
    done = compute(*words, path=asked)
    assert done.returncode == (0 if words else 2)
    assert "compute_kid.sh PROJECT [DOMAIN=B]" in done.stdout and "100 subsets of 50 images" in done.stdout
    assert "#" not in done.stdout and "set -e" not in done.stdout


def test_python_of_the_environment_that_setup_makes(asked, tmp_path):
    """Without an active environment it is ``.venv`` beside the scripts."""
    copy = tmp_path / "repo" / "scripts" / "compute_kid.sh"
    copy.parent.mkdir(parents=True)
    copy.write_text(SCRIPT.read_text())
    own = tmp_path / "repo" / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\necho own\n")
    own.chmod(0o755)
    assert compute("x", path=asked, script=copy, VIRTUAL_ENV="", CONDA_PREFIX="").stdout == "own\n"
    assert compute("x", path=asked, script=copy, VIRTUAL_ENV="active").stdout != "own\n"
    own.unlink()
    assert compute("x", path=asked, script=copy, VIRTUAL_ENV="", CONDA_PREFIX="").stdout != "own\n"


def test_prints_kid_and_keeps_it():
    """From a folder that is not the repository's, as everything is below the current one."""
    save_run("unaligned")
    folder = save_results("val_latest", count=5)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    done = compute("run", "--feature_extractor", "efficientnet_lite0", "--gpu_ids", "-1")
    assert done.returncode == 0, done.stderr
    head = done.stdout.splitlines()[0]
    assert LINE.fullmatch(head), done.stdout
    (stored,) = json.loads(Path("results/run/metrics.json").read_text())["measurements"]
    assert (stored["domain"], stored["folder"], stored["shown"]) == ("B", "val_latest", head.split(": ")[1])
    assert stored["protocol"]["subset_size"] == 5 and stored["protocol"]["subsets"] == 100
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


def test_mistakes_are_those_of_evaluate():
    done = compute("nowhere", "C")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("evaluate.py: error: --domain C") and done.stderr.count("\n") == 1
    done = compute("nowhere", "--gpu_ids", "-1")
    assert done.returncode == 2 and "--name nowhere: neither results/nowhere" in done.stderr
    assert list(Path().iterdir()) == []

"""The doctor in a training: it speaks once, over a resume too, and changes nothing of what is trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import train
from tests.runs import arguments, files
from util.loggers.doctor_log import FILE_NAME

DEAD = ["--lr", "0", "--init_gain", "0", "--display_freq", "1"]  # a picture per image, each of one colour


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_dead_generator_is_reported_once_over_a_resume(dataroot: Path) -> None:
    assert train.main(arguments(dataroot, *DEAD, "--no_html", epochs="1")) == 0
    file = Path("checkpoints/run") / FILE_NAME
    (line,) = file.read_text().splitlines()
    found = json.loads(line)
    assert (found["sign"], found["about"], found["epoch"]) == ("constant", "fake_B", 1)
    assert train.main(["--name", "run", "--continue_train", "--n_epochs", "2"]) == 0
    assert file.read_text().splitlines() == [line]


def test_the_doctor_changes_no_weight_and_can_be_switched_off(dataroot: Path) -> None:
    for name, flags in (("with", []), ("without", ["--no_doctor"])):
        assert train.main(arguments(dataroot, "--no_html", *flags, name=name, epochs="1")) == 0
    assert files(Path("checkpoints/with")).keys() == files(Path("checkpoints/without")).keys()
    for net in ("G", "D"):
        weights = [Path(f"checkpoints/{name}/latest_net_{net}.pth").read_bytes() for name in ("with", "without")]
        assert weights[0] == weights[1]

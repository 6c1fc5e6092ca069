"""The doctor in a training: it speaks once, over a resume too, and changes nothing of what is trained."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path

import pytest

import train
from models.losses.gan import GANLoss
from tests.runs import arguments, files, train_in
from util.loggers.doctor_log import FILE_NAME, read_findings

DEAD = ["--lr", "0", "--init_gain", "0", "--display_freq", "1"]  # a picture of each image, of one colour


@pytest.fixture(autouse=True)
def judged_early(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("util.run.doctor.PICTURE_STEPS", 1)  # each of these short runs shows enough pictures


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


def warned(folder: Path, argv: list[str]) -> list[str]:
    """Train in this process, one of two; what it warns of in the name of the doctor."""
    found: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logger, handler = logging.getLogger("util.loggers.doctor_log"), Kept(logging.WARNING)
    logger.addHandler(handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("util.run.doctor.PICTURE_STEPS", 1)
        try:
            train_in(folder, argv)
        finally:
            logger.removeHandler(handler)
    return found


def test_of_two_processes_one_reports(dataroot: Path, tmp_path: Path, two_processes) -> None:
    argv = arguments(dataroot, *DEAD, "--display_freq", "2", "--batch_size", "2", "--no_html", epochs="4")
    said, silent = two_processes.call(warned, tmp_path, argv)
    (entry,) = read_findings(tmp_path / "checkpoints/run")
    assert said == [f"doctor: {entry['text']}"] and entry["sign"] == "constant"
    assert silent == []


def test_a_discriminator_of_atme_that_has_won_is_reported_in_one_message(
    dataroot: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its losses are next to nothing, for as many epochs as the monitor, too, needs to call it a collapse."""
    published = GANLoss.__call__
    monkeypatch.setattr(GANLoss, "__call__", lambda *arguments, **more: 1e-5 * published(*arguments, **more))
    monkeypatch.setattr("util.run.doctor.SCALAR_STEPS", 1)
    flags = arguments(dataroot, "--print_freq", "1", "--no_html", model="atme", epochs="4")
    assert train.main(flags) == 0
    with Path("checkpoints/run/loss_log.csv").open() as file:
        assert list(csv.DictReader(file))[-1]["collapsed"] == "1.0"
    warnings = [each for each in caplog.records if each.levelno >= logging.WARNING]
    (warning,) = [each.getMessage() for each in warnings if each.name != "train"]  # that one remarks on the drawn data
    assert "doctor: the discriminator has won (D_real" in warning

"""Two checkouts are measured in turn, each by its own code."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import step

REPO = Path(__file__).resolve().parents[2]


def test_a_checkout_is_measured_and_compared(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--netG", "resnet_6blocks", "--ngf", "4", "--ndf", "4"]
    argv = ["--old", str(REPO), "--models", "pix2pix", "--size", "32", "--rounds", "1", "--steps", "1", *small]
    assert step.main([*argv, "--threads", "1"]) == 0
    header, _, row = capsys.readouterr().out.splitlines()[-3:]
    assert header == step.HEADER and row.count("|") == header.count("|")
    assert all(float(seconds) > 0 for seconds in row.split(" | ")[1:3])


def test_ratios_are_of_the_medians() -> None:
    old = [{"seconds": each, "cpu": 2.0, "mb": 100.0, "faults": 7} for each in (9.0, 1.0, 3.0)]
    new = [{"seconds": 1.5, "cpu": 4.0, "mb": 50.0, "faults": 0}]
    assert step.row("x", old, new) == "| x | 3.000 | 1.500 | 2.00 | 2.000 | 4.000 | 0.50 | 100 | 50 | 2.00 | 7 to 0 |"


def test_a_checkout_that_fails_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert step.main(["--old", str(tmp_path), "--models", "pix2pix", "--rounds", "1", "--threads", "1"]) == 1
    assert f"{tmp_path}: --model pix2pix failed" in capsys.readouterr().err

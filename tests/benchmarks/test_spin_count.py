"""Spin counts take turns, each in a process of its own."""

from __future__ import annotations

import re

import pytest

from benchmarks import spin_count

SMALL = ["--model", "pix2pix", "--netG", "resnet_6blocks", "--ngf", "4", "--ndf", "4", "--size", "32", "--threads", "1"]


def test_every_count_is_measured_beside_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert spin_count.main([*SMALL, "--counts", "0,1000", "--rounds", "1", "--steps", "1"]) == 0
    said, header, _, *rows = capsys.readouterr().out.splitlines()
    assert said.endswith("; 1 rounds of 1 steps") and header.count("beside") == len(spin_count.BESIDE)
    assert [row.split(" | ")[0] for row in rows] == ["| 0", "| 1000"]
    assert all(len(re.findall(r"\d+\.\d{3} \(\d+\.\d{3} to \d+\.\d{3}\)", row)) == 3 for row in rows)


def test_a_process_that_fails_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert spin_count.main(["--counts", "0", "--model", "none_such"]) == 1
    assert "a process that computes steps has ended" in capsys.readouterr().err


def test_a_cell_has_median_and_extremes() -> None:
    assert spin_count.cell([9.0, 1.0, 2.0]) == "2.000 (1.000 to 9.000)" and spin_count.cell([]) == "-"

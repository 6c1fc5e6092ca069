"""Runs that an earlier version began (commit cc31922) go on, and end where that version ended.

``golden/old_runs/<model>/begun`` is a run killed in its second epoch, ``finished`` the same run uninterrupted, both
made by that version on the images that ``draw_pair`` draws.
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
import torch

import test as test_program
import train

OLD = Path(__file__).parent / "golden" / "old_runs"


@pytest.mark.parametrize("model", ["pix2pix", "augan"])
def test_a_run_begun_by_an_earlier_version_ends_as_it_would_have(model, workdir, dataroot):
    """On the processor that made them the weights are equal bit for bit.

    Measured, largest difference of a weight: 1.2e-7 with AVX2 alone, 1.9e-4 with SSE4.1 alone (AU-GAN, a step of Adam
    is 2e-4); histories of fakes that start empty 5.3e-4, lost moments of Adam 8.5e-4.
    """
    run = workdir / "checkpoints" / "run"
    shutil.copytree(OLD / model / "begun", run)
    assert train.main(["--name", "run", "--continue_train", "--gpu_ids", "-1", "--dataroot", str(dataroot)]) == 0
    for file in sorted((OLD / model / "finished").glob("*.pth")):
        expected, found = (torch.load(each, weights_only=True) for each in (file, run / file.name))
        assert expected.keys() == found.keys()
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=0, atol=3e-4, msg=f"{file.name}: {key}")
    rows, old_rows = (
        list(csv.DictReader(each.open())) for each in (run / "loss_log.csv", OLD / model / "finished" / "loss_log.csv")
    )
    assert [row["epoch"] for row in rows] == [row["epoch"] for row in old_rows] == ["1", "2", "3"]
    for row, old in zip(rows, old_rows):
        assert row.keys() == old.keys()
        for name in row.keys() - {"seconds"}:
            assert float(row[name]) == pytest.approx(float(old[name]), rel=1e-3, abs=1e-3), name


@pytest.mark.parametrize("model", ["pix2pix", "augan"])
def test_it_can_be_tested_with_no_other_flag(model, workdir, dataroot):
    shutil.copytree(OLD / model / "begun", workdir / "checkpoints" / "run")
    assert test_program.main(["--name", "run", "--gpu_ids", "-1", "--dataroot", str(dataroot)]) == 0
    assert list((workdir / "results" / "run" / "test_latest" / "images").glob("*_fake_B.png"))

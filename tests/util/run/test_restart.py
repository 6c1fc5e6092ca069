"""Which flags a job needs that torchrun has started again."""

from __future__ import annotations

import os

import pytest

from util.run.folder import last_job, open_run_folder
from util.run.restart import Job, read_job, restart_flags, this_job

BEFORE = Job("id", "host:1", 1000.0)
SAME = Job("id", "host:1", 0.0)
MOVED = Job("id", "other:7", 0.0)


def checkpoint(folder, tag, seconds):
    file = folder / f"{tag}_state.pth"
    file.touch()
    os.utime(file, (seconds, seconds))


def flags(folder, job=SAME, before=BEFORE, continue_train=False):
    return " ".join(restart_flags(job, before, folder, continue_train=continue_train))


def test_a_job_is_known_by_its_launcher_or_its_id(monkeypatch):
    assert SAME.same_as(BEFORE) and not MOVED.same_as(BEFORE)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert MOVED.same_as(BEFORE)
    assert not Job("", "other:7", 0.0).same_as(Job("", "host:1", 0.0))
    assert read_job(str(BEFORE)) == BEFORE and read_job(str(Job("", "h:1", 2.0))) == Job("", "h:1", 2.0)
    assert read_job("") is None and read_job("1 2 x") is None


def test_a_first_start_needs_no_flags(tmp_path):
    checkpoint(tmp_path, "latest", 2000)
    assert flags(tmp_path, before=None) == flags(tmp_path, job=MOVED) == ""


def test_it_goes_on_with_the_newest_checkpoint_of_its_own(tmp_path):
    on = "--continue_train True --overwrite False "
    checkpoint(tmp_path, "latest", 999)  # of the run that --overwrite is to delete, or --continue_train go on with
    assert flags(tmp_path) == "--overwrite True" and flags(tmp_path, continue_train=True) == ""
    checkpoint(tmp_path, "iter_40", 1001)
    assert flags(tmp_path) == on + "--load_iter 40"
    for tag in ("5", "latest"):
        checkpoint(tmp_path, tag, 1002)
    assert flags(tmp_path) == on + "--load_iter 0 --epoch latest"


def test_a_save_that_was_cut_off_counts(tmp_path):
    (tmp_path / "save.commit").touch()
    assert flags(tmp_path).endswith("--epoch latest")


@pytest.fixture()
def under_torchrun(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")


def test_the_folder_remembers_the_job_and_its_beginning(tmp_path, under_torchrun):
    open_run_folder(tmp_path, overwrite=False).close()
    first = last_job(tmp_path)
    assert first is not None and first.began > 0 and first.agent.endswith(f":{os.getppid()}") and first.run_id == ""
    job = this_job()
    assert job is not None and job.same_as(first)
    os.utime(tmp_path / ".lock", (5, 5))
    open_run_folder(tmp_path, overwrite=False).close()
    assert last_job(tmp_path) == first


def test_without_torchrun_there_is_no_job(tmp_path, monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    open_run_folder(tmp_path, overwrite=False).close()
    assert this_job() is None and last_job(tmp_path) is None

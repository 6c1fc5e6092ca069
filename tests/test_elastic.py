"""A process of a job is killed: torchrun starts the job again, and it ends as if nothing had been."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.runs import ENVIRONMENT, arguments, children, files, torchrun_command, train_in, wait_for

WORDS = ["--batch_size", "2", "--no_html", "--norm", "instance", "--save_epoch_freq", "99", "--save_latest_freq", "4"]


@pytest.mark.slow
def test_a_killed_process_brings_the_job_back(dataroot, workdir, two_processes):
    train_words = [*WORDS, "--n_iters", "100"]
    command = torchrun_command(arguments(dataroot, *train_words), restarts=3)
    with open(workdir / "log", "w", encoding="utf-8") as log:
        job = subprocess.Popen(command, cwd=workdir, env=ENVIRONMENT, stdout=log, stderr=log)
        wait_for((workdir / "checkpoints" / "run" / "latest_state.pth").exists, job, 240)
        os.kill(children(job.pid)[1], signal.SIGKILL)  # rank 1
        assert job.wait(240) == 0, (workdir / "log").read_text()
    assert "torchrun has started this job again: going on" in (workdir / "log").read_text()
    (workdir / "whole").mkdir()
    two_processes.call(train_in, workdir / "whole", arguments(dataroot, *train_words))
    assert files(workdir / "checkpoints" / "run") == files(workdir / "whole" / "checkpoints" / "run")

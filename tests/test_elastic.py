"""A process of a job is killed: torchrun starts the job again, and it ends as if nothing had been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.runs import ENVIRONMENT, REPO, arguments, files, train_in

WORDS = ["--batch_size", "2", "--no_html", "--norm", "instance", "--save_epoch_freq", "99", "--save_latest_freq", "4"]


def children(process):
    """Process numbers of the launcher's processes, by rank."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=True)
    return sorted(map(int, found.stdout.split()))


@pytest.mark.slow
def test_a_killed_process_brings_the_job_back(dataroot, workdir, two_processes):
    train_words = [*WORDS, "--n_iters", "100"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launcher, "--max_restarts", "3", str(REPO / "train.py"), *arguments(dataroot, *train_words)]
    with open(workdir / "log", "w", encoding="utf-8") as log:
        job = subprocess.Popen(command, cwd=workdir, env=ENVIRONMENT, stdout=log, stderr=log)
        end = time.monotonic() + 240
        while not (workdir / "checkpoints" / "run" / "latest_state.pth").exists():
            assert job.poll() is None and time.monotonic() < end, (workdir / "log").read_text()
            time.sleep(0.02)
        os.kill(children(job.pid)[1], signal.SIGKILL)
        assert job.wait(240) == 0, (workdir / "log").read_text()
    assert "torchrun has started this job again: going on" in (workdir / "log").read_text()
    (workdir / "whole").mkdir()
    two_processes.call(train_in, workdir / "whole", arguments(dataroot, *train_words))
    assert files(workdir / "checkpoints" / "run") == files(workdir / "whole" / "checkpoints" / "run")

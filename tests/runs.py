"""Starting small runs as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import train
from tests.conftest import data_of, trainable_args
from util.run.engine import Engine

REPO = Path(__file__).resolve().parents[1]
FREQS = ["--print_freq", "2", "--display_freq", "4", "--update_html_freq", "4", "--save_latest_freq", "2"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)}


def arguments(dataroot, *extra, model="pix2pix", name="run", epochs="2"):
    base = [
        "--dataroot",
        str(data_of(model, dataroot)),
        "--name",
        name,
        "--model",
        model,
        *trainable_args(model),
        *FREQS,
    ]
    return [*base, "--n_epochs", epochs, "--n_epochs_decay", "1", "--save_epoch_freq", "1", *extra]


def files(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.glob("*.pth"))}


def command(dataroot, *extra):
    return [sys.executable, str(REPO / "train.py"), *arguments(dataroot, *extra)]


def train_in(folder, argv, *, sgd=False):
    """A training by ``train.py`` in this folder and process, and, called by ``TwoProcesses``, in both.

    Args:
        sgd: plain gradient descent takes Adam's place. Adam divides a gradient by its own size: one that is nothing but
            rounding moves its weight by as much as any other, and a gradient that is twice too large as one that is
            right. Two runs of which one rounds in another way can be compared closely, and any fault seen, without it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        if sgd:
            patch.setattr(Engine, "adam", lambda self, each, *, lr, **settings: torch.optim.SGD(each, lr))
        code = train.main(argv)
    assert code == 0, f"train.py ended with {code}"


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.02)


def children(process):
    """Process numbers of what a process has started itself, in the order of their start."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=True)
    return sorted(map(int, found.stdout.split()))


def torchrun_command(argv, processes=2, restarts=0):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    return [*launcher, "--max_restarts", str(restarts), str(REPO / "train.py"), *argv]

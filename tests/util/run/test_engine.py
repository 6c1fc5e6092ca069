from __future__ import annotations

import os
import random
import re
import signal

import numpy as np
import pytest
import torch
from torch import nn

from util.background import BackgroundWriter
from util.exit_code import Terminated, exit_code
from util.run.device import device_for, parse_gpu_ids, peak_memory_mb
from util.run.distributed import World
from util.run.engine import Engine, load_rng_state, rng_state, seed_everything, seed_step, start_engine
from util.run.stop import StopSignal

CPU = torch.device("cpu")


@pytest.fixture()
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture()
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)


def test_the_cpu_is_used_where_there_is_no_gpu(no_gpu):
    assert parse_gpu_ids("") == parse_gpu_ids("-1") == []
    assert device_for([]) == CPU
    with pytest.raises(ValueError, match=r"--gpu_ids 0: this machine has no usable GPU"):
        parse_gpu_ids("0")
    with pytest.raises(ValueError, match=r"--gpu_ids a"):
        parse_gpu_ids("a")


OLD_DRIVER = "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver"


@pytest.mark.parametrize(
    ("smi", "cuda", "visible", "torch_says", "reason"),
    [
        (
            "echo '470.82.01, Tesla T4'",
            "13.0",
            None,
            OLD_DRIVER,
            r"driver 470.82.01 is too old for torch \S+, built for CUDA 13.0",
        ),
        ("echo '580.1, Tesla T4'", None, None, "", r"torch \S+ is built without CUDA and cannot use the Tesla T4"),
        ("echo '580.1, Tesla T4'", "13.0", "-1", "No CUDA GPUs", "CUDA_VISIBLE_DEVICES=-1 hides the Tesla T4"),
        (
            "echo '580.1, Tesla T4'",
            "13.0",
            "0",
            "a broken\nthing",
            "does not reach the Tesla T4 with driver 580.1: a broken thing",
        ),
        ("echo 'could not communicate'; exit 9", "13.0", None, "", "nvidia-smi reaches no GPU"),
    ],
)
def test_an_old_driver_is_told_from_no_gpu(
    no_gpu, monkeypatch, tmp_path, caplog, smi, cuda, visible, torch_says, reason
):
    def init() -> None:
        raise RuntimeError(torch_says)

    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{smi}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "init", init)
    with pytest.raises(ValueError, match=rf"--gpu_ids 0: .* no usable GPU \(.*{reason}.*\); use") as raised:
        parse_gpu_ids("0")
    assert "\n" not in str(raised.value)
    with caplog.at_level("INFO"):
        assert parse_gpu_ids("") == []
    assert re.search(f"no GPU found: computing on the CPU; .*{reason}", caplog.text)


def test_gpus_are_chosen_by_their_place_in_the_list(two_gpus):
    assert parse_gpu_ids("") == [0] and parse_gpu_ids("1,0") == [1, 0]
    assert device_for([1, 0], 0) == torch.device("cuda", 1)
    assert device_for([0], 1, own_process=True) == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="there is no GPU 2"):
        parse_gpu_ids("0,2")
    with pytest.raises(ValueError, match="twice"):
        parse_gpu_ids("1,1")
    with pytest.raises(ValueError, match="process 1 has no GPU of its own"):
        device_for([0], 1)


@pytest.mark.parametrize("precision", ["fp16", "tf32"])
def test_a_precision_that_the_cpu_lacks_is_refused(precision):
    with pytest.raises(ValueError, match=f"--precision {precision}"):
        start_engine(gpu_ids="-1", precision=precision)


def test_compressed_gradients_of_a_single_process_are_warned_of(caplog):
    engine = start_engine(gpu_ids="-1", gradient_compression="bf16")
    assert engine.gradient_average([nn.Parameter(torch.zeros(1))]) is None
    assert ["--gradient_compression bf16 has no effect on a single process" in each for each in caplog.messages] == [
        True
    ]


def test_autocast_lowers_the_networks_and_keeps_the_weights():
    engine = start_engine(gpu_ids="-1", precision="bf16")
    net = engine.prepare(nn.Conv2d(1, 1, 3))
    with engine.autocast():
        assert net(torch.zeros(1, 1, 8, 8)).dtype == torch.bfloat16
    assert net.weight.dtype == torch.float32
    with Engine().autocast():
        assert net(torch.zeros(1, 1, 8, 8)).dtype == torch.float32


def test_channels_last_lays_out_networks_and_batches():
    engine = Engine(channels_last=True)
    net, image = engine.prepare(nn.Conv2d(2, 2, 3)), engine.to_device(torch.zeros(2, 2, 4, 4))
    assert net.weight.is_contiguous(memory_format=torch.channels_last)
    assert image.is_contiguous(memory_format=torch.channels_last)
    assert engine.to_device(torch.zeros(3)).shape == (3,)


def test_rng_states_are_primitives_and_restore_every_generator(tmp_path):
    seed_everything(7)
    torch.save(rng_state(), tmp_path / "rng.pth")
    first = (random.random(), np.random.rand(), float(torch.rand(())))
    load_rng_state(torch.load(tmp_path / "rng.pth", weights_only=True))
    assert (random.random(), np.random.rand(), float(torch.rand(()))) == first


def test_a_steps_randomness_depends_on_seed_step_and_process_alone():
    def draw(*key):
        seed_step(*key)
        return float(torch.rand(()))

    values = {draw(seed, step, rank) for seed in (0, 1) for step in (0, 1, 2) for rank in (0, 1)}
    assert len(values) == 12 and draw(1, 2, 1) in values


def test_memory_is_reported():
    assert peak_memory_mb(CPU) > 10


def test_a_signal_becomes_a_request_and_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal(World(), CPU) as stop:
        assert not stop.requested(1)
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested(2) and stop.exit_code == 143
        with pytest.raises(Terminated):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_errors_of_background_writes_come_out():
    def fail():
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), BackgroundWriter() as writer:
        writer.submit(fail)
    written = []
    with BackgroundWriter(limit=2) as writer:
        for number in range(20):
            writer.submit(written.append, number)
    assert sorted(written) == list(range(20))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("--flag x: wrong"), 2),
        (FileNotFoundError("no file"), 2),
        (OSError(28, "No space left"), 1),
        (RuntimeError("boom"), 1),
        (KeyboardInterrupt(), 130),
        (Terminated(), 143),
    ],
)
def test_exit_codes_come_with_one_line(error, code, capsys):
    assert exit_code("train.py", error) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("train.py: error: ")


def test_what_nobody_foresaw_keeps_its_traceback(capsys):
    assert exit_code("train.py", KeyError("x")) == 1
    assert "KeyError" in capsys.readouterr().err

"""``--compile`` through train.py: checkpoints as ever, runs that resume, images of several sizes."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

import train
from tests.runs import arguments, files, train_in

pytestmark = pytest.mark.slow  # to trace a network takes many times as long as its step

SHORT = ["--n_epochs_decay", "0", "--no_html", "--norm", "instance"]


@pytest.fixture
def quick_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traces the networks as the real compiler does, and generates no code."""
    real: Any = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", functools.partialmethod(real, backend="eager"))
    torch.compiler.reset()


def keys(folder: Path) -> dict[str, list[str]]:
    return {file.name: list(torch.load(file, weights_only=True)) for file in sorted(folder.glob("latest_net_*.pth"))}


def test_checkpoints_are_as_ever_and_a_resumed_run_is_equal(
    quick_compiler: None, workdir: Path, dataroot: Path
) -> None:
    train_in(workdir, arguments(dataroot, *SHORT, name="plain", epochs="1"))
    compiled = [*SHORT, "--compile"]
    train_in(workdir, arguments(dataroot, *compiled, name="whole", epochs="2"))
    train_in(workdir, arguments(dataroot, *compiled, name="parts", epochs="1"))
    train_in(workdir, ["--name", "parts", "--continue_train", "--n_epochs", "2"])
    folders = {name: workdir / "checkpoints" / name for name in ("plain", "whole", "parts")}
    assert keys(folders["plain"]) == keys(folders["whole"]) != {}
    whole, parts = (files(folders[name]) for name in ("whole", "parts"))
    for name in ("latest_net_G.pth", "latest_net_D.pth"):
        assert whole[name] == parts[name]


def test_images_of_several_sizes_are_warned_of_and_trained_on(
    quick_compiler: None, workdir: Path, dataroot: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (workdir / "data" / "train").mkdir(parents=True)
    for number, file in enumerate(sorted((dataroot / "train").iterdir())[:2]):
        size = 32 + 8 * number
        Image.open(file).resize((2 * size, size)).save(workdir / "data" / "train" / file.name)
    argv = arguments(workdir / "data", *SHORT, "--compile", "--preprocess", "none", epochs="1")
    assert train.main(argv) == 0
    assert caplog.text.count("warning: --compile with --preprocess none: torch compiles again") == 1


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_the_real_compiler_computes_the_same_step(workdir: Path, dataroot: Path) -> None:
    torch.compiler.reset()
    argv = [*SHORT, "--no_dropout", "--n_iters", "1", "--n_iters_decay", "0"]
    for name, flags in (("plain", []), ("compiled", ["--compile"])):
        train_in(workdir, arguments(dataroot, *argv, *flags, name=name, epochs="1"), sgd=True)
    for net in "GD":
        first, second = (
            torch.load(workdir / "checkpoints" / name / f"latest_net_{net}.pth", weights_only=True)
            for name in ("plain", "compiled")
        )
        for key, value in first.items():
            torch.testing.assert_close(second[key], value, rtol=1e-4, atol=1e-6)

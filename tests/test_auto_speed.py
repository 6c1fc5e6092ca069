"""A run with ``--auto_speed`` or ``--precision auto`` equals one that was started with the flags that they choose."""

from __future__ import annotations

from pathlib import Path

import pytest

import train
from tests.runs import arguments, train_in
from tests.two_processes import TwoProcesses
from util.run import speed
from util.run.speed import Setting


@pytest.fixture(autouse=True)
def short_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(speed, "STEPS", 1)
    monkeypatch.setattr(speed, "WARMUP", 0)


def networks(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.glob("*_net_*.pth"))}


@pytest.mark.parametrize("model", ["cycle_gan", "atme"])
def test_trial_leaves_no_trace(model: str, workdir: Path, dataroot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "chosen", lambda trials: Setting("fp32", channels_last=True))
    assert train.main(arguments(dataroot, "--auto_speed", model=model, name="auto", epochs="1")) == 0
    assert train.main(arguments(dataroot, "--channels_last", model=model, name="flags", epochs="1")) == 0
    assert speed.read_setting(workdir / "checkpoints" / "auto") == Setting("fp32", channels_last=True)
    found = networks(workdir / "checkpoints" / "auto")
    assert found and found == networks(workdir / "checkpoints" / "flags")


def test_resumed_run_keeps_its_setting(workdir: Path, dataroot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "bf16_gain", lambda device: 2.0)
    decay = ("--n_epochs_decay", "0")
    assert train.main(arguments(dataroot, "--precision", "auto", *decay, name="whole", epochs="2")) == 0
    assert train.main(arguments(dataroot, "--precision", "auto", *decay, name="parts", epochs="1")) == 0
    monkeypatch.setattr(speed, "bf16_gain", lambda device: 0.5)  # another machine, or a busy moment
    assert train.main(["--name", "parts", "--continue_train", "--n_epochs", "2"]) == 0
    first, second = (networks(workdir / "checkpoints" / name) for name in ("whole", "parts"))
    assert speed.read_setting(workdir / "checkpoints" / "parts") == Setting("bf16")
    assert first["2_net_G.pth"] == second["2_net_G.pth"]


def auto_run(folder: Path, argv: list[str]) -> None:
    """In each of two processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "STEPS", 1)
        patch.setattr(speed, "WARMUP", 0)
        train_in(folder, argv)


def test_two_processes_choose_one_setting(tmp_path: Path, dataroot: Path, two_processes: TwoProcesses) -> None:
    argv = arguments(dataroot, "--batch_size", "2", "--n_epochs_decay", "0", "--no_html", epochs="1")
    (tmp_path / "auto").mkdir()
    two_processes.call(auto_run, tmp_path / "auto", [*argv, "--auto_speed"])
    kept = speed.read_setting(tmp_path / "auto" / "checkpoints" / "run")
    assert kept is not None and kept.threads <= 1
    (tmp_path / "flags").mkdir()
    flags = ["--precision", kept.precision, *["--channels_last"] * kept.channels_last]
    two_processes.call(train_in, tmp_path / "flags", [*argv, *flags])
    found = networks(tmp_path / "auto" / "checkpoints" / "run")
    assert found and found == networks(tmp_path / "flags" / "checkpoints" / "run")


def test_dry_run_shows_the_table(workdir: Path, dataroot: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert train.main(arguments(dataroot, "--auto_speed", "--dry_run")) == 0
    assert "--auto_speed tried:\n  fp32" in caplog.text and "<- kept" in caplog.text
    assert not (workdir / "checkpoints").exists()


@pytest.mark.parametrize(("preprocess", "warned"), [("none", True), ("resize_and_crop", False)])
def test_compile_of_images_of_many_sizes_is_warned_of(
    preprocess: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    small = ["--netG", "resnet_6blocks", "--ngf", "4", "--ndf", "4", "--gpu_ids", "-1"]
    train.build_model(["--model", "cycle_gan", "--compile", "--preprocess", preprocess, *small], 4)
    assert ("--compile with --preprocess none: torch compiles again" in caplog.text) is warned

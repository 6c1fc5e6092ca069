"""Weights & Biases, with a stand-in for its package: what is sent, and that nothing it does stops a run."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.util.loggers.records import epoch, images, scalars
from util.loggers.wandb_log import WandbLogger


class _Run:
    id = "abc123"

    def __init__(self) -> None:
        self.logged: list[dict[str, Any]] = []
        self.metrics: list[tuple[str, str | None]] = []
        self.finished = False

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        self.metrics.append((name, step_metric))

    def log(self, fields: dict[str, Any]) -> None:
        self.logged.append(fields)

    def finish(self) -> None:
        self.finished = True


class _Wandb(ModuleType):
    """The parts of wandb that are used."""

    def __init__(self, key: bool = True) -> None:
        super().__init__("wandb")
        self.run = _Run()
        self.started: dict[str, Any] = {}
        self.Settings = lambda **settings: settings
        self.Image = lambda pixels: ("image", pixels.shape)
        self.login = lambda prompt=True: key and not prompt

    def init(self, **settings: Any) -> _Run:
        self.started = settings
        return self.run


@pytest.fixture()
def wandb(monkeypatch: pytest.MonkeyPatch) -> _Wandb:
    module = _Wandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return module


def _log(folder: Path, resume_iters: int | None = None) -> None:
    options = {"lr": 0.1, "betas": (1, 2)}
    logger = WandbLogger(folder, "x", project="p", resume_iters=resume_iters, options=options)
    logger.log_scalars(scalars(10, G=1.0))
    logger.log_images(images(10))
    logger.log_epoch(epoch(1, 10, {"kid_inception": 0.125}, G=2.0))
    logger.close()


def test_what_is_sent(tmp_path: Path, wandb: _Wandb) -> None:
    _log(tmp_path)
    place = {"total_iters": 10, "epoch": 1}
    assert wandb.run.logged == [
        {**place, "loss/G": 1.0, "lr": 2e-4, "images_per_s": 8.0, "data_wait": 0.25, "memory_mb": 100.0},
        {**place, "visuals/real_A": ("image", (8, 8)), "visuals/fake_B": ("image", (8, 8, 3))},
        {**place, "epoch/G": 2.0, "epoch/seconds": 3.5, "metric/kid_inception": 0.125},
    ]
    assert wandb.run.metrics == [("total_iters", None), ("*", "total_iters")]
    assert wandb.run.finished
    started = {key: wandb.started[key] for key in ("project", "name", "config", "dir")}
    assert started == {"project": "p", "name": "x", "config": {"lr": 0.1, "betas": "(1, 2)"}, "dir": str(tmp_path)}


def test_a_resumed_run_goes_on_in_the_same_one(tmp_path: Path, wandb: _Wandb) -> None:
    _log(tmp_path)
    assert "id" not in wandb.started
    _log(tmp_path, resume_iters=10)
    assert (wandb.started["id"], wandb.started["resume"]) == ("abc123", "allow")
    _log(tmp_path)
    assert "id" not in wandb.started


def test_offline_needs_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = _Wandb(key=False)
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setenv("WANDB_MODE", "offline")
    _log(tmp_path)
    assert len(module.run.logged) == 3


def test_without_a_key_one_warning_and_no_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = _Wandb(key=False)
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with caplog.at_level(logging.WARNING):
        _log(tmp_path)
    assert not module.started
    (warning,) = caplog.messages
    assert "wandb login" in warning and "WANDB_MODE=offline" in warning


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"--use_wandb: .*pip install wandb"):
        WandbLogger(tmp_path, "x", project="p")

"""TensorBoard event files, read back by TensorBoard's own reader."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.util.loggers.records import epoch, images, scalars
from util.loggers.tensorboard_log import TensorboardLogger


def _log(folder: Path, resume_iters: int | None, *totals: int) -> None:
    logger = TensorboardLogger(folder, resume_iters)
    for total in totals:
        logger.log_scalars(scalars(total, G_GAN=float(total)))
    logger.log_images(images(totals[-1]))
    logger.log_epoch(epoch(1, totals[-1], {"kid_inception": 0.125, "psnr": totals[-1] / 4}, G_GAN=7.0))
    logger.close()


def _read(folder: Path, tag: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["images"]) == {"visuals/real_A", "visuals/fake_B"}
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_values_are_over_the_images_seen(tmp_path: Path) -> None:
    _log(tmp_path, None, 100, 200)
    assert _read(tmp_path, "loss/G_GAN") == [(100, 100.0), (200, 200.0)]
    assert _read(tmp_path, "epoch/G_GAN") == [(200, 7.0)]
    assert _read(tmp_path, "metric/kid_inception") == [(200, 0.125)]
    assert _read(tmp_path, "metric/psnr") == [(200, 50.0)]
    assert _read(tmp_path, "run/images_per_s") == [(100, 8.0), (200, 8.0)]


def test_a_resumed_run_hides_what_was_logged_after_the_checkpoint(tmp_path: Path) -> None:
    _log(tmp_path, None, 100, 200, 300)
    _log(tmp_path, 200, 250, 350)
    assert _read(tmp_path, "loss/G_GAN") == [(100, 100.0), (200, 200.0), (250, 250.0), (350, 350.0)]
    assert _read(tmp_path, "metric/psnr") == [(350, 87.5)]  # that of 300 is hidden


def test_a_new_run_starts_new(tmp_path: Path) -> None:
    _log(tmp_path, None, 100, 200)
    _log(tmp_path, None, 50)
    assert _read(tmp_path, "loss/G_GAN") == [(50, 50.0)]


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match=r"--use_tensorboard: .*pip install tensorboard"):
        TensorboardLogger(tmp_path)

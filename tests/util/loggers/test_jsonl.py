"""metrics.jsonl: what is written is read back, and a resumed run continues it without a seam."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.util.loggers.records import epoch, images, scalars
from util.loggers.jsonl import ImageEvent, JsonlLogger, read_metrics
from util.types import EpochRecord, ScalarRecord


def _log(folder: Path, resume_iters: int | None, first: int, last: int) -> None:
    """A run of 2 epochs of 30 images, an event of each kind every 10 images."""
    logger = JsonlLogger(folder, resume_iters)
    for total in range(first, last + 1, 10):
        number = (total - 1) // 30 + 1
        logger.log_scalars(scalars(total, number, (total - 1) % 30 + 1, G_GAN=total / 7))
        logger.log_images(images(total, number))
        if total % 30 == 0:
            logger.log_epoch(epoch(number, total, {"psnr": total / 7} if number == 2 else {}))
    logger.close()


def test_records_are_read_back(tmp_path: Path) -> None:
    logger = JsonlLogger(tmp_path)
    losses, measured = scalars(10, G_GAN=0.1, odd=-1e-30), epoch(1, 10, {"kid_inception": 0.0123, "psnr": 21.4})
    logger.log_scalars(losses)
    logger.log_images(images(10))
    logger.log_epoch(measured)
    logger.close()
    event = ImageEvent(1, 10, ("real_A", "fake_B"), ("a/1.png",))
    assert list(read_metrics(tmp_path / "metrics.jsonl")) == [losses, event, measured]


def test_a_line_is_one_json_object_with_all_fields(tmp_path: Path) -> None:
    logger = JsonlLogger(tmp_path)
    logger.log_scalars(scalars(10, G_GAN=0.5))
    logger.close()
    text = (tmp_path / "metrics.jsonl").read_text()
    assert text.endswith("\n") and text.count("\n") == 1
    assert json.loads(text) == {
        "kind": "scalars",
        "epoch": 1,
        "epoch_iter": 10,
        "total_iters": 10,
        "losses": {"G_GAN": 0.5},
        "lr": 2e-4,
        "t_comp": 0.1234,
        "t_data": 0.0012,
        "images_per_s": 8.0,
        "data_wait": 0.25,
        "memory_mb": 100.0,
    }


def test_numbers_that_json_does_not_know_are_strings(tmp_path: Path) -> None:
    logger = JsonlLogger(tmp_path)
    logger.log_scalars(scalars(10, a=math.nan, b=math.inf, c=-math.inf))
    logger.close()
    text = (tmp_path / "metrics.jsonl").read_text()

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is no JSON")

    assert json.loads(text, parse_constant=refuse)["losses"] == {"a": "NaN", "b": "Infinity", "c": "-Infinity"}
    (record,) = read_metrics(tmp_path / "metrics.jsonl")
    assert isinstance(record, ScalarRecord)
    assert math.isnan(record.losses["a"]) and record.losses["b"] == math.inf and record.losses["c"] == -math.inf


@pytest.mark.parametrize("metrics", [{}, {"kid_inception": 0.0123, "fid_inception": math.inf}])
def test_an_epoch_always_carries_its_metrics(tmp_path: Path, metrics: dict[str, float]) -> None:
    logger = JsonlLogger(tmp_path)
    logger.log_epoch(epoch(1, 10, metrics, G=0.5))
    logger.close()
    place = {"kind": "epoch", "epoch": 1, "total_iters": 10}
    shown = {name: "Infinity" if math.isinf(value) else value for name, value in metrics.items()}
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {
        **place,
        "means": {"G": 0.5},
        "lr": 2e-4,
        "seconds": 3.5,
        "metrics": shown,
    }
    assert list(read_metrics(tmp_path / "metrics.jsonl")) == [epoch(1, 10, metrics, G=0.5)]


def test_an_epoch_of_an_older_version_has_no_metrics(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    old = {"kind": "epoch", "epoch": 1, "total_iters": 10, "means": {"G": 0.5}, "lr": 2e-4, "seconds": 3.5}
    path.write_text(json.dumps(old) + "\n")
    assert list(read_metrics(path)) == [EpochRecord(1, 10, {"G": 0.5}, 2e-4, 3.5, metrics={})]
    logger = JsonlLogger(tmp_path, resume_iters=10)
    logger.log_epoch(epoch(2, 20, {"psnr": 21.5}))
    logger.close()
    assert path.read_text().startswith(json.dumps(old) + "\n")  # an old line stays as it is
    assert [record.metrics for record in read_metrics(path) if isinstance(record, EpochRecord)] == [{}, {"psnr": 21.5}]


@pytest.mark.parametrize("resume_iters", [0, 20, 30, 50])
@pytest.mark.parametrize("cut", [0, 1, 25])
def test_a_resumed_run_writes_the_file_of_the_uninterrupted_one(tmp_path: Path, resume_iters: int, cut: int) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    _log(whole, None, 10, 60)
    _log(parts, None, 10, 60)
    file = parts / "metrics.jsonl"
    file.write_bytes(file.read_bytes()[: -cut or None])  # killed in mid-write, well after the checkpoint
    _log(parts, resume_iters, resume_iters + 10, 60)
    assert file.read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_an_epoch_that_is_logged_again_at_the_checkpoint_stays_once(tmp_path: Path) -> None:
    _log(tmp_path, None, 10, 30)
    logger = JsonlLogger(tmp_path, resume_iters=30)
    logger.log_epoch(epoch(1, 30))
    logger.close()
    assert (tmp_path / "metrics.jsonl").read_text().count('"epoch", "epoch": 1') == 1


def test_a_new_run_starts_a_new_file(tmp_path: Path) -> None:
    _log(tmp_path, None, 10, 30)
    JsonlLogger(tmp_path, None).close()
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_file_names_that_are_no_unicode_are_kept(tmp_path: Path) -> None:
    record = images(10)
    logger = JsonlLogger(tmp_path)
    logger.log_images(type(record)(1, 10, record.images, ("ü\udcff.png",)))
    logger.close()
    (event,) = read_metrics(tmp_path / "metrics.jsonl")
    assert isinstance(event, ImageEvent) and event.paths == ("ü\udcff.png",)


EPOCH = '{"kind": "epoch", "epoch": 1, "total_iters": 1'


@pytest.mark.parametrize(
    "line",
    ["{", "[]", '{"kind": "epoch"}', EPOCH + "}", EPOCH + ', "means": {}, "lr": 0, "seconds": 0, "metrics": []}'],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    good = json.dumps({"kind": "later", "epoch": 1, "total_iters": 1})
    path.write_text(f"{good}\n{line}\n{good}\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl: line 2 .* remove the line"):
        list(read_metrics(path))


def test_kinds_of_later_versions_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"kind": "later", "epoch": 1, "total_iters": 1}\n')
    assert list(read_metrics(tmp_path / "metrics.jsonl")) == []

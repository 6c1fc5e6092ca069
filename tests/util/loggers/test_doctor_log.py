"""doctor.jsonl: a sign once in a run, also over a resume; a doctor that fails ends no training."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from tests.util.loggers.records import epoch, images, scalars
from util.loggers.doctor_log import FILE_NAME, DoctorLogger, read_findings
from util.run.doctor import SCALARS, Doctor


def won(logger: DoctorLogger, first: int, last: int, loss: float = 0.001) -> None:
    for number in range(first, last + 1):
        logger.log_scalars(scalars(number * 10, D_real=loss, D_fake=loss))


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_sign_is_reported_once_and_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logger = DoctorLogger(tmp_path)
    won(logger, 1, SCALARS - 1)
    assert not (tmp_path / FILE_NAME).exists(), "nothing was found yet"
    won(logger, SCALARS, 3 * SCALARS)
    logger.close()
    (entry,) = read_findings(tmp_path)
    assert (entry["sign"], entry["about"], entry["total_iters"]) == ("d_won", "D_real,D_fake", 10 * SCALARS)
    assert warned(caplog) == [f"doctor: {entry['text']}"]
    assert len((tmp_path / FILE_NAME).read_text().splitlines()) == 1


def test_a_resumed_run_does_not_repeat_what_it_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = DoctorLogger(tmp_path)
    won(first, 1, SCALARS + 5)
    first.close()
    written = (tmp_path / FILE_NAME).read_bytes()
    caplog.clear()
    history = tuple(scalars(n * 10, D_real=0.001, D_fake=0.001) for n in range(1, SCALARS + 3))
    later = DoctorLogger(tmp_path, (SCALARS + 2) * 10, history=history)
    won(later, SCALARS + 3, 2 * SCALARS)
    later.close()
    assert warned(caplog) == [] and (tmp_path / FILE_NAME).read_bytes() == written

    # from a checkpoint before the finding it is found again, at the same place
    again = DoctorLogger(tmp_path, 100, history=history[:10])
    assert read_findings(tmp_path) == []
    won(again, 11, SCALARS + 5)
    again.close()
    assert len(warned(caplog)) == 1 and (tmp_path / FILE_NAME).read_bytes() == written


def test_history_is_judged_in_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    evaluations = [epoch(n, 40 * n, {"l1": 0.1 + 0.1 * (n > 2)}, G_L1=30.0 / n) for n in range(1, 5)]
    logger = DoctorLogger(tmp_path, 160, history=tuple(evaluations))
    assert warned(caplog) == []
    logger.log_epoch(epoch(5, 200, {"l1": 0.2}, G_L1=6.0))
    assert [each["sign"] for each in read_findings(tmp_path)] == ["overfitting"]
    logger.close()


def test_a_new_run_starts_without_old_findings(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('{"sign": "d_won", "about": "", "text": "", "epoch": 1, "total_iters": 0}\n')
    DoctorLogger(tmp_path).close()
    assert read_findings(tmp_path) == []


def test_damaged_lines_are_left_out(tmp_path: Path) -> None:
    good = {"sign": "range", "about": "real_A", "text": "x", "epoch": 1, "total_iters": 5}
    bad = [{**good, "total_iters": "5"}, [1], {"sign": "range"}]
    lines = [json.dumps(each) for each in (*bad, good)]
    (tmp_path / FILE_NAME).write_text("\n".join([*lines, '{"sign": "ran']))
    assert read_findings(tmp_path) == [good]


def test_a_doctor_that_fails_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Doctor, record: object) -> None:
        raise ZeroDivisionError("by chance")

    monkeypatch.setattr(Doctor, "add_images", fail)
    logger = DoctorLogger(tmp_path)
    logger.log_images(images(1))
    logger.log_images(images(2))
    logger.log_scalars(scalars(3))
    logger.close()
    (line,) = warned(caplog)
    assert "ZeroDivisionError: by chance" in line

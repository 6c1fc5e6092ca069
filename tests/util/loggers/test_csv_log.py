"""loss_log.csv: one header, one row an epoch, also over a resume."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.util.loggers.records import epoch
from util.loggers.csv_log import CsvLogger

HEADER = "epoch,total_iters,G_GAN,G_L1,lr,seconds\n"


def _log(folder: Path, resume_iters: int | None, *epochs: int) -> str:
    logger = CsvLogger(folder, resume_iters)
    for number in epochs:
        logger.log_epoch(epoch(number, number * 50))
    logger.close()
    return (folder / "loss_log.csv").read_text()


def test_rows(tmp_path: Path) -> None:
    logger = CsvLogger(tmp_path)
    logger.log_epoch(epoch(1, 50, G_GAN=0.1, G_L1=float("nan")))
    logger.close()
    assert (tmp_path / "loss_log.csv").read_text() == HEADER + "1,50,0.1,nan,0.0002,3.5\n"


def test_a_row_is_in_the_file_at_once(tmp_path: Path) -> None:
    logger = CsvLogger(tmp_path)
    logger.log_epoch(epoch(1, 50))
    logger.log_epoch(epoch(2, 100))
    assert (tmp_path / "loss_log.csv").read_text().count("\n") == 3
    logger.close()


@pytest.mark.parametrize("cut", [0, 3])
@pytest.mark.parametrize("resume_iters", [0, 50, 120])
def test_a_resumed_run_writes_the_rows_of_the_uninterrupted_one(tmp_path: Path, resume_iters: int, cut: int) -> None:
    whole = _log(tmp_path, None, 1, 2, 3, 4)
    path = tmp_path / "loss_log.csv"
    path.write_text(whole[: len(whole) - cut])
    assert _log(tmp_path, resume_iters, *range(resume_iters // 50 + 1, 5)) == whole


def test_an_epoch_that_is_logged_again_stays_once(tmp_path: Path) -> None:
    whole = _log(tmp_path, None, 1, 2)
    assert _log(tmp_path, 100, 2) == whole


def test_a_loss_that_comes_later_gets_a_column(tmp_path: Path) -> None:
    logger = CsvLogger(tmp_path)
    logger.log_epoch(epoch(1, 50, G=1.0))
    logger.log_epoch(epoch(2, 100, G=2.0, D=3.0))
    logger.log_epoch(epoch(3, 150, D=4.0))
    logger.close()
    rows = ["epoch,total_iters,G,D,lr,seconds", "1,50,1.0,,0.0002,3.5", "2,100,2.0,3.0,0.0002,3.5"]
    rows += ["3,150,,4.0,0.0002,3.5"]
    assert (tmp_path / "loss_log.csv").read_text().splitlines() == rows


@pytest.mark.parametrize("text", ["D_real, D_fake\n0.5,0.4\n", HEADER + "1,50\n", HEADER + "x,50,1,2,3,4\n"])
def test_a_file_of_another_program_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "loss_log.csv").write_text(text)
    with pytest.raises(ValueError, match=r"loss_log\.csv: .*; (move the file away|remove the row)"):
        CsvLogger(tmp_path, resume_iters=50)
    assert (tmp_path / "loss_log.csv").read_text() == text

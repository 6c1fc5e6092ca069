"""loss_log.csv: one header, one row per epoch, also over a resume."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.util.loggers.records import epoch
from util.loggers.csv_log import CsvLogger
from util.types import EpochRecord

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


KID, PSNR = "kid_inception", "psnr"


def _measure(
    folder: Path, resume_iters: int | None, first: int, last: int, measured: dict[int, dict[str, float]]
) -> str:
    logger = CsvLogger(folder, resume_iters)
    for number in range(first, last + 1):
        logger.log_epoch(epoch(number, number * 50, measured.get(number), G=number / 4, D=number / 8))
    logger.close()
    return (folder / "loss_log.csv").read_text()


def test_metrics_are_columns_between_losses_and_learning_rate(tmp_path: Path) -> None:
    text = _measure(tmp_path, None, 1, 4, {2: {KID: 0.0123, PSNR: 21.5}, 4: {KID: float("nan"), PSNR: 22.0}})
    assert text.splitlines() == [
        "epoch,total_iters,G,D,kid_inception,psnr,lr,seconds",
        "1,50,0.25,0.125,,,0.0002,3.5",
        "2,100,0.5,0.25,0.0123,21.5,0.0002,3.5",
        "3,150,0.75,0.375,,,0.0002,3.5",
        "4,200,1.0,0.5,nan,22.0,0.0002,3.5",
    ]


@pytest.mark.parametrize(
    ("resume_at", "killed_at", "last"),
    [(0, 1, 8), (0, 5, 3), (0, 5, 8), (1, 5, 8), (3, 3, 8), (3, 5, 3), (3, 5, 8), (3, 7, 4), (4, 4, 8), (5, 7, 8)],
)
def test_a_resumed_run_has_the_metrics_of_the_uninterrupted_one(
    tmp_path: Path, resume_at: int, killed_at: int, last: int
) -> None:
    measured = {4: {KID: 0.25}, 6: {KID: 0.5, PSNR: 20.0}, 8: {PSNR: 21.0}}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    _measure(parts, None, 1, killed_at, measured)
    assert _measure(parts, resume_at * 50, resume_at + 1, last, measured) == _measure(whole, None, 1, last, measured)


def test_a_file_of_an_older_version_gets_the_columns(tmp_path: Path) -> None:
    (tmp_path / "loss_log.csv").write_text(HEADER + "1,50,0.5,20.0,0.0002,3.5\n")
    logger = CsvLogger(tmp_path, resume_iters=50)
    logger.log_epoch(epoch(2, 100, {PSNR: 21.5}))
    logger.close()
    rows = ["epoch,total_iters,G_GAN,G_L1,psnr,lr,seconds", "1,50,0.5,20.0,,0.0002,3.5"]
    assert (tmp_path / "loss_log.csv").read_text().splitlines() == [*rows, "2,100,0.5,20.0,21.5,0.0002,3.5"]


def test_a_loss_that_comes_after_a_resume_stands_before_the_metrics(tmp_path: Path) -> None:
    _measure(tmp_path, None, 1, 1, {1: {KID: 0.25}})
    logger = CsvLogger(tmp_path, resume_iters=50)
    logger.log_epoch(epoch(2, 100, {KID: 0.5}, G=2.0, D=3.0, NCE=4.0))
    logger.close()
    rows = ["epoch,total_iters,G,D,NCE,kid_inception,lr,seconds", "1,50,0.25,0.125,,0.25,0.0002,3.5"]
    assert (tmp_path / "loss_log.csv").read_text().splitlines() == [*rows, "2,100,2.0,3.0,4.0,0.5,0.0002,3.5"]


@pytest.mark.parametrize("names", [("G", "ssim"), ("ssim", "G"), ("l1", "ssim")])
def test_a_loss_with_the_name_of_a_metric_stays_a_loss_over_a_resume(tmp_path: Path, names: tuple[str, str]) -> None:
    def log(folder: Path, resume_iters: int | None, *numbers: int) -> str:
        logger = CsvLogger(folder, resume_iters)
        for number in numbers:
            logger.log_epoch(epoch(number, number * 50, {PSNR: 20.0}, **dict.fromkeys(names, number / 4)))
        logger.close()
        return (folder / "loss_log.csv").read_text()

    whole = log(tmp_path, None, 1, 2)
    assert whole.startswith(f"epoch,total_iters,{names[0]},{names[1]},psnr,lr,seconds\n1,50,0.25,0.25,20.0,")
    log(tmp_path, None, 1)
    assert log(tmp_path, 50, 2) == whole


def test_epochs_without_any_loss_have_a_header_and_can_be_resumed(tmp_path: Path) -> None:
    for number, resume_iters in ((1, None), (2, 50)):
        logger = CsvLogger(tmp_path, resume_iters)
        logger.log_epoch(EpochRecord(number, number * 50, {}, 2e-4, 3.5))
        logger.close()
    rows = ["epoch,total_iters,lr,seconds", "1,50,0.0002,3.5", "2,100,0.0002,3.5"]
    assert (tmp_path / "loss_log.csv").read_text().splitlines() == rows

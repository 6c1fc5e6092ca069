"""loss_log.txt: the published format to the letter."""

from __future__ import annotations

import re
from pathlib import Path

from tests.util.loggers.records import scalars
from util.loggers.loss_log import LossLogger, loss_line

HEADER = re.compile(r"={16} Training Loss \(.+\) ={16}")


def _losses(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not HEADER.fullmatch(line)]


def test_a_line_has_the_published_format() -> None:
    record = scalars(1100, epoch=3, epoch_iter=100, G_GAN=0.69314, G_L1=31.0, D_real=1e-9)
    line = "(epoch: 3, iters: 100, time: 0.123, data: 0.001) G_GAN: 0.693 G_L1: 31.000 D_real: 0.000 "
    assert loss_line(record) == line


def test_every_start_writes_a_header(tmp_path: Path) -> None:
    for resume_at in (None, (1, 10)):
        logger = LossLogger(tmp_path, resume_at)
        logger.log_scalars(scalars(10 if resume_at is None else 20))
        logger.close()
    lines = (tmp_path / "loss_log.txt").read_text().splitlines()
    assert [bool(HEADER.fullmatch(line)) for line in lines] == [True, False, True, False]


def test_lines_after_the_checkpoint_and_a_cut_line_go(tmp_path: Path) -> None:
    logger = LossLogger(tmp_path)
    for epoch in (1, 2, 3):
        for epoch_iter in (9, 10):
            logger.log_scalars(scalars(0, epoch, epoch_iter))
    logger.close()
    path = tmp_path / "loss_log.txt"
    before = _losses(path)
    path.write_text(path.read_text() + "(epoch: 1, iters: 9, ti")
    logger = LossLogger(tmp_path, resume_at=(2, 9))
    logger.log_scalars(scalars(0, 2, 9))  # logged again at the checkpoint: stays once
    logger.close()
    assert _losses(path) == before[:3]


def test_a_new_run_starts_a_new_file(tmp_path: Path) -> None:
    for _ in range(2):
        logger = LossLogger(tmp_path)
        logger.log_scalars(scalars(10))
        logger.close()
    assert len(_losses(tmp_path / "loss_log.txt")) == 1

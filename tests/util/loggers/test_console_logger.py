"""The console: lines in a file, a bar on a terminal."""

from __future__ import annotations

import io
import logging
import re
import sys

import pytest

from tests.util.loggers.records import epoch, scalars
from util.loggers.console import ConsoleLogger
from util.loggers.loss_log import loss_line


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _text(stream: io.StringIO) -> str:
    return re.sub(r"\x1b\[\w", "", stream.getvalue())


def test_a_file_gets_the_lines_of_the_loss_log() -> None:
    stream = io.StringIO()
    logger = ConsoleLogger(stream)
    logger.start_epoch(3, 9, 100, 0)
    logger.advance(100)
    record = scalars(300, epoch=3, epoch_iter=100)
    logger.log_scalars(record)
    logger.log_epoch(epoch(3, 300, G_GAN=0.25))
    logger.close()
    assert stream.getvalue().splitlines() == [
        loss_line(record),
        "End of epoch 3 / 9  time 00:04  lr 0.0002  mean: G_GAN 0.250",
    ]


@pytest.mark.parametrize("terminal", [False, True])
def test_an_evaluation_is_a_line_after_its_epoch(terminal: bool) -> None:
    stream = _Terminal() if terminal else io.StringIO()
    logger = ConsoleLogger(stream)
    logger.start_epoch(5, 9, 100, 0)
    logger.advance(100)
    logger.log_epoch(epoch(5, 500, {"kid_inception": 0.12344, "psnr": 21.4}))
    logger.log_epoch(epoch(6, 600))
    logger.close()
    lines = [line.rpartition("\r")[2] for line in _text(stream).splitlines()]
    lines = [line for line in lines if "img/s" not in line and line.strip()]
    assert lines[0].startswith("End of epoch 5 / 9") and lines[2].startswith("End of epoch 6 / 9")
    assert lines[1] == "epoch 5: KID x100 12.34, PSNR 21.40"
    assert len(lines) == 3


def test_a_terminal_gets_a_bar() -> None:
    stream = _Terminal()
    clock = _Clock()
    logger = ConsoleLogger(stream, clock)
    logger.start_epoch(3, 4, 100, 40)
    clock.now += 5
    logger.advance(10)
    logger.log_scalars(scalars(250, epoch=3, epoch_iter=50, G_GAN=0.125))
    logger.log_epoch(epoch(3, 300))
    logger.close()
    text = _text(stream)
    assert "epoch 3/4  40%" in text and "40/100" in text
    assert "lr 0.0002  G_GAN 0.125" in text
    assert "End of epoch 3 / 4" in text.splitlines()[-1]


def test_time_left_is_that_of_the_run() -> None:
    clock = _Clock()
    logger = ConsoleLogger(io.StringIO(), clock)
    assert logger.time_left() == "?"
    logger.start_epoch(3, 4, 100, 40)  # 60 images left in epoch 3, 100 in epoch 4
    clock.now += 20
    logger.advance(10)  # 2 s an image, 150 to go
    assert logger.time_left() == "05:00"
    logger.advance(50)
    clock.now += 3580
    logger.start_epoch(4, 4, 100, 0)
    assert logger.time_left() == "1:40:00"  # 60 s an image, 100 to go


@pytest.mark.parametrize("closed", [False, True])
def test_log_messages_pass_over_the_bar(monkeypatch: pytest.MonkeyPatch, closed: bool) -> None:
    stream = _Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    root = logging.Logger("root of this test")
    handler = logging.StreamHandler(stream)
    root.addHandler(handler)
    monkeypatch.setattr(logging, "root", root)
    logger = ConsoleLogger()
    logger.start_epoch(1, 1, 10, 0)
    if closed:
        logger.close()
        assert root.handlers == [handler]
    root.warning("look")
    assert "\rlook\n" in _text(stream)  # at the start of a line, the bar taken away before
    assert (root.handlers == [handler]) == closed
    logger.close()

"""Some steps are profiled, reported once, and the run goes on."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from util.run.profile import TRACE_FILE, StepProfiler, waiting_advice

CPU = torch.device("cpu")


def slow_batches(count: int, seconds: float) -> Iterator[int]:
    for number in range(count):
        time.sleep(seconds)
        yield number


def test_steps_after_the_warm_up_are_profiled_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    profiler, net = StepProfiler(2, tmp_path, CPU), torch.nn.Linear(4, 4)
    for _ in range(2):  # epochs
        for batch in profiler.steps(slow_batches(4, 0.01)):
            net(torch.full((4,), float(batch)))
    profiler.close()
    (text,) = [record.getMessage() for record in caplog.records]
    assert text.startswith("profile of 2 steps: ") and "aten::addmm" in text and "1 call" in text
    assert "raise --num_threads" in text
    names = [event.get("name") for event in json.loads((tmp_path / TRACE_FILE).read_text())["traceEvents"]]
    assert names.count("aten::linear") == 2


def test_run_that_ends_earlier_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    profiler = StepProfiler(100, tmp_path, CPU)
    assert len(list(profiler.steps(range(5)))) == 5
    profiler.close()
    assert "profile of 2 steps" in caplog.text


def test_nothing_is_profiled_unless_asked(tmp_path: Path) -> None:
    profiler = StepProfiler(0, tmp_path, CPU)
    assert list(profiler.steps(range(9))) == list(range(9))
    profiler.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("share", "advice"),
    [(0.01, "1.0 % of the time; faster data"), (0.4, "40.0 % of the time: raise")],
)
def test_advice_follows_the_wait(share: float, advice: str) -> None:
    assert advice in waiting_advice(share)

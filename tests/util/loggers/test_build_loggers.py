"""The group of a run's loggers: which ones there are, and that a resumed run's files have no seam."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.util.loggers.records import epoch, images, scalars
from tests.util.loggers.visdom_server import serving
from util.loggers.base import Logger
from util.loggers.group import LoggerGroup, build_loggers


def _names(group: LoggerGroup) -> list[str]:
    return [type(logger).__name__ for logger in group.loggers]


def _build(folder: Path, resume_iters: int | None = None, **switches: object) -> LoggerGroup:
    options = {"lr": 1, "display_id": 0, **switches}
    console = bool(options.pop("console", False))
    return build_loggers(folder, name="x", resume_iters=resume_iters, options=options, console=console)


ALWAYS = {"JsonlLogger", "LossLogger", "CsvLogger"}
NO = {"no_html": True, "no_doctor": True}


@pytest.mark.parametrize(
    ("switches", "names"),
    [
        (NO, set()),
        ({}, {"HtmlLogger", "DoctorLogger"}),
        ({"no_doctor": True}, {"HtmlLogger"}),
        ({**NO, "display_id": 1}, {"VisdomLogger"}),
        ({**NO, "display_id": -1}, set()),
        ({**NO, "use_tensorboard": True}, {"TensorboardLogger"}),
        ({**NO, "console": True}, {"ConsoleLogger"}),
    ],
)
def test_every_logger_has_its_own_switch(tmp_path: Path, switches: dict[str, object], names: set[str]) -> None:
    group = _build(tmp_path / "run", **switches)
    found = _names(group)
    assert set(found) == ALWAYS | names and len(found) == len({*found})
    assert found[0] == "JsonlLogger", "the others read what it has kept"
    assert "ConsoleLogger" not in found[:-1]
    group.close()


class _Recorder(Logger):
    def __init__(self, calls: list[str], error: Exception | None = None) -> None:
        self.calls, self.error = calls, error

    def start_epoch(self, epoch: int, last_epoch: int, num_images: int, done: int) -> None:
        self.calls.append(f"start {epoch} {last_epoch} {num_images} {done}")

    def advance(self, num_images: int) -> None:
        self.calls.append(f"advance {num_images}")

    def log_scalars(self, record: object) -> None:
        self.calls.append(f"scalars {record}")

    def log_images(self, record: object) -> None:
        self.calls.append(f"images {record}")

    def log_epoch(self, record: object) -> None:
        self.calls.append(f"epoch {record}")

    def close(self) -> None:
        self.calls.append("close")
        if self.error is not None:
            raise self.error


def test_a_group_hands_on_every_event() -> None:
    first: list[str] = []
    second: list[str] = []
    group = LoggerGroup([_Recorder(first), _Recorder(second)])
    group.start_epoch(1, 2, 3, 0)
    group.advance(4)
    group.log_scalars("a")  # type: ignore[arg-type]
    group.log_images("b")  # type: ignore[arg-type]
    group.log_epoch("c")  # type: ignore[arg-type]
    group.close()
    assert first == second == ["start 1 2 3 0", "advance 4", "scalars a", "images b", "epoch c", "close"]


def test_a_group_closes_all_and_then_raises() -> None:
    calls: list[str] = []
    group = LoggerGroup([_Recorder(calls, OSError("first")), _Recorder(calls, OSError("second"))])
    with pytest.raises(OSError, match="first"):
        group.close()
    assert calls == ["close", "close"]


def _run(folder: Path, resume_iters: int | None, last: int, *, kill: bool = False) -> None:
    """Epochs of 40 images, events every 10; ``kill`` leaves without closing, in the middle of a line."""
    group = _build(folder, resume_iters)
    for total in range((resume_iters or 0) + 10, last + 1, 10):
        number, at = (total - 1) // 40 + 1, (total - 1) % 40 + 1
        group.log_scalars(scalars(total, number, at, G=total / 3))
        group.log_images(images(total, number, value=total))
        if at == 40:
            group.log_epoch(epoch(number, total, {"psnr": number / 3} if number % 2 == 0 else None, G=number / 7))
    if kill:
        for name in ("metrics.jsonl", "loss_log.txt", "loss_log.csv"):
            with open(folder / name, "a") as file:
                file.write('{"kind": "scalars", "epo')
    else:
        group.close()


@pytest.mark.parametrize(("resume_iters", "killed_at"), [(80, 110), (50, 120), (0, 20), (110, 110)])
def test_files_of_a_resumed_run_equal_those_of_the_uninterrupted_one(
    tmp_path: Path, resume_iters: int, killed_at: int
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    _run(whole, None, 160)
    _run(parts, None, killed_at, kill=True)
    _run(parts, resume_iters, 160)
    for name in ("metrics.jsonl", "loss_log.csv"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes(), name
    without_headers = [
        re.sub("=+ Training Loss .*\n", "", (run / "loss_log.txt").read_text()) for run in (whole, parts)
    ]
    assert without_headers[0] == without_headers[1]
    assert len(without_headers[0].splitlines()) == 16
    assert "psnr" not in without_headers[0]  # the published lines have losses only


def test_visdom_continues_the_curves_of_a_resumed_run(tmp_path: Path) -> None:
    _run(tmp_path, None, 60)
    with serving() as server:
        group = _build(tmp_path, 40, display_id=1, display_server="http://127.0.0.1", display_port=server.port)
        group.log_scalars(scalars(50, 2, 10, G=1.0))
        group.close()
        assert server.windows()["1"]["data"][0]["x"] == [10, 20, 30, 40, 50]


def test_visdom_continues_the_metrics_of_a_resumed_run(tmp_path: Path) -> None:
    _run(tmp_path, None, 160)  # evaluated at 80 and 160
    with serving() as server:
        group = _build(tmp_path, 120, display_id=1, display_server="http://127.0.0.1", display_port=server.port)
        group.log_scalars(scalars(130, 4, 10, G=1.0))
        group.log_epoch(epoch(4, 160, {"psnr": 7.0}))
        group.close()
        (trace,) = server.windows()["4"]["data"]
        assert (trace["x"], trace["y"]) == ([80, 160], [2 / 3, 7.0])


def test_a_resume_without_older_files_starts_new_ones(tmp_path: Path) -> None:
    group = _build(tmp_path / "run", 500)
    group.log_scalars(scalars(510))
    group.close()
    assert (tmp_path / "run" / "metrics.jsonl").read_text().count("\n") == 1

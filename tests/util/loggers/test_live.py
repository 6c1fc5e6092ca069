"""Loggers that talk to a server: quick for the training, bounded in memory, silent after one warning."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from tests.util.loggers.records import epoch, images, scalars
from util.loggers.live import Event, LiveLogger
from util.types import ImageRecord


class _Sink(LiveLogger):
    """Records what it is given; raises or blocks as told."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__("Do something.", **kwargs)  # type: ignore[arg-type]
        self.got: list[Event] = []
        self.sends: list[bool] = []
        self.finished = 0
        self.error: Exception | None = None
        self.begun = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def deliver(self, events: list[Event], send: bool) -> None:
        self.begun.set()
        self.gate.wait(30)
        self.got += events
        self.sends.append(send)
        if send and self.error is not None:
            raise self.error

    def finish(self) -> None:
        self.finished += 1


def _until(condition) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "nothing happened within 10 s"
        time.sleep(0.002)


def test_events_arrive_in_order_and_close_delivers_the_rest() -> None:
    sink = _Sink()
    events = [scalars(1), images(1), epoch(1, 1), scalars(2, 2)]
    sink.log_scalars(events[0])  # type: ignore[arg-type]
    sink.log_images(events[1])  # type: ignore[arg-type]
    sink.log_epoch(events[2])  # type: ignore[arg-type]
    sink.log_scalars(events[3])  # type: ignore[arg-type]
    sink.close()
    assert sink.got == events
    assert sink.finished == 1


def test_no_thread_before_the_first_event() -> None:
    before = threading.active_count()
    sink = _Sink()
    sink.start_epoch(1, 2, 3, 0)
    sink.advance(3)
    assert threading.active_count() == before
    sink.close()


def _blocked_sink(**kwargs: object) -> _Sink:
    sink = _Sink(**kwargs)
    sink.gate.clear()
    sink.log_scalars(scalars(0))
    assert sink.begun.wait(10)  # the thread took the first event and hangs
    return sink


def test_a_hanging_server_drops_the_oldest_events_and_never_blocks() -> None:
    sink = _blocked_sink(capacity=5)
    start = time.perf_counter()
    for total in range(1, 1001):
        sink.log_scalars(scalars(total))
    assert time.perf_counter() - start < 1.0  # a thousand calls
    sink.gate.set()
    sink.close()
    assert [event.total_iters for event in sink.got] == [0, 996, 997, 998, 999, 1000]


def test_waiting_images_are_few() -> None:
    sink = _blocked_sink(image_capacity=2)
    for total in range(1, 7):
        sink.log_images(images(total))
        sink.log_scalars(scalars(total))
    sink.gate.set()
    sink.close()
    assert [event.total_iters for event in sink.got if isinstance(event, ImageRecord)] == [5, 6]
    assert [event.total_iters for event in sink.got if not isinstance(event, ImageRecord)] == list(range(7))


def test_close_is_bounded_when_the_server_hangs() -> None:
    sink = _blocked_sink(close_seconds=0.2)
    start = time.perf_counter()
    sink.close()
    assert 0.1 < time.perf_counter() - start < 5
    sink.gate.set()


def test_one_warning_then_silence_and_a_new_try_after_the_pause(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    sink = _Sink(clock=lambda: now[0], retry_seconds=60)
    sink.error = ConnectionError("no\nserver")
    with caplog.at_level(logging.INFO):
        for step, when in enumerate((0.0, 1.0, 59.0, 61.0, 62.0, 122.0), start=1):
            now[0] = when
            sink.log_scalars(scalars(step))
            _until(lambda step=step: len(sink.sends) == step)
        now[0] = 130.0
        sink.close()
    assert sink.sends == [True, False, False, True, False, True]
    assert sink.finished == 0  # no good-bye to a server that just failed
    assert [record.getMessage() for record in caplog.records] == ["no server; training goes on. Do something."]
    assert caplog.records[0].levelno == logging.WARNING


def test_events_after_close_are_ignored() -> None:
    sink = _Sink()
    sink.close()
    sink.log_scalars(scalars(1))
    sink.close()
    assert sink.got == []

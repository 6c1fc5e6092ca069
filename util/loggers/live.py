"""The base of loggers that talk to a server: off the training thread, never in its way."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from util.loggers.base import Logger
from util.types import EpochRecord, ImageRecord, ScalarRecord

Event = ScalarRecord | EpochRecord | ImageRecord

_LOG = logging.getLogger(__name__)


class LiveLogger(Logger):
    """Gives the events to ``deliver`` on a thread of its own, which starts with the first event.

    The training thread only puts an event in a queue (microseconds). The queue is bounded: when the server is slow the
    oldest events go, images first, because they are what fills the memory. Whatever ``deliver`` or ``finish`` raises
    costs one warning a run, and a pause of ``retry_seconds`` before it is called to send again.

    A subclass overrides ``deliver`` and ``finish``.

    Args:
        advice: the end of the warning, says what to do.
        capacity: events that may wait.
        image_capacity: image events that may wait.
        close_seconds: the longest time that ``close`` waits for what is still in the queue.
        retry_seconds: the pause after a failure.
        clock: seconds; its origin does not matter.
    """

    def __init__(
        self,
        advice: str,
        *,
        capacity: int = 256,
        image_capacity: int = 4,
        close_seconds: float = 5.0,
        retry_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._advice = advice
        self._events: deque[Event] = deque(maxlen=capacity)
        self._image_capacity = image_capacity
        self._close_seconds = close_seconds
        self._retry_seconds = retry_seconds
        self._clock = clock
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._warned = False
        self._retry_at = float("-inf")

    def deliver(self, events: list[Event], send: bool) -> None:
        """Take in the events and bring the server up to date. May raise anything; runs on the logger's thread.

        Args:
            events: in order; maybe some before them were dropped.
            send: False during the pause after a failure: keep what is worth keeping, talk to no server.
        """

    def finish(self) -> None:
        """Say good-bye to the server after the last event. May raise anything; runs on the logger's thread; not called
        during the pause after a failure."""

    def log_scalars(self, record: ScalarRecord) -> None:
        self._put(record)

    def log_images(self, record: ImageRecord) -> None:
        self._put(record)

    def log_epoch(self, record: EpochRecord) -> None:
        self._put(record)

    def close(self) -> None:
        """Let the thread work off its queue, for ``close_seconds`` at most; what is left then is lost."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(self._close_seconds)

    def _put(self, event: Event) -> None:
        with self._wake:
            if self._closing:
                return
            if isinstance(event, ImageRecord):
                self._drop_old_images()
            self._events.append(event)
            if self._thread is None:
                # A daemon: a server that hangs must not keep a finished run alive.
                self._thread = threading.Thread(target=self._work, name=type(self).__name__, daemon=True)
                self._thread.start()
            self._wake.notify()

    def _drop_old_images(self) -> None:
        waiting = [event for event in self._events if isinstance(event, ImageRecord)]
        if len(waiting) >= self._image_capacity:
            oldest = waiting[0]
            self._events = deque((e for e in self._events if e is not oldest), maxlen=self._events.maxlen)

    def _work(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._events or self._closing)
                events, closing = list(self._events), self._closing
                self._events.clear()
            if events:
                self._attempt(lambda send, events=events: self.deliver(events, send))  # type: ignore[misc]
            if closing and not self._events:
                self._attempt(lambda send: self.finish() if send else None)
                return

    def _attempt(self, action: Callable[[bool], None]) -> None:
        try:
            action(self._clock() >= self._retry_at)
        except Exception as error:
            self._retry_at = self._clock() + self._retry_seconds
            if not self._warned:
                self._warned = True
                reason = " ".join(str(error).split()) or type(error).__name__
                _LOG.warning("%s; training goes on. %s", reason, self._advice)

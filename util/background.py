"""Writing files beside the computation, without letting the queue grow or an error pass unseen."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any


class BackgroundWriter:
    """Runs calls on a few threads; at most ``limit`` wait at a time, and the first error comes out.

    Use as a context: leaving it waits for everything that was submitted.
    """

    def __init__(self, num_threads: int = 2, limit: int = 16) -> None:
        self._pool = ThreadPoolExecutor(num_threads)
        self._limit = limit
        self._pending: set[Future[Any]] = set()

    def submit(self, call: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """Queue a call; waits while the queue is full.

        Raises:
            Exception: whatever an earlier call raised.
        """
        while len(self._pending) >= self._limit:
            done, self._pending = wait(self._pending, return_when=FIRST_COMPLETED)
            for each in done:
                each.result()
        self._pending.add(self._pool.submit(call, *args, **kwargs))

    def wait(self) -> None:
        """Wait until nothing is queued; raises what a call raised."""
        done, self._pending = self._pending, set()
        for each in done:
            each.result()

    def close(self) -> None:
        """Wait for everything that was submitted; raises what a call raised."""
        self.__exit__(None, None, None)

    def __enter__(self) -> BackgroundWriter:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is None:
            for each in self._pending:
                each.result()

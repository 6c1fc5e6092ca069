"""Two processes that wait for work: starting them costs seconds (both import torch), a tiny run much less."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

SECONDS = 240.0
"""For one call; a process that waits for one which failed would wait for half an hour."""


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


class TwoProcesses:
    """Runs a function in both at once, with the environment that ``torchrun --nproc_per_node 2`` gives them.

    Each call joins and leaves a process group of its own, as each start of the program does. What a call may leave
    behind in a process (caches, the level of the log) is as in the process of the tests itself, where many run, too.
    """

    def __init__(self) -> None:
        self._processes: list[Any] = []
        self._pipes: list[Connection] = []

    def call(self, function: Callable[..., Any], *arguments: object, **settings: object) -> list[Any]:
        """What this function of a module of the tests returns in both processes, in the order of their ranks.

        Raises:
            AssertionError: it raised in one of them, or did not end; the message has what they printed.
        """
        if not self._processes:
            self._start()
        port = free_port()
        for pipe in self._pipes:
            pipe.send((function, arguments, settings, port))
        answers: list[tuple[Any, bool, str]] = []
        end = time.monotonic() + SECONDS
        try:
            for pipe in self._pipes:
                if not pipe.poll(max(0.0, end - time.monotonic())):
                    raise AssertionError(f"a process did not end; the other said: {answers}")
                answers.append(pipe.recv())
                if not answers[-1][1]:
                    raise AssertionError(answers[-1][2])
        except BaseException:
            self.stop()  # the other may wait for the one that failed; the next call starts two new ones
            raise
        return [result for result, *_ in answers]

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        for rank in range(2):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(rank, there), daemon=True)
            process.start()
            there.close()
            self._processes.append(process)
            self._pipes.append(here)

    def stop(self) -> None:
        """End both processes; a later call starts new ones."""
        for process in self._processes:
            process.kill()
            process.join()
        for pipe in self._pipes:
            pipe.close()
        self._processes, self._pipes = [], []


def _serve(rank: int, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the tests' process's to answer
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    said = sys.stdout = sys.stderr = io.StringIO()
    while True:
        try:
            function, arguments, settings, port = pipe.recv()
        except EOFError:
            os._exit(0)
        os.environ["MASTER_PORT"] = str(port)
        said.seek(0)
        said.truncate()
        try:
            answer = function(*arguments, **settings), True, ""
        except BaseException:
            answer = None, False, f"rank {rank}:\n{said.getvalue()[-3000:]}\n{traceback.format_exc()}"
        pipe.send(answer)

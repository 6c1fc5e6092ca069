"""One line for an error that all processes of a job meet: the first to come prints it."""

from __future__ import annotations

import datetime
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress

import torch.distributed as dist

from util.run.distributed import World

SECONDS = 15.0
"""How long a process waits for the others, which may still be importing torch."""


def report_once(world: World, report: Callable[[], object], *, wait_for_all: bool) -> None:
    """Call ``report`` in the first of the job's processes that gets here; the others return when it has printed.

    They meet at the store of the launcher (``torchrun``) or at that of process 0, at ``MASTER_ADDR``. Where there is
    none to be reached every process reports.

    Args:
        world: this process among all.
        report: prints the error.
        wait_for_all: return when all processes are here, or after ``SECONDS``: an end before that would make the
            launcher stop the others, whose exit codes would be lost.
    """
    try:
        store = _store(world)
        attempt = f"error/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        first = store.add(f"{attempt}/here", 1) == 1
    except (dist.DistError, RuntimeError, ValueError, KeyError):  # no store, or its machine is gone
        report()
        return
    if first:
        report()
    with suppress(dist.DistError, RuntimeError):
        if first:
            store.set(f"{attempt}/reported", "1")
        else:
            store.wait([f"{attempt}/reported"], datetime.timedelta(seconds=SECONDS))
        end = time.monotonic() + SECONDS
        while wait_for_all and store.add(f"{attempt}/here", 0) < world.size and time.monotonic() < end:
            time.sleep(0.05)
        if wait_for_all and _serves(world):  # the others ask this process
            time.sleep(0.5)


def _store(world: World) -> dist.TCPStore:
    host, port, serves = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), _serves(world)
    if not serves:
        _await_server(host, port)
    return dist.TCPStore(
        host,
        port,
        is_master=serves,
        timeout=datetime.timedelta(seconds=SECONDS),
        wait_for_workers=False,
    )


def _await_server(host: str, port: int) -> None:
    """Wait until somebody listens there: torch would print pages of stack frames if nobody does.

    Raises:
        RuntimeError: nobody does.
    """
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            socket.create_connection((host, port), timeout=1.0).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"no store at {host}:{port}")


def _serves(world: World) -> bool:
    """Whether the store has to be made here: there is no launcher's, and the processes have not met yet."""
    of_launcher = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return world.is_main and not of_launcher and not dist.is_initialized()

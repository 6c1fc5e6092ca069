"""How the threads of a command wait for each other. Imports no torch: it must run before torch loads its OpenMP."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

SPIN_COUNT = "1000"
"""Turns of the loop in which a thread waits before it sleeps: a few microseconds; libgomp's own are 300,000, about a
millisecond. Alone they make no difference that can be measured; beside other work of equal priority a step of pix2pix
takes half as long with 1,000, beside a loop of low priority a quarter longer (the table is in docs/performance.md)."""

OF_THE_USER = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def share_processors(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let OpenMP's threads sleep, not spin, soon after they have nothing to do.

    torch's wheels for Linux bring GNU's libgomp. Its threads wait for each other after every operation by spinning for
    about a millisecond. Where another program wants one of the processors, threads that wait may keep the one that is
    waited for from running. Other OpenMP libraries do not read this variable.

    For commands, before the first import of torch; processes that they start inherit it. A user's own setting wins.
    """
    if not any(name in environment for name in OF_THE_USER):
        environment["GOMP_SPINCOUNT"] = SPIN_COUNT

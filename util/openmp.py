"""How the threads of a command wait for each other. Imports no torch: it must run before torch loads its OpenMP."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

SPIN_COUNT = "1000"
"""Turns of the loop in which a thread waits before it sleeps: a few microseconds; libgomp's own are 300,000, about a
millisecond. A U-Net step on two free processors takes the same time with both; with 0 the threads sleep between any two
operations, and the system was seen to wake both on one processor: 1.6 times slower."""

OF_THE_USER = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def share_processors(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let OpenMP's threads sleep, not spin, soon after they have nothing to do.

    torch's wheels for Linux bring GNU's libgomp. Its threads wait for each other after every operation by spinning for
    about a millisecond. Where another program wants one of the processors, the threads that wait keep the one that is
    waited for from running, and a step takes several times longer than its share. The OpenMP of LLVM and Intel gives
    way by itself and does not read this variable.

    For commands, before the first import of torch; processes that they start inherit it. A user's own setting wins.
    """
    if not any(name in environment for name in OF_THE_USER):
        environment["GOMP_SPINCOUNT"] = SPIN_COUNT

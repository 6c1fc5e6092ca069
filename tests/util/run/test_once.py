"""An error of a job of two processes is one line."""

from __future__ import annotations

import contextlib
import io

import pytest
import torch

from util.exit_code import run_command
from util.run import distributed
from util.run.distributed import world_from_environment


def failing(*ranks: int, joined: bool, error: Exception) -> tuple[int, str]:
    """The exit code of this process, and what it printed."""
    world = world_from_environment()
    if joined:
        distributed.start(world, torch.device("cpu"))

    def run(words: list[str]) -> int:
        if world.rank in ranks:
            raise error
        return 0

    with contextlib.redirect_stderr(io.StringIO()) as printed:
        code = run_command("x.py", [], run)
    if joined:
        distributed.barrier()
        distributed.stop()
    return code, printed.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("joined", [False, True])
def test_what_all_meet_is_printed_once(two_processes, joined):
    found = two_processes.call(failing, 0, 1, joined=joined, error=ValueError("--flag 3: wrong"))
    assert sorted(found) == [(2, ""), (2, "x.py: error: --flag 3: wrong\n")]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_what_one_meets_is_printed_by_it(two_processes, rank):
    found = two_processes.call(failing, rank, joined=True, error=RuntimeError("lost"))
    assert found[rank] == (1, "x.py: error: lost\n") and found[1 - rank] == (0, "")

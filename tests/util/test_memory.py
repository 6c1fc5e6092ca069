"""Free memory, and memory that was freed."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from util.memory import free_memory, gigabytes, keep_freed_memory

REPO = Path(__file__).resolve().parents[2]


def test_free_memory_is_known_here_or_said_to_be_unknown() -> None:
    free = free_memory()
    assert free is None or 2**20 < free < 2**50


@pytest.mark.parametrize(("size", "text"), [(3 * 2**29, "1.5 GB"), (2**30, "1.0 GB"), (5 * 2**20, "5 MB")])
def test_sizes_are_said_in_their_unit(size: int, text: str) -> None:
    assert gigabytes(size) == text


def test_users_own_malloc_settings_win() -> None:
    assert keep_freed_memory({"MALLOC_ARENA_MAX": "1"}) is False
    assert keep_freed_memory({"GLIBC_TUNABLES": "glibc.malloc.check=1"}) is False


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_freed_memory_is_used_again_without_page_faults() -> None:
    code = """
import ctypes, resource, sys
from util.memory import free_memory, gigabytes, keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory({})
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(ctypes.c_size_t(64 << 20))
    ctypes.memset(block, 1, 64 << 20)
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print([faults() for _ in range(3)][-1])
"""
    known = {}
    for mode in ("keep", "default"):
        command = [sys.executable, "-c", code, mode]
        done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True, env={"PATH": ""})
        known[mode] = int(done.stdout)
    assert known["keep"] == 0 < known["default"]

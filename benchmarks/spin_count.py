"""How long OpenMP's threads should spin: seconds per step by ``GOMP_SPINCOUNT``, alone and beside other work.

    python -m benchmarks.spin_count [--counts 300000,0,1000,10000,100000] [--size 256] [--rounds 5] [--steps 4]
                                    [--threads 2] [--minutes 8] [flags of train.py]

One process for each count builds the model; then they take turns, a few steps at a time while the others sleep, so that
what else runs on the machine meets all of them. Beside nothing, beside an endless loop of low priority (nice 10) and
beside one of equal priority. Medians over the rounds, with the smallest and the largest. 300000 is libgomp's default.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
BESIDE = {"nothing": None, "a busy loop of nice 10": 10, "a busy loop of equal priority": 0}

WORKER = """
import logging, sys, time
from util.memory import keep_freed_memory
keep_freed_memory()
import torch
import train
logging.disable(logging.CRITICAL)
size, threads, *flags = sys.argv[1:]
torch.set_num_threads(int(threads))
sizes = ["--load_size", size, "--crop_size", size]
model = train.build_model(["--dataroot", "none", "--name", "none", "--gpu_ids", "-1", *sizes, *flags], 8)
batch = {side: torch.rand(1, 3, int(size), int(size)) * 2 - 1 for side in "AB"}
batch |= {"A_paths": ["a"], "B_paths": ["b"], "index": torch.tensor([0])}
model.train()
model.train_on(batch)
print("ready", flush=True)
for line in sys.stdin:
    begin = time.perf_counter()
    for _ in range(int(line)):
        model.train_on(batch)
    print(time.perf_counter() - begin, flush=True)
"""


class Process:
    """A model in a process of its own with one spin count; it sleeps until it is asked for steps."""

    def __init__(self, count: int, size: int, threads: int, flags: Sequence[str]) -> None:
        own = {"GOMP_SPINCOUNT": str(count), "OMP_NUM_THREADS": str(threads)}
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | own
        command = [sys.executable, "-c", WORKER, str(size), str(threads), *flags]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=REPO, env=environment, stdin=pipe, stdout=pipe, text=True)
        self._answer("ready")

    def seconds(self, steps: int) -> float:
        """Seconds per step of this many steps."""
        assert self._process.stdin
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        return float(self._answer()) / steps

    def _answer(self, expected: str = "") -> str:
        assert self._process.stdout
        line = self._process.stdout.readline().strip()
        if not line or (expected and line != expected):
            raise RuntimeError("a process that computes steps has ended; its error stands above")
        return line

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def busy(niceness: int | None) -> Iterator[None]:
    """One endless loop of this niceness beside what is measured; None for no loop."""
    if niceness is None:
        yield
        return
    loop = subprocess.Popen(["nice", "-n", str(niceness), sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        loop.kill()
        loop.wait()


def cell(seconds: Sequence[float]) -> str:
    """Median, smallest and largest."""
    return f"{statistics.median(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f})" if seconds else "-"


def main(argv: Sequence[str] | None = None) -> int:
    """Print one row of a Markdown table for each count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="300000,0,1000,10000,100000", help="values of GOMP_SPINCOUNT")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="steps at a time")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=8.0, help="no further round after these")
    known, rest = parser.parse_known_args(argv)
    end = time.monotonic() + 60 * known.minutes
    counts = [int(each) for each in known.counts.split(",")]
    found: dict[tuple[int, str], list[float]] = {(count, beside): [] for count in counts for beside in BESIDE}
    load, processes, rounds, longest = os.getloadavg()[0], {}, 0, 0.0
    try:
        for count in counts:
            processes[count] = Process(count, known.size, known.threads, rest or ["--model", "pix2pix"])
        while rounds < known.rounds and time.monotonic() + longest < end:
            begin = time.monotonic()
            for beside, niceness in BESIDE.items():
                with busy(niceness):
                    for count in counts[rounds % len(counts) :] + counts[: rounds % len(counts)]:
                        found[count, beside].append(processes[count].seconds(known.steps))
            rounds, longest = rounds + 1, max(longest, time.monotonic() - begin)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        for process in processes.values():
            process.close()
    print(f"load of the machine before: {load:.2f}; {rounds} rounds of {known.steps} steps")
    print(f"| GOMP_SPINCOUNT | beside {' | beside '.join(BESIDE)} |", "|" + " --- |" * (1 + len(BESIDE)), sep="\n")
    for count in counts:
        print(f"| {count} | {' | '.join(cell(found[count, beside]) for beside in BESIDE)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Two processes with a slow link between them: seconds per step by how their gradients travel.

    python -m benchmarks.link [--rate 200mbit] [--rounds 5] [--minutes 2] [--threads 1] [flags of train.py]

Each process lives in a network namespace of its own, and the only way between the two is a link of ``--rate`` in each
direction (Linux, as root: ``ip`` and ``tc``); ``--rate none`` leaves them on the machine's own network. Both train one
model on random images of ``--batch_size`` (half of them each), and take turns with the ways to exchange gradients, one
step after the other, so that what else runs on the machine meets all of them:

    afterwards      in float32, when backward has ended; the step waits for them at once
    during          in float32, while backward runs, as train.py does
    during, bf16    the same with --gradient_compression bf16
    no exchange     each process on its own: the time of computing alone

A step takes as long as in the slower process. Medians over the rounds, with the smallest and the largest.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from util.memory import keep_freed_memory
from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded
    keep_freed_memory()

import torch
from torch import nn

import train
from models.base_model import BaseModel
from util.run import distributed
from util.run.gradients import GradientAverage

REPO = Path(__file__).resolve().parents[1]
ADDRESSES = ("10.77.0.1", "10.77.0.2")


class AverageAfterwards(GradientAverage):
    """Sends nothing before backward has ended, and waits at once."""

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """As ``GradientAverage.sending``; at the end of the block the means are there."""
        yield
        with super().sending():
            pass
        super().receive()

    def receive(self) -> None:
        """Nothing is left to wait for."""


def ways_of(model: BaseModel) -> dict[str, dict[str, GradientAverage]]:
    """Way of the exchange -> optimizer -> average. Every process must call it."""
    ways: dict[str, dict[str, GradientAverage]] = {
        "afterwards": {},
        "during": {},
        "during, bf16": {},
        "no exchange": {},
    }
    for name, optimizer in model.optimizers.items():
        owned: list[nn.Parameter] = [each for group in optimizer.param_groups for each in group["params"]]
        group = distributed.group_for_gradients(model.engine.device)
        ways["afterwards"][name] = AverageAfterwards(owned, group)
        ways["during"][name] = GradientAverage(owned, group)
        ways["during, bf16"][name] = GradientAverage(owned, group, dtype=torch.bfloat16)
    return ways


def link_rate(megabytes: int = 16) -> float:
    """Mbit/s that each direction carries while numbers of so many MB are summed over two processes."""
    numbers = torch.zeros(megabytes * 250_000)
    distributed.barrier()
    begin = time.perf_counter()
    distributed.sum_over_processes(numbers)
    return megabytes * 8 / (time.perf_counter() - begin)


def random_batch(model: BaseModel, count: int, size: int) -> dict[str, Any]:
    """This process's images, with what else a batch has."""
    world = model.engine.world
    generator = torch.Generator().manual_seed(world.rank)
    images = {side: torch.rand(count, 3, size, size, generator=generator) * 2 - 1 for side in "AB"}
    paths = [f"{number}.png" for number in range(count)]
    whole = {"share": 1 / world.size, "global_size": count * world.size, "full_size": count * world.size}
    return {**images, "A_paths": paths, "B_paths": paths, "index": torch.arange(count), **whole}


def measure(rounds: int, seconds: float, flags: Sequence[str]) -> dict[str, Any]:
    """What one of the processes measures; see ``train.py`` for the flags.

    Args:
        rounds: at most this many.
        seconds: no round is begun that would end later.
        flags: of ``train.py``.

    Returns:
        ``steps``: way -> seconds of each step; ``gradients_mb`` in float32; ``mbit_per_s`` of the link.
    """
    known, _ = _shape().parse_known_args(flags)
    sizes = ["--load_size", str(known.crop_size), "--crop_size", str(known.crop_size)]
    words = ["--dataroot", "none", "--gpu_ids", "-1", *sizes, "--batch_size", str(known.batch_size), *flags]
    begin = time.perf_counter()
    model = train.build_model(words, 8)
    model.train()
    world = model.engine.world
    batch = random_batch(model, known.batch_size // world.size, known.crop_size)
    ways = ways_of(model)
    numbers = sum(
        p.numel() for each in model.optimizers.values() for group in each.param_groups for p in group["params"]
    )
    rate = link_rate() if world.size > 1 else 0.0
    model.gradient_averages = ways["during"]
    model.train_on(batch)  # the first step chooses and builds the kernels
    steps: dict[str, list[float]] = {way: [] for way in ways}
    first = time.perf_counter()
    for number in range(rounds):
        now = time.perf_counter()
        late = number > 0 and now - begin + (now - first) / number > seconds
        if distributed.gather(late)[0]:
            break
        for way, averages in ways.items():
            model.gradient_averages = averages
            distributed.barrier()
            start = time.perf_counter()
            model.train_on(batch)
            steps[way].append(max(distributed.gather(time.perf_counter() - start)))
    distributed.barrier()
    distributed.stop()
    return {"steps": steps, "gradients_mb": numbers * 4 / 1e6, "mbit_per_s": rate}


def _shape() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--crop_size", type=int, default=256)
    parser.add_argument("--batch_size", type=int, default=2)
    return parser


@contextlib.contextmanager
def namespaces(rate: str) -> Iterator[list[tuple[list[str], dict[str, str]]]]:
    """Two network namespaces with a link of this rate between them, gone at the end.

    Yields:
        for each process the words before its command, and its environment.

    Raises:
        RuntimeError: a command failed; with what it said.
    """
    if rate == "none":
        yield [([], {"MASTER_ADDR": "127.0.0.1"})] * 2
        return
    number = os.getpid()
    spaces, ends = [f"link{number}{side}" for side in "ab"], [f"l{number}{side}" for side in "ab"]
    try:
        for space in spaces:
            _run("ip", "netns", "add", space)
        _run("ip", "link", "add", ends[0], "netns", spaces[0], "type", "veth", "peer", ends[1], "netns", spaces[1])
        for space, end, address in zip(spaces, ends, ADDRESSES):
            _run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", end)
            _run("ip", "-n", space, "link", "set", "lo", "up")
            _run("ip", "-n", space, "link", "set", end, "up")
            shaper = ["root", "tbf", "rate", rate, "burst", "256kb", "latency", "50ms"]
            _run("ip", "netns", "exec", space, "tc", "qdisc", "add", "dev", end, *shaper)
        yield [
            (["ip", "netns", "exec", space], {"MASTER_ADDR": ADDRESSES[0], "GLOO_SOCKET_IFNAME": end})
            for space, end in zip(spaces, ends)
        ]
    finally:
        for space in spaces:  # the link goes with them
            subprocess.run(["ip", "netns", "del", space], capture_output=True)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise RuntimeError(f"{command[0]} is not installed: install iproute2, or give --rate none") from None
    if done.returncode:
        said = done.stderr.strip()
        raise RuntimeError(f"{' '.join(command)}: {said} (it needs root on Linux; --rate none does without)")


HEADER = "| | gradients MB | link Mbit/s | way | s/step | against afterwards |"


def table(title: str, found: Mapping[str, Any]) -> list[str]:
    """Lines of Markdown: a row for each way."""
    base = statistics.median(found["steps"]["afterwards"])
    rows = [HEADER, "|" + " --- |" * 6]
    for way, seconds in found["steps"].items():
        median = statistics.median(seconds)
        spread = f"{median:.2f} ({min(seconds):.2f} to {max(seconds):.2f})"
        cells = [title, f"{found['gradients_mb']:.0f}", f"{found['mbit_per_s']:.0f}", way, spread]
        rows.append(f"| {' | '.join(cells)} | {base / median:.2f} |")
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", default="200mbit", help="of the link, as tc writes it, or none")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=60.0, help="no round is begun that would end later")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    known, flags = parser.parse_known_args(argv)
    seconds = 60 * known.minutes
    if known.worker:
        print(json.dumps(measure(known.rounds, seconds, flags)), flush=True)
        distributed.leave(0)
    port = 20000 + os.getpid() % 20000
    common = {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_PORT": str(port), "OMP_NUM_THREADS": str(known.threads)}
    command = [sys.executable, "-m", "benchmarks.link", "--worker", "--rounds", str(known.rounds)]
    command += ["--minutes", str(known.minutes), *flags]
    print(f"load of the machine before: {os.getloadavg()[0]:.2f}", flush=True)
    processes: list[subprocess.Popen[str]] = []
    try:
        with namespaces(known.rate) as places:
            for rank, (before, own) in enumerate(places):
                environment = {**os.environ, **common, **own, "RANK": str(rank)}
                pipe = subprocess.PIPE
                settings: dict[str, Any] = {
                    "cwd": REPO,
                    "env": environment,
                    "text": True,
                    "stdout": pipe,
                    "stderr": pipe,
                }
                processes.append(subprocess.Popen([*before, *command], **settings))
            answers = [process.communicate() for process in processes]
            for process, (_, said) in zip(processes, answers):
                if process.returncode:
                    raise RuntimeError(f"a process failed: {said.strip()[-1500:]}")
    except RuntimeError as error:
        print(f"benchmarks.link: error: {error}", file=sys.stderr)
        return 1
    finally:
        for process in processes:
            process.kill()
    found = json.loads(answers[0][0].splitlines()[-1])
    print(f"{len(found['steps']['afterwards'])} rounds", *table(" ".join(flags), found), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

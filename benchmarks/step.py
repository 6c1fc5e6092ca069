"""A training step of two checkouts side by side: seconds, processor time, page faults and peak memory.

    python -m benchmarks.step --old DIR [--new DIR] [--models pix2pix,cycle_gan,atme,ugatit] [--size 256] [--rounds 5]
                              [--steps 3] [--threads 0] [--busy] [flags of train.py for both]

Each measurement is a process of its own, started as that checkout's train.py starts; old and new take turns, so that
what else runs on the machine meets both. Medians over the rounds; a ratio above 1 means that the new one needs less.
``--busy`` runs one endless loop of low priority beside them. ugatit is measured with ``--light``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.spin_count import busy

REPO = Path(__file__).resolve().parents[1]
HEADER = (
    "| model | old s/step | new s/step | ratio | old CPU s | new CPU s | ratio | old MB | new MB | ratio | faults |"
)
OWN_FLAGS = {"ugatit": ["--light"]}

WORKER = """
import contextlib, importlib, json, resource, statistics, sys, time
root, size, steps, threads, *flags = sys.argv[1:]
sys.path.insert(0, root)
for module, name in (("util.openmp", "share_processors"), ("util.memory", "keep_freed_memory")):
    with contextlib.suppress(ImportError, AttributeError):  # a checkout before they were added starts without them
        getattr(importlib.import_module(module), name)()
import logging
import torch
import train
logging.disable(logging.CRITICAL)
if int(threads):
    torch.set_num_threads(int(threads))
size = int(size)
sizes = ["--load_size", str(size), "--crop_size", str(size)]
model = train.build_model(["--dataroot", "none", "--name", "none", "--gpu_ids", "-1", *sizes, *flags], 8)
random = torch.Generator().manual_seed(0)
batch = {side: torch.rand(1, 3, size, size, generator=random) * 2 - 1 for side in "AB"}
batch |= {"A_paths": ["a"], "B_paths": ["b"], "index": torch.tensor([0])}
found = []
for _ in range(2 + int(steps)):
    use, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    model.set_input(batch)
    losses = model.optimize_parameters()
    wall, then = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_SELF)
    cpu = then.ru_utime + then.ru_stime - use.ru_utime - use.ru_stime
    found.append((wall, cpu, then.ru_minflt - use.ru_minflt))
seconds, cpu, faults = (statistics.median(column) for column in zip(*found[2:]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
losses = {name: float(value) for name, value in losses.items()}
print(json.dumps({"seconds": seconds, "cpu": cpu, "faults": faults, "mb": peak, "losses": losses}))
"""


def measure(root: Path, model: str, known: argparse.Namespace, rest: Sequence[str]) -> dict[str, float]:
    """One process of a checkout.

    Raises:
        RuntimeError: it failed; with the end of what it wrote.
    """
    numbers = [str(each) for each in (known.size, known.steps, known.threads)]
    flags = ["--model", model, *OWN_FLAGS.get(model, []), *rest]
    command = [sys.executable, "-c", WORKER, str(root.resolve()), *numbers, *flags]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{root}: --model {model} failed: {done.stderr.strip()[-1500:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(model: str, old: Sequence[Mapping[str, float]], new: Sequence[Mapping[str, float]]) -> str:
    """One line of the table from the rounds of both checkouts."""
    cells = [model]
    for key, digits in (("seconds", 3), ("cpu", 3), ("mb", 0)):
        before, after = (statistics.median(each[key] for each in found) for found in (old, new))
        cells += [f"{before:.{digits}f}", f"{after:.{digits}f}", f"{before / after:.2f}"]
    faults = [f"{statistics.median(each['faults'] for each in found):.0f}" for found in (old, new)]
    return f"| {' | '.join([*cells, ' to '.join(faults)])} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Print one row of a Markdown table for every model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=Path, required=True, help="folder of the checkout to compare with")
    parser.add_argument("--new", type=Path, default=REPO)
    parser.add_argument("--models", default="pix2pix,cycle_gan,atme,ugatit")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5, help="processes of each checkout")
    parser.add_argument("--steps", type=int, default=3, help="steps of each process, after two to warm up")
    parser.add_argument("--threads", type=int, default=0, help="0 = as many as torch takes")
    parser.add_argument("--busy", action="store_true", help="beside an endless loop of low priority")
    known, rest = parser.parse_known_args(argv)
    print(f"load of the machine before: {os.getloadavg()[0]:.2f}", HEADER, "|" + " --- |" * 11, sep="\n", flush=True)
    try:
        with busy(10 if known.busy else None):
            for model in known.models.split(","):
                both = (known.old, known.new)
                rounds = [[measure(root, model, known, rest) for root in both] for _ in range(known.rounds)]
                print(row(model, [old for old, _ in rounds], [new for _, new in rounds]), flush=True)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

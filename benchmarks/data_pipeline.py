"""Images/s of the data pipeline alone, in the first epoch and in later ones, and its memory; of two checkouts in turn.

    python -m benchmarks.data_pipeline --dataroot DIR [--old DIR] [--num_threads 0,2] [--seconds 3] [--rounds 3]
                                       [--rows "none|ram|disk|disk, on device|..."] [flags of train.py for all rows]

Each measurement is a process of its own. What an older checkout does not have is left out there. The first epoch
includes starting the workers and filling the cache. Memory is that of all processes together which the system cannot
take back; the pages of mapped files, which it can, are a column of their own (both proportional: what several processes
share counts once; Linux only). Values are medians over the rounds. Shards and the disk cache are made in a new folder.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
ROWS: Mapping[str, Sequence[str]] = {
    "none": (),
    "none, on device": ("--transform_on_device",),
    "ram": ("--cache", "ram"),
    "disk": ("--cache", "disk"),
    "disk, on device": ("--cache", "disk", "--transform_on_device"),
    "shards": ("--dataset_mode", "shards"),
    "shards, disk, on device": ("--dataset_mode", "shards", "--cache", "disk", "--transform_on_device"),
}
"""Row of the table -> its flags."""

HEADER = "| data | workers | checkout | first epoch | later | per worker | memory MB | mapped files MB | against old |"
MISSING = 3  # exit status of a measurement whose flags the checkout does not have

WORKER = """
import json, os, sys, time
root, seconds, *argv = sys.argv[1:]
sys.path.insert(0, root)
import logging
logging.disable(logging.CRITICAL)
import torch
from data import DATASETS
from data.loader import create_loader
from models import MODELS
from options.parse import parse_train
torch.set_num_threads(1)
try:
    o = parse_train(argv, MODELS, DATASETS)
except (ValueError, SystemExit) as error:
    print(error, file=sys.stderr)
    sys.exit(3)

def memory():
    own = os.getpid()
    found = {}
    for pid in [own, *map(int, open(f"/proc/{own}/task/{own}/children").read().split())]:
        for line in open(f"/proc/{pid}/smaps_rollup"):
            name, *rest = line.split()
            if name in ("Pss:", "Pss_File:"):
                found[name] = found.get(name, 0) + int(rest[0]) / 1024
    return {"memory": found["Pss:"] - found["Pss_File:"], "mapped": found["Pss_File:"]}

d = o.data
begin = time.perf_counter()
dataset = DATASETS.get(o.run.dataset_mode)(d, input_nc=o.model.input_nc, output_nc=o.model.output_nc, seed=0)
device = {"device": torch.device("cpu")} if getattr(d, "transform_on_device", False) else {}
how = {"batch_size": d.batch_size, "num_threads": d.num_threads, **device}
loader = create_loader(dataset, serial_batches=False, direction="AtoB", seed=0, **how)
count = sum(batch["global_size"] for batch in loader.batches(1))
first = count / (time.perf_counter() - begin)
count, epoch, begin = 0, 2, time.perf_counter()
while time.perf_counter() - begin < float(seconds):
    count += sum(batch["global_size"] for batch in loader.batches(epoch))
    epoch += 1
later = count / (time.perf_counter() - begin)
used = memory() if os.path.exists("/proc/self/smaps_rollup") else {"memory": 0.0, "mapped": 0.0}
print(json.dumps({"first": first, "later": later, "workers": loader.num_workers, **used}))
loader.close()
"""


def measure(root: Path, argv: Sequence[str], seconds: float) -> dict[str, float] | None:
    """One process of a checkout: images/s of the first and of later epochs, workers, MB; None if it lacks a flag.

    Raises:
        RuntimeError: it failed; with the end of what it wrote.
    """
    command = [sys.executable, "-c", WORKER, str(root.resolve()), str(seconds), *argv]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode == MISSING and root.resolve() != REPO:
        return None
    if done.returncode:
        raise RuntimeError(f"{root}: {' '.join(argv)} failed: {done.stderr.strip()[-1500:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(
    name: str, threads: str, checkout: str, rounds: Sequence[Mapping[str, float]], base: float | None = None
) -> str:
    """One line of the table; ``base`` are the images/s to compare with."""
    first, later, workers, memory, mapped = (
        statistics.median(each[key] for each in rounds) for key in ("first", "later", "workers", "memory", "mapped")
    )
    cells = [name, threads, checkout, f"{first:.0f}", f"{later:.0f}", f"{later / max(workers, 1):.0f}"]
    return f"| {' | '.join([*cells, f'{memory:.0f}', f'{mapped:.0f}', f'{later / base:.1f}' if base else ''])} |"


def make_shards(dataroot: str, folder: Path, mode: str) -> None:
    """Pack the data into the folder.

    Raises:
        RuntimeError: they cannot be packed.
    """
    command = [sys.executable, "scripts/make_shards.py", os.path.abspath(dataroot), "--out", str(folder)]
    done = subprocess.run([*command, "--dataset_mode", mode], cwd=REPO, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())


def startup_seconds(*argv: str) -> float:
    """Wall time of ``python train.py`` with these words, best of three."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "train.py", *argv], cwd=REPO, capture_output=True)
        times.append(time.perf_counter() - begin)
    return min(times)


def main(argv: Sequence[str] | None = None) -> int:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataroot", required=True)
    parser.add_argument("--old", type=Path, help="folder of another checkout to compare with")
    parser.add_argument("--num_threads", default="0,2", help="numbers of workers; default leaves out the flag")
    parser.add_argument("--seconds", type=float, default=3.0, help="of later epochs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=60.0, help="for each number of workers; no round goes beyond")
    parser.add_argument("--rows", default="|".join(ROWS), help="names of rows, with | between them")
    known, rest = parser.parse_known_args(argv)
    names = known.rows.split("|")
    if strange := [name for name in names if name not in ROWS]:
        parser.error(f"--rows {strange[0]}: choose from {'|'.join(ROWS)}")
    print(f"load of the machine before: {os.getloadavg()[0]:.2f}", HEADER, "|" + " --- |" * 9, sep="\n", flush=True)
    mode = rest[rest.index("--dataset_mode") + 1] if "--dataset_mode" in rest else "aligned"
    checkouts = {"old": known.old, "new": REPO} if known.old else {"new": REPO}
    try:
        with tempfile.TemporaryDirectory() as folder:
            if any("shards" in ROWS[name] for name in names):
                make_shards(known.dataroot, Path(folder, "shards"), mode)
            for threads in known.num_threads.split(","):
                found: dict[tuple[str, str], list[dict[str, float]]] = {}
                begin = time.monotonic()
                for number in range(known.rounds):
                    if number and (time.monotonic() - begin) * (1 + 1 / number) > 60 * known.minutes:
                        break
                    for name in names:
                        root = Path(folder, "shards") if "shards" in ROWS[name] else os.path.abspath(known.dataroot)
                        workers = [] if threads == "default" else ["--num_threads", threads]
                        own = ["--dataroot", str(root), *workers, *rest, *ROWS[name]]
                        if "disk" in ROWS[name]:
                            own += ["--cache_dir", str(Path(folder, f"{threads}-{number}-{name}"))]
                        for checkout, place in checkouts.items():
                            each = measure(place, own, known.seconds)
                            if each:
                                found.setdefault((name, checkout), []).append(each)
                base = statistics.median(each["later"] for each in found["none", "old"]) if known.old else None
                print(f"{max(map(len, found.values()))} rounds", file=sys.stderr)
                for (name, checkout), rounds in found.items():
                    print(row(name, threads, checkout, rounds, base), flush=True)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    print(
        f"\nstart-up: --help {startup_seconds('--help'):.2f} s, a mistyped flag {startup_seconds('--lrr', '1'):.2f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

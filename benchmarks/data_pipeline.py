"""Images/s of the data pipeline alone: workers, cache, and start-up time of the program.

python -m benchmarks.data_pipeline --dataroot DIR [--num_threads 0,2] [--seconds 5]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

from data import DATASETS
from data.loader import create_loader
from models import MODELS
from options.parse import parse_train

REPO = Path(__file__).resolve().parents[1]


def images_per_s(argv: Sequence[str], seconds: float) -> float:
    """Images per second that a loader gives; the first epoch (workers start, disk cache fills) is not counted."""
    o = parse_train(argv, MODELS, DATASETS)
    dataset_class = DATASETS.get(o.run.dataset_mode)
    dataset = dataset_class(o.data, input_nc=o.model.input_nc, output_nc=o.model.output_nc, seed=0)
    d = o.data
    loader = create_loader(
        dataset,
        batch_size=d.batch_size,
        num_threads=d.num_threads,
        serial_batches=False,
        direction=d.direction,
        seed=0,
    )
    for _ in loader.batches(1):
        pass
    count, epoch, begin = 0, 2, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        count += sum(batch["global_size"] for batch in loader.batches(epoch))
        epoch += 1
    rate = count / (time.perf_counter() - begin)
    loader.close()
    return rate


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
    parser.add_argument("--num_threads", default="0,2")
    parser.add_argument("--batch_size", default="1")
    parser.add_argument("--seconds", type=float, default=5.0)
    known, rest = parser.parse_known_args(argv)
    print("| workers | cache | images/s |", "| --- | --- | --- |", sep="\n")
    for threads in known.num_threads.split(","):
        for cache in ("none", "ram"):
            flags = ["--dataroot", known.dataroot, "--num_threads", threads, "--cache", cache]
            rate = images_per_s([*flags, "--batch_size", known.batch_size, *rest], known.seconds)
            print(f"| {threads} | {cache} | {rate:.0f} |", flush=True)
    print(
        f"\nstart-up: --help {startup_seconds('--help'):.2f} s, a mistyped flag {startup_seconds('--lrr', '1'):.2f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What AU-GAN's step saves by sharing forward passes: time, work and peak memory, each row in a fresh process.

python -m benchmarks.augan_forwards [--variants paper,port] [--crop_size 256] [--batch_size 1] [--seconds 6]
                                    [other flags of train.py]

The step makes four passes of the generators. All losses, and the discriminators, use their results, and a branch that
no loss looks at is left out (shared). Beside it: the same with every branch of every pass (every branch); and with
passes of their own for the discriminators, whose losses do not depend on the generators' step (again for D).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

import torch

import train
from benchmarks.measure import count_flops, seconds_per_call
from util.run.device import peak_memory_mb

REPO = Path(__file__).resolve().parents[1]
HEADER = "| variant | forward passes | ms/step | GFLOP/step | peak memory MB |"
WAYS = ("shared", "every branch", "again for D")


def change(model: Any, way: str) -> None:
    """Make a model in training compute more than it needs, in one of ``WAYS``; ``shared`` leaves it as it is."""
    if way == "every branch":
        for net in (model.networks["G_A"], model.networks["G_B"]):
            whole: Callable[..., Any] = net.forward
            net.forward = lambda x, whole=whole, noise=0.0, **unused: whole(x, noise=noise)
    elif way == "again for D":
        once = model.discriminator_losses

        def again() -> Any:
            with torch.no_grad():
                model.forward()
            return once()

        model.discriminator_losses = again


def measure(argv: Sequence[str], way: str, size: int, batch_size: int, seconds: float) -> dict[str, float]:
    """Measure one row in this process; ``argv`` are flags of train.py."""

    model = train.build_model(["--model", "augan", *argv], dataset_size=1000)
    change(model, way)
    paths = [f"{number}.png" for number in range(batch_size)]
    images = {side: torch.rand(batch_size, 3, size, size) * 2 - 1 for side in "AB"}

    def step() -> None:
        model.set_input({**images, "A_paths": paths, "B_paths": paths})
        model.optimize_parameters()

    flops = count_flops(step)
    time = seconds_per_call(step, model.engine.device, seconds=seconds)
    return {"ms": 1000 * time, "gflop": flops / 1e9, "memory_mb": peak_memory_mb(model.engine.device)}


def main(argv: Sequence[str] | None = None) -> int:
    """Print one row of a Markdown table for every variant and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", default="paper,port")
    parser.add_argument("--crop_size", type=int, default=256)
    parser.add_argument("--batch_size", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=6.0, help="time to measure for, per row")
    parser.add_argument("--way", choices=WAYS, help="one row, in this process, printed as JSON")
    known, rest = parser.parse_known_args(argv)
    if known.way:
        size = ["--load_size", str(known.crop_size), "--crop_size", str(known.crop_size)]
        flags = [*size, "--batch_size", str(known.batch_size), "--augan_variant", known.variants, *rest]
        print(json.dumps(measure(flags, known.way, known.crop_size, known.batch_size, known.seconds)))
        return 0
    print(HEADER, "|" + " --- |" * 5, sep="\n")
    for variant in known.variants.split(","):
        for way in WAYS:
            common = ["--crop_size", str(known.crop_size), "--batch_size", str(known.batch_size)]
            own = ["--variants", variant, "--way", way, "--seconds", str(known.seconds)]
            command = [sys.executable, "-m", "benchmarks.augan_forwards", *common, *own, *rest]
            done = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
            if done.returncode:
                print(f"{done.stderr[-2000:]}\n{variant}, {way}: failed", file=sys.stderr)
                return 1
            r = json.loads(done.stdout.splitlines()[-1])
            row = f"| {variant} | {way} | {r['ms']:.0f} | {r['gflop']:.1f} | {r['memory_mb']:.0f} |"
            print(row, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

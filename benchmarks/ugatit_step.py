"""A training step of U-GAT-IT: its plain form, ours, and ours with checkpointing, each in a fresh process.

python -m benchmarks.ugatit_step [--crop_size 256] [--ch 64] [--n_res 4] [--light] [--gpu_ids 0] [--seconds 6]

"Step alone" is the peak without what every form needs: weights, gradients and both moments of Adam.
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
from benchmarks.ugatit_plain import PlainDiscriminator, PlainGenerator, PlainTraining
from util.run.device import peak_memory_mb
from util.run.engine import start_engine

REPO = Path(__file__).resolve().parents[1]
FORMS = ("plain", "ours", "checkpointing")
HEADER = "| form | s/step | GFLOP/step | step alone MB | peak MB |"


def make_step(known: argparse.Namespace) -> tuple[Callable[[], object], dict[str, Any], Any]:
    """One training step on random images, its networks, and the device it runs on."""

    size, ch = known.crop_size, known.ch
    images = [torch.rand(1, 3, size, size) * 2 - 1 for _ in range(2)]
    if known.form == "plain":
        device = start_engine(gpu_ids=known.gpu_ids).device
        networks: dict[str, Any] = {
            name: PlainGenerator(ch, known.n_res, known.light, size).to(device) for name in ("G_A2B", "G_B2A")
        }
        for scale, n_layers in (("G", 7), ("L", 5)):
            networks |= {f"D_{scale}{side}": PlainDiscriminator(ch, n_layers).to(device) for side in "AB"}
        training, on_device = PlainTraining(networks), [image.to(device) for image in images]
        return lambda: training.step(*on_device), networks, device
    argv = ["--model", "ugatit", "--ch", str(ch), "--n_res", str(known.n_res), "--gpu_ids", known.gpu_ids]
    argv += ["--crop_size", str(size), "--load_size", str(size), "--light", str(known.light)]
    argv += ["--activation_checkpointing"] if known.form == "checkpointing" else []
    model = train.build_model(argv, dataset_size=1)
    batch = {"A": images[0], "B": images[1], "A_paths": ["a"], "B_paths": ["b"]}

    def step() -> None:
        model.set_input(batch)
        model.optimize_parameters()

    return step, model.networks, model.engine.device


def measure(known: argparse.Namespace) -> dict[str, float]:
    """Measure one form in this process."""
    before = peak_memory_mb(start_engine(gpu_ids=known.gpu_ids).device)
    step, networks, device = make_step(known)
    standing = 4 * sum(p.numel() * p.element_size() for net in networks.values() for p in net.parameters()) / 2**20
    seconds = seconds_per_call(step, device, seconds=known.seconds, warmup=1)
    peak = peak_memory_mb(device)
    gflop = count_flops(step) / 1e9
    return {"seconds": seconds, "gflop": gflop, "step_mb": peak - before - standing, "peak_mb": peak}


def main(argv: Sequence[str] | None = None) -> int:
    """Print one row of a Markdown table for every form."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crop_size", type=int, default=256)
    parser.add_argument("--ch", type=int, default=64)
    parser.add_argument("--n_res", type=int, default=4)
    parser.add_argument("--light", action="store_true")
    parser.add_argument("--gpu_ids", default="")
    parser.add_argument("--seconds", type=float, default=6.0, help="time to measure for, per form")
    parser.add_argument("--form", choices=FORMS, help="one form, in this process, printed as JSON")
    known = parser.parse_args(argv)
    if known.form:
        print(json.dumps(measure(known)))
        return 0
    print(HEADER, "|" + " --- |" * 5, sep="\n")
    for form in FORMS:
        command = [sys.executable, "-m", "benchmarks.ugatit_step", *argv, "--form", form]
        done = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
        if done.returncode:
            print(f"{done.stderr[-2000:]}\n{form}: failed with exit code {done.returncode}", file=sys.stderr)
            return 1
        r = json.loads(done.stdout.splitlines()[-1])
        row = f"{r['seconds']:.3f} | {r['gflop']:.1f} | {r['step_mb']:.0f} | {r['peak_mb']:.0f}"
        print(f"| {form} | {row} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

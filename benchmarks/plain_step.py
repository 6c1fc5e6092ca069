"""A training step: in the published code's plain form, ours, ours with checkpointing.

python -m benchmarks.plain_step [--models pix2pix,cycle_gan,atme,ugatit] [--crop_size 256] [--ch 64] [--n_res 4]
                                [--light] [--forms plain,ours,checkpointing] [--rounds 5] [--gpu_ids 0] [--seconds 6]

Each measurement is a process of its own; the forms take turns, so that what else runs on the machine meets all of them.
Medians over the rounds. "Step alone" is the peak without what every form needs: weights, gradients and both moments of
Adam. The plain form runs as a script of its own would: torch's threads and malloc as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from util.memory import keep_freed_memory
from util.openmp import share_processors

if __name__ == "__main__" and "plain" not in sys.argv:
    share_processors()  # before torch is loaded
    keep_freed_memory()

import torch

import train
from benchmarks import atme_plain, pix2pix_plain
from benchmarks.measure import count_flops, seconds_per_call
from benchmarks.ugatit_plain import PlainDiscriminator, PlainGenerator, PlainTraining
from util.run.device import peak_memory_mb
from util.run.engine import start_engine

REPO = Path(__file__).resolve().parents[1]
FORMS = ("plain", "ours", "checkpointing")
HEADER = "| model | form | s/step | of plain | GFLOP/step | step alone MB | of plain | peak MB |"
CAN_CHECKPOINT = ("ugatit", "atme")


def make_step(model: str, form: str, known: argparse.Namespace) -> tuple[Callable[[], object], dict[str, Any], Any]:
    """One training step on random images, its networks, and the device it runs on."""
    size, ch = known.crop_size, known.ch
    images = [torch.rand(1, 3, size, size) * 2 - 1 for _ in range(2)]
    if form == "plain":
        device = start_engine(gpu_ids=known.gpu_ids).device
        networks: dict[str, Any] = {}
        training: Any
        if model == "ugatit":
            networks = {name: PlainGenerator(ch, known.n_res, known.light, size) for name in ("G_A2B", "G_B2A")}
            for scale, n_layers in (("G", 7), ("L", 5)):
                networks |= {f"D_{scale}{side}": PlainDiscriminator(ch, n_layers) for side in "AB"}
            training = PlainTraining({name: net.to(device) for name, net in networks.items()})
        elif model == "atme":
            networks = {name: net.to(device) for name, net in atme_plain.plain_networks(ch, size).items()}
            training = atme_plain.PlainTraining(networks, torch.rand(1, 1, size // 8 - 2, size // 8 - 2, device=device))
        else:
            networks = {name: net.to(device) for name, net in pix2pix_plain.plain_networks(model, ch).items()}
            training = pix2pix_plain.PlainTraining(networks)
        on_device = [image.to(device) for image in images]
        return lambda: training.step(*on_device), networks, device
    argv = ["--model", model, "--gpu_ids", known.gpu_ids, "--crop_size", str(size), "--load_size", str(size)]
    if model == "ugatit":
        argv += ["--ch", str(ch), "--n_res", str(known.n_res), "--light", str(known.light)]
    else:
        argv += ["--ngf", str(ch), "--ndf", str(ch)]
        argv += ["--dim", str(ch), "--init_dim", str(ch)] if model == "atme" else []
    argv += ["--activation_checkpointing"] if form == "checkpointing" else []
    ours = train.build_model(argv, dataset_size=1)
    batch = {"A": images[0], "B": images[1], "A_paths": ["a"], "B_paths": ["b"], "index": torch.tensor([0])}

    def step() -> None:
        ours.set_input(batch)
        ours.optimize_parameters()

    return step, ours.networks, ours.engine.device


def measure(model: str, form: str, known: argparse.Namespace) -> dict[str, float]:
    """Measure one form in this process."""
    before = peak_memory_mb(start_engine(gpu_ids=known.gpu_ids).device)
    step, networks, device = make_step(model, form, known)
    standing = 4 * sum(p.numel() * p.element_size() for net in networks.values() for p in net.parameters()) / 2**20
    seconds = seconds_per_call(step, device, seconds=known.seconds, warmup=2)
    peak = peak_memory_mb(device)
    gflop = count_flops(step) / 1e9
    return {"seconds": seconds, "gflop": gflop, "step_mb": peak - before - standing, "peak_mb": peak}


def rows(model: str, found: dict[str, list[dict[str, float]]]) -> list[str]:
    """The lines of one model's forms, from their rounds; ratios above 1 mean that plain needs more."""
    median = {
        form: {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
        for form, rounds in found.items()
    }
    lines = []
    for form, r in median.items():
        ratios = [""] * 2
        if form != "plain" and "plain" in median:
            ratios = [f"{median['plain'][key] / r[key]:.2f}" for key in ("seconds", "step_mb")]
        cells = [model, form, f"{r['seconds']:.3f}", ratios[0], f"{r['gflop']:.1f}", f"{r['step_mb']:.0f}", ratios[1]]
        lines.append(f"| {' | '.join([*cells, format(r['peak_mb'], '.0f')])} |")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Print one row of a Markdown table for every model and form."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="pix2pix,cycle_gan,atme,ugatit")
    parser.add_argument("--crop_size", type=int, default=256)
    parser.add_argument("--ch", type=int, default=64, help="width: ch, ngf, ndf and dim")
    parser.add_argument("--n_res", type=int, default=4, help="of U-GAT-IT")
    parser.add_argument("--light", action="store_true", help="of U-GAT-IT")
    parser.add_argument("--forms", default="plain,ours", help="of plain, ours, checkpointing (U-GAT-IT, ATME)")
    parser.add_argument("--rounds", type=int, default=5, help="processes of each form")
    parser.add_argument("--gpu_ids", default="")
    parser.add_argument("--seconds", type=float, default=6.0, help="time to measure for, per process")
    parser.add_argument("--form", choices=FORMS, help="one form of the first model, in this process, printed as JSON")
    known = parser.parse_args(argv)
    if known.form:
        print(json.dumps(measure(known.models.split(",")[0], known.form, known)))
        return 0
    print(f"load of the machine before: {os.getloadavg()[0]:.2f}", "", HEADER, "|" + " --- |" * 8, sep="\n", flush=True)
    for model in known.models.split(","):
        found: dict[str, list[dict[str, float]]] = {}
        for _ in range(known.rounds):
            for form in known.forms.split(","):
                if form == "checkpointing" and model not in CAN_CHECKPOINT:
                    continue
                command = [sys.executable, "-m", "benchmarks.plain_step", *argv, "--models", model, "--form", form]
                done = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
                if done.returncode:
                    print(f"{done.stderr[-2000:]}\n{model}, {form}: exit code {done.returncode}", file=sys.stderr)
                    return 1
                found.setdefault(form, []).append(json.loads(done.stdout.splitlines()[-1]))
        print(*rows(model, found), sep="\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

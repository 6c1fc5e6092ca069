"""Images/s, share of the convolution limit and peak memory of one training step, each setting in a fresh process.

python -m benchmarks.train_step [--model pix2pix] [--netG unet_256,resnet_9blocks] [--batch_size 1,8]
                                [--precision fp32,bf16] [--crop_size 256] [--gpu_ids 0] [other flags of train.py]
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
HEADER = "| netG | batch | precision | images/s | GFLOP/step | GFLOP/s | plain conv GFLOP/s | share | peak memory MB |"


def measure(argv: Sequence[str], size: int, batch_size: int, seconds: float) -> dict[str, float]:
    """Measure one setting in this process; ``argv`` are flags of train.py."""
    import torch

    import train
    from benchmarks.measure import convolution_rate, count_flops, seconds_per_call
    from util.device import peak_memory_mb

    model = train.build_model(argv, dataset_size=1000)
    channels = (("A", model.options.input_nc), ("B", model.options.output_nc))  # type: ignore[attr-defined]
    batch = {side: torch.rand(batch_size, number, size, size) * 2 - 1 for side, number in channels}

    def step() -> None:
        model.set_input({**batch, "index": torch.arange(batch_size)})
        model.optimize_parameters()

    step()
    memory = peak_memory_mb(model.engine.device)  # before the plain convolution, which needs memory of its own
    flops = count_flops(step)
    time = seconds_per_call(step, model.engine.device, seconds=seconds)
    memory = max(memory, peak_memory_mb(model.engine.device))
    limit = convolution_rate(model.engine, batch_size, seconds=seconds / 3)
    rate = flops / time
    return {
        "images_per_s": batch_size / time,
        "gflop_per_step": flops / 1e9,
        "gflop_per_s": rate / 1e9,
        "conv_gflop_per_s": limit / 1e9,
        "share": rate / limit,
        "memory_mb": memory,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print one row of a Markdown table for every combination."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--netG", default="unet_256,resnet_9blocks")
    parser.add_argument("--batch_size", default="1,8")
    parser.add_argument("--precision", default="fp32,bf16")
    parser.add_argument("--crop_size", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=6.0, help="time to measure for, per setting")
    parser.add_argument("--json", action="store_true", help="one setting, in this process, printed as JSON")
    known, rest = parser.parse_known_args(argv)
    settings = list(itertools.product(known.netG.split(","), known.batch_size.split(","), known.precision.split(",")))
    size = ["--load_size", str(known.crop_size), "--crop_size", str(known.crop_size)]
    if known.json:
        ((net, batch, precision),) = settings
        flags = ["--netG", net, "--batch_size", batch, "--precision", precision, *size, *rest]
        print(json.dumps(measure(flags, known.crop_size, int(batch), known.seconds)))
        return 0
    print(HEADER, "|" + " --- |" * 9, sep="\n")
    for net, batch, precision in settings:
        one = ["--netG", net, "--batch_size", batch, "--precision", precision, "--crop_size", str(known.crop_size)]
        command = [
            sys.executable,
            "-m",
            "benchmarks.train_step",
            "--json",
            "--seconds",
            str(known.seconds),
            *one,
            *rest,
        ]
        done = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
        if done.returncode:
            print(done.stderr[-2000:], file=sys.stderr)
            return 1
        r = json.loads(done.stdout.splitlines()[-1])
        print(
            f"| {net} | {batch} | {precision} | {r['images_per_s']:.2f} | {r['gflop_per_step']:.1f} | "
            f"{r['gflop_per_s']:.0f} | {r['conv_gflop_per_s']:.0f} | {r['share']:.2f} | {r['memory_mb']:.0f} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Images/s, share of the convolution limit and peak memory of one training step, each setting in a fresh process.

python -m benchmarks.train_step [--netG unet_256,resnet_9blocks,unet_256_ddm,sagan] [--batch_size 1,8]
                                [--precision fp32,bf16] [--checkpointing off,on] [--crop_size 256] [--gpu_ids 0]
                                [--model pix2pix] [other flags of train.py]

A generator is trained by pix2pix, unet_256_ddm by atme, unless --model says otherwise; sagan is the model of that name,
with 10 classes. A second table has the memory
that one more image of a batch takes: the difference between the smallest and the largest batch size.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

import torch

import train
from benchmarks.measure import convolution_rate, count_flops, seconds_per_call
from util.run.device import peak_memory_mb

REPO = Path(__file__).resolve().parents[1]
HEADER = "| netG | batch | precision | images/s | GFLOP/step | GFLOP/s | plain conv GFLOP/s | share | peak memory MB |"
MEMORY_HEADER = "| netG | precision | batch sizes | MB per image |"
ATME_GENERATOR = "unet_256_ddm"
SAGAN = "sagan"
CLASSES = 10


@dataclass(frozen=True)
class Setting:
    """One row."""

    netG: str
    checkpointing: str  # on or off
    precision: str
    batch_size: int

    @property
    def label(self) -> str:
        """What its first column says."""
        return f"{self.netG}, checkpointing" if self.checkpointing == "on" else self.netG

    def own_words(self) -> list[str]:
        """The flags of this program for it."""
        return [
            *("--netG", self.netG, "--batch_size", str(self.batch_size)),
            *("--precision", self.precision, "--checkpointing", self.checkpointing),
        ]

    def train_words(self, given: Sequence[str]) -> list[str]:
        """The flags of train.py, with those ``given`` on the command line."""
        words = ["--batch_size", str(self.batch_size), "--precision", self.precision]
        if self.netG == SAGAN:
            return [*words, "--model", "sagan", "--num_classes", str(CLASSES), *given]
        words += ["--netG", self.netG]
        words += ["--model", "atme" if self.netG == ATME_GENERATOR else "pix2pix"]
        words += ["--activation_checkpointing"] if self.checkpointing == "on" else []
        return [*words, *given]


def settings_of(known: argparse.Namespace) -> list[Setting]:
    """Every combination; checkpointing is ATME's alone."""
    combinations = itertools.product(
        known.netG.split(","),
        known.checkpointing.split(","),
        map(int, known.batch_size.split(",")),
        known.precision.split(","),
    )
    found = (
        Setting(netG, checkpointing if netG == ATME_GENERATOR else "off", precision, batch_size)
        for netG, checkpointing, batch_size, precision in combinations
    )
    return list(dict.fromkeys(found))


def measure(argv: Sequence[str], size: int, batch_size: int, seconds: float) -> dict[str, float]:
    """Measure one setting in this process; ``argv`` are flags of train.py.

    What checkpointing computes a second time is counted as work done.
    """

    model = train.build_model(argv, dataset_size=1000)
    channels = (("A", model.options.input_nc), ("B", model.options.output_nc))  # type: ignore[attr-defined]
    batch = {side: torch.rand(batch_size, number, size, size) * 2 - 1 for side, number in channels}
    if "image" in model.needs:
        batch |= {"image": batch["A"], "label": torch.arange(batch_size) % CLASSES}
    paths = [f"{number}.png" for number in range(batch_size)]

    def step() -> None:
        model.set_input({**batch, "A_paths": paths, "B_paths": paths, "index": torch.arange(batch_size)})
        model.optimize_parameters()

    step()
    memory = peak_memory_mb(model.engine.device)  # before the plain convolution, which needs memory of its own
    flops = count_flops(step)
    time = seconds_per_call(step, model.engine.device, seconds=seconds)
    memory = max(memory, peak_memory_mb(model.engine.device))
    limit = convolution_rate(model.engine, batch_size, seconds=seconds / 3)
    rate = flops / time
    return {
        "seconds_per_step": time,
        "images_per_s": batch_size / time,
        "gflop_per_step": flops / 1e9,
        "gflop_per_s": rate / 1e9,
        "conv_gflop_per_s": limit / 1e9,
        "share": rate / limit,
        "memory_mb": memory,
    }


def memory_rows(measured: Mapping[Setting, float]) -> list[str]:
    """Rows of the second table.

    Args:
        measured: peak memory of each setting in MB.

    Returns:
        One row for each generator and precision that was measured with several batch sizes.
    """
    groups: dict[tuple[str, str], dict[int, float]] = {}
    for setting, memory in measured.items():
        groups.setdefault((setting.label, setting.precision), {})[setting.batch_size] = memory
    rows = []
    for (label, precision), by_size in groups.items():
        few, many = min(by_size), max(by_size)
        if few < many:
            each = (by_size[many] - by_size[few]) / (many - few)
            rows.append(f"| {label} | {precision} | {few} and {many} | {each:.0f} |")
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Print one row of a Markdown table for every combination, then the table of memory per image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--netG", default="unet_256,resnet_9blocks")
    parser.add_argument("--batch_size", default="1,8")
    parser.add_argument("--precision", default="fp32,bf16")
    parser.add_argument("--checkpointing", default="off", help=f"off,on: {ATME_GENERATOR} without and with it")
    parser.add_argument("--crop_size", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=6.0, help="time to measure for, per setting")
    parser.add_argument("--json", action="store_true", help="one setting, in this process, printed as JSON")
    known, rest = parser.parse_known_args(argv)
    settings = settings_of(known)
    if known.json:
        (setting,) = settings
        size = ["--load_size", str(known.crop_size), "--crop_size", str(known.crop_size)]
        print(
            json.dumps(measure(setting.train_words([*size, *rest]), known.crop_size, setting.batch_size, known.seconds))
        )
        return 0
    print(HEADER, "|" + " --- |" * 9, sep="\n")
    memory = {}
    for setting in settings:
        common = ["--crop_size", str(known.crop_size), "--seconds", str(known.seconds)]
        command = [sys.executable, "-m", "benchmarks.train_step", "--json", *common, *setting.own_words(), *rest]
        done = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
        if done.returncode:
            where = f"{setting.label}, batch {setting.batch_size}, {setting.precision}"
            print(f"{done.stderr[-2000:]}\n{where}: failed with exit code {done.returncode}", file=sys.stderr)
            return 1
        r = json.loads(done.stdout.splitlines()[-1])
        memory[setting] = r["memory_mb"]
        print(
            f"| {setting.label} | {setting.batch_size} | {setting.precision} | {r['images_per_s']:.2f} | "
            f"{r['gflop_per_step']:.1f} | {r['gflop_per_s']:.0f} | {r['conv_gflop_per_s']:.0f} | {r['share']:.2f} | "
            f"{r['memory_mb']:.0f} |",
            flush=True,
        )
    if rows := memory_rows(memory):
        print("", MEMORY_HEADER, "|" + " --- |" * 4, *rows, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Images/s, share of the convolution limit and peak memory of one training step, each setting in a fresh process.

python -m benchmarks.train_step [--netG unet_256,resnet_9blocks,unet_256_ddm,sagan] [--batch_size 1,8]
                                [--precision fp32,bf16] [--checkpointing off,on] [--crop_size 256] [--gpu_ids 0]
                                [--model pix2pix] [--results FILE] [--output FILE --block NAME]
                                [other flags of train.py]

A generator is trained by pix2pix, unet_256_ddm by atme, unless --model says otherwise; sagan is the model of that name,
with 10 classes. A second table has the memory
that one more image of a batch takes: the difference between the smallest and the largest batch size.

--results keeps every row as a line of JSON, with the machine and the time, and settings that it has are not measured
again: the same command goes on after a stop. --output --block puts the tables of all rows that were kept between the
two comments <!-- table NAME: begin --> and <!-- table NAME: end --> of a Markdown page.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

import torch

import train
from benchmarks.measure import convolution_rate, count_flops, machine, seconds_per_call
from util.exit_code import EXIT_DONE, EXIT_FAILED, run_command
from util.files import replace_text
from util.pages.markdown import with_block
from util.run.device import peak_memory_mb
from util.run.folder import check_writable, make_folder

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


def measure(argv: Sequence[str], size: int, batch_size: int, seconds: float) -> dict[str, float | str]:
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
        "machine": machine(model.engine.device),
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


@dataclass(frozen=True)
class Row:
    """What was measured of a setting, with all that it depends on.

    Attributes:
        size: width and height of the images.
        flags: other flags of train.py.
        numbers: those of ``measure``.
        machine: where it was measured, in one line.
        time: when, ISO 8601.
    """

    setting: Setting
    size: int
    flags: tuple[str, ...]
    numbers: Mapping[str, float]
    machine: str
    time: str

    @property
    def key(self) -> tuple[Setting, int, tuple[str, ...]]:
        """What is not measured twice."""
        return self.setting, self.size, self.flags

    def markdown(self) -> str:
        """A row of the first table."""
        r, setting = self.numbers, self.setting
        return (
            f"| {setting.label} | {setting.batch_size} | {setting.precision} | {r['images_per_s']:.2f} | "
            f"{r['gflop_per_step']:.1f} | {r['gflop_per_s']:.0f} | {r['conv_gflop_per_s']:.0f} | {r['share']:.2f} | "
            f"{r['memory_mb']:.0f} |"
        )


def read_rows(file: Path | None) -> list[Row]:
    """The rows that ``--results`` holds; none without the file."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines() if file and file.is_file() else ():
        found = json.loads(line)
        rows.append(Row(**{**found, "setting": Setting(**found["setting"]), "flags": tuple(found["flags"])}))
    return rows


def tables(rows: Sequence[Row]) -> str:
    """Both tables as Markdown, and below them where and how the rows were measured."""
    lines = [HEADER, "|" + " --- |" * 9, *(row.markdown() for row in rows), ""]
    if several := memory_rows({row.setting: row.numbers["memory_mb"] for row in rows}):
        lines += [MEMORY_HEADER, "|" + " --- |" * 4, *several, ""]
    ways = dict.fromkeys((row.machine, row.size, row.flags, row.time[:10]) for row in rows)
    for where, size, flags, day in ways:
        words = f", {shlex.join(flags)}" if flags else ""
        lines.append(f"- {size}x{size} pixels{words}; {where}; {day}")
    return "\n".join([*lines, "- made by `python -m benchmarks.train_step`, each row in a process of its own"]) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Print one row of a Markdown table for every combination, then the table of memory per image."""
    return run_command("benchmarks/train_step.py", argv, _run)


def _run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--netG", default="unet_256,resnet_9blocks")
    parser.add_argument("--batch_size", default="1,8")
    parser.add_argument("--precision", default="fp32,bf16")
    parser.add_argument("--checkpointing", default="off", help=f"off,on: {ATME_GENERATOR} without and with it")
    parser.add_argument("--crop_size", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=6.0, help="time to measure for, per setting")
    parser.add_argument("--json", action="store_true", help="one setting, in this process, printed as JSON")
    parser.add_argument(
        "--results", type=Path, metavar="FILE", help="keeps the rows as lines of JSON, and goes on there"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="Markdown page that gets the tables")
    parser.add_argument("--block", metavar="NAME", help="block of --output that is replaced")
    known, rest = parser.parse_known_args(argv)
    if (known.output is None) != (known.block is None):
        raise ValueError("--output FILE and --block NAME belong together: give both or neither")
    settings = settings_of(known)
    if known.json:
        (setting,) = settings
        size = ["--load_size", str(known.crop_size), "--crop_size", str(known.crop_size)]
        print(
            json.dumps(measure(setting.train_words([*size, *rest]), known.crop_size, setting.batch_size, known.seconds))
        )
        return EXIT_DONE
    if known.output:
        with_block(known.output, known.block, "")  # before anything is measured
    if known.results:
        check_writable(known.results, f"--results {known.results}")
        make_folder(known.results.parent, f"--results {known.results}")
    done = {row.key: row for row in read_rows(known.results)}
    rows = []
    for setting in settings:
        row = done.get((setting, known.crop_size, tuple(rest))) or _measured(setting, known, rest)
        if row is None:
            return EXIT_FAILED
        if known.results and row.key not in done:
            with known.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(row)) + "\n")
        rows.append(row)
        print(*([] if len(rows) > 1 else [HEADER, "|" + " --- |" * 9]), row.markdown(), sep="\n", flush=True)
    if several := memory_rows({row.setting: row.numbers["memory_mb"] for row in rows}):
        print("", MEMORY_HEADER, "|" + " --- |" * 4, *several, sep="\n")
    if known.output:
        kept = {row.key: row for row in (*read_rows(known.results), *rows)}
        names = list(dict.fromkeys(row.setting.label for row in kept.values()))
        ordered = sorted(kept.values(), key=lambda row: (names.index(row.setting.label), row.setting.batch_size))
        replace_text(known.output, [with_block(known.output, known.block, tables(ordered))])
        print(f"written: {known.output}")
    return EXIT_DONE


def _measured(setting: Setting, known: argparse.Namespace, rest: Sequence[str]) -> Row | None:
    """A setting measured in a process of its own; None, and a line on stderr, if that fails."""
    common = ["--crop_size", str(known.crop_size), "--seconds", str(known.seconds)]
    command = [sys.executable, "-m", "benchmarks.train_step", "--json", *common, *setting.own_words(), *rest]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
    if done.returncode:
        where = f"{setting.label}, batch {setting.batch_size}, {setting.precision}"
        print(f"{done.stderr[-2000:]}\n{where}: failed with exit code {done.returncode}", file=sys.stderr)
        return None
    numbers = json.loads(done.stdout.splitlines()[-1])
    where = numbers.pop("machine")
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    return Row(setting, known.crop_size, tuple(rest), numbers, where, now)


if __name__ == "__main__":
    sys.exit(main())

"""What the doctor says of small trainings that are made to fail, and whether it is silent on healthy ones.

python -m benchmarks.doctor [--only NAME,NAME] [--keep DIR]

Draws its data, trains at 32 pixels on the CPU, some minutes in all, and prints the tables of docs/doctor.md.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

import numpy as np
from PIL import Image

import train
from models.base_model import BaseModel
from util.files import LineFile
from util.images.io import save_array
from util.loggers.doctor_log import read_findings

REPO = Path(__file__).resolve().parents[1]
SIZE, IMAGES = 32, 20
COMMON = ["--gpu_ids", "-1", "--display_id", "0", "--num_threads", "0", "--no_html", "--overwrite"]
COMMON += ["--load_size", "36", "--crop_size", str(SIZE), "--ngf", "8", "--ndf", "8", "--netG", "resnet_6blocks"]
COMMON += ["--print_freq", "10", "--display_freq", "20", "--save_epoch_freq", "1000", "--save_latest_freq", "1000000"]
"""Epochs have 20 images: 20 records of losses are 10 epochs, and 5 pictures are 5."""

Change = Callable[[Path], None]


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        name: of the run.
        what: how it fails, for the table.
        flags: of train.py, beside ``COMMON``.
        data: folder of the drawn data.
        expected: the sign that has to be among those reported; empty for a healthy run.
        G_rate: factor on the learning rate of the generator, which no flag gives.
        then: a second start with these flags, after the first.
    """

    name: str
    what: str
    flags: Sequence[str]
    data: str = "facades"
    expected: str = ""
    G_rate: float = 1.0
    then: Sequence[str] = ()


def epochs(number: int, decay: int = 0) -> list[str]:
    return ["--n_epochs", str(number), "--n_epochs_decay", str(decay)]


PIX2PIX = ["--model", "pix2pix", "--direction", "BtoA", "--no_dropout"]
UNPAIRED = ["--dataset_mode", "unaligned"]
ATME = ["--netG", "unet_256_ddm", "--dim", "8", "--init_dim", "8", "--groups", "4", "--dim_mults", "1,2"]
UGATIT = ["--n_res", "1", "--n_layers_global", "5", "--n_layers_local", "3", "--mlp_pool", "1"]
SAGAN = ["--model", "sagan", "--nz", "16", "--attn_res_G", "8", "--attn_res_D", "8", "--batch_size", "8"]
EVALUATE = ["--eval_freq", "4", "--eval_metrics", "l1", "--eval_phase", "test"]

FAILING = (
    Run("d_won", "learning rate of G 1,000 times lower, `--ndf 32`", [*PIX2PIX, *epochs(30), "--ndf", "32"],
        expected="d_won", G_rate=1e-3),
    Run("d_won_cycle", "CycleGAN, `--lr 0.002`, that of the generators 10,000 times lower",
        ["--model", "cycle_gan", *epochs(25), "--lr", "0.002"], "daynight", "d_won", G_rate=1e-4),
    Run("constant", "dead weights: `--init_gain 0 --lr 0`", [*PIX2PIX, *epochs(6), "--init_gain", "0", "--lr", "0"],
        expected="constant"),
    Run("diverging", "`--lr 1`", [*PIX2PIX, *epochs(12), "--lr", "1"], expected="diverging"),
    Run("diverging_sagan", "SAGAN, `--lr_D 1`", [*SAGAN, *epochs(12), "--lr_D", "1"], "shapes", "diverging"),
    Run("inverted", "targets turned into their negatives in mid-run", [*PIX2PIX, *epochs(12)], expected="inverted",
        then=[*epochs(18), "--lr", "0.00002"]),
    Run("checkerboard", "transposed convolutions, `--ngf 2 --lr 0.00002`, 60 steps",
        [*PIX2PIX, "--n_iters", "60", "--ngf", "2", "--display_freq", "4", "--lr", "0.00002"], expected="checkerboard"),
    Run("overfitting", "4 images, 100 epochs", [*PIX2PIX, *epochs(100), *EVALUATE, "--max_dataset_size", "4",
        "--ngf", "16", "--no_flip", "--load_size", "32"], expected="overfitting"),
    Run("range", "12 bits in 16-bit files, without `--value_range`", [*PIX2PIX, *epochs(6)], "twelve_bit", "range"),
)  # fmt: skip

HEALTHY = (
    Run("pix2pix", "", [*PIX2PIX, *epochs(10, 10), *EVALUATE]),
    Run("cycle_gan", "", ["--model", "cycle_gan", *epochs(10)], "daynight"),
    Run("ugatit", "", ["--model", "ugatit", *UGATIT, *epochs(10)], "daynight"),
    Run("atme", "", ["--model", "atme", "--direction", "BtoA", *ATME, *epochs(10)]),
    Run("atme_unpaired", "", ["--model", "atme_unpaired", *ATME, *epochs(10)], "daynight"),
    Run("augan", "", ["--model", "augan", *epochs(16)], "daynight"),
    Run("sagan", "", [*SAGAN, *epochs(10)], "shapes"),
    Run("stochastic", "", ["--model", "stochastic", "--direction", "BtoA", *epochs(10)]),
    Run("colorization", "", ["--model", "colorization", *epochs(10)], "colour"),
    Run("adversarial_losses", "", ["--model", "adversarial_losses", "--direction", "BtoA", *epochs(10)]),
)


def draw_data(root: Path) -> None:
    """Facades (pairs), their negatives and a 12-bit copy, day and night (unpaired), shapes (classes), colour photos."""
    for kind in ("facades", "daynight", "shapes"):
        numbers = ["--size", str(SIZE), "--n_train", str(IMAGES), "--n_test", "0" if kind == "shapes" else "8"]
        command = [sys.executable, "datasets/make_demo.py", kind, "--out", str(root / kind), *numbers]
        subprocess.run(command, cwd=REPO, check=True, stdout=subprocess.DEVNULL)
    for file in sorted((root / "facades").glob("t*/*.png")):
        pair = np.asarray(Image.open(file).convert("RGB"))
        photo, label = np.split(pair, 2, axis=1)
        _save(root / "negative" / file.parent.name / file.name, np.concatenate([255 - photo, label], axis=1))
        _save(root / "colour" / file.parent.name / file.name, photo)
        deep = (pair.astype(np.float64) / 255 * 4095).astype(np.uint16)
        _save(root / "twelve_bit" / file.parent.name / file.name, deep)


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_array(path, pixels)


@contextlib.contextmanager
def slower_G(factor: float) -> Iterator[None]:
    """Multiply the learning rate of the optimizer ``G``."""
    original = BaseModel.add_optimizer

    def add(self: BaseModel, name: str, parameters: Any, **settings: Any) -> None:
        original(self, name, parameters, **{**settings, "lr": settings["lr"] * (factor if name == "G" else 1)})

    BaseModel.add_optimizer = add  # type: ignore[method-assign]
    try:
        yield
    finally:
        BaseModel.add_optimizer = original  # type: ignore[method-assign]


def measure(run: Run, root: Path) -> tuple[int, list[dict[str, Any]], float]:
    """Train; returns the exit code, the findings and the seconds."""
    place = ["--name", run.name, "--checkpoints_dir", str(root / "checkpoints")]
    begin = time.perf_counter()
    with slower_G(run.G_rate):
        code = train.main([*place, "--dataroot", str(root / run.data), *COMMON, *run.flags])
    if run.then:
        code = train.main([*place, "--continue_train", "--dataroot", str(root / "negative"), *run.then])
    return code, read_findings(root / "checkpoints" / run.name), time.perf_counter() - begin


def main(argv: Sequence[str] | None = None) -> int:
    """Print two Markdown tables; 1 if a failing run lacks its sign or a healthy one has any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of runs, separated by commas")
    parser.add_argument("--keep", default="", metavar="DIR", help="folder for data, runs and table that stays")
    known = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    root = Path(known.keep or tempfile.mkdtemp())
    chosen = [run for run in (*FAILING, *HEALTHY) if not known.only or run.name in known.only.split(",")]
    if not (root / "twelve_bit").exists():
        draw_data(root)
    table, wrong = LineFile(root / "table.md"), []
    for run in chosen:
        code, found, seconds = measure(run, root)
        signs = dict.fromkeys(each["sign"] for each in found)
        good = run.expected in signs if run.expected else not found and not code
        wrong += [] if good else [run.name]
        said = "<br>".join(f"image {each['total_iters']:,}: {each['text']}" for each in found) or "nothing"
        line = f"| {run.name} | {run.what or 'healthy'} | {said} | {code} | {seconds:.0f} |"
        print(line, flush=True)
        table.append(line)
    table.close()
    if not known.keep:
        shutil.rmtree(root)
    print(f"not as expected: {', '.join(wrong) or 'none'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

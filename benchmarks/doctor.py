"""What the doctor says of small trainings that are made to fail, and whether it is silent on healthy ones.

python -m benchmarks.doctor [--photographs DIR] [--seed N] [--only NAME,NAME] [--keep DIR]

Draws its data, trains at 32 pixels on the CPU, some minutes in all, and prints the tables of docs/doctor.md. With
--photographs it trains on small copies of the data sets of that folder: facades and edges2shoes (pairs), day2night
(unpaired) and cifar10 (classes), in the layouts that train.py reads.
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
from collections.abc import Iterator, Sequence
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
from util.exit_code import EXIT_INTERRUPTED
from util.files import LineFile
from util.images.folder import scan
from util.images.io import save_array
from util.loggers.doctor_log import read_findings
from util.pages.markdown import markdown_table

REPO = Path(__file__).resolve().parents[1]
SIZE, IMAGES = 32, 20
PHOTOGRAPHS = 24
COMMON = ["--gpu_ids", "-1", "--display_id", "0", "--num_threads", "0", "--no_html", "--overwrite"]
COMMON += ["--load_size", "36", "--crop_size", str(SIZE), "--ngf", "8", "--ndf", "8", "--netG", "resnet_6blocks"]
COMMON += ["--print_freq", "10", "--display_freq", "20", "--save_epoch_freq", "1000", "--save_latest_freq", "1000000"]


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        name: of the run.
        what: how it fails, for the table.
        flags: of train.py, beside ``COMMON``.
        data: folder of the drawn data.
        expected: the sign that has to be among those reported; empty for a healthy run.
        alternative: another one that is as right, as a training that diverges ends in one of several ways.
        G_rate: factor on the learning rate of the generator, which no flag gives.
        then: a second start with these flags, after the first.
    """

    name: str
    what: str
    flags: Sequence[str]
    data: str = "facades"
    expected: str = ""
    alternative: str = ""
    G_rate: float = 1.0
    then: Sequence[str] = ()


def epochs(number: int, decay: int = 0) -> list[str]:
    return ["--n_epochs", str(number), "--n_epochs_decay", str(decay)]


PIX2PIX = ["--model", "pix2pix", "--direction", "BtoA", "--no_dropout"]
UNPAIRED = ["--dataset_mode", "unaligned"]
ATME = ["--netG", "unet_256_ddm", "--dim", "8", "--init_dim", "8", "--groups", "4", "--dim_mults", "1,2"]
UGATIT = ["--n_res", "1", "--n_layers_global", "5", "--n_layers_local", "3", "--mlp_pool", "1"]
SAGAN = ["--model", "sagan", "--nz", "16", "--attn_res_G", "8", "--attn_res_D", "8", "--batch_size", "4"]
EVALUATE = ["--eval_freq", "4", "--eval_metrics", "l1", "--eval_phase", "test"]

FAILING = (
    Run("d_won", "learning rate of G 1,000 times lower, `--ndf 32`", [*PIX2PIX, *epochs(30), "--ndf", "32"],
        expected="d_won", G_rate=1e-3),
    Run("d_won_cycle", "CycleGAN, `--lr 0.002`, that of the generators 10,000 times lower",
        ["--model", "cycle_gan", *epochs(25), "--lr", "0.002"], "daynight", "d_won", G_rate=1e-4),
    Run("constant", "dead weights: `--init_gain 0 --lr 0`", [*PIX2PIX, *epochs(6), "--init_gain", "0", "--lr", "0"],
        expected="constant"),
    Run("diverging", "`--lr 1`", [*PIX2PIX, *epochs(12), "--lr", "1"], expected="diverging", alternative="constant"),
    Run("diverging_sagan", "SAGAN, `--lr_D 1`", [*SAGAN, *epochs(45), "--lr_D", "1"], "shapes", "diverging", "d_dead"),
    Run("inverted", "targets turned into their negatives in mid-run", [*PIX2PIX, *epochs(12)], expected="inverted",
        then=[*epochs(18), "--lr", "0.00002"]),
    Run("checkerboard", "transposed convolutions, `--ngf 2 --lr 0.000004`, 320 steps",
        [*PIX2PIX, "--n_iters", "320", "--ngf", "2", "--lr", "0.000004"], expected="checkerboard"),
    Run("overfitting", "4 images, 100 epochs", [*PIX2PIX, *epochs(100), *EVALUATE, "--max_dataset_size", "4",
        "--ngf", "16", "--no_flip", "--load_size", "32"], expected="overfitting"),
    Run("range", "12 bits in 16-bit files, without `--value_range`", [*PIX2PIX, *epochs(6)], "twelve_bit", "range"),
)  # fmt: skip

HEALTHY = (
    Run("pix2pix", "", [*PIX2PIX, *epochs(10, 10), *EVALUATE]),
    Run("cycle_gan", "", ["--model", "cycle_gan", *epochs(20)], "daynight"),
    Run("ugatit", "", ["--model", "ugatit", *UGATIT, *epochs(20)], "daynight"),
    Run("atme", "", ["--model", "atme", "--direction", "BtoA", *ATME, *epochs(20)]),
    Run("atme_unpaired", "", ["--model", "atme_unpaired", *ATME, *epochs(20)], "daynight"),
    Run("augan", "", ["--model", "augan", *epochs(20)], "daynight"),
    Run("sagan", "", [*SAGAN, *epochs(45)], "shapes"),
    Run("stochastic", "", ["--model", "stochastic", "--direction", "BtoA", *epochs(20)]),
    Run("colorization", "", ["--model", "colorization", *epochs(20)], "colour"),
    Run("adversarial_losses", "", ["--model", "adversarial_losses", "--direction", "BtoA", *epochs(20)]),
)


OF_PHOTOGRAPHS = (
    Run("d_won", "learning rate of G 1,000 times lower, `--ndf 32`", [*PIX2PIX, *epochs(20), "--ndf", "32"],
        expected="d_won", G_rate=1e-3),
    Run("d_won_cycle", "CycleGAN, `--lr 0.002`, that of the generators 10,000 times lower",
        ["--model", "cycle_gan", *epochs(20), "--lr", "0.002"], "daynight", "d_won", G_rate=1e-4),
    Run("d_won_atme", "ATME, `--lr 0.001`, that of G 1,000 times lower, `--ndf 32`",
        ["--model", "atme", "--direction", "BtoA", *ATME, *epochs(20), "--lr", "0.001", "--ndf", "32"],
        expected="d_won", G_rate=1e-3),
    Run("constant", "dead weights: `--init_gain 0 --lr 0`", ["--model", "pix2pix", "--no_dropout", *epochs(5),
        "--init_gain", "0", "--lr", "0"], "shoes", "constant"),
    Run("constant_cycle", "dead weights: `--init_gain 0 --lr 0`", ["--model", "cycle_gan", *epochs(5),
        "--init_gain", "0", "--lr", "0"], "daynight", "constant"),
    Run("diverging", "`--lr 0.5`", [*PIX2PIX, *epochs(10), "--lr", "0.5"], expected="diverging",
        alternative="constant"),
    Run("diverging_cycle", "CycleGAN, `--lr 0.3`", ["--model", "cycle_gan", *epochs(10), "--lr", "0.3"], "daynight",
        "diverging"),
    Run("diverging_sagan", "SAGAN, `--lr_D 0.3`", [*SAGAN, *epochs(12), "--lr_D", "0.3"], "classes",
        "diverging", "d_dead"),
    Run("inverted", "targets turned into their negatives in mid-run",
        ["--model", "pix2pix", "--no_dropout", *epochs(30)], "shoes", "inverted",
        then=[*epochs(36), "--lr", "0.00002"]),
    Run("inverted_cycle", "CycleGAN from photographs to negatives of others", ["--model", "cycle_gan", *epochs(80),
        "--lambda_identity", "0"], "day_negative", "inverted"),
    Run("checkerboard", "transposed convolutions, `--ngf 2 --lr 0.000004`, 400 steps",
        [*PIX2PIX, "--n_iters", "400", "--ngf", "2", "--lr", "0.000004"], expected="checkerboard"),
    Run("overfitting", "6 images, 60 epochs", [*PIX2PIX, *epochs(60), *EVALUATE, "--max_dataset_size", "6",
        "--ngf", "16", "--no_flip", "--load_size", "32"], expected="overfitting"),
    Run("overfitting_psnr", "6 images, 60 epochs, by PSNR", ["--model", "pix2pix", "--no_dropout", *epochs(60),
        "--eval_freq", "4", "--eval_metrics", "psnr", "--eval_phase", "test", "--max_dataset_size", "6",
        "--ngf", "16", "--no_flip", "--load_size", "32"], "shoes", "overfitting"),
    Run("range", "12 bits in 16-bit files, without `--value_range`", [*PIX2PIX, *epochs(5)], "twelve_bit", "range"),
    Run("saturated", "large dead weights: `--init_gain 50 --lr 0`", [*PIX2PIX, *epochs(5), "--init_gain", "50",
        "--lr", "0"], expected="range"),
    Run("pale", "`--init_gain 0.005 --lr 0.000002`", [*PIX2PIX, *epochs(28), "--init_gain", "0.005",
        "--lr", "0.000002"], expected="range"),
    Run("pix2pix", "", [*PIX2PIX, *epochs(15, 10), *EVALUATE]),
    Run("pix2pix_shoes", "", ["--model", "pix2pix", *epochs(15, 10), *EVALUATE], "shoes"),
    Run("pix2pix_edges", "", [*PIX2PIX, *epochs(15, 10), *EVALUATE], "shoes"),
    Run("pix2pix_labels", "", ["--model", "pix2pix", *epochs(15, 10), "--gan_mode", "lsgan"]),
    Run("pix2pix_hinge", "", [*PIX2PIX, *epochs(25), "--gan_mode", "hinge"]),
    Run("pix2pix_wgangp", "", ["--model", "pix2pix", *epochs(20), "--gan_mode", "wgangp"], "shoes"),
    Run("pix2pix_unet", "", ["--model", "pix2pix", "--direction", "BtoA", "--netG", "unet_128", "--load_size", "128",
        "--crop_size", "128", "--max_dataset_size", "12", *epochs(30)]),
    Run("every_step", "", [*PIX2PIX, *epochs(20), "--print_freq", "1", "--display_freq", "1"]),
    Run("batch_of_8", "", ["--model", "pix2pix", *epochs(160), "--batch_size", "8"], "shoes"),
    Run("cycle_gan", "", ["--model", "cycle_gan", *epochs(15, 5)], "daynight"),
    Run("ugatit", "", ["--model", "ugatit", *UGATIT, *epochs(20)], "daynight"),
    Run("atme", "", ["--model", "atme", "--direction", "BtoA", *ATME, *epochs(20)]),
    Run("atme_shoes", "", ["--model", "atme", *ATME, *epochs(20)], "shoes"),
    Run("atme_unpaired", "", ["--model", "atme_unpaired", *ATME, *epochs(20)], "daynight"),
    Run("augan", "", ["--model", "augan", *epochs(20)], "daynight"),
    Run("sagan", "", [*SAGAN, *epochs(20), "--load_size", "32"], "classes"),
    Run("stochastic", "", ["--model", "stochastic", "--direction", "BtoA", *epochs(20)]),
    Run("colorization", "", ["--model", "colorization", *epochs(20)], "colour"),
    Run("adversarial_losses", "", ["--model", "adversarial_losses", *epochs(20)], "shoes"),
)  # fmt: skip


def draw_data(root: Path) -> None:
    """Facades (pairs), their negatives and a 12-bit copy, day and night (unpaired), shapes (classes), colour photos."""
    for kind in ("facades", "daynight", "shapes"):
        numbers = ["--size", str(SIZE), "--n_train", str(IMAGES), "--n_test", "0" if kind == "shapes" else "8"]
        command = [sys.executable, "datasets/make_demo.py", kind, "--out", str(root / kind), *numbers]
        subprocess.run(command, cwd=REPO, check=True, stdout=subprocess.DEVNULL)
    for file in sorted((root / "facades").glob("t*/*.png")):
        pair = np.asarray(Image.open(file).convert("RGB"))
        photo, label = np.split(pair, 2, axis=1)
        _save(root / "facades_negative" / file.parent.name / file.name, np.concatenate([255 - photo, label], axis=1))
        _save(root / "colour" / file.parent.name / file.name, photo)
        deep = (pair.astype(np.float64) / 255 * 4095).astype(np.uint16)
        _save(root / "twelve_bit" / file.parent.name / file.name, deep)


def copy_photographs(source: Path, root: Path, seed: int) -> None:
    """Small copies of real images under the names that ``draw_data`` gives; every seed takes others.

    Raises:
        FileNotFoundError: a data set has no images.
    """
    pairs = {"facades": "facades", "shoes": "edges2shoes"}
    for name, folder in pairs.items():
        for phase, count in (("train", PHOTOGRAPHS), ("test", 8)):
            for file in chosen_images(source / folder / phase, count, seed):
                pair = scaled(file, 2 * SIZE, SIZE)
                left, right = np.split(pair, 2, axis=1)
                goal = Path(phase) / f"{file.stem}.png"
                _save(root / name / goal, pair)
                turned = (255 - left, right) if name == "facades" else (left, 255 - right)
                _save(root / f"{name}_negative" / goal, np.concatenate(turned, axis=1))
                if name == "facades":
                    _save(root / "twelve_bit" / goal, (pair.astype(np.float64) / 255 * 4095).astype(np.uint16))
    for number, file in enumerate(chosen_images(source / "day2night" / "trainA", 2 * PHOTOGRAPHS, seed)):
        day, goal = scaled(file, SIZE, SIZE), Path(f"{file.stem}.png")
        if number < PHOTOGRAPHS:
            for folder in ("daynight/trainA", "day_negative/trainA", "colour/train"):
                _save(root / folder / goal, day)
        else:
            _save(root / "day_negative/trainB" / goal, 255 - day)
    for file in chosen_images(source / "day2night" / "trainB", PHOTOGRAPHS, seed):
        _save(root / "daynight/trainB" / f"{file.stem}.png", scaled(file, SIZE, SIZE))
    for kind in sorted(each for each in (source / "cifar10" / "train").iterdir() if each.is_dir())[:4]:
        for file in chosen_images(kind, 20, seed):
            _save(root / "classes/train" / kind.name / f"{file.stem}.png", scaled(file, SIZE, SIZE))


def chosen_images(folder: Path, count: int, seed: int) -> list[Path]:
    """``count`` successive images of a folder, from another place on for every seed."""
    found = [Path(file) for file in scan(folder)]
    if not found:
        raise FileNotFoundError(f"--photographs: no images in {folder}")
    return [found[(seed * count + place) % len(found)] for place in range(count)]


def scaled(file: Path, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.open(file).convert("RGB").resize((width, height), Image.Resampling.BICUBIC))


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


def measure(run: Run, root: Path, common: Sequence[str]) -> tuple[int, list[dict[str, Any]], float]:
    """Train with these flags and the run's own; returns the exit code, the findings and the seconds."""
    place = ["--name", run.name, "--checkpoints_dir", str(root / "checkpoints")]
    begin = time.perf_counter()
    with slower_G(run.G_rate):
        code = train.main([*place, "--dataroot", str(root / run.data), *common, *run.flags])
    if code >= EXIT_INTERRUPTED:
        sys.exit(code)  # Ctrl-C or SIGTERM, after which the training has saved
    if run.then:
        code = train.main([*place, "--continue_train", "--dataroot", str(root / f"{run.data}_negative"), *run.then])
    return code, read_findings(root / "checkpoints" / run.name), time.perf_counter() - begin


def confusion(said: Sequence[tuple[Run, set[str]]]) -> str:
    """A table: rows are what the runs were made to show, columns how many of them were said to show what."""
    rows = list(dict.fromkeys(run.expected or "healthy" for run, _ in said))
    columns = sorted({sign for _, signs in said for sign in signs} | {row for row in rows if row != "healthy"})
    lines = []
    for row in rows:
        own = [signs for run, signs in said if (run.expected or "healthy") == row]
        counts = [sum(column in signs for signs in own) for column in columns]
        lines.append([row, *(str(count or "") for count in (len(own), *counts, sum(not signs for signs in own)))])
    return "\n".join(markdown_table(["made to show", "runs", *columns, "nothing"], lines))


def main(argv: Sequence[str] | None = None) -> int:
    """Print Markdown tables; 1 if a failing run lacks its sign or a healthy one has any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", default="", metavar="DIR", help="real data sets in place of drawn ones")
    parser.add_argument("--seed", type=int, default=0, help="of every run, and of the choice of photographs")
    parser.add_argument("--only", default="", help="names of runs, separated by commas")
    parser.add_argument("--keep", default="", metavar="DIR", help="folder for data, runs and table that stays")
    known = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    root = Path(known.keep or tempfile.mkdtemp())
    every = OF_PHOTOGRAPHS if known.photographs else (*FAILING, *HEALTHY)
    common = [*COMMON, "--seed", str(known.seed)]
    if not (root / "twelve_bit").exists():
        copy_photographs(Path(known.photographs), root, known.seed) if known.photographs else draw_data(root)
    table, wrong, said = LineFile(root / "table.md"), [], []
    for run in every:
        if known.only and run.name not in known.only.split(","):
            continue
        code, found, seconds = measure(run, root, common)
        signs = {each["sign"] for each in found}
        good = bool(signs & {run.expected, run.alternative}) if run.expected else not signs and not code
        wrong += [] if good else [run.name]
        said.append((run, signs))
        what = [f"`{each['sign']}` of {each['about']} at image {each['total_iters']:,}" for each in found]
        line = f"| {run.name} | {run.what or 'healthy'} | {', '.join(what) or 'nothing'} | {code} | {seconds:.0f} |"
        print(line, flush=True)
        table.append(line)
    table.append(confusion(said))
    table.close()
    print(confusion(said))
    if not known.keep:
        shutil.rmtree(root)
    print(f"not as expected: {', '.join(wrong) or 'none'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Make side-by-side AB images out of a folder with the A images and one with the B images.

FOLD_A/train/1.jpg and FOLD_B/train/1.png become FOLD_AB/train/1.png, for every folder (train, val, ...) of FOLD_A;
images that lie directly in FOLD_A and FOLD_B become FOLD_AB/1.png. Partners have the same name, suffixes aside. Grey
beside colour becomes colour; 16 bit stay 16 bit. Two JPEGs give a JPEG, everything else is stored without loss.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from data.image_folder import describe, has_images, listed, nearest, scan, stem, subfolders
from datasets.command_line import OneLineParser, exit_code
from util.image_io import read_image, save_array

Pixels = npt.NDArray[Any]

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "nearest": Image.Resampling.NEAREST}
_JPEG = (".jpg", ".jpeg")
_POOL_FROM = 64  # pairs; below that, starting processes takes longer than the work


@dataclass(frozen=True)
class Job:
    """One pair to be joined.

    Attributes:
        out: file to write, its suffix still missing.
        resize: how B is brought to the size of A: a key of ``RESAMPLING``; empty: different sizes are an error.
    """

    a: str
    b: str
    out: str
    resize: str = ""


def join(a: Pixels, b: Pixels) -> Pixels:
    """A on the left, B on the right: ``[H, W, C]`` each, giving ``[H, 2 * W, C]``; grey beside colour becomes colour.

    Raises:
        ValueError: the heights or widths, the types, or the channels (other than 1 beside 3) differ.
    """
    if a.shape[:2] != b.shape[:2]:
        raise ValueError(f"A has {_size(a)} pixels, B has {_size(b)}: scale one of them, or add --resize")
    if a.dtype != b.dtype:
        raise ValueError(f"A is {a.dtype}, B is {b.dtype}: convert one of them")
    if {a.shape[2], b.shape[2]} == {1, 3}:
        a, b = (np.repeat(side, 3, axis=2) if side.shape[2] == 1 else side for side in (a, b))
    if a.shape[2] != b.shape[2]:
        raise ValueError(f"A has {a.shape[2]} channels, B has {b.shape[2]}: convert one of them")
    return np.concatenate([a, b], axis=1)


def resized(picture: Pixels, height: int, width: int, method: str = "bicubic") -> Pixels:
    """``[H, W, C]`` of any type brought to ``[height, width, C]``; ``method`` is a key of ``RESAMPLING``."""
    channels = [Image.fromarray(channel.astype(np.float32)) for channel in np.moveaxis(picture, 2, 0)]
    values = np.stack([np.asarray(c.resize((width, height), RESAMPLING[method])) for c in channels], axis=2)
    if picture.dtype == np.float32:
        return values
    return np.clip(np.rint(values), 0, np.iinfo(picture.dtype).max).astype(picture.dtype)


def combine(job: Job) -> str:
    """Join and write one pair; the error in one line, empty if there is none."""
    try:
        a, b = read_image(job.a).array, read_image(job.b).array
        if job.resize and a.shape[:2] != b.shape[:2]:
            b = resized(b, a.shape[0], a.shape[1], job.resize)
        jpeg = job.a.lower().endswith(_JPEG) and job.b.lower().endswith(_JPEG)
        save_array(job.out + (".jpg" if jpeg else ".png"), join(a, b))
    except (ValueError, OSError) as error:
        return f"{job.a} and {job.b}: {error}"
    return ""


def combine_all(jobs: list[Job], *, processes: bool) -> None:
    """Do all jobs, showing a progress bar on a terminal.

    Raises:
        ValueError: some failed; says how many and why the first did. The others are written.
    """
    if not jobs:
        return
    workers = os.cpu_count() or 1
    pool: Executor
    if processes and len(jobs) >= _POOL_FROM:
        pool = ProcessPoolExecutor(workers)
    else:
        pool = ThreadPoolExecutor(1)
    with pool:
        errors = [
            e for e in tqdm(pool.map(combine, jobs, chunksize=8), total=len(jobs), unit="pair", disable=None) if e
        ]
    if errors:
        raise ValueError(f"{len(errors)} of {len(jobs)} pairs could not be made; the first: {errors[0]}")


def pair_up(fold_a: Path, fold_b: Path, *, use_ab: bool) -> tuple[list[tuple[str, str, str]], list[str], list[str]]:
    """Partners in two folders: (stem, A file, B file) in natural order, and the files of A and of B without a partner.

    Args:
        use_ab: the stems end in ``_A`` and ``_B``, which is left out of the result.

    Raises:
        ValueError: two files in one folder have the same stem.
    """
    sides = [_by_stem(fold_a, "_A" if use_ab else ""), _by_stem(fold_b, "_B" if use_ab else "")]
    pairs = [(key, path, sides[1][key]) for key, path in sides[0].items() if key in sides[1]]
    only_a, only_b = ([path for key, path in own.items() if key not in other] for own, other in (sides, sides[::-1]))
    return pairs, only_a, only_b


def _by_stem(folder: Path, ending: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in scan(folder):
        # Without the ending the file keeps its whole name, finds no partner and so shows up in the report.
        key = stem(path, folder).removesuffix(ending)
        if key in found:
            raise ValueError(f"{found[key]} and {path} have the same name, suffixes aside: rename or remove one")
        found[key] = path
    return found


def _size(picture: Pixels) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"


def _splits(fold_a: Path, fold_b: Path) -> list[str]:
    if has_images(fold_a):
        return [""]
    names = [name for name in subfolders(fold_a) if scan(fold_a / name)]
    if not names:
        raise FileNotFoundError(f"--fold_A {fold_a}: no images in it; {describe(fold_a)}")
    missing = [name for name in names if not (fold_b / name).is_dir()]
    if missing:
        raise FileNotFoundError(f"--fold_B {fold_b} has no folder {listed(missing)}; {describe(fold_b)}")
    return names


def _jobs(args: argparse.Namespace) -> list[Job]:
    for flag, folder in (("--fold_A", args.fold_A), ("--fold_B", args.fold_B)):
        if not folder.is_dir():
            raise FileNotFoundError(f"{flag} {folder}: there is no such folder; {describe(nearest(folder))}")
    if args.fold_AB.resolve() in (args.fold_A.resolve(), args.fold_B.resolve()):
        raise ValueError(f"--fold_AB {args.fold_AB}: must be another folder than --fold_A and --fold_B")
    if args.num_imgs < 1:
        raise ValueError(f"--num_imgs {args.num_imgs}: must be at least 1")
    jobs: list[Job] = []
    for split in _splits(args.fold_A, args.fold_B):
        a, b = args.fold_A / split, args.fold_B / split
        pairs, only_a, only_b = pair_up(a, b, use_ab=args.use_AB)
        for folder, only in ((a, only_a), (b, only_b)):
            if only:
                names = listed([os.path.relpath(path, folder) for path in only])
                print(f"warning: {len(only)} images in {folder} have no partner: {names}", file=sys.stderr)
        print(f"{split or args.fold_A}: {len(pairs[: args.num_imgs])} pairs")
        for key, path_a, path_b in pairs[: args.num_imgs]:
            jobs.append(Job(path_a, path_b, str(args.fold_AB / split / key), args.resize or ""))
    if not jobs:
        hint = "names must end in _A and _B" if args.use_AB else "if they end in _A and _B, add --use_AB"
        raise ValueError(f"no image in --fold_A {args.fold_A} has a partner of its name in {args.fold_B}: {hint}")
    return jobs


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = OneLineParser((__doc__ or "").split("\n")[0])
    parser.add_argument("--fold_A", type=Path, required=True, help="folder with the A images")
    parser.add_argument("--fold_B", type=Path, required=True, help="folder with the B images")
    parser.add_argument("--fold_AB", type=Path, required=True, help="folder to write, made if it is missing")
    parser.add_argument("--num_imgs", type=int, default=1_000_000, help="at most so many pairs of each folder")
    parser.add_argument("--use_AB", action="store_true", help="partners are called x_A and x_B, the result x")
    parser.add_argument("--no_multiprocessing", action="store_true", help="use one process")
    parser.add_argument(
        "--resize",
        nargs="?",
        const="bicubic",
        choices=tuple(RESAMPLING),
        help="scale B to the size of A where they differ; nearest suits label maps (without a word: bicubic)",
    )
    args = parser.parse_args(argv)

    def run() -> None:
        jobs = _jobs(args)
        combine_all(jobs, processes=not args.no_multiprocessing)
        print(f"{len(jobs)} pairs written to {args.fold_AB}")

    return exit_code(run)


if __name__ == "__main__":
    sys.exit(main())

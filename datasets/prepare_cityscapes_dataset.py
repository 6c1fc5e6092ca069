"""Make side-by-side pairs of Cityscapes: photo left (A), coloured segmentation right (B), 256 x 256 pixels each.

Needs gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip, unpacked, from https://www.cityscapes-dataset.com.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image

from datasets.pairs import appearing_whole, in_parallel, read_side, require_folder, save_pair, shown, side_by_side
from options.parse import parse_record
from options.schema import OptionRecord, arg
from util.exit_code import EXIT_DONE, run_command
from util.images.folder import natural_key
from util.images.io import Picture
from util.wording import counted

_PHASES = {"train": "train", "val": "test"}  # theirs -> ours: their test images have no public labels
_LABELS, _PHOTO = "_gtFine_color.png", "_leftImg8bit.png"
_SIZE = (256, 256)


@dataclass(frozen=True, kw_only=True)
class CityscapesOptions(OptionRecord):
    """The two unpacked archives, and where the pairs go."""

    gtFine_dir: Path = arg(Path(), required=True, metavar="DIR", help="folder gtFine with train/CITY and val/CITY")
    leftImg8bit_dir: Path = arg(
        Path(), required=True, metavar="DIR", help="folder leftImg8bit with train/CITY and val/CITY"
    )
    output_dir: Path = arg(
        Path(), required=True, metavar="DIR", help="gets the folders train and test (from their val)"
    )


def find_pairs(labels: Path, photos: Path) -> list[tuple[Path, Path]]:
    """(photo, segmentation) of all frames of a phase, in natural order.

    Raises:
        FileNotFoundError: a folder is missing, or holds no frames.
        ValueError: frames without a partner.
    """
    sides = []
    for flag, folder, ending in (("--leftImg8bit_dir", photos, _PHOTO), ("--gtFine_dir", labels, _LABELS)):
        files = list(require_folder(flag, folder).glob(f"*/*{ending}"))
        if not files:
            raise FileNotFoundError(f"{flag}: {folder} holds no CITY/*{ending}; unpack the archive of Cityscapes there")
        sides.append({path.relative_to(folder).as_posix().removesuffix(ending): path for path in files})
    alone = sorted(set(sides[0]) ^ set(sides[1]), key=natural_key)
    if alone:
        raise ValueError(f"only one of photo and segmentation for {counted(len(alone), 'frame')}: {shown(alone)}")
    return [(sides[0][key], sides[1][key]) for key in sorted(sides[0], key=natural_key)]


def write_pairs(pairs: Sequence[tuple[Path, Path]], folder: Path) -> None:
    """Write ``0.jpg``, ``1.jpg``, ...

    Raises:
        ValueError: an image is broken.
    """

    def small(path: Path) -> Picture:
        image = Image.fromarray(read_side(path).array[:, :, :3])  # the segmentations are RGBA
        return Picture(np.asarray(image.resize(_SIZE, Image.Resampling.BICUBIC)), "uint8")

    def write(job: tuple[int, tuple[Path, Path]]) -> None:
        number, (photo, label) = job
        save_pair(folder / f"{number}.jpg", side_by_side(small(photo), small(label), f"{photo} and {label}"))

    failures = in_parallel(write, enumerate(pairs), os.cpu_count() or 1)
    if failures:
        raise ValueError(f"{len(failures)} of {len(pairs)} pairs failed, nothing was kept: {shown(failures, 2)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Make the pairs; returns the exit code."""
    return run_command("prepare_cityscapes_dataset.py", argv, _run)


def _run(words: list[str]) -> int:
    args = parse_record("datasets/prepare_cityscapes_dataset.py", CityscapesOptions, words, __doc__)
    require_folder("--gtFine_dir", args.gtFine_dir)
    require_folder("--leftImg8bit_dir", args.leftImg8bit_dir)
    found = {
        ours: find_pairs(args.gtFine_dir / theirs, args.leftImg8bit_dir / theirs) for theirs, ours in _PHASES.items()
    }
    with ExitStack() as stack:  # both phases appear, or none
        for phase, pairs in found.items():
            write_pairs(pairs, stack.enter_context(appearing_whole(args.output_dir / phase)))
    for phase, pairs in found.items():
        print(f"{args.output_dir / phase}: {counted(len(pairs), 'pair')}")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())

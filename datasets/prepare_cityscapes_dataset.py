"""Make aligned pairs out of the official Cityscapes downloads: photo on the left (A), coloured labels on the right (B).

OUTPUT_DIR/train/0.jpg, ... come from the training cities and OUTPUT_DIR/test from the validation cities, because the
labels of the official test cities are not public. Every image is scaled to 256x256 and stored as JPEG of quality 100
without colour subsampling, as in the published data set.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from PIL import Image
from tqdm import tqdm

from data.image_folder import describe, listed, nearest, scan
from datasets.combine_A_and_B import join, resized
from datasets.command_line import OneLineParser, exit_code
from util.image_io import read_image

_SIZE = 256
_PHASES = {"train": "train", "val": "test"}  # official name -> ours
_LABEL_END, _PHOTO_END = "_gtFine_color.png", "_leftImg8bit.png"


def frames(folder: Path, ending: str) -> dict[str, str]:
    """Frame (``aachen_000000_000019``) -> file, in natural order, of the files that end so.

    Raises:
        FileNotFoundError: no folder, or no such file.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; {describe(nearest(folder))}")
    found = {Path(path).name.removesuffix(ending): path for path in scan(folder) if path.endswith(ending)}
    if not found:
        raise FileNotFoundError(f"no files *{ending} in {folder}; {describe(folder)}")
    return found


def frame_pairs(labels_dir: Path, photos_dir: Path, phase: str) -> list[tuple[str, str]]:
    """(photo, labels) of all frames of an official phase.

    Raises:
        FileNotFoundError: a folder or its files are missing.
        ValueError: frames without a partner.
    """
    labels, photos = frames(labels_dir / phase, _LABEL_END), frames(photos_dir / phase, _PHOTO_END)
    alone = sorted(labels.keys() ^ photos.keys())
    if alone:
        raise ValueError(f"{phase}: {len(alone)} frames have a photo or labels, not both: {listed(alone)}")
    return [(photo, labels[frame]) for frame, photo in photos.items()]


def prepare(labels_dir: Path, photos_dir: Path, output_dir: Path) -> None:
    """Write all pairs; raises as ``frame_pairs`` does, and ValueError if a folder to write exists."""
    pairs = {ours: frame_pairs(labels_dir, photos_dir, phase) for phase, ours in _PHASES.items()}
    for phase in pairs:
        if (output_dir / phase).exists():
            raise ValueError(f"--output_dir {output_dir}: has a folder {phase} already: move it away and run again")
    for phase, files in pairs.items():
        (output_dir / phase).mkdir(parents=True)
        for i, paths in enumerate(tqdm(files, desc=phase, unit="pair", disable=None)):
            photo, labels = (resized(read_image(path).array, _SIZE, _SIZE) for path in paths)
            out = output_dir / phase / f"{i}.jpg"
            Image.fromarray(join(photo, labels)).save(out, quality=100, subsampling=0)
        print(f"{len(files)} pairs written to {output_dir / phase}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = OneLineParser((__doc__ or "").split("\n")[0])
    parser.add_argument("--gtFine_dir", type=Path, required=True, help="the unpacked gtFine, with train and val")
    parser.add_argument("--leftImg8bit_dir", type=Path, required=True, help="the unpacked leftImg8bit")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder to write, made if it is missing")
    args = parser.parse_args(argv)
    return exit_code(lambda: prepare(args.gtFine_dir, args.leftImg8bit_dir, args.output_dir))


if __name__ == "__main__":
    sys.exit(main())

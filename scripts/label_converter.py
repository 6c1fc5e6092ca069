"""Bring the boxes of label files to the size that images get by --preprocess scale_height or scale_width.

Two kinds of files are known: COCO annotation files, and the published ``{image_id: {width, height, labels}}``, whose
labels have a ``bbox`` of four numbers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

from tqdm import tqdm

from data.transforms import scaled_size
from datasets.pairs import place_json, require_folder, shown
from options.base_options import DataOptions
from options.parse import parse_record
from options.schema import OptionRecord, arg
from util.exit_code import run_command
from util.files import real_path
from util.wording import counted

_IN_PIXELS = ("segmentation", "keypoints")  # of COCO; nothing here reads them, so they are left out
Factors = tuple[float, float]


def converted(content: Any, options: DataOptions, name: str) -> dict[str, Any]:
    """The labels for images of the scaled size, in whole pixels.

    Sizes are those that ``--preprocess`` gives to the images: the other side is cut, not rounded. Each side of a box
    has the factor of its side of the image.

    Args:
        content: of a label file.
        options: ``preprocess`` and ``load_size`` are used.
        name: of the file, for messages.

    Raises:
        ValueError: it is neither kind of file, or an entry of it is broken.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{name}: is no file of labels: it holds a {type(content).__name__}")
    try:
        return _coco(content, options) if "annotations" in content else _published(content, options)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"{name}: is no file of labels, or an entry of it is broken ({what})") from None


def _scaled(image: dict[str, Any], options: DataOptions) -> tuple[dict[str, Any], Factors]:
    width, height = int(image["width"]), int(image["height"])
    if min(width, height) < 1:
        raise ValueError(f"an image of {width}x{height} pixels")
    new_width, new_height = scaled_size(width, height, options)
    return {**image, "width": new_width, "height": new_height}, (new_width / width, new_height / height)


def _published(content: dict[str, Any], options: DataOptions) -> dict[str, Any]:
    result = {}
    for key, image in content.items():
        scaled, (across, down) = _scaled(image, options)
        labels = []
        for label in image["labels"]:
            a, b, c, d = label["bbox"]
            labels.append({**label, "bbox": [round(a * across), round(b * down), round(c * across), round(d * down)]})
        result[key] = {**scaled, "labels": labels}
    return result


def _coco(content: dict[str, Any], options: DataOptions) -> dict[str, Any]:
    images, factors = [], {}
    for image in content["images"]:
        scaled, factors[image["id"]] = _scaled(image, options)
        images.append(scaled)
    annotations = []
    for entry in content["annotations"]:
        x, y, width, height = entry["bbox"]
        across, down = factors[entry["image_id"]]
        # The corners are rounded, not the lengths: as --dataset_mode unaligned_coco does it.
        x0, y0, x1, y1 = round(x * across), round(y * down), round((x + width) * across), round((y + height) * down)
        kept = {key: value for key, value in entry.items() if key not in _IN_PIXELS}
        annotations.append({**kept, "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)})
    return {**content, "images": images, "annotations": annotations}


def target_folder(folder: Path, output: Path) -> Path:
    """Where the files of ``folder`` go: its path below the current folder, put below ``output``.

    A folder elsewhere has only its own name there: a path joined with an absolute one is the absolute one, which would
    be the file that was read.
    """
    whole, here = real_path(folder), real_path(Path.cwd())
    return output / (whole.relative_to(here) if whole.is_relative_to(here) else Path(whole.name))


def _convert(file: Path, target: Path, options: DataOptions) -> bool:
    """Convert one file; false if the result was there.

    Raises:
        ValueError: it cannot be converted.
        FileExistsError: the target has other content.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # of the decoding, too
        raise ValueError(f"{file}: is no JSON ({error})") from None
    return place_json(converted(content, options, str(file)), target)


@dataclass(frozen=True, kw_only=True)
class ConverterOptions(OptionRecord):
    """The label files, and the size of the images."""

    folder: Path = arg(Path(), positional=True, help="folder whose .json files are converted, with its subfolders")
    preprocess: str = arg(
        "scale_height", positional=True, choices=("scale_height", "scale_width"), help="how the images are scaled"
    )
    size: int = arg(256, positional=True, help="height or width of the scaled images: their --load_size")
    output_dir: Path = arg(Path("lc_output"), metavar="DIR", help="gets the same files, converted")


def main(argv: Sequence[str] | None = None) -> int:
    """Convert all files of a folder; returns the exit code: 0 all done, 1 some were left out, 2 bad arguments."""
    return run_command("label_converter.py", argv, _run)


def _run(words: list[str]) -> int:
    args = parse_record("scripts/label_converter.py", ConverterOptions, words, __doc__)
    failures: list[str] = []

    if args.size < 1:
        raise ValueError(f"size {args.size}: give 1 or more pixels")
    folder = require_folder("folder", args.folder)
    target = target_folder(folder, args.output_dir)
    if real_path(target) == real_path(folder):
        raise ValueError(f"--output_dir {args.output_dir}: the results would replace the files of {folder}")
    files = [file for file in sorted(folder.rglob("*.json")) if real_path(target) not in real_path(file).parents]
    if not files:
        raise FileNotFoundError(f"{folder}: there are no .json files in it")
    options = DataOptions(preprocess=args.preprocess, load_size=args.size, crop_size=1)
    new = 0
    for file in tqdm(files, unit="file", disable=None):
        try:
            new += _convert(file, target / file.relative_to(folder), options)
        except (ValueError, OSError) as error:
            failures.append(str(error))
    there = len(files) - len(failures) - new
    print(f"{target}: {new} of {counted(len(files), 'file')} written" + (f", {there} there already" if there else ""))
    if failures:
        print(f"error: {len(failures)} left out: {shown(failures, 3)}", file=sys.stderr)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())

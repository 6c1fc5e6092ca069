"""Make trainA, testA (night) and trainB, testB (day) of BDD100K, and COCO files with its boxes.

Needs the images of bdd100k_images_100k.zip (folders train and val) and the labels, unpacked, from https://bdd-data.berkeley.edu.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from datasets.pairs import Placed, place_images, place_json, require_folder, shown, tell
from options.parse import parse_record
from options.schema import OptionRecord, arg
from util.exit_code import run_command
from util.images.folder import natural_key
from util.wording import counted

_PHASES = {"train": "train", "val": "test"}  # theirs -> ours: their test images have no public labels
_SIDES = {"night": "A", "daytime": "B"}
CATEGORIES = (
    "pedestrian",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
    "traffic light",
    "traffic sign",
)
"""Ids 1 to 10, as the publisher counts them."""
_FORMER_NAMES = {"person": "pedestrian", "motor": "motorcycle", "bike": "bicycle"}  # of the labels of 2018

Object = tuple[str, tuple[float, float, float, float]]  # category, (x0, y0, x1, y1)


@dataclass(frozen=True, kw_only=True)
class BDDOptions(OptionRecord):
    """Images and labels as unpacked, and where the data set goes."""

    images: Path = arg(Path(), required=True, metavar="DIR", help="folder images/100k with the folders train and val")
    labels_train: Path = arg(
        Path(), required=True, help="labels of the images in train: a JSON file, or a folder of them"
    )
    labels_val: Path = arg(
        Path(), required=True, help="labels of the images in val, which become test: a JSON file, or a folder of them"
    )
    output_dir: Path = arg(Path(), required=True, metavar="DIR", help="gets trainA, trainB, testA, testB")
    link: bool = arg(False, help="make hard links instead of copies")


@dataclass(frozen=True)
class Frame:
    """What the labels say of one image."""

    name: str
    timeofday: str
    objects: tuple[Object, ...]


@dataclass
class Result:
    """Counts of what was not used, as (noun, which of them), and lines of what failed."""

    unused: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def read_frames(labels: Path) -> list[Frame]:
    """The labelled images, in natural order.

    Args:
        labels: a JSON file with a list of images, or a folder of JSON files with one image each.

    Raises:
        FileNotFoundError: neither is there.
        ValueError: a file is broken or holds something else.
    """
    files = sorted(labels.glob("*.json")) if labels.is_dir() else [labels]
    if not files or not files[0].is_file():
        raise FileNotFoundError(f"{labels}: there are no labels; give the JSON file, or a folder of JSON files")
    frames = [frame for file in files for frame in _frames_of(file)]
    twice = [name for name, count in Counter(frame.name for frame in frames).items() if count > 1]
    if twice:
        raise ValueError(f"{labels}: labelled more than once, {counted(len(twice), 'image')}: {shown(twice)}")
    return sorted(frames, key=lambda frame: natural_key(frame.name))


def _frames_of(file: Path) -> Iterator[Frame]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # of the decoding, too
        raise ValueError(f"{file}: is no JSON ({error}): unpack it again") from None
    for entry in content if isinstance(content, list) else [content]:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise ValueError(f"{file}: is no label file of BDD100K, whose images have a name and attributes")
        name = entry["name"] if Path(entry["name"]).suffix else f"{entry['name']}.jpg"
        of_frames = (each for frame in entry.get("frames") or () for each in frame.get("objects") or ())
        objects = entry.get("labels") or list(of_frames)
        timeofday = str((entry.get("attributes") or {}).get("timeofday", "undefined"))
        boxes = [each for each in objects if each.get("box2d")]
        yield Frame(Path(name).name, timeofday, tuple(_object(each, f"{file}: {name}") for each in boxes))


def _object(entry: dict[str, Any], where: str) -> Object:
    try:
        x0, y0, x1, y1 = (float(entry["box2d"][key]) for key in ("x1", "y1", "x2", "y2"))
        return str(entry["category"]), (x0, y0, x1, y1)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{where}: box2d {entry.get('box2d')} needs a category and x1, y1, x2, y2") from None


def coco(frames: Sequence[Frame], sizes: dict[str, tuple[int, int]], result: Result) -> dict[str, Any]:
    """The COCO annotation file of the images that have a size; boxes of other categories are counted as unused."""
    numbers = {name: number for number, name in enumerate(CATEGORIES, start=1)}
    content: dict[str, Any] = {"images": [], "annotations": []}
    content["categories"] = [{"id": number, "name": name} for name, number in numbers.items()]
    for frame in (frame for frame in frames if frame.name in sizes):
        width, height = sizes[frame.name]
        image = {"id": len(content["images"]) + 1, "file_name": frame.name, "width": width, "height": height}
        content["images"].append(image)
        for category, (x0, y0, x1, y1) in frame.objects:
            number = numbers.get(_FORMER_NAMES.get(category, category))
            if number is None:
                result.unused["box", f"of category {category}"] += 1
                continue
            box = {"bbox": [round(value, 2) for value in (x0, y0, x1 - x0, y1 - y0)], "iscrowd": 0}
            key = {"id": len(content["annotations"]) + 1, "image_id": image["id"], "category_id": number}
            content["annotations"].append({**key, **box, "area": round((x1 - x0) * (y1 - y0), 2)})
    return content


def prepare(images: Path, frames: Sequence[Frame], output: Path, phase: str, *, link: bool) -> Result:
    """Fill PHASEA and PHASEB of ``output`` and write their annotation files.

    Args:
        images: folder of the images of their phase.
        frames: their labels.
        output: folder of the data set.
        phase: of ours.
        link: see ``place_images``.
    """
    result = Result()
    for timeofday, side in _SIDES.items():
        chosen = [frame for frame in frames if frame.timeofday == timeofday]
        folder = output / f"{phase}{side}"
        placed = place_images([images / frame.name for frame in chosen], folder, link=link) if chosen else Placed()
        if not chosen:
            placed.failures.append(f"the labels have no image with timeofday {timeofday}")
        tell(folder, placed)
        result.failures += placed.failures
        if not placed.sizes:
            continue
        try:
            place_json(coco(chosen, placed.sizes, result), folder.with_name(f"{folder.name}.json"))
        except FileExistsError as error:
            print(f"error: {error}", file=sys.stderr)
            result.failures.append(str(error))
    for frame in frames:
        if frame.timeofday not in _SIDES:
            result.unused["image", f"with timeofday {frame.timeofday}"] += 1
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Make the folders; returns the exit code: 0 all is there, 1 some images are missing or broken, 2 bad arguments."""
    return run_command("prepare_bdd100k.py", argv, _run)


def _run(words: list[str]) -> int:
    args = parse_record("datasets/prepare_bdd100k.py", BDDOptions, words, __doc__)
    failures: list[str] = []

    folders = {ours: require_folder("--images", args.images / theirs) for theirs, ours in _PHASES.items()}
    labels = {"train": read_frames(args.labels_train), "test": read_frames(args.labels_val)}
    for phase, frames in labels.items():
        if not any((folders[phase] / frame.name).is_file() for frame in frames):
            raise FileNotFoundError(f"--images: none of {len(frames)} labelled images is in {folders[phase]}")
    for phase, frames in labels.items():
        result = prepare(folders[phase], frames, args.output_dir, phase, link=args.link)
        failures.extend(result.failures)
        for (noun, which), count in sorted(result.unused.items()):
            what = counted(count, noun, "boxes" if noun == "box" else "")
            print(f"  not used of {phase}: {what} {which}")
    print(f"{args.output_dir}: train with --dataset_mode unaligned, or unaligned_coco with boxes")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())

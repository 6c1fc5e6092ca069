"""Draw a data set to try the models on: facades (pairs), daynight and coco (two unpaired domains) or shapes (classes).

The same arguments give the same files, and image i does not depend on how many are drawn.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image

from datasets.demo.canvas import Box, Picture
from datasets.demo.facades import PALETTE, draw_facade
from datasets.demo.shapes import CLASSES, draw_shape
from datasets.demo.street import draw_street, street_boxes
from models.sagan.sample_options import IMAGE_SIZES
from options.parse import parse_record
from options.schema import OptionRecord, arg
from util.exit_code import EXIT_DONE, run_command

_VERSION = 2  # of the drawings: raise it when they change
_NOTE = "demo.json"  # marks a folder as drawn by this script, with the arguments
_STAGE = ".drawing"  # images lie here until all are drawn
_CATEGORIES = ("car", "lamp")  # of the boxes: ids 1 and 2

Draw = Callable[..., Picture]  # (generator, size), of a kind with classes (generator, size, label)
FindBoxes = Callable[[np.random.Generator, int], list[tuple[str, Box]]]  # of the image from an equal generator


@dataclass(frozen=True)
class Kind:
    """One kind of set."""

    key: int  # part of the seed of every image
    size: int  # default width and height
    draws: dict[str, Draw]  # by domain: the ending of the folder's name
    classes: tuple[str, ...] = ()
    find_boxes: FindBoxes | None = None

    @property
    def folders(self) -> list[tuple[str, Draw]]:
        """Name and content of each folder of images; its place in the list is part of the seed."""
        return [(phase + domain, draw) for phase in ("train", "test") for domain, draw in self.draws.items()]


_DAY, _NIGHT = partial(draw_street, night=False), partial(draw_street, night=True)
KINDS = {
    "facades": Kind(0, 256, {"": draw_facade}),
    "daynight": Kind(1, 256, {"A": _DAY, "B": _NIGHT}),
    "shapes": Kind(2, 64, {"": draw_shape}, CLASSES),
    "coco": Kind(3, 256, {"A": _NIGHT, "B": _DAY}, find_boxes=street_boxes),
}


@dataclass(frozen=True, kw_only=True)
class DemoOptions(OptionRecord):
    """What is drawn, how much of it, and where it goes."""

    kind: str = arg("facades", positional=True, choices=tuple(sorted(KINDS)), help="what to draw")
    out: Path = arg(Path(), required=True, metavar="DIR", help="folder of the data set")
    n_train: int = arg(200, help="images in each training folder")
    n_test: int = arg(40, help="images in each test folder")
    size: int | None = arg(None, help="width and height in pixels (default: 256; shapes: 64)")
    seed: int = arg(0, help="another seed gives other images")
    overwrite: bool = arg(False, help="replace the image folders of a DIR that holds other files, too")


def _check(kind: Kind, size: int, n_train: int, n_test: int, seed: int) -> None:
    least = max(1, len(kind.classes))
    why = f"one of each of the {least} classes" if kind.classes else "one image"
    if n_train < least:
        raise ValueError(f"--n_train {n_train}: give {least} or more, {why}")
    if n_test and n_test < least:
        raise ValueError(f"--n_test {n_test}: give 0, or {least} or more, {why}")
    if not 32 <= size <= 1024 or size % 4:
        raise ValueError(f"--size {size}: give a multiple of 4 from 32 to 1024")
    if seed < 0:
        raise ValueError(f"--seed {seed}: give 0 or more")


def draw_image(kind: Kind, folder: int, index: int, *, size: int, seed: int) -> Picture:
    """Image ``index`` (from 0) of a folder: a function of these arguments alone."""
    label = (index % len(kind.classes),) if kind.classes else ()
    return kind.folders[folder][1](np.random.default_rng([seed, kind.key, folder, index]), size, *label)


def image_name(kind: Kind, folder: int, index: int) -> str:
    """Path of an image below the data set: ``train/0001.png``, with classes ``train/red_star/0004.png``."""
    middle = f"{kind.classes[index % len(kind.classes)]}/" if kind.classes else ""
    return f"{kind.folders[folder][0]}/{middle}{index + 1:04d}.png"


def coco_annotations(kind: Kind, folder: int, count: int, *, size: int, seed: int) -> dict[str, Any]:
    """The COCO annotation file of a folder of a kind with boxes; image 0001.png has the id 1."""
    names = [Path(image_name(kind, folder, index)).name for index in range(count)]
    images = [{"id": id, "file_name": name, "width": size, "height": size} for id, name in enumerate(names, start=1)]
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        rng = np.random.default_rng([seed, kind.key, folder, index])
        for category, (x0, y0, x1, y1) in kind.find_boxes(rng, size) if kind.find_boxes else []:
            bbox = [round(value, 2) for value in (x0, y0, x1 - x0, y1 - y0)]
            entry = {"id": len(annotations) + 1, "image_id": index + 1, "bbox": bbox, "iscrowd": 0}
            entry |= {"category_id": _CATEGORIES.index(category) + 1, "area": round(bbox[2] * bbox[3], 2)}
            annotations.append(entry)
    categories = [{"id": number, "name": name} for number, name in enumerate(_CATEGORIES, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


# --- the folder -------------------------------------------------------------------------------------------------------


def make(out: Path, name: str, *, n_train: int, n_test: int, size: int, seed: int, overwrite: bool) -> bool:
    """Draw a set into ``out``; false if it was there already, drawn with the same arguments.

    Raises:
        ValueError: a bad argument.
        FileExistsError: ``out`` is a file, or holds what this script did not make.
    """
    kind = KINDS[name]
    _check(kind, size, n_train, n_test, seed)
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"--out {out} is a file; give a folder")
    counts = [n_train if folder.startswith("train") else n_test for folder, _ in kind.folders]
    jobs = [(image_name(kind, f, i), f, i) for f, count in enumerate(counts) for i in range(count)]
    boxes = {f"{kind.folders[f][0]}.json": f for f, count in enumerate(counts) if count and kind.find_boxes}
    wanted: dict[str, Any] = {"drawn_by": "make_demo.py", "version": _VERSION, "kind": name, "n_train": n_train}
    wanted |= {"n_test": n_test, "size": size, "seed": seed, "complete": True}
    if name == "facades":
        wanted["palette"] = PALETTE
    note = _read_note(out)
    if not overwrite:
        if foreign := _foreign_file(out, note):
            raise FileExistsError(
                f"--out {out} holds {foreign}, which this script did not make: give another folder, or --overwrite"
            )
        if note == wanted and all((out / file).is_file() for file in [*boxes, *(file for file, _, _ in jobs)]):
            return False
    _remove(out, [_STAGE, *_products(note)])
    stage = out / _STAGE
    out.mkdir(parents=True, exist_ok=True)
    _write_json(out / _NOTE, {**wanted, "complete": False})
    stage.mkdir()
    try:
        for file, f, i in jobs:
            (stage / file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw_image(kind, f, i, size=size, seed=seed)).save(stage / file)
        for file, f in boxes.items():
            _write_json(stage / file, coco_annotations(kind, f, counts[f], size=size, seed=seed))
        _remove(out, _products(wanted))
        for drawn in sorted(stage.iterdir()):
            drawn.rename(out / drawn.name)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    _write_json(out / _NOTE, wanted)
    return True


def _read_note(out: Path) -> dict[str, Any]:
    try:
        note = json.loads((out / _NOTE).read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError, json.JSONDecodeError):
        return {}
    ours = isinstance(note, dict) and note.get("drawn_by") == "make_demo.py" and note.get("kind") in KINDS
    return note if ours else {}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _products(note: dict[str, Any]) -> list[str]:
    """Folders and files directly in the folder of a set with this note."""
    kind = KINDS[note["kind"]] if note else Kind(0, 0, {})
    return [name + ending for name, _ in kind.folders for ending in (("", ".json") if kind.find_boxes else ("",))]


def _foreign_file(out: Path, note: dict[str, Any]) -> str:
    """A file in ``out`` that this script did not make, or an empty string."""
    products = _products(note)
    ours = rf"{_NOTE}|{_STAGE}/.*|{'|'.join(products)}|({'|'.join(products)})(/({'|'.join(CLASSES)}))?/\d{{4,}}\.png"
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if not path.is_dir() and not (note and re.fullmatch(ours, name)):
            return name
    return ""


def _remove(out: Path, names: Iterable[str]) -> None:
    for name in names:
        if (out / name).is_dir():
            shutil.rmtree(out / name)
        else:
            (out / name).unlink(missing_ok=True)


# --- the command ------------------------------------------------------------------------------------------------------


def train_command(kind: str, out: Path, size: int) -> str:
    """The ``train.py`` command for a set, with the sizes that fit it."""
    crop = min(size, 256)
    sizes = "" if size == 256 else f" --load_size {crop * 286 // 256} --crop_size {crop}"
    if kind == "facades":
        flags = "pix2pix --direction BtoA --resample_B nearest"
        if 128 <= size < 256:
            flags, sizes = f"{flags} --netG unet_128", " --load_size 143 --crop_size 128"
        elif size < 128:
            flags += " --netG resnet_6blocks"
    elif kind == "shapes":
        flags = "sagan --dataset_mode class_folder"
        sizes = f" --image_size {max(each for each in IMAGE_SIZES if each <= size)}"
    else:
        flags = "cycle_gan" if kind == "daynight" else "augan --dataset_mode unaligned_coco --instance_level"
    return f"python train.py --dataroot {shlex.quote(str(out))} --name {kind}_demo --model {flags}{sizes}"


def main(argv: Sequence[str] | None = None) -> int:
    """Draw a data set; returns the exit code."""
    return run_command("make_demo.py", argv, _run)


def _run(words: list[str]) -> int:
    args = parse_record("datasets/make_demo.py", DemoOptions, words, __doc__)
    name, out = args.kind, args.out
    size = KINDS[name].size if args.size is None else args.size
    counts = {"n_train": args.n_train, "n_test": args.n_test}
    new = make(out, name, size=size, seed=args.seed, overwrite=args.overwrite, **counts)
    parts = [f"{folder} {counts['n_' + folder.rstrip('AB')]}" for folder, _ in KINDS[name].folders]
    classes = f", {len(CLASSES)} classes" if name == "shapes" else ""
    print(f"{'drawn' if new else 'there already'}: {name}, {size} px{classes}: {', '.join(parts)} in {out}")
    print(f"train with: {train_command(name, out, size)}")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())

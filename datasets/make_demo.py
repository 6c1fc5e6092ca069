"""Draw a data set to try the models on: facades (pairs), daynight and coco (two unpaired domains) or shapes (classes).

The same arguments give the same files, and image i does not depend on how many are drawn.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import numpy.typing as npt
from PIL import Image

from datasets.demo_canvas import Box
from datasets.demo_daynight import draw_street, street_boxes
from datasets.demo_facades import draw_facade
from datasets.demo_houses import PALETTE
from datasets.demo_shapes import CLASSES, draw_shape
from models import MODELS
from models.sagan.sample_options import IMAGE_SIZES
from options.parse import parse_record
from options.schema import OptionRecord, arg
from util.exit_code import EXIT_DONE, run_command

_VERSION = 1  # of the drawings: raise it when they change
_NOTE = "demo.json"  # marks a folder as drawn by this script, and says with what
_STAGE = ".drawing"  # images lie here until all are drawn

Draw = Callable[[np.random.Generator, int, int], npt.NDArray[np.uint8]]
FindBoxes = Callable[[np.random.Generator, int], list[tuple[str, Box]]]


@dataclass(frozen=True)
class Folder:
    """One folder of images of a set."""

    name: str
    phase: str  # train or test
    draw: Draw  # (generator, size, index) -> image


@dataclass(frozen=True)
class Kind:
    """One kind of set."""

    key: int  # part of the seed of every image
    size: int  # default width and height
    folders: tuple[Folder, ...]
    classes: tuple[str, ...] = ()
    find_boxes: FindBoxes | None = None  # (generator, size) -> named boxes of the image from an equal generator


KINDS = {
    "facades": Kind(
        0, 256, tuple(Folder(phase, phase, lambda rng, size, _: draw_facade(rng, size)) for phase in ("train", "test"))
    ),
    "daynight": Kind(
        1,
        256,
        tuple(
            Folder(phase + domain, phase, draw)
            for phase in ("train", "test")
            for domain, draw in (
                ("A", lambda rng, size, _: draw_street(rng, size, night=False)),
                ("B", lambda rng, size, _: draw_street(rng, size, night=True)),
            )
        ),
    ),
    "shapes": Kind(
        2,
        64,
        tuple(
            Folder(phase, phase, lambda rng, size, index: draw_shape(rng, size, index % len(CLASSES)))
            for phase in ("train", "test")
        ),
        CLASSES,
    ),
    "coco": Kind(
        3,
        256,
        tuple(
            Folder(phase + domain, phase, draw)
            for phase in ("train", "test")
            for domain, draw in (
                ("A", lambda rng, size, _: draw_street(rng, size, night=True)),
                ("B", lambda rng, size, _: draw_street(rng, size, night=False)),
            )
        ),
        find_boxes=street_boxes,
    ),
}
_CATEGORIES = ("car", "lamp")  # of the boxes: ids 1 and 2


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


def draw_image(kind: Kind, folder: int, index: int, *, size: int, seed: int) -> npt.NDArray[np.uint8]:
    """Image ``index`` (from 0) of a folder: a function of these arguments alone."""
    return kind.folders[folder].draw(_generator(kind, folder, index, seed), size, index)


def _generator(kind: Kind, folder: int, index: int, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, kind.key, folder, index])


def image_name(kind: Kind, folder: int, index: int) -> str:
    """Path of an image below the data set: ``train/0001.png``, with classes ``train/red_star/0004.png``."""
    middle = f"{kind.classes[index % len(kind.classes)]}/" if kind.classes else ""
    return f"{kind.folders[folder].name}/{middle}{index + 1:04d}.png"


def coco_annotations(kind: Kind, folder: int, count: int, *, size: int, seed: int) -> dict[str, Any]:
    """The COCO annotation file of a folder of a kind with boxes; image 0001.png has the id 1."""
    content: dict[str, Any] = {"images": [], "annotations": []}
    content["categories"] = [{"id": number, "name": name} for number, name in enumerate(_CATEGORIES, start=1)]
    for index in range(count):
        name = Path(image_name(kind, folder, index)).name
        content["images"].append({"id": index + 1, "file_name": name, "width": size, "height": size})
        boxes = kind.find_boxes(_generator(kind, folder, index, seed), size) if kind.find_boxes else []
        for category, (x0, y0, x1, y1) in boxes:
            bbox = [round(value, 2) for value in (x0, y0, x1 - x0, y1 - y0)]
            entry = {"id": len(content["annotations"]) + 1, "image_id": index + 1, "bbox": bbox, "iscrowd": 0}
            entry |= {"category_id": _CATEGORIES.index(category) + 1, "area": round(bbox[2] * bbox[3], 2)}
            content["annotations"].append(entry)
    return content


# --- the folder -------------------------------------------------------------------------------------------------------


def _read_note(out: Path) -> dict[str, Any]:
    try:
        note = json.loads((out / _NOTE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError, json.JSONDecodeError):
        return {}
    ours = isinstance(note, dict) and note.get("drawn_by") == "make_demo.py" and note.get("kind") in KINDS
    return note if ours else {}


def _write_note(out: Path, note: dict[str, Any]) -> None:
    (out / _NOTE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")


def _foreign_file(out: Path, note: dict[str, Any]) -> str:
    """A file or folder in ``out`` that this script did not make, or an empty string."""
    folders = "|".join(folder.name for folder in KINDS[note["kind"]].folders) if note else "(?!)"
    image = re.compile(rf"({folders})(/({'|'.join(CLASSES)}))?/\d{{4,}}\.png")
    listed = {_NOTE, *_products(KINDS[note["kind"]])} if note else set()
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        expected = name in listed or image.fullmatch(name) or name.startswith(_STAGE + "/")
        if not path.is_dir() and not expected:
            return name
    return ""


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
    counts = {"train": n_train, "test": n_test}
    jobs = [(f, i) for f, folder in enumerate(kind.folders) for i in range(counts[folder.phase])]
    names = [image_name(kind, f, i) for f, i in jobs]
    if kind.find_boxes:
        names += [f"{folder.name}.json" for folder in kind.folders if counts[folder.phase]]
    wanted: dict[str, Any] = {"drawn_by": "make_demo.py", "version": _VERSION, "kind": name, "n_train": n_train}
    wanted |= {"n_test": n_test, "size": size, "seed": seed, "complete": True}
    if name == "facades":
        wanted["palette"] = PALETTE
    if out.is_dir():
        note = _read_note(out)
        foreign = _foreign_file(out, note)
        if foreign and not overwrite:
            raise FileExistsError(
                f"--out {out} holds {foreign}, which this script did not make: give another folder, or --overwrite"
            )
        if not overwrite and note == wanted and all((out / name).is_file() for name in names):
            return False
        _remove(out, _products(KINDS[note["kind"]]) if note else [])
    out.mkdir(parents=True, exist_ok=True)
    _write_note(out, {**wanted, "complete": False})
    stage = out / _STAGE
    _remove(out, [_STAGE])
    for (f, i), file in zip(jobs, names):
        (stage / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_image(kind, f, i, size=size, seed=seed)).save(stage / file)
    for f, folder in enumerate(kind.folders):
        if kind.find_boxes and counts[folder.phase]:
            content = coco_annotations(kind, f, counts[folder.phase], size=size, seed=seed)
            (stage / f"{folder.name}.json").write_text(json.dumps(content) + "\n", encoding="utf-8")
    _remove(out, _products(kind))
    for drawn in sorted(stage.iterdir()):
        drawn.rename(out / drawn.name)
    stage.rmdir()
    _write_note(out, wanted)
    return True


def _products(kind: Kind) -> list[str]:
    """Folders and files directly in the folder of a set."""
    return [folder.name + ending for folder in kind.folders for ending in (("", ".json") if kind.find_boxes else ("",))]


def _remove(out: Path, names: Sequence[str]) -> None:
    for name in names:
        if (out / name).is_dir():
            shutil.rmtree(out / name)
        else:
            (out / name).unlink(missing_ok=True)


# --- the command ------------------------------------------------------------------------------------------------------


def train_command(kind: str, out: Path, size: int) -> str | None:
    """The ``train.py`` command for a set, with the sizes that fit it; None where no model for such data exists yet."""
    model = {"facades": "pix2pix", "daynight": "cycle_gan", "shapes": "sagan", "coco": "augan"}[kind]
    if model not in MODELS.names():
        return None
    crop = min(size, 256)
    flags = f"--load_size {crop * 286 // 256} --crop_size {crop}"
    if kind == "facades":
        model += " --direction BtoA"
        if 128 <= size < 256:
            model, flags = f"{model} --netG unet_128", "--load_size 143 --crop_size 128"
        elif size < 128:
            model += " --netG resnet_6blocks"
    elif kind == "shapes":
        model += " --dataset_mode class_folder"
        flags = f"--image_size {max(each for each in IMAGE_SIZES if each <= size)}"
    elif kind == "coco":
        model += " --dataset_mode unaligned_coco --instance_level"
    default = size == 256 and kind != "shapes"
    command = f"python train.py --dataroot {shlex.quote(str(out))} --name {kind}_demo --model {model}"
    return command if default else f"{command} {flags}"


def main(argv: Sequence[str] | None = None) -> int:
    """Draw a data set; returns the exit code."""
    return run_command("make_demo.py", argv, _run)


def _run(words: list[str]) -> int:
    args = parse_record("datasets/make_demo.py", DemoOptions, words, __doc__)
    size = KINDS[args.kind].size if args.size is None else args.size

    new = make(
        args.out,
        args.kind,
        n_train=args.n_train,
        n_test=args.n_test,
        size=size,
        seed=args.seed,
        overwrite=args.overwrite,
    )
    counts = {"train": args.n_train, "test": args.n_test}
    parts = [f"{folder.name} {counts[folder.phase]}" for folder in KINDS[args.kind].folders]
    classes = f", {len(CLASSES)} classes" if args.kind == "shapes" else ""
    print(f"{'drawn' if new else 'there already'}: {args.kind}, {size} px{classes}: {', '.join(parts)} in {args.out}")
    if command := train_command(args.kind, args.out, size):
        print(f"train with: {command}")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())

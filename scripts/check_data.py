"""Check a data set: broken files, missing partners, uneven classes, mixed sizes, copies; and draw a contact sheet.

Every file is decoded in full. Exit code 0: sound, or warnings only; 1: problems; 2: bad arguments.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from data import DATASETS
from data.check import Phase, find_phases, reading_of, report
from data.class_folder_dataset import ClassFolders
from data.coco import Boxes
from data.examine import examine_all
from data.table import table_place
from options.base_options import DataOptions, SideOptions
from options.parse import parse_record
from options.schema import OptionRecord, arg, build
from util.exit_code import run_command
from util.images.folder import stem
from util.images.io import read_image
from util.run.folder import check_writable
from util.wording import counted

Item = TypeVar("Item")

_TEXT = 16  # pixels of a line of text
_GAP = 8
_BOX_COLOUR = (0, 255, 0)
_COUNT = 24  # samples of a phase, pictures of class folders excepted
_CLASS_PICTURES = 400  # of a phase in class folders
_ROW = 8  # pictures of classes side by side


def contact_sheet(phases: list[Phase], *, count: int = 0, tile: int = 128, columns: int = 4) -> Image.Image:
    """Draw samples of each phase, spread evenly, names under them: pairs side by side, boxes in green, classes in turn.

    Args:
        phases: see ``phases.find_phases``.
        count: samples of a phase, of class folders pictures; 0 for 24, or up to 8 of each class and 400 in all.
        tile: longest side of a picture in pixels.
        columns: samples in a row.
    """
    blocks = [_block(phase, count, tile, columns) for phase in phases]
    width = max(block.width for block in blocks)
    sheet = Image.new("RGB", (width, sum(block.height for block in blocks)), "white")
    top = 0
    for block in blocks:
        sheet.paste(block, (0, top))
        top += block.height
    return sheet


def _block(phase: Phase, count: int, tile: int, columns: int) -> Image.Image:
    """The samples of one phase under its name."""
    samples = (
        _class_samples(phase.classes, count or _CLASS_PICTURES) if phase.classes else _samples(phase, count or _COUNT)
    )
    boxes = {path: found for side in phase.annotations.values() for path, found in zip(side.paths, side.boxes)}
    across = 2 if phase.layout == "side_by_side" else len(phase.sides)
    if phase.classes:
        across = max((len(paths) for _, paths in samples), default=1)
        columns = _ROW // across
    cell_width, cell_height = across * tile + _GAP, tile + _TEXT + _GAP
    rows = -(-len(samples) // columns)
    block = Image.new("RGB", (columns * cell_width + _GAP, rows * cell_height + 2 * _TEXT), "white")
    draw, font = ImageDraw.Draw(block), ImageFont.load_default()
    draw.text((_GAP, 4), f"{phase.name} ({phase.layout.replace('_', ' ')})", fill="black", font=font)
    for number, (name, paths) in enumerate(samples):
        left = _GAP + number % columns * cell_width
        top = 2 * _TEXT + number // columns * cell_height
        # A side-by-side file is one picture of double width.
        width = across * tile if phase.layout == "side_by_side" else tile
        for place, path in enumerate(paths):
            picture = _thumbnail(path, width, tile, boxes.get(path), enlarged=phase.classes is not None)
            # Of classes at the bottom of its frame: right above its name, whatever its height.
            down = tile - picture.height if phase.classes else 0
            block.paste(picture, (left + place * tile, top + down))
        room = cell_width // 6
        draw.text((left, top + tile + 1), name if len(name) <= room else "..." + name[3 - room :], "black", font)
    return block


def _samples(phase: Phase, count: int) -> list[tuple[str, list[str]]]:
    """Name and files of the samples to draw; unpaired sides are shown in their order, side by side."""
    first = phase.sides["A"]
    if phase.layout == "folders":
        partners = {stem(path, phase.folders["B"]): path for path in phase.sides["B"]}
        keyed = [(stem(path, phase.folders["A"]), path) for path in first]
        found = [(key, [path, partners[key]]) for key, path in keyed if key in partners]
    elif len(phase.sides) > 1:
        found = [(f"{Path(a).stem} | {Path(b).stem}", [a, b]) for a, b in zip(first, phase.sides["B"])]
    else:
        found = [(stem(path, phase.folders["A"]), [path]) for path in first]
    return _spread(found, count)


def _class_samples(classes: ClassFolders, count: int) -> list[tuple[str, list[str]]]:
    """Class and some of its files, ``count`` files in all or less; of too many classes, some."""
    each = max(1, min(_ROW, count // max(len(classes.images), 1)))
    return _spread([(name, _spread(files, each)) for name, files in classes.images.items()], count)


def _spread(items: list[Item], count: int) -> list[Item]:
    """``count`` of the items or all, at equal distances, first and last among them."""
    if len(items) <= count:
        return items
    return [items[(len(items) - 1) * step // (count - 1)] for step in range(count)] if count > 1 else items[:1]


def _thumbnail(
    path: str, width: int, height: int, boxes: Boxes | None = None, *, enlarged: bool = False
) -> Image.Image:
    """The picture fitted into a frame, its values stretched to 8 bit, with its boxes; an unreadable file is red.

    Args:
        path: its file.
        width: of the frame.
        height: of the frame.
        boxes: in pixels of the file.
        enlarged: blow up a small picture, by a whole factor so that its pixels stay what they are.
    """
    try:
        picture = Image.fromarray(_to_rgb8(read_image(path).array))
    except (ValueError, OSError):
        return Image.new("RGB", (width - 2, height - 2), "red")
    room = min((width - 2) / picture.width, (height - 2) / picture.height)
    if enlarged and room >= 2:
        picture = picture.resize((picture.width * int(room), picture.height * int(room)), Image.Resampling.NEAREST)
    scale = min(room, 1.0)
    picture.thumbnail((width - 2, height - 2))
    draw = ImageDraw.Draw(picture)
    for x0, y0, x1, y1 in () if boxes is None else (boxes * scale).tolist():
        # The last pixel of a box is the one before its edge.
        draw.rectangle((x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)), outline=_BOX_COLOUR)
    return picture


def _to_rgb8(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    shown = array[:, :, :3] if array.shape[2] >= 3 else np.repeat(array[:, :, :1], 3, axis=2)
    if shown.dtype == np.uint8:
        return np.ascontiguousarray(shown, dtype=np.uint8)
    values = shown.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    return ((values - low) / max(high - low, 1e-12) * 255).astype(np.uint8)


_SHOWN = 20  # lines of each kind


@dataclass(frozen=True, kw_only=True)
class CheckOptions(OptionRecord):
    """What is checked."""

    dataroot: Path = arg(Path(), positional=True, help="folder of the data set, or its table (.csv, .tsv, .jsonl)")
    phase: tuple[str, ...] = arg((), several=True, metavar="PHASE", help="phases to check (default: all)")
    dataset_mode: str = arg(
        "", choices=("", *DATASETS.names()), help="which kind of data set (default: by its folders)"
    )
    coco_imagedir: str = arg(
        "", metavar="DIR", help="of unaligned_coco: folder of the images below DATAROOT (default: PHASEA and PHASEB)"
    )
    category_id: int = arg(1, help="of unaligned_coco: category of the boxes")
    nodata_A: str = arg(
        "", metavar="nan|VALUE|file", help="what stands for missing pixels of side A; file: what its TIFF says"
    )
    nodata_B: str = arg(
        "", metavar="nan|VALUE|file", help="what stands for missing pixels of side B; file: what its TIFF says"
    )
    label_nc_A: int = arg(0, minimum=0, help="labels 0 to N-1 of side A's index maps; 0 = pictures")
    label_nc_B: int = arg(0, minimum=0, help="labels 0 to N-1 of side B's index maps; 0 = pictures")
    table: str = arg("", metavar="FILE", help="of table and unaligned_table: which table below DATAROOT")
    contact_sheet: Path | None = arg(None, metavar="FILE.jpg", help="draw small pictures of all phases into this file")
    num_samples: int = arg(
        0,
        help="samples per phase on --contact_sheet (default: 24; in class folders up to 8 of each class, 400 at most)",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the check; returns the exit code."""
    return run_command("check_data.py", argv, _check)


def _check(words: list[str]) -> int:
    args = parse_record("scripts/check_data.py", CheckOptions, words, __doc__)
    if args.num_samples < 0:
        raise ValueError(f"--num_samples {args.num_samples}: give 1 or more, or 0 for the default")
    if args.contact_sheet:
        check_writable(args.contact_sheet, f"--contact_sheet {args.contact_sheet}")
        if args.contact_sheet.suffix.lower() not in Image.registered_extensions():
            raise ValueError(f"--contact_sheet {args.contact_sheet}: give a name that ends in .jpg or .png")
    root, table = table_place(str(args.dataroot), args.table)
    dataset_class = (
        DATASETS.get(args.dataset_mode or ("table" if table else "")) if args.dataset_mode or table else None
    )
    given = {"dataroot": root, "table": table, "coco_imagedir": args.coco_imagedir, "category_id": args.category_id}
    options = build(dataset_class.Options, given) if dataset_class else None
    phases = find_phases(Path(root), args.phase, dataset_class, options)
    paths = list(dict.fromkeys(path for phase in phases for files in phase.sides.values() for path in files))
    sides = {side: _side(args, side) for side in "AB"}
    facts = examine_all(
        paths,
        sides=reading_of(phases, sides),
        progress=lambda results: tqdm(results, total=len(paths), unit="file", disable=None),
        threads=os.cpu_count() or 1,
    )
    result = report(phases, facts, sides)
    print("\n".join(result.facts))
    for title, lines in (("warning", result.warnings), ("problem", result.problems)):
        for line in lines[:_SHOWN]:
            print(f"{title}: {line}")
        if len(lines) > _SHOWN:
            print(f"{title}: ... and {len(lines) - _SHOWN} more")
    problems, warnings = counted(len(result.problems), "problem"), counted(len(result.warnings), "warning")
    print(f"{counted(len(paths), 'file')}: {problems}, {warnings}")
    if args.contact_sheet:
        args.contact_sheet.parent.mkdir(parents=True, exist_ok=True)
        tile = 256 if any(phase.annotations for phase in phases) else 128  # boxes of small things want to be seen
        contact_sheet(phases, count=args.num_samples, tile=tile).save(args.contact_sheet, quality=90)
        print(f"contact sheet: {args.contact_sheet}")
    return 1 if result.problems else 0


def _side(args: CheckOptions, name: str) -> SideOptions:
    """How the files of a side are read; refused as train.py refuses it."""
    flags = {f"{flag}_{name}": getattr(args, f"{flag}_{name}") for flag in ("nodata", "label_nc")}
    return DataOptions(**flags).side(name)


if __name__ == "__main__":
    sys.exit(main())

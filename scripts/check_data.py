"""Check a data set: broken files, missing partners, uneven classes, mixed sizes, copies; and draw a contact sheet.

Every file is decoded in full. Exit code 0: sound, or warnings only; 1: problems; 2: bad arguments.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from PIL import Image
from tqdm import tqdm

from data.check import examine_all, report
from data.contact_sheet import contact_sheet
from data.phases import coco_phases, find_phases
from util.exit_code import run_command
from util.run_folder import check_writable

_SHOWN = 20  # lines of each kind
_LAYOUTS = {name: name for name in ("aligned", "unaligned", "single", "class_folder")} | {"colorization": "single"}
"""--dataset_mode -> what it looks like on disk."""
_WITH_BOXES = "unaligned_coco"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the check; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("dataroot", type=Path, help="folder of the data set")
    parser.add_argument("--phase", nargs="+", default=[], help="phases to check (default: all)")
    parser.add_argument("--dataset_mode", default="", choices=("", *_LAYOUTS, _WITH_BOXES), help="layout")
    parser.add_argument("--coco_imagedir", default="", help="of unaligned_coco: see train.py --help")
    parser.add_argument("--category_id", type=int, default=1, help="of unaligned_coco: category of the boxes")
    parser.add_argument("--contact_sheet", type=Path, metavar="FILE.jpg", help="draw small pictures of all phases")
    parser.add_argument(
        "--num_samples",
        type=int,
        default=0,
        help="samples of a phase on it (default: 24; in class folders up to 8 of each class, 400 at most)",
    )
    args = parser.parse_args(argv)
    return run_command("check_data.py", argv, lambda words: _check(args))


def _check(args: argparse.Namespace) -> int:
    if args.num_samples < 0:
        raise ValueError(f"--num_samples {args.num_samples}: give 1 or more, or 0 for the default")
    if args.contact_sheet:
        check_writable(args.contact_sheet, f"--contact_sheet {args.contact_sheet}")
        if args.contact_sheet.suffix.lower() not in Image.registered_extensions():
            raise ValueError(f"--contact_sheet {args.contact_sheet}: give a name that ends in .jpg or .png")
    if args.dataset_mode == _WITH_BOXES:
        phases = coco_phases(args.dataroot, args.phase, imagedir=args.coco_imagedir, category_id=args.category_id)
    else:
        phases = find_phases(args.dataroot, args.phase, _LAYOUTS.get(args.dataset_mode, ""))
    paths = list(dict.fromkeys(path for phase in phases for files in phase.sides.values() for path in files))
    facts = examine_all(
        paths,
        progress=lambda results: tqdm(results, total=len(paths), unit="file", disable=None),
        threads=os.cpu_count() or 1,
    )
    result = report(phases, facts)
    print("\n".join(result.facts))
    for title, lines in (("warning", result.warnings), ("problem", result.problems)):
        for line in lines[:_SHOWN]:
            print(f"{title}: {line}")
        if len(lines) > _SHOWN:
            print(f"{title}: ... and {len(lines) - _SHOWN} more")
    print(f"{len(paths)} files: {len(result.problems)} problems, {len(result.warnings)} warnings")
    if args.contact_sheet:
        args.contact_sheet.parent.mkdir(parents=True, exist_ok=True)
        tile = 256 if args.dataset_mode == _WITH_BOXES else 128  # boxes of small things want to be seen
        contact_sheet(phases, count=args.num_samples, tile=tile).save(args.contact_sheet, quality=90)
        print(f"contact sheet: {args.contact_sheet}")
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())

"""Make trainA, testA (rainy night) and trainB, testB (day) of the Alderley Day/Night data set.

Needs its frames, unpacked: a folder of the night and a folder of the day, with names like Image00001.jpg.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from datasets.pairs import place_images, require_folder, shown, tell
from options.parse import parse_record
from options.schema import OptionRecord, arg
from util.exit_code import run_command
from util.images.folder import scan
from util.wording import counted

_LAST_NIGHT, _LAST_DAY = 13800, 11686  # the published division: about the first four fifths train
_NUMBER = re.compile(r"(\d+)$")


@dataclass(frozen=True, kw_only=True)
class AlderleyOptions(OptionRecord):
    """The frames, how they are divided, and where they go."""

    night: Path = arg(Path(), required=True, metavar="DIR", help="folder of the frames of the night, domain A")
    day: Path = arg(Path(), required=True, metavar="DIR", help="folder of the frames of the day, domain B")
    output_dir: Path = arg(Path(), required=True, metavar="DIR", help="gets trainA, trainB, testA, testB")
    last_night: int = arg(_LAST_NIGHT, help="number of the last night frame of trainA")
    last_day: int = arg(_LAST_DAY, help="number of the last day frame of trainB")
    link: bool = arg(False, help="make hard links instead of copies")


def divide(folder: Path, last: int) -> tuple[dict[str, list[Path]], list[Path]]:
    """Phase -> frames in order, and the files whose name does not end with a number.

    Args:
        folder: of the frames.
        last: number of the last frame to train on.
    """
    frames: dict[str, list[Path]] = {"train": [], "test": []}
    others = []
    for path in map(Path, scan(folder)):
        number = _NUMBER.search(path.stem)
        if number is None:
            others.append(path)
        else:
            frames["train" if int(number[1]) <= last else "test"].append(path)
    return frames, others


def main(argv: Sequence[str] | None = None) -> int:
    """Make the folders; returns the exit code: 0 all is there, 1 some frames are missing or broken, 2 bad arguments."""
    return run_command("prepare_alderley.py", argv, _run)


def _run(words: list[str]) -> int:
    args = parse_record("datasets/prepare_alderley.py", AlderleyOptions, words, __doc__)
    failures: list[str] = []

    sources = (("--night", args.night, args.last_night, "A"), ("--day", args.day, args.last_day, "B"))
    found = {}
    for flag, folder, last, side in sources:
        found[side], others = divide(require_folder(flag, folder), last)
        if not any(found[side].values()):
            raise FileNotFoundError(f"{flag} {folder}: no frames with a number in their name, like Image00001.jpg")
        if others:
            names = shown([path.name for path in others])
            print(
                f"warning: {flag}: {counted(len(others), 'file')} without a number left out: {names}", file=sys.stderr
            )
    for side, phases in found.items():
        for phase, frames in phases.items():
            folder = args.output_dir / f"{phase}{side}"
            if not frames:
                failures.append(f"{folder}: no frames")
                print(f"error: {folder}: no frame has such a number; see --last_night, --last_day", file=sys.stderr)
                continue
            placed = place_images(frames, folder, link=args.link)
            tell(folder, placed)
            failures.extend(placed.failures)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())

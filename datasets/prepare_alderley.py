"""Make trainA, testA (rainy night) and trainB, testB (day) of the Alderley Day/Night data set.

Needs its frames, unpacked: a folder of the night and a folder of the day, with names like Image00001.jpg.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from datasets.command_line import OneLineParser, exit_code
from datasets.pairs import place_images, require_folder, shown, tell
from util.images.folder import scan

_LAST_NIGHT, _LAST_DAY = 13800, 11686  # the published division: about the first four fifths train
_NUMBER = re.compile(r"(\d+)$")


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
    parser = OneLineParser((__doc__ or "").split("\n")[0])
    parser.add_argument("--night", type=Path, required=True, help="folder of the frames of the night, domain A")
    parser.add_argument("--day", type=Path, required=True, help="folder of the frames of the day, domain B")
    parser.add_argument("--output_dir", type=Path, required=True, help="gets trainA, trainB, testA, testB")
    parser.add_argument("--last_night", type=int, default=_LAST_NIGHT, help="number of the last night frame of trainA")
    parser.add_argument("--last_day", type=int, default=_LAST_DAY, help="number of the last day frame of trainB")
    parser.add_argument("--link", action="store_true", help="hard links instead of copies")
    args = parser.parse_args(argv)
    failures: list[str] = []

    def run() -> None:
        sources = (("--night", args.night, args.last_night, "A"), ("--day", args.day, args.last_day, "B"))
        found = {}
        for flag, folder, last, side in sources:
            found[side], others = divide(require_folder(flag, folder), last)
            if not any(found[side].values()):
                raise FileNotFoundError(f"{flag} {folder}: no frames with a number in their name, like Image00001.jpg")
            if others:
                names = shown([path.name for path in others])
                print(f"warning: {flag}: {len(others)} files without a number left out: {names}", file=sys.stderr)
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

    return exit_code(run) or int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())

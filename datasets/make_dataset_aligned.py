"""Make an aligned data set out of an unaligned one whose images belong together in their sorted order.

P/trainA and P/trainB become P/train/0000.jpg, ..., P/testA and P/testB become P/test: A on the left, B on the right.
It pairs by order, combine_A_and_B.py by name. Two JPEGs give a JPEG, everything else is stored without loss.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from data.image_folder import describe, nearest, scan, stem
from datasets.combine_A_and_B import Job, combine_all
from datasets.command_line import OneLineParser, exit_code

_PHASES = ("train", "val", "test")


def phase_jobs(root: Path, phase: str) -> list[Job]:
    """The pairs of one phase; none if it has neither an A nor a B folder.

    Raises:
        FileNotFoundError: one of the two folders is missing or empty.
        ValueError: they hold different numbers of images, or the folder to write exists.
    """
    folders = [root / f"{phase}{side}" for side in "AB"]
    if not any(folder.is_dir() for folder in folders):
        return []
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"--dataset-path {root}: there is no folder {folder.name}; {describe(root)}")
    files_a, files_b = (scan(folder) for folder in folders)
    if len(files_a) != len(files_b) or not files_a:
        raise ValueError(
            f"{folders[0]} has {len(files_a)} images, {folders[1]} has {len(files_b)}: both must have the same number"
        )
    out = root / phase
    if out.exists():
        raise ValueError(f"{out} exists: move it away and run again")
    differ = [(a, b) for a, b in zip(files_a, files_b) if stem(a, folders[0]) != stem(b, folders[1])]
    if differ:
        a, b = differ[0]
        print(
            f"warning: {len(differ)} of {len(files_a)} pairs have different names, e.g. {a} and {b}; "
            f"they are paired by order: look at the result",
            file=sys.stderr,
        )
    return [Job(a, b, str(out / f"{i:04d}")) for i, (a, b) in enumerate(zip(files_a, files_b))]


def make_aligned(root: Path) -> None:
    """Write the aligned images of all phases; raises as ``phase_jobs`` does, and for pairs of different sizes."""
    if not root.is_dir():
        raise FileNotFoundError(f"--dataset-path {root}: there is no such folder; {describe(nearest(root))}")
    jobs = {phase: phase_jobs(root, phase) for phase in _PHASES}
    if not any(jobs.values()):
        raise FileNotFoundError(f"--dataset-path {root}: needs folders trainA and trainB, or testA and testB")
    for phase, pairs in jobs.items():
        combine_all(pairs, processes=True)
        if pairs:
            print(f"{len(pairs)} pairs written to {root / phase}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = OneLineParser((__doc__ or "").split("\n")[0])
    parser.add_argument("--dataset-path", type=Path, required=True, help="folder with trainA, trainB, testA, testB")
    args = parser.parse_args(argv)
    return exit_code(lambda: make_aligned(args.dataset_path))


if __name__ == "__main__":
    sys.exit(main())

"""Make side-by-side pairs of the folders trainA and trainB, testA and testB: train/0000.jpg, test/0000.jpg, ..."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from datasets.pairs import appearing_whole, in_parallel, read_side, require_folder, save_pair, shown, side_by_side
from options.parse import parse_record
from options.schema import OptionRecord, arg
from util.exit_code import EXIT_DONE, run_command
from util.images.folder import scan, stem
from util.wording import counted


@dataclass(frozen=True, kw_only=True)
class AlignOptions(OptionRecord):
    """Where the images are."""

    dataset_path: Path = arg(
        Path(),
        required=True,
        aliases=("dataset-path",),
        metavar="DIR",
        help="folder that holds trainA, trainB, testA, testB; gets train and test",
    )


def find_pairs(root: Path, phase: str) -> tuple[list[tuple[str, str]], bool]:
    """The pairs of a phase, and whether they were found by name (else by their place in natural order).

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: the folders hold different numbers of images, or none.
    """
    a_folder, b_folder = (require_folder("--dataset-path", root / f"{phase}{side}") for side in "AB")
    a, b = scan(a_folder), scan(b_folder)
    if len(a) != len(b) or not a:
        raise ValueError(
            f"{a_folder} holds {counted(len(a), 'image')}, {b_folder} {len(b)}: each needs a partner, at least one pair"
        )
    partners = {stem(path, b_folder): path for path in b}
    if len(partners) == len(b) and all(stem(path, a_folder) in partners for path in a):
        return [(path, partners[stem(path, a_folder)]) for path in a], True
    return list(zip(a, b)), False


def write_pairs(pairs: Sequence[tuple[str, str]], folder: Path) -> None:
    """Write ``0000.jpg``, ``0001.jpg``, ... (PNG for what JPEG cannot hold).

    Raises:
        ValueError: an image is broken, or the sides of a pair differ in size or kind.
    """

    def write(job: tuple[int, tuple[str, str]]) -> None:
        number, (a, b) = job
        save_pair(folder / f"{number:04d}.jpg", side_by_side(read_side(a), read_side(b), f"{a} and {b}"))

    failures = in_parallel(write, enumerate(pairs), os.cpu_count() or 1)
    if failures:
        raise ValueError(f"{len(failures)} of {len(pairs)} pairs failed, nothing was kept: {shown(failures, 2)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Make the pairs; returns the exit code."""
    return run_command("make_dataset_aligned.py", argv, _run)


def _run(words: list[str]) -> int:
    root = parse_record("datasets/make_dataset_aligned.py", AlignOptions, words, __doc__).dataset_path
    require_folder("--dataset-path", root)
    phases = [phase for phase in ("train", "test") if any((root / f"{phase}{side}").exists() for side in "AB")]
    if not phases:
        raise FileNotFoundError(f"--dataset-path {root} has no folders trainA and trainB, testA and testB")
    found = {phase: find_pairs(root, phase) for phase in phases}
    with ExitStack() as stack:  # all phases appear, or none
        for phase, (pairs, _) in found.items():
            write_pairs(pairs, stack.enter_context(appearing_whole(root / phase)))
    for phase, (pairs, named) in found.items():
        how = "by name" if named else f"by order, because the names differ: {pairs[0][0]} with {pairs[0][1]}, ..."
        print(f"{root / phase}: {counted(len(pairs), 'pair')}, matched {how}")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())

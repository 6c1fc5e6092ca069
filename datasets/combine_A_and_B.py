"""Combine images of two folders into side-by-side pairs, A left and B right, matched by name."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from datasets.pairs import FILTERS, in_parallel, read_side, require_folder, resize, save_pair, shown, side_by_side
from options.parse import parse_record
from options.schema import OptionRecord, arg
from util.exit_code import run_command
from util.files import real_path
from util.images.folder import scan, stem
from util.images.io import read_header
from util.wording import counted

_JPEG = (".jpg", ".jpeg")
_LOSSLESS = (".png", ".tif", ".tiff", ".npy")


@dataclass(frozen=True)
class Pair:
    """Two files and the file that they become; with ``target_b`` the file of B beside that of A."""

    a: str
    b: str
    target: Path
    target_b: Path | None = None

    @property
    def targets(self) -> list[Path]:
        return [self.target, *([self.target_b] if self.target_b else [])]


@dataclass(frozen=True, kw_only=True)
class CombineOptions(OptionRecord):
    """What is combined, and how."""

    fold_A: Path = arg(Path(), required=True, metavar="DIR", help="images of A, usually in folders train, val, test")
    fold_B: Path = arg(
        Path(), required=True, metavar="DIR", help="images of B in the same folders as --fold_A; suffixes may differ"
    )
    fold_AB: Path = arg(
        Path(), required=True, metavar="DIR", help="where the pairs are written, in the same folders as --fold_A"
    )
    num_imgs: int = arg(1000000, minimum=1, help="most pairs in each of train, val, test, ...")
    use_AB: bool = arg(False, help="x_A.png belongs to x_B.png, and the pair is called x")
    no_multiprocessing: bool = arg(False, help="one pair at a time")
    resize: str | None = arg(
        None,
        bare="bicubic",
        choices=tuple(sorted(FILTERS)),
        help="bring B to the size of A instead of refusing other sizes (a bare --resize: bicubic); nearest keeps the "
        "colours of label maps",
    )
    overwrite: bool = arg(False, help="replace pairs that exist in --fold_AB")


def by_stem(folder: Path, ending: str) -> tuple[dict[str, str], list[str]]:
    """Relative path without suffix and ``ending`` -> file, and the files that lack the ending.

    Raises:
        ValueError: two files have the same name but for the suffix.
    """
    found: dict[str, str] = {}
    others = []
    for path in scan(folder):
        name = stem(path, folder)
        if not name.endswith(ending):
            others.append(path)
            continue
        other = found.setdefault(name.removesuffix(ending), path)
        if other != path:
            raise ValueError(f"{other} and {path} have the same name but for the suffix: keep one of them")
    return found, others


def find_pairs(
    fold_a: Path, fold_b: Path, fold_ab: Path, *, use_ab: bool = False, num_imgs: int = 1000000
) -> tuple[list[Pair], list[str]]:
    """The pairs, and the files that have no partner.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: there is no pair at all, or a name is not unique.
    """
    (a, other_a), (b, other_b) = (
        by_stem(require_folder(flag, folder), ending if use_ab else "")
        for flag, folder, ending in (("--fold_A", fold_a, "_A"), ("--fold_B", fold_b, "_B"))
    )
    if real_path(fold_a) == real_path(fold_b) and not use_ab:
        raise ValueError(f"--fold_A and --fold_B are both {fold_a}: for x_A and x_B in one folder give --use_AB")
    matched = {side[key] for key in a if key in b for side in (a, b)}
    alone = [path for path in dict.fromkeys([*a.values(), *b.values(), *other_a, *other_b]) if path not in matched]
    counts: Counter[str] = Counter()
    pairs = []
    for key in (key for key in a if key in b):
        split = Path(key).parts[0] if len(Path(key).parts) > 1 else ""
        counts[split] += 1
        if counts[split] <= num_imgs:
            pairs.append(Pair(a[key], b[key], fold_ab / (key + _target_suffix(a[key], b[key]))))
    if not pairs:
        hint = "x_A and x_B (--use_AB)" if use_ab else "the same name in both, like train/1.jpg and train/1.png"
        raise ValueError(
            f"no pairs: {counted(len(a) + len(other_a), 'image')} in {fold_a}, {len(b) + len(other_b)} in {fold_b}, "
            f"none match; partners need {hint}; first files: {shown(alone, 4) or 'none'}"
        )
    return pairs, alone


def _target_suffix(a: str, b: str) -> str:
    """The suffix of A where both sides have its kind and it can hold what was read, else PNG."""
    suffix_a, suffix_b = (os.path.splitext(path)[1] for path in (a, b))
    both_jpeg = suffix_a.lower() in _JPEG and suffix_b.lower() in _JPEG
    return suffix_a if both_jpeg or (suffix_a.lower() == suffix_b.lower() and suffix_a.lower() in _LOSSLESS) else ".png"


def _check_sizes(pairs: Sequence[Pair]) -> None:
    wrong = []
    for pair in pairs:
        a, b = read_header(pair.a), read_header(pair.b)
        if (a.width, a.height) != (b.width, b.height):
            wrong.append(f"{pair.a} {a.width}x{a.height} and {pair.b} {b.width}x{b.height}")
    if wrong:
        raise ValueError(
            f"{len(wrong)} of {len(pairs)} pairs differ in size ({shown(wrong, 2)}): nothing was written; "
            f"--resize brings B to the size of A"
        )


def in_folders(pairs: Sequence[Pair], fold_ab: Path) -> list[Pair]:
    """The pairs; where one is so high that side by side it would look like a single picture, which a training refuses,
    all of its phase become files in folders A and B, which a training reads as well."""

    def phase_of(pair: Pair) -> Path:
        inside = pair.target.relative_to(fold_ab)
        return fold_ab / inside.parts[0] if len(inside.parts) > 1 else fold_ab

    high = set()
    for pair in pairs:
        try:
            header = read_header(pair.a)
        except ValueError:  # combine() reports it
            continue
        if 2 * header.width <= header.height:
            high.add(phase_of(pair))
    found = []
    for pair in pairs:
        phase = phase_of(pair)
        inside = pair.target.relative_to(phase)
        split = replace(pair, target=phase / "A" / inside, target_b=phase / "B" / inside)
        found.append(split if phase in high else pair)
    return found


def combine(pairs: Sequence[Pair], *, filter_name: str | None = None, threads: int = 1) -> list[str]:
    """Write the pairs; returns what went wrong, one line a pair."""

    def write(pair: Pair) -> None:
        a, b = read_side(pair.a), read_side(pair.b)
        height, width = a.array.shape[:2]
        if filter_name and (height, width) != b.array.shape[:2]:
            b = replace(b, array=resize(b.array, height, width, filter_name))
        if pair.target_b:
            save_pair(pair.target, a)
            save_pair(pair.target_b, b)
        else:
            save_pair(pair.target, side_by_side(a, b, f"{pair.a} and {pair.b}"))

    return in_parallel(write, pairs, threads)


def main(argv: Sequence[str] | None = None) -> int:
    """Combine; returns the exit code: 0 all pairs are written, 1 some failed, 2 bad arguments."""
    return run_command("combine_A_and_B.py", argv, _run)


def _run(words: list[str]) -> int:
    args = parse_record("datasets/combine_A_and_B.py", CombineOptions, words, __doc__)
    pairs, alone = find_pairs(args.fold_A, args.fold_B, args.fold_AB, use_ab=args.use_AB, num_imgs=args.num_imgs)
    if not args.resize:
        _check_sizes(pairs)
    pairs = in_folders(pairs, args.fold_AB)
    there = [str(target) for pair in pairs for target in pair.targets if target.exists()]
    if there and not args.overwrite:
        raise FileExistsError(
            f"--fold_AB holds {len(there)} of the files ({shown(there, 2)}): --overwrite replaces them"
        )
    threads = 1 if args.no_multiprocessing else os.cpu_count() or 1
    failures = combine(pairs, filter_name=args.resize, threads=threads)
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    if alone:
        print(f"warning: {counted(len(alone), 'file')} without a partner: {shown(alone)}", file=sys.stderr)
    counts = Counter((pair.target.parent, pair.target_b.parent if pair.target_b else None) for pair in pairs)
    for (folder, folder_b), count in counts.items():
        split = f" in the folders A and B, as side by side they would look like one picture: {folder_b}"
        print(f"{folder}: {counted(count, 'pair')}{split if folder_b else ''}")
    print(f"{len(pairs) - len(failures)} of {len(pairs)} pairs written to {args.fold_AB}")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())

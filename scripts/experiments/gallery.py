"""The gallery: a short training of every model on real data, and the pages of docs/gallery that show what came out.

Trains, tests and measures one run after the other. The same command goes on after a stop; finished runs are skipped, a
failed one is tried again. The data sets are folders in datasets/: facades (pairs), edges2shoes (pairs), day2night
(trainA, trainB, testA, testB) and cifar10 (a folder per class in train and test).

Usage:
    python scripts/experiments/gallery.py                          # all runs, under three hours on one core
    python scripts/experiments/gallery.py --runs pix2pix atme      # these two
    python scripts/experiments/gallery.py --dry_run                # what is done, what is left
    python scripts/experiments/gallery.py --pages                  # the pages, from the files of the runs
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from util.memory import keep_freed_memory
from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()
    keep_freed_memory()  # both before torch is loaded

from options.parse import parse_record
from options.schema import OptionRecord, arg
from scripts.experiments.showcase.page import write_gallery
from scripts.experiments.showcase.runs import RUNS, GalleryRun
from scripts.experiments.showcase.tables import table_words
from scripts.experiments.showcase.training import STOPPED, Folders, failed_codes, left_to_do, work
from scripts.results_table import main as results_table
from util.exit_code import EXIT_BAD_INPUT, EXIT_DONE, EXIT_FAILED, run_command
from util.registry import unknown


@dataclass(frozen=True, kw_only=True)
class GalleryOptions(OptionRecord):
    """Which runs, for how long, where."""

    runs: tuple[str, ...] = arg((), several=True, metavar="RUN", help="names of the runs (default: all)")
    max_minutes: float = arg(0.0, minimum=0.0, help="end each training after this many minutes; 0 = after its epochs")
    vgg_weights: Path | None = arg(
        None, metavar="FILE", help="weights of VGG16 for the perceptual run (default: downloaded once)"
    )
    checkpoints_dir: Path = arg(Path("checkpoints"), metavar="DIR", help="folder of all runs")
    results_dir: Path = arg(Path("results"), metavar="DIR", help="folder of all results")
    pages: bool = arg(False, help="train nothing; write the pages, and the tables of results.md that are there")
    docs: Path = arg(Path("docs"), metavar="DIR", help="folder of the pages")
    dry_run: bool = arg(False, help="say what is done already and what would be run")


def main(argv: Sequence[str] | None = None) -> int:
    """Train; returns 0 done, 1 done but a run failed, 2 bad input, 130/143 stopped."""
    return run_command("gallery.py", argv, _run)


def _run(words: list[str]) -> int:
    o = parse_record("scripts/experiments/gallery.py", GalleryOptions, words, __doc__)
    runs, folders = _chosen(o.runs), Folders(o.checkpoints_dir, o.results_dir, o.vgg_weights)
    if o.dry_run:
        for run in runs:
            todo = left_to_do(run, folders, o.max_minutes)
            print(f"{run.name}: {'to do' if todo else 'done'}")
            print("".join(f"    python {shlex.join(words)}\n" for _, words in todo), end="")
        return EXIT_DONE
    if o.pages:
        return _write_pages(folders, o.docs)
    return _train(runs, folders, o.max_minutes)


def _chosen(names: Sequence[str]) -> list[GalleryRun]:
    known = {run.name: run for run in RUNS}
    for name in names:
        if name not in known:
            raise ValueError(f"{name}: {unknown('run of the gallery', name, known)}")
    return [run for run in RUNS if not names or run.name in names]


def _train(runs: Sequence[GalleryRun], folders: Folders, minutes: float) -> int:
    codes: dict[str, int] = {}
    for progress in (False, True):  # what a page needs most comes first, for all of them
        for run in runs:
            if codes.get(run.name):
                continue
            codes[run.name] = code = work(run, folders, minutes, progress=progress)
            if code in STOPPED:
                print(f"stopped in {run.name}; the same command goes on there", file=sys.stderr)
                return code
            if code:
                print(f"{run.name} failed (exit code {code}); the others go on", file=sys.stderr)
    if failed_codes(codes):
        return EXIT_FAILED
    return EXIT_BAD_INPUT if any(codes.values()) else EXIT_DONE


def _write_pages(folders: Folders, docs: Path) -> int:
    files = write_gallery(RUNS, folders, docs)
    size = sum(file.stat().st_size for file in files)
    print(f"written: {len(files)} files, {size / 1e6:.2f} MB, {docs / 'gallery.md'}")
    results = docs / "results.md"
    text = results.read_text(encoding="utf-8") if results.is_file() else ""
    for block, words in table_words(RUNS, folders).items():
        if f"<!-- table {block}: begin -->" in text:
            code = results_table([*words, "--output", str(results), "--block", block])
            if code:
                return code
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())

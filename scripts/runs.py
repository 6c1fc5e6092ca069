"""List runs, compare them, and delete checkpoints that are not needed any more.

Usage:
    python scripts/runs.py                                # all runs: state, epochs, time, size, metrics
    python scripts/runs.py --compare base wide            # options that differ, last losses and metrics
    python scripts/runs.py --prune base --keep 2          # asks before it deletes
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from options.parse import parse_record
from options.schema import OptionError, OptionRecord, arg
from util.exit_code import EXIT_DONE, run_command
from util.memory import gigabytes
from util.run.folder import is_training
from util.run.listing import RunInfo, find_runs, named_run
from util.wording import counted

_OF_THE_PLACE = {"name", "checkpoints_dir", "continue_train", "overwrite", "dry_run", "suffix", "gpu_ids", "config"}
_SHOWN_METRICS = 4


@dataclass(frozen=True, kw_only=True)
class RunsOptions(OptionRecord):
    """Which runs, and what of them."""

    checkpoints_dir: Path = arg(Path("checkpoints"), metavar="DIR", help="folder of all runs")
    compare: tuple[str, ...] = arg((), several=True, metavar="NAME", help="runs to compare")
    prune: tuple[str, ...] = arg(
        (),
        several=True,
        metavar="NAME",
        help="runs whose checkpoints of single epochs are deleted; latest and best stay",
    )
    keep: int = arg(1, minimum=0, help="with --prune: the newest K of them stay")
    yes: bool = arg(False, help="with --prune: do not ask")
    sort: str = arg("name", choices=("name", "changed", "size", "time"), help="order of the list")

    def __post_init__(self) -> None:
        if self.compare and self.prune:
            raise OptionError("--compare and --prune: give one of them")
        if len(self.compare) == 1:
            raise OptionError(f"--compare {self.compare[0]}: give two runs or more")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under their heads, each as wide as its widest cell; numbers right, words left."""
    cells = [list(head), *map(list, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    right = [all(_is_number(row[column]) for row in rows) for column in range(len(head))]
    lines = []
    for row in cells:
        parts = [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right)]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def _is_number(cell: str) -> bool:
    return not cell or cell[0].isdigit() or cell[0] in "-+"


def duration(seconds: float) -> str:
    """``2:05`` hours and minutes; below an hour ``7 min``, below a minute ``40 s``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"


def listing(runs: Sequence[RunInfo], order: str) -> str:
    """A line for each run."""
    keys = {
        "name": lambda run: run.name,
        "changed": lambda run: -run.changed,
        "size": lambda run: -run.size,
        "time": lambda run: -run.seconds,
    }
    rows = []
    for run in sorted(runs, key=keys[order]):
        planned = f"/{run.last_epoch}" if run.last_epoch else ""
        metrics = [f"{name} {value:.4g}" for name, value in list(run.metrics().items())[:_SHOWN_METRICS]]
        rows.append(
            [
                run.name,
                str(run.options.get("model", "")),
                run.state,
                f"{run.epoch}{planned}",
                duration(run.seconds),
                gigabytes(run.size),
                time.strftime("%Y-%m-%d %H:%M", time.localtime(run.changed)),
                ", ".join(metrics),
            ]
        )
    return table(("run", "model", "state", "epoch", "time", "size", "changed", "metrics"), rows)


def comparison(runs: Sequence[RunInfo]) -> str:
    """The options that differ between the runs, and their last losses and metrics."""
    head = ("", *(run.name for run in runs))

    def rows_of(found: Sequence[dict[str, Any]], every: bool) -> list[list[str]]:
        names = dict.fromkeys(name for each in found for name in each)
        rows = []
        for name in names:
            values = [_shown(each[name]) if name in each else "" for each in found]
            if every or len(set(values)) > 1:
                rows.append([name, *values])
        return rows

    options = [{key: value for key, value in run.options.items() if key not in _OF_THE_PLACE} for run in runs]
    parts = [
        ("options that differ", rows_of(options, False)),
        ("losses, means of the last epoch", rows_of([run.losses() for run in runs], True)),
        ("metrics, last measured", rows_of([run.metrics() for run in runs], True)),
    ]
    state = [["epoch", *(str(run.epoch) for run in runs)], ["time", *(duration(run.seconds) for run in runs)]]
    blocks = [table(head, state)]
    blocks += [f"{title}\n{table(head, rows)}" for title, rows in parts if rows]
    return "\n\n".join(blocks)


def _shown(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, float):
        return ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{value:.6g}"


def prune(runs: Sequence[RunInfo], keep: int, *, ask: bool) -> None:
    """Delete checkpoints of single epochs and iterations, after asking.

    Raises:
        ValueError: a run is in training, or nobody is there to answer.
    """
    files: list[Path] = []
    for run in runs:
        if run.training:
            raise ValueError(f"--prune {run.name}: it is being trained; wait, or give the training --keep_checkpoints")
        old = run.prunable(keep)
        own = [file for tag in old.values() for file in tag]
        files += own
        size = sum(file.stat().st_size for file in own if file.exists())
        kept = [tag for tag in run.checkpoints if tag not in old]
        names = ", ".join(old) or "none"
        print(f"{run.name}: {len(old)} to delete, {gigabytes(size)}: {names}; kept: {', '.join(kept)}")
    if not files:
        return
    if ask:
        if not sys.stdin.isatty():
            raise ValueError("--prune: nobody can answer here; give --yes to delete without asking")
        if input(f"delete {counted(len(files), 'file')}? [y/N] ").strip().lower() not in ("y", "yes"):
            print("nothing was deleted")
            return
    for run in runs:
        if is_training(run.folder):  # it was started while the question waited
            raise ValueError(f"--prune {run.name}: it is being trained; nothing was deleted")
    for file in files:
        file.unlink(missing_ok=True)
    print(f"{counted(len(files), 'file')} deleted")


def main(argv: Sequence[str] | None = None) -> int:
    """List, compare or prune; returns the exit code."""
    return run_command("runs.py", argv, _run)


def _run(words: list[str]) -> int:
    options = parse_record("scripts/runs.py", RunsOptions, words, __doc__)
    if options.compare:
        print(comparison([named_run(options.checkpoints_dir, name) for name in options.compare]))
    elif options.prune:
        chosen = [named_run(options.checkpoints_dir, name) for name in dict.fromkeys(options.prune)]
        prune(chosen, options.keep, ask=not options.yes)
    else:
        runs = find_runs(options.checkpoints_dir)
        print(listing(runs, options.sort) if runs else f"{options.checkpoints_dir}: no runs")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())

"""A table of results as Markdown, from the files of the runs: metrics with their protocol, epochs, time.

Usage:
    python scripts/results_table.py base wide deep                        # to the screen
    python scripts/results_table.py base wide --output docs/results.md --block facades
With --block, the lines between <!-- table facades: begin --> and <!-- table facades: end --> of that file are replaced.
The numbers are those of scripts/evaluate.py, which keeps them with their protocol.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

from options.parse import parse_record
from options.records import options_of
from options.schema import OptionError, OptionRecord, arg
from util.exit_code import EXIT_DONE, run_command
from util.files import replace_text
from util.pages.comparison import (
    ABSENT,
    Column,
    ComparedRun,
    choose_numbers,
    compare_numbers,
    compare_options,
    doubts,
    grouped,
    joined,
    notes,
    option_text,
)
from util.pages.comparison_folder import read_compared
from util.pages.markdown import markdown_table, with_block
from util.pages.series import protocol_text
from util.registry import unknown
from util.run.folder import check_name, check_writable, make_folder
from util.run.listing import RunInfo, find_runs, read_run
from util.wording import counted

_LEFT_OUT = options_of("start", "machine")


@dataclass(frozen=True, kw_only=True)
class ResultsTableOptions(OptionRecord):
    """Which runs, and which columns."""

    runs: tuple[str, ...] = arg((), positional=True, several=True, metavar="RUN", help="names of the runs: the rows")
    names: tuple[str, ...] = arg(
        (), several=True, metavar="NAME", help="what the rows are called (default: the runs' names)"
    )
    options: tuple[str, ...] = arg(
        (), help="options of the training to show, e.g. netD,lr; none = none (default: those that differ)"
    )
    metrics: tuple[str, ...] = arg((), help="metrics to show, e.g. kid,psnr (default: all that were measured)")
    folder: str = arg("test_latest", help="result folder of every run: <phase>_<epoch>")
    checkpoints_dir: Path = arg(Path("checkpoints"), metavar="DIR", help="folder of all runs")
    results_dir: Path = arg(Path("results"), metavar="DIR", help="folder of all results")
    output: Path | None = arg(None, metavar="FILE", help="Markdown file to write (default: the screen)")
    block: str = arg("", metavar="NAME", help="replace only the block of this name within --output")

    def __post_init__(self) -> None:
        if self.block and self.output is None:
            raise OptionError(f"--block {self.block}: name the file that holds it by --output FILE")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the table; returns 0 done, 1 failed, 2 bad input, 130 stopped by Ctrl-C."""
    return run_command("results_table.py", argv, _run)


def _run(words: list[str]) -> int:
    o = parse_record("scripts/results_table.py", ResultsTableOptions, words, __doc__)
    if o.names and len(o.names) != len(o.runs):
        raise ValueError(
            f"--names {','.join(o.names)}: {counted(len(o.names), 'name')} for {counted(len(o.runs), 'run')}"
        )
    text = table(o)
    if o.output is None:
        print(text, end="")
        return EXIT_DONE
    check_writable(o.output, f"--output {o.output}")
    if o.block:
        text = with_block(o.output, o.block, text)
    make_folder(o.output.parent, f"--output {o.output}")
    replace_text(o.output, [text])
    print(f"written: {o.output}")
    return EXIT_DONE


def table(o: ResultsTableOptions) -> str:
    """The Markdown: a row per run, then how the numbers were measured.

    Raises:
        ValueError: an unknown run, option or metric, or a damaged file.
    """
    infos = [_info(o, name) for name in o.runs]
    runs = [
        read_compared(ComparedRun(name, options=info.options or None), o.checkpoints_dir, o.results_dir, o.folder)
        for name, info in zip(o.runs, infos)
    ]
    numbers = choose_numbers(compare_numbers(runs), o.metrics)
    options = _options(o, runs)
    heads = ["run", *options, "epochs", "seconds", *(_head(column) for column in numbers)]
    rows = []
    for place, info in enumerate(infos):
        called = o.names[place] if o.names else o.runs[place]
        cells = [called, *(texts[place] for texts in options.values()), *_training(info)]
        rows.append([*cells, *(_cell(column, place) for column in numbers)])
    lines = markdown_table(heads, rows, right=range(1 + len(options), len(heads)))
    return "\n".join([*lines, "", *(f"- {line}" for line in _below(o, runs, numbers))]) + "\n"


def _info(o: ResultsTableOptions, name: str) -> RunInfo:
    check_name(name)
    folder = o.checkpoints_dir / name
    if not folder.is_dir():
        known = [run.name for run in find_runs(o.checkpoints_dir)]
        raise ValueError(f"{name}: {unknown('run', name, known) if known else f'no run in {o.checkpoints_dir}'}")
    return read_run(folder, name)


def _options(o: ResultsTableOptions, runs: Sequence[ComparedRun]) -> dict[str, tuple[str, ...]]:
    """Option -> its value in every run."""
    if not o.options:
        return dict(compare_options(runs, _LEFT_OUT).differing)
    found: dict[str, tuple[str, ...]] = {}
    known = sorted({name for run in runs for name in run.options or {}})
    for name in o.options if o.options != ("none",) else ():
        if name not in known:
            raise ValueError(f"--options {name}: {unknown('option', name, known)}")
        values = [(run.options or {}).get(name) for run in runs]
        found[name] = tuple(ABSENT if value is None else option_text(value) for value in values)
    return found


def _training(run: RunInfo) -> list[str]:
    return [str(run.epoch) if run.epoch else ABSENT, f"{run.seconds:.0f}" if run.seconds else ABSENT]


def _head(column: Column) -> str:
    return f"{column.title} {'↑' if column.higher_is_better else '↓'}"


def _cell(column: Column, place: int) -> str:
    cell = column.cells[place]
    if cell is None:
        return ABSENT
    shown = cell.shown.replace("+/-", "±")
    return f"**{shown}**" if place in column.best else shown


def _below(o: ResultsTableOptions, runs: Sequence[ComparedRun], numbers: Sequence[Column]) -> list[str]:
    """How it was measured, what must not be compared, and where the numbers are."""
    lines = [f"not comparable: {doubt}" for doubt in doubts(numbers)]
    ways = grouped(
        (column.title, [protocol_text(cell)])
        for column in numbers
        for cell in column.cells
        if cell is not None and protocol_text(cell)
    )
    lines += [f"{', '.join(dict.fromkeys(titles))}: {way}" for way, titles in ways.items()]
    if any(cell is not None and cell.std is not None for column in numbers for cell in column.cells):
        lines.append("±: the spread of a number over its subsets, splits or pairs, not over trainings")
    lines += notes(numbers, runs)
    if missing := [run.name for run in runs if not run.measurements]:
        lines.append(f"not measured: {joined(missing)}")
    files = "metrics.json, metrics.jsonl and train_opt.json of the runs"
    return [*lines, f"results: {o.folder}; seconds of training without evaluations; made by "
            f"`scripts/results_table.py` from {files}"]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

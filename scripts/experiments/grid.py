"""Runs an experiment: every row of a table for every seed is trained, tested and measured; then the table is written.

What is done already is not done again, so that the same command goes on after a stop; given in a second terminal, it
takes a part of the runs. The scripts beside this file are tables: rows of options, and what they are for.
"""

from __future__ import annotations

import contextlib
import gc
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast

import torch

import test
import train
from options.metric_options import MetricOptions
from options.parse import Options
from scripts.evaluate import main as evaluate
from scripts.experiments.runs import Plan, Run, Stage, T, Table, TableOptions, parse, plan
from scripts.experiments.table import FILES, Outcome, ResultTable, RunEnd, TableRow
from scripts.experiments.workers import ALONE, Failure, Workers
from scripts.experiments.workers import open_workers as _open_workers
from util.exit_code import EXIT_BAD_INPUT, EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_TERMINATED, run_command
from util.metrics import expand, full_name
from util.metrics.suite import Suite
from util.run.folder import is_training
from util.wording import counted

_KEPT = 8000  # characters: far more than such a line has
_POLL = 1.0  # seconds between two looks at what another process does


class Listener:
    """A stream that passes everything on to another one, and remembers the end of it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._end = ""

    def write(self, text: str) -> int:
        """As a stream's."""
        self._end = (self._end + text)[-_KEPT:]
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def error(self) -> str:
        """What came after the last ``error:`` of a line (see ``util.exit_code``); empty if nothing did."""
        found = [line.partition(": error: ")[2] for line in self._end.splitlines() if ": error: " in line]
        return found[-1].strip() if found else ""


@contextlib.contextmanager
def listening() -> Iterator[Listener]:
    """Listen to what this process writes to stderr. What its children write is not heard."""
    listener = Listener(sys.stderr)
    with contextlib.redirect_stderr(cast(TextIO, listener)):
        yield listener


_STOPS = (EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_TERMINATED)
"""Exit codes of a step that end the whole table; with any other one a row has failed and the next has its turn."""


def _train(words: list[str]) -> int:
    return train.main(words)


def _test(words: list[str]) -> int:
    return test.main(words)


def _evaluate(words: list[str]) -> int:
    return evaluate(words)


def _compare(names: Sequence[str], *, checkpoints_dir: str, results_dir: str, output: Path) -> Path:
    folders = ["--checkpoints_dir", checkpoints_dir, "--results_dir", results_dir, "--output", str(output)]
    if _evaluate(["--compare", *names, *folders]):
        raise RuntimeError(f"{output}: the page that compares the rows was not made")
    return output / "index.html"


def _check_metrics(names: Sequence[str], options: MetricOptions) -> None:
    """Load the networks of the metrics once, so that missing weights are reported before anything is trained."""

    Suite(names, torch.device("cpu"), **vars(options))


@dataclass(frozen=True)
class Commands:
    """What a table calls: the programs with the words of their command lines, which return exit codes; the page that
    compares runs; the check that the metrics can be measured here, which raises if not; and who shares the runs."""

    train: Callable[[list[str]], int] = _train
    test: Callable[[list[str]], int] = _test
    evaluate: Callable[[list[str]], int] = _evaluate
    compare: Callable[..., Path] = _compare
    check_metrics: Callable[[Sequence[str], MetricOptions], None] = _check_metrics
    open_workers: Callable[[TableOptions, Path], Workers] = _open_workers


@dataclass(frozen=True)
class Grid:
    """Everything one call of a script is about."""

    table: Table[Any]
    args: TableOptions
    plan: Plan
    commands: Commands

    @property
    def folder(self) -> Path:
        """Where the table is written."""
        return Path(self.args.results_dir) / self.args.name

    @property
    def metric_names(self) -> list[str]:
        """Full names of the numbers that a row must have."""
        m = self.plan.base.metric
        return [full_name(s, extractor=m.feature_extractor, lpips_net=m.lpips_net) for s in expand(self.args.metrics)]

    def steps(self, run: Run) -> list[tuple[str, Callable[[list[str]], int], list[str]]]:
        """What is left to do for a run: (what, program, words), in order. Whatever follows a step is done again."""
        where = ["--name", run.name, "--checkpoints_dir", self.args.checkpoints_dir]
        where += ["--results_dir", self.args.results_dir]
        if self.args.gpu_ids:  # training may use several; testing uses the first
            where += ["--gpu_ids", self.args.gpu_ids.split(",")[0]]
        extra = {Stage.INTERRUPTED: ["--continue_train"], Stage.LOST: ["--overwrite"]}
        metrics = ["--metrics", ",".join(self.args.metrics), *self.plan.metric_words]
        stage = run.files.stage()
        all_steps = [
            ("train", self.commands.train, [*run.words, *extra.get(stage, [])]),
            ("test", self.commands.test, [*where, *self.table.test_words(self.args)]),
            ("evaluate", self.commands.evaluate, [*where, *metrics]),
        ]
        if stage != Stage.TRAINED:
            return all_steps
        if not run.files.is_tested():
            return all_steps[1:]
        done = run.files.is_evaluated(self.metric_names) and not self.args.evaluate_again
        return [] if done else all_steps[2:]


def run_table(table: Table[T], argv: Sequence[str] | None = None, commands: Commands | None = None) -> int:
    """Make a table from a command line.

    Args:
        table: its rows.
        argv: words of the command line without the program; default ``sys.argv[1:]``.
        commands: the programs to call; default: those of this project.

    Returns:
        0 done, 1 done but some rows failed, 2 bad options or data, 130/143 stopped by Ctrl-C/SIGTERM.
    """

    def run(words: list[str]) -> int:
        args, passed = parse(table, words)
        grid = Grid(table, args, plan(table, args, passed), commands or Commands())
        return _dry_run(grid) if args.dry_run else _run(grid, words)

    return run_command(f"{table.name}.py", argv, run)


def _dry_run(grid: Grid) -> int:
    programs = {"train": "train.py", "test": "test.py", "evaluate": "scripts/evaluate.py"}
    for run in grid.plan.runs:
        steps = grid.steps(run)
        print(f"{run.name}: {run.files.stage().value}" if steps else f"{run.name}: trained, tested, evaluated")
        for what, _, words in steps:
            print(f"    python {programs[what]} {shlex.join(words)}")
    print(f"table: {grid.folder / 'table.md'}")
    _tell_what_comes_too_late(grid)
    return EXIT_DONE


def _tell_what_comes_too_late(grid: Grid, busy: frozenset[str] = frozenset()) -> None:
    """Name the options that say how a training logs and saves, for runs that are trained already."""
    late: dict[str, list[str]] = {}
    for run in (run for run in grid.plan.runs if run.name not in busy):
        for words in run.files.without_effect() if run.files.stage() == Stage.TRAINED else ():
            late.setdefault(words, []).append(run.name)
    for words, names in late.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        print(
            f"{words} has no effect on {names[0]}{more}: trained already without it; delete that folder to train again",
            file=sys.stderr,
        )


def _run(grid: Grid, argv: list[str]) -> int:
    runs, workers = grid.plan.runs, grid.commands.open_workers(grid.args, grid.folder)
    with workers.alone():
        busy = workers.busy() & {run.name for run in runs}
        for run in runs:
            if run.name not in busy:
                run.files.finish_save()
        # Looking at every run also refuses the folders of other runs, before anything starts.
        todo = [run.name for run in runs if _is_left(grid, run, busy)]
        others = f", {len(busy)} under way elsewhere" if busy else ""
        print(f"{grid.table.title}: {counted(len(runs), 'run')}, {len(runs) - len(todo)} of them done already{others}")
        _tell_what_comes_too_late(grid, busy)
    if todo:
        grid.commands.check_metrics(grid.args.metrics, grid.plan.base.metric)
    work = _Work(grid, workers, frozenset(run.name for run in runs if run.name not in todo))
    try:
        last = workers.work(todo, work.attempt, work.write)
    except _Stopped as stop:
        command = shlex.join(["python", f"scripts/experiments/{grid.table.name}.py", *argv])
        advice = "put that right; then the" if stop.code == EXIT_BAD_INPUT else "the"
        print(f"stopped in {stop.run}; {advice} same command goes on there: {command}", file=sys.stderr)
        return stop.code
    work.wait_for_files()
    page = work.write()
    print(page.markdown(), *(f"written: {grid.folder / name}" for name in FILES), sep="\n")
    if last:
        _write_comparison(grid, page)
    return EXIT_FAILED if any(len(row.good) < len(row.outcomes) for row in page.rows) else EXIT_DONE


def _is_left(grid: Grid, run: Run, busy: frozenset[str]) -> bool:
    """Whether there is something to do for a run, here or where it is under way."""
    if run.name in busy:
        run.files.check_options()
        return True
    return bool(grid.steps(run))


class _Stopped(Exception):
    """A step ended with one of ``_STOPS``."""

    def __init__(self, run: str, code: int) -> None:
        super().__init__(run, code)
        self.run, self.code = run, code


class _Work:
    """What this process does for the runs of a table, and what came of them here and elsewhere.

    Args:
        grid: the table.
        workers: this process among others.
        done: names of the runs for which nothing was left to do.
    """

    def __init__(self, grid: Grid, workers: Workers, done: frozenset[str]) -> None:
        self._grid, self._workers, self._done = grid, workers, done
        self._runs = {run.name: run for run in grid.plan.runs}
        self._here: set[str] = set()
        self._good: dict[str, Outcome] = {}

    def attempt(self, name: str) -> Failure | None:
        """Do what is left of a run.

        Raises:
            _Stopped: the table must stop.
        """
        run = self._runs[name]
        self._here.add(name)
        print(f"--- {list(self._runs).index(name) + 1} of {len(self._runs)}: {name}", flush=True)
        self._wait_for_training(run.files.checkpoints)
        run.files.finish_save()
        try:
            for what, program, words in self._grid.steps(run):
                with listening() as heard:
                    code = program(words)
                if code in _STOPS:
                    raise _Stopped(name, code)
                if code:
                    print(f"{name} failed to {what} (exit code {code}); the other rows go on", file=sys.stderr)
                    return Failure(what, code, heard.error)
            return None
        finally:
            _free_memory()

    def _wait_for_training(self, folder: Path) -> None:
        """Wait for processes that a killed worker has left behind, or for one that was started by hand."""
        if not is_training(folder):
            return
        if not self._workers.several:  # train.py refuses in a moment
            if self._grid.args.storage != ALONE:
                print("to share a table between processes, install Optuna: pip install optuna", file=sys.stderr)
            return
        print(f"{folder.name}: waiting for the training that is still running there", flush=True)
        while is_training(folder):
            time.sleep(_POLL)

    def write(self) -> ResultTable:
        """Write the table as far as it is, so that it can be looked at while others train; returns it."""
        with self._workers.alone():  # an older table must not take the place of a newer one
            page = self._page()
            page.write(self._grid.folder)
        return page

    def _page(self) -> ResultTable:
        page, ended = _empty_table(self._grid), self._workers.ended()
        rows = {row.label: row for row in page.rows}
        for run in self._runs.values():
            failure = ended.get(run.name)
            if failure is not None:
                rows[run.row.label].outcomes.append(self._failed(run, failure))
            elif (run.name in ended or run.name in self._done) and (outcome := self._measured(run)):
                rows[run.row.label].outcomes.append(outcome)
        return page

    def _failed(self, run: Run, failure: Failure) -> Outcome:
        end = RunEnd(run.files.checkpoints, trained=failure.what != "train", error=failure.error)
        numbers = _numbers(self._grid.table, end)
        return Outcome(run.seed, failure=str(failure), variant=run.row.variant, numbers=numbers)

    def _measured(self, run: Run) -> Outcome | None:
        """None where the files of another worker are not to be seen yet."""
        if run.name not in self._good and (run.files.is_there() or not self._workers.several):
            if run.name not in self._here:
                run.files.check_options()
            measured = [each for each in run.files.measurements() if each.name in self._grid.metric_names]
            updates, images = run.files.counts() or (None, None)
            numbers = _numbers(self._grid.table, RunEnd(run.files.checkpoints))
            self._good[run.name] = Outcome(
                run.seed, updates, images, measured, variant=run.row.variant, numbers=numbers
            )
        return self._good.get(run.name)

    def wait_for_files(self) -> None:
        """Wait until the files of all runs that went well elsewhere can be seen: on a shared disk, soon.

        Raises:
            ValueError: they are not there.
        """
        if not self._workers.several:
            return
        end = time.monotonic() + self._grid.args.grace
        for name in (name for name, failure in self._workers.ended().items() if failure is None):
            while name in self._runs and not self._runs[name].files.is_there():
                if time.monotonic() > end:
                    args = self._grid.args
                    raise ValueError(
                        f"--checkpoints_dir {args.checkpoints_dir}, --results_dir {args.results_dir}: {name}, which "
                        "another worker has made, is not there; all workers of a table need the same folders"
                    )
                time.sleep(_POLL)


def _numbers(table: Table, end: RunEnd) -> dict[str, float]:
    """What the table's own columns say of a run."""
    found = {column.name: column.read(end) for column in table.columns}
    return {name: value for name, value in found.items() if value is not None}


def _empty_table(grid: Grid) -> ResultTable:
    table, runs = grid.table, grid.plan.runs
    labels = [run.row.label for run in runs]
    unit = "runs" if any(run.row.variant for run in runs) else "seeds"
    rows = [TableRow(label, labels.count(label), unit) for label in dict.fromkeys(labels)]
    return ResultTable(table.title, table.heading, rows, _facts(grid), table.cautions, table.columns)


def _free_memory() -> None:
    """Give back the GPU memory of a run; without this a row's own processes find what was tested here still there."""

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _facts(grid: Grid) -> list[str]:
    o = grid.plan.base
    data = f"Data: {grid.args.dataroot}, {o.data.direction}, {o.data.crop_size} px."
    model = f" Model: {o.run.model}, {o.model.netG}."
    schedules = {_schedule(run.options) for run in grid.plan.runs}
    return [data + model + (f" Every run: {schedules.pop()}." if len(schedules) == 1 else "")]


def _schedule(o: Options) -> str:
    s = o.schedule
    if s.n_iters + s.n_iters_decay:
        return f"{s.n_iters} + {s.n_iters_decay} updates"
    return f"{s.n_epochs} + {s.n_epochs_decay} epochs"


def _write_comparison(grid: Grid, page: ResultTable) -> None:
    """The pictures of the first good run of every row, side by side."""
    good = {(row.label, each.variant, each.seed) for row in page.rows for each in row.good}
    first: dict[str, str] = {}
    for run in grid.plan.runs:
        if (run.row.label, run.row.variant, run.seed) in good:
            first.setdefault(run.row.label, run.name)
    if len(first) < 2:
        return
    args = grid.args
    written = grid.commands.compare(
        list(first.values()),
        checkpoints_dir=args.checkpoints_dir,
        results_dir=args.results_dir,
        output=grid.folder / "comparison",
    )
    print(f"comparison: {written}")

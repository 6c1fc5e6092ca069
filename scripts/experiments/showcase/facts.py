"""What the files of a run say about it: how it was made, how far it is, what it measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.experiments.showcase.runs import GalleryRun
from scripts.experiments.showcase.training import STOPPED, Call, Folders, is_trained, read_calls
from util.exit_code import EXIT_DONE
from util.loggers.jsonl import FILE_NAME as METRICS_LOG
from util.metrics.measurement import FILE_NAME as METRICS
from util.metrics.measurement import Measurement
from util.pages.comparison import ComparedRun
from util.pages.comparison_folder import read_compared
from util.pages.series import protocol_text
from util.run.folder import holds_run
from util.run.listing import RunInfo, read_run

_LEFT_OUT = ("checkpoints_dir", "results_dir", "overwrite")
_GOES_ON = {"name", "checkpoints_dir", "continue_train", "max_minutes"}  # flags of a start that only goes on
_FILES = ("vgg_weights",)  # flags whose file is another one on every machine
TIME = "processor time of train.py"
"""What a page calls it; the index reads it there."""


@dataclass(frozen=True)
class Facts:
    """A run as its files tell it.

    Attributes:
        run: what was asked for.
        calls: of all programs, from ``gallery.json``.
        info: options, epochs, checkpoints; None before the first checkpoint.
        compared: curves and measurements.
    """

    run: GalleryRun
    calls: Sequence[Call]
    info: RunInfo | None
    compared: ComparedRun

    @property
    def trainings(self) -> list[Call]:
        """The starts of train.py."""
        return [call for call in self.calls if call.step == "train"]

    @property
    def failure(self) -> str:
        """What failed, in words: the last call of a step whose last call did not end well; empty if none."""
        last = {(call.step, call.words[:1]): call for call in self.calls}
        for call in last.values():
            if call.step == "train" and is_trained(self.calls):
                continue
            if call.code not in (None, EXIT_DONE, *STOPPED):
                return f"{call.words[0]} ended with exit code {call.code}" + (f": {call.error}" if call.error else "")
        return ""

    @property
    def state(self) -> str:
        """``trained``, ``failed``, ``stopped`` or ``not started``."""
        if self.failure:
            return "failed"
        if not self.trainings:
            return "not started"
        return "trained" if is_trained(self.calls) else "stopped"

    @property
    def commands(self) -> list[list[str]]:
        """Starts of train.py that set anything, and the last good calls of test.py and evaluate.py, as ``shown``."""
        starts = [call for call in self.trainings[1:] if set(_flags(call.words)) - _GOES_ON]
        good = [call for call in self.calls if call.code == EXIT_DONE]
        tests = [call for call in good if call.step == "test"][-1:]
        measured = {call.words: call for call in good if call.step == "evaluate"}
        return [shown(call.words) for call in (*self.trainings[:1], *starts, *tests, *measured.values())]


def _flags(words: Sequence[str]) -> list[str]:
    return [word.removeprefix("--") for word in words if word.startswith("--")]


def shown(words: Sequence[str]) -> list[str]:
    """A command line without folders and files of this machine."""
    found: list[str] = []
    flag = ""
    for word in words:
        flag = word.removeprefix("--") if word.startswith("--") else flag
        if flag not in _LEFT_OUT:
            found.append("FILE" if flag in _FILES and not word.startswith("--") else word)
    return found


def read_facts(run: GalleryRun, folders: Folders) -> Facts:
    """Everything that the files of a run say.

    Raises:
        ValueError: a file is damaged.
    """
    folder = folders.checkpoints / run.name
    info = read_run(folder) if folder.is_dir() and holds_run(folder) else None
    known = ComparedRun(run.name, options=info.options if info else None)
    compared = read_compared(known, folders.checkpoints, folders.results, run.numbers_folder)
    return Facts(run, read_calls(folders.record(run)), info, compared)


@dataclass(frozen=True)
class Fact:
    """A line of a page: what, how much, and the file that says so."""

    what: str
    value: str
    source: str


def facts_of_run(facts: Facts) -> list[Fact]:
    """How the run was made, each with its source."""
    record, found = "gallery.json", list[Fact]()
    calls, info = facts.trainings, facts.info
    if calls:
        found.append(Fact("trained", _spoken(calls), record))
        found.append(Fact("wall time of train.py", _minutes(sum(call.seconds for call in calls)), record))
        found.append(Fact(TIME, _minutes(sum(call.processor for call in calls)), record))
    if info is not None and info.epochs:
        evaluations = f"{_minutes(info.seconds)} of training, evaluations left out"
        found.append(Fact("finished epochs", f"{info.epoch}; {evaluations}", METRICS_LOG))
    if facts.compared.images:
        found.append(Fact("images seen, as logged", f"{facts.compared.images:,}", METRICS_LOG))
    if info is not None and "seed" in info.options:
        found.append(Fact("seed", str(info.options["seed"]), "train_opt.json"))
    for name, title in (
        ("processor", "machine"),
        ("gpu", "GPU"),
        ("threads", "threads"),
        ("load", "load at the start"),
    ):
        if values := dict.fromkeys(call.where[name] for call in calls if name in call.where):
            found.append(Fact(title, ", ".join(values), record))
    for name, title in (("torch", "torch"), ("commit", "commit")):
        if values := dict.fromkeys(call.where[name] for call in calls if name in call.where):
            found.append(Fact(title, ", ".join(values), record))
    return found


def _spoken(calls: Sequence[Call]) -> str:
    stopped = sum(call.code != EXIT_DONE for call in calls)
    starts = f"; {len(calls)} starts" if len(calls) > 1 else ""
    killed = sum(call.code is None for call in calls)
    return (
        f"{calls[0].began[:16].replace('T', ' ')}{starts}"
        + (f", {stopped} of them stopped or failed" if stopped else "")
        + (f" ({killed} without a trace of its time)" if killed else "")
    )


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"


def facts_of_numbers(facts: Facts) -> list[Fact]:
    """What was measured, with its protocol; the source is the file of numbers."""
    found = []
    for each in facts.compared.measurements:
        better = "higher is better" if each.higher_is_better else "lower is better"
        found.append(Fact(f"{each.title} ({better})", each.shown.replace("+/-", "±"), protocol_text(each)))
    return found


def notes_of_numbers(measurements: Sequence[Measurement]) -> list[str]:
    """What the measuring said of its numbers, each sentence once."""
    return list(dict.fromkeys(note for each in measurements for note in each.notes))


def numbers_file(run: GalleryRun) -> str:
    """Where the numbers of a run are."""
    return (Path("results") / run.name / METRICS).as_posix()

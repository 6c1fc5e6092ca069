"""What differs between runs, and which of their numbers may be compared: plain data for a page and for tables."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from util.metrics.measurement import Measurement, columns
from util.pages.charts import Points
from util.registry import unknown
from util.wording import counted

ABSENT = "–"
"""Stands where a run has no such option or number."""

UNKNOWN = "?"
"""Stands where a run has no option file."""


@dataclass(frozen=True)
class ComparedRun:
    """What is known of one run.

    Attributes:
        name: of the run.
        options: those it was trained with; None without an option file.
        is_paired: whether ``real_B`` is the target of ``fake_B``.
        measurements: of the result folder that is compared.
        tag: of the checkpoint behind that folder.
        epochs: whole epochs of training; 0 when unknown.
        images: images seen in training; 0 when unknown.
        losses: name -> points (images seen, value) as logged, one batch each.
        means: the same with the mean of every epoch; empty where no epoch was logged.
        metrics: full name -> points (images seen, value as shown) of what was measured while training.
    """

    name: str
    options: Mapping[str, Any] | None = None
    is_paired: bool = True
    measurements: Sequence[Measurement] = ()
    tag: str = ""
    epochs: int = 0
    images: int = 0
    losses: Mapping[str, Points] = field(default_factory=dict)
    means: Mapping[str, Points] = field(default_factory=dict)
    metrics: Mapping[str, Points] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageCell:
    """A picture: file below the page's ``images``, caption, and the place of its run (None for input and target)."""

    file: str
    caption: str
    run: int | None = None


@dataclass(frozen=True)
class OptionTable:
    """Options as text, a cell a run.

    Attributes:
        differing: options with several values.
        partial: options that some runs have and others do not (another model, an older version), with one value.
        same: options with one value in all runs.
    """

    differing: Mapping[str, tuple[str, ...]]
    partial: Mapping[str, tuple[str, ...]]
    same: Mapping[str, str]


@dataclass(frozen=True)
class Column:
    """One number of all runs.

    Attributes:
        title: heading.
        name: full name of the number.
        domain: ``A`` or ``B``.
        higher_is_better: the direction of better.
        cells: a measurement a run, None where there is none.
        obstacles: why the numbers must not be compared, in words that name the runs; empty when they may be.
        remarks: what differs too, but matters little.
        best: places of the best runs; empty when the numbers must not be compared, or there is only one.
    """

    title: str
    name: str
    domain: str
    higher_is_better: bool
    cells: tuple[Measurement | None, ...]
    obstacles: tuple[str, ...]
    remarks: tuple[str, ...]
    best: frozenset[int]

    @property
    def short(self) -> str:
        """Short name of the metric, as ``--metrics`` takes it."""
        return next(cell.short for cell in self.cells if cell is not None)


@dataclass(frozen=True)
class Comparison:
    """All that a page shows.

    Attributes:
        runs: in the order of their columns; place 0 has the first colour.
        folder: result folder that is compared, e.g. ``test_latest``.
        options: as ``util.pages.comparison.compare_options`` sorts them.
        numbers: as ``util.pages.comparison.compare_numbers`` gives them.
        rows: stem of a test image -> its pictures.
        image_remarks: what is to be said of the pictures, in sentences.
        image_warnings: the same, where a reader would be misled without.
        num_left_out: test images that all runs have and the page does not.
        made: when, in seconds since 1970.
    """

    runs: Sequence[ComparedRun]
    folder: str
    options: OptionTable
    numbers: Sequence[Column]
    rows: Mapping[str, Sequence[ImageCell]]
    image_remarks: Sequence[str] = ()
    image_warnings: Sequence[str] = ()
    num_left_out: int = 0
    made: float = field(default_factory=time.time)

    @property
    def title(self) -> str:
        """Headline: the names while they are few."""
        names = [run.name for run in self.runs]
        return f"Comparison of {joined(names) if len(names) < 5 else f'{len(names)} runs'}"


def compare_options(runs: Sequence[ComparedRun], left_out: Collection[str] = ()) -> OptionTable:
    """Sort the options of all runs into those that differ and those that do not.

    Values are compared as text, so that ``0.0002`` of a JSON file equals the word of a text file. Runs without an
    option file have ``UNKNOWN`` in every row and count for nothing else.
    """
    known = [run.options for run in runs if run.options is not None]
    differing, partial, same = {}, {}, {}
    for name in sorted({name for options in known for name in options} - set(left_out)):
        texts = tuple(
            UNKNOWN if run.options is None else option_text(run.options[name]) if name in run.options else ABSENT
            for run in runs
        )
        values = set(texts) - {UNKNOWN, ABSENT}
        if len(values) > 1:
            differing[name] = texts
        elif ABSENT in texts:
            partial[name] = texts
        else:
            same[name] = values.pop()
    return OptionTable(differing, partial, same)


def option_text(value: Any) -> str:
    """An option's value as it is shown, the same for what a JSON file and a text file say of it.

    >>> option_text(100.0), option_text("0.0002"), option_text([5, 10]), option_text("")
    ('100', '0.0002', '5, 10', '(empty)')
    """
    if isinstance(value, (list, tuple)):
        return ", ".join(map(option_text, value)) or "(empty)"
    text = str(value)
    if not isinstance(value, bool) and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text):
        number = float(text)
        return str(int(number)) if number.is_integer() and abs(number) < 1e15 else f"{number:.12g}"
    return text if text.strip("()[] ") else "(empty)"


def compare_numbers(runs: Sequence[ComparedRun]) -> list[Column]:
    """Every number that a run has, in the order of ``METRICS``."""
    found = []
    for key in columns(each for run in runs for each in run.measurements):
        cells = tuple(
            next((each for each in run.measurements if (each.name, each.domain) == key), None) for run in runs
        )
        there = [(run.name, cell) for run, cell in zip(runs, cells) if cell is not None]
        obstacles, remarks = _protocol_differences(there)
        first = there[0][1]
        best = frozenset() if obstacles or len(there) < 2 else _best(cells, first.higher_is_better)
        found.append(Column(first.title, *key, first.higher_is_better, cells, obstacles, remarks, best))
    return found


def choose_numbers(numbers: Sequence[Column], metrics: Sequence[str]) -> list[Column]:
    """The numbers of the metrics that ``--metrics`` names, in its order; all of them where it names none.

    Raises:
        ValueError: a metric was not measured.
    """
    if not metrics:
        return list(numbers)
    known = list(dict.fromkeys(column.short for column in numbers))
    for name in metrics:
        if name not in known:
            reason = unknown("measured metric", name, known) if known else "nothing was measured"
            raise ValueError(f"--metrics {name}: {reason}; measure by scripts/evaluate.py")
    return [column for name in metrics for column in numbers if column.short == name]


def notes(numbers: Sequence[Column], runs: Sequence[ComparedRun]) -> list[str]:
    """What a reader must know to use the numbers, each sentence once, with the numbers and runs that it is about."""
    about: dict[str, dict[str, list[str]]] = {}
    for column in numbers:
        for run, cell in zip(runs, column.cells):
            for note in cell.notes if cell else ():
                about.setdefault(note, {}).setdefault(column.title, []).append(run.name)
    lines = []
    for note, titles in about.items():
        by_runs = grouped((title, [joined(names)]) for title, names in titles.items())
        for names, of in by_runs.items():
            whose = "" if names == joined([run.name for run in runs]) else f" of {names}"
            lines.append(f"{', '.join(of)}{whose}: {note}")
    return lines


def grouped(pairs: Iterable[tuple[str, Sequence[str]]]) -> dict[str, list[str]]:
    """(title, sentences) turned round: sentence -> titles, in the order in which they came."""
    found: dict[str, list[str]] = {}
    for title, sentences in pairs:
        for sentence in sentences:
            found.setdefault(sentence, []).append(title)
    return found


def joined(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def trained(run: ComparedRun) -> str:
    """How long a run was trained, in words."""
    if not run.images:
        return "unknown (no metrics.jsonl)"
    counts = [(run.epochs, "epoch"), (run.images, "image")]
    return ", ".join(counted(count, what) for count, what in counts if count)


def doubts(numbers: Sequence[Column]) -> list[str]:
    """A sentence for every reason not to compare numbers."""
    found = grouped((column.title, column.obstacles) for column in numbers)
    by_titles = grouped((reason, [joined(titles)]) for reason, titles in found.items())
    return [f"{titles}: different {'; different '.join(reasons)}" for titles, reasons in by_titles.items()]


def soft_doubts(numbers: Sequence[Column]) -> list[str]:
    """A sentence for every difference that matters little."""
    return [
        f"{reason} ({', '.join(titles)})"
        for reason, titles in grouped((column.title, column.remarks) for column in numbers).items()
    ]


_OWN = {
    "from",
    "folder",
    "path",
    "file",
    "label",
    "tag",
    "name",
    "run",
    "epoch",
    "time",
    "date",
    "seconds",
    "parts",
    "content",
}
"""Parts of a key of the protocol: such facts belong to one run or one call, or are results themselves."""

_WORDS = {
    "fake.n": "number of images",
    "fake.size": "size of the images",
    "real.n": "number of real images",
    "real.size": "size of the real images",
    "real.sha256": "content of the real images",
    "source.sha256": "content of the source images",
    "weights_sha256": "weights of the network",
    "subset_size": "size of the subsets",
    "subsets": "number of subsets",
    "pairs": "number of pairs",
    "draws": "draws of an image",
    "extractor_input": "how the network's input is scaled",
}


def _protocol_differences(there: Sequence[tuple[str, Measurement]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What forbids to compare these numbers of (run, measurement), and what differs besides."""
    flat = [(name, dict(_flatten(cell.protocol))) for name, cell in there]
    obstacles: list[str] = []
    remarks: list[str] = []
    for key in dict.fromkeys(key for _, facts in flat for key in facts):
        if not _matters(key, there[0][1].short):
            continue
        values = grouped((name, (facts.get(key, "not recorded"),)) for name, facts in flat)
        if len(values) > 1:
            words = f"{_WORDS[key]} ({key})" if key in _WORDS else key.replace("versions.", "version of ")
            sentence = f"{words}: " + "; ".join(f"{value} in {joined(names)}" for value, names in values.items())
            (remarks if key.startswith("versions.") else obstacles).append(sentence)
    return tuple(obstacles), tuple(remarks)


def _matters(key: str, short: str) -> bool:
    """Whether a number depends on this fact, rather than the fact on the run."""
    parts = key.split(".")
    if key == "fake.sha256" or not _OWN.isdisjoint(parts):
        return False
    return not (short == "is" and parts[0] == "real")  # the Inception score looks at no real image


def _flatten(facts: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, str]]:
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{above}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            yield f"{above}{key}", text[:8] if re.fullmatch(r"[0-9a-f]{32,}", text) else text


def _best(cells: Sequence[Measurement | None], higher: bool) -> frozenset[int]:
    """Places of the best value, with those that look the same as printed."""
    values = {place: cell for place, cell in enumerate(cells) if cell is not None and not math.isnan(cell.value)}
    if not values:
        return frozenset()
    top = (max if higher else min)(values.values(), key=lambda cell: cell.value)
    return frozenset(place for place, cell in values.items() if _mean(cell) == _mean(top))


def _mean(cell: Measurement) -> str:
    return cell.shown.partition(" +/- ")[0]

"""The table of an experiment: one line a row, means over its seeds, as Markdown for people and CSV for programs."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from util.files import replace_text
from util.loggers.csv_log import FILE_NAME
from util.metrics import METRICS, fixed
from util.metrics.measurement import Measurement, columns, title
from util.pages.markdown import markdown_table


@dataclass(frozen=True)
class RunEnd:
    """What a run left behind.

    Attributes:
        checkpoints: folder of its checkpoints and logs.
        trained: whether its training came to its end.
        error: the line of error of the step that failed; empty where none failed, or none was heard.
    """

    checkpoints: Path
    trained: bool = True
    error: str = ""


@dataclass(frozen=True)
class Column:
    """A number that a table has for every run.

    Attributes:
        name: heading in ``table.csv``.
        title: heading in ``table.md``.
        read: the number of a run; None where it has none.
        decimals: how many of them are shown.
        share: the numbers are 0 or 1, and shown as ``2 of 6``, with the runs of the 1s in the remarks; in
            ``table.csv`` their mean.
        note: a line below the table.
    """

    name: str
    title: str
    read: Callable[[RunEnd], float | None]
    decimals: int = 3
    share: bool = False
    note: str = ""


def epoch_values(checkpoints: Path, name: str) -> list[float]:
    """A column of the run's ``loss_log.csv``, epoch by epoch; empty without the file or the column."""
    file = checkpoints / FILE_NAME
    if not file.is_file():
        return []
    with open(file, encoding="utf-8", newline="") as stream:
        cells = [row.get(name) for row in csv.DictReader(stream)]
    return [float(cell) for cell in cells if cell]


PENDING, FAILED = "", "failed"
FILES = ("table.md", "table.csv")


@dataclass(frozen=True)
class Outcome:
    """What came of one run.

    Attributes:
        updates: optimizer steps of the last checkpoint; None where there is none.
        images: images shown until then, repetitions counted.
        measurements: its numbers; empty when it failed.
        failure: what failed, in words; empty when nothing did.
        variant: which of the row's variants it is of; empty where there are none.
        numbers: of the table's own columns, by their name; also of runs that failed.
    """

    seed: int
    updates: int | None = None
    images: int | None = None
    measurements: Sequence[Measurement] = ()
    failure: str = ""
    variant: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def run(self) -> str:
        """Which run of its row it is, in words."""
        return f"{self.variant} seed {self.seed}".strip()


@dataclass
class TableRow:
    """A row, as far as it is: one outcome for each of its runs that is done.

    Attributes:
        num_runs: how many there are to be.
        unit: what they are called.
    """

    label: str
    num_runs: int
    unit: str = "seeds"
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def good(self) -> list[Outcome]:
        """The runs that did not fail."""
        return [each for each in self.outcomes if not each.failure]

    def remark(self, columns: Sequence[Column] = ()) -> str:
        """Which runs failed and how, which ones count in a column that is a share, and how many are still to come."""
        parts = [f"failed: {each.run} ({each.failure})" for each in self.outcomes if each.failure]
        for column in columns:
            counted = [each.run for each in self.outcomes if column.share and each.numbers.get(column.name)]
            parts += [f"{column.title}: {', '.join(counted)}"] if counted else []
        missing = self.num_runs - len(self.outcomes)
        if missing:
            parts.append(f"{missing} of {self.num_runs} {self.unit} to come")
        return "; ".join(parts)

    def numbers(self, column: Column) -> list[float]:
        """A column's number for each run that has it, failed or not."""
        return [each.numbers[column.name] for each in self.outcomes if column.name in each.numbers]

    def values(self, name: str) -> list[float]:
        """A metric's value for each run that has it, in its own unit."""
        return [each.value for outcome in self.good for each in outcome.measurements if each.name == name]


@dataclass
class ResultTable:
    """Rows with a heading for the first column, and lines that say what was compared.

    Attributes:
        heading: of the first column, e.g. ``batch size``.
        facts: lines above the table: data, model, schedule.
        cautions: lines below it.
        columns: what it has beside counts and metrics.
    """

    title: str
    heading: str
    rows: list[TableRow]
    facts: Sequence[str] = ()
    cautions: Sequence[str] = ()
    columns: Sequence[Column] = ()

    @property
    def unit(self) -> str:
        """What the runs of a row are called."""
        return self.rows[0].unit

    def markdown(self) -> str:
        """The page's text."""
        numbers = self._metrics()
        head = [self.heading, self.unit, "updates", "images seen", *(column.title for column in self.columns)]
        head += [title(name, short) for name, short in numbers]
        remarks = [row.remark(self.columns) for row in self.rows]
        lines = [[*self._counts(row), *self._cells(row, numbers)] for row in self.rows]
        if any(remarks):
            head.append("remarks")
            lines = [[*line, remark] for line, remark in zip(lines, remarks)]
        text = [f"# {self.title}", "", *self.facts, ""] if self.facts else [f"# {self.title}", ""]
        last = int(any(remarks))
        text += markdown_table(head, lines, right=range(1, len(head) - last))
        return "\n".join([*text, "", *(f"- {line}" for line in self._below(numbers))]) + "\n"

    def csv(self) -> str:
        """The same with unrounded numbers in their own units; ``_std`` columns are empty for a single run."""
        numbers = self._metrics()
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        spread = [column.name for column in self.columns if not column.share] + [name for name, _ in numbers]
        heads = [column.name for column in self.columns if column.share]
        heads += [head for name in spread for head in (name, f"{name}_std")]
        writer.writerow([self.heading.replace(" ", "_"), self.unit, "failed", "updates", "images_seen", *heads])
        for row in self.rows:
            label, runs, updates, images = self._counts(row)
            failed = len(row.outcomes) - len(row.good)
            found = [mean_std(row.numbers(column))[0] for column in self.columns if column.share]
            for values in (
                *(row.numbers(column) for column in self.columns if not column.share),
                *(row.values(name) for name, _ in numbers),
            ):
                found += mean_std(values)
            cells = ["" if value is None else f"{value:.10g}" for value in found]
            writer.writerow([label, runs, failed, updates, images, *cells])
        return stream.getvalue()

    def write(self, folder: Path) -> None:
        """Write ``FILES``."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in zip(FILES, (self.markdown(), self.csv()), strict=True):
            replace_text(folder / name, [text])

    def _metrics(self) -> list[tuple[str, str]]:
        """(name, short name) of every metric that a row has."""
        every = [each for row in self.rows for outcome in row.good for each in outcome.measurements]
        shorts = {each.name: each.short for each in every}
        return [(name, shorts[name]) for name, _ in columns(every)]

    def _counts(self, row: TableRow) -> list[str]:
        updates = [each.updates for each in row.good if each.updates is not None]
        images = [each.images for each in row.good if each.images is not None]
        means = [f"{statistics.fmean(found):.0f}" if found else PENDING for found in (updates, images)]
        return [row.label, str(len(row.good)), *means]

    def _cells(self, row: TableRow, numbers: Sequence[tuple[str, str]]) -> list[str]:
        """The table's own columns, then the metrics."""
        cells = []
        for column in self.columns:
            values = row.numbers(column)
            if column.share and values:
                cells.append(f"{sum(map(bool, values))} of {len(values)}")
            else:
                cells.append(_cell(row, values, decimals=column.decimals))
        for name, short in numbers:
            metric = METRICS[short]
            cells.append(_cell(row, row.values(name), decimals=metric.decimals, scale=metric.scale))
        return cells

    def _below(self, numbers: Sequence[tuple[str, str]]) -> list[str]:
        lower = [title(name, short) for name, short in numbers if not METRICS[short].higher_is_better]
        higher = [title(name, short) for name, short in numbers if METRICS[short].higher_is_better]
        lines = [
            f"{', '.join(found)}: {way} is better." for found, way in ((lower, "lower"), (higher, "higher")) if found
        ]
        lines += [column.note for column in self.columns if column.note]
        if any(row.num_runs > 1 for row in self.rows):
            lines.append(f"a +/- b: mean and sample standard deviation over the {self.unit} that did not fail.")
        elif numbers:
            lines.append(
                "One seed a row: differences smaller than the spread between seeds mean nothing. Try --seeds 0,1,2."
            )
        return [*lines, *self._notes(), *self.cautions]

    def _notes(self) -> list[str]:
        """What the measuring itself said, each once; and how many images were measured, where that is not the same."""
        good = [outcome for row in self.rows for outcome in row.good]
        every = [each for outcome in good for each in outcome.measurements]
        notes = list(dict.fromkeys(f"{each.title}: {note}" for each in every for note in each.notes))
        counts = {each.protocol["fake"]["n"] for each in every if "fake" in each.protocol}
        if len(counts) > 1:
            some = ", ".join(str(count) for count in sorted(counts))
            notes.append(f"CAREFUL: the rows were measured on different numbers of images ({some}); test them again.")
        elif counts:
            notes.insert(0, f"Measured on {counts.pop()} generated images.")
        return notes


def mean_std(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean, and sample standard deviation of two values or more; both as they can be had.

    >>> mean_std([1.0, 3.0])
    (2.0, 1.4142135623730951)
    """
    if not values:
        return None, None
    if not all(map(math.isfinite, values)):
        return sum(values) / len(values), None
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def _cell(row: TableRow, values: Sequence[float], *, decimals: int, scale: float = 1.0) -> str:
    mean, std = mean_std(values)
    if mean is None:
        return FAILED if row.outcomes and not row.good else PENDING
    shown = fixed(mean * scale, decimals)
    return shown if std is None else f"{shown} +/- {std * scale:.{decimals}f}"

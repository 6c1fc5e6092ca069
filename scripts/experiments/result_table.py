"""The table of an experiment: one line a row, means over its seeds, as Markdown for people and CSV for programs."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from util.metrics import METRICS
from util.metrics.measurement import Measurement, columns, title
from util.text_file import replace_text

PENDING, FAILED = "", "failed"


@dataclass(frozen=True)
class Outcome:
    """What came of one run.

    Attributes:
        updates: optimizer steps of the last checkpoint; None where there is none.
        images: images shown until then, repetitions counted.
        measurements: its numbers; empty when it failed.
        failure: what failed, in words; empty when nothing did.
    """

    seed: int
    updates: int | None = None
    images: int | None = None
    measurements: Sequence[Measurement] = ()
    failure: str = ""


@dataclass
class TableRow:
    """A row, as far as it is: one outcome for each of its seeds that is done."""

    label: str
    num_seeds: int
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def good(self) -> list[Outcome]:
        """The runs that did not fail."""
        return [each for each in self.outcomes if not each.failure]

    @property
    def remark(self) -> str:
        """Which seeds failed and how, and whether some are still to come."""
        parts = [f"failed: seed {each.seed} ({each.failure})" for each in self.outcomes if each.failure]
        missing = self.num_seeds - len(self.outcomes)
        if missing:
            parts.append(f"{missing} of {self.num_seeds} seeds to come")
        return "; ".join(parts)

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
    """

    title: str
    heading: str
    rows: list[TableRow]
    facts: Sequence[str] = ()
    cautions: Sequence[str] = ()

    def markdown(self) -> str:
        """The page's text."""
        numbers = self._columns()
        head = [self.heading, "seeds", "updates", "images seen", *(title(name, short) for name, short in numbers)]
        remarks = any(row.remark for row in self.rows)
        lines = [[*self._counts(row), *(self._cell(row, *number) for number in numbers)] for row in self.rows]
        if remarks:
            head.append("remarks")
            lines = [[*line, row.remark] for line, row in zip(lines, self.rows)]
        text = [f"# {self.title}", "", *self.facts, ""] if self.facts else [f"# {self.title}", ""]
        text += [_line(head), _line(["---", *["---:"] * (len(head) - 1 - remarks), *["---"] * remarks])]
        text += [_line(line) for line in lines]
        return "\n".join([*text, "", *(f"- {line}" for line in self._below(numbers))]) + "\n"

    def csv(self) -> str:
        """The same with unrounded numbers in their own units; ``_std`` columns are empty for a single seed."""
        numbers = self._columns()
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        heads = [head for name, _ in numbers for head in (name, f"{name}_std")]
        writer.writerow([self.heading.replace(" ", "_"), "seeds", "failed", "updates", "images_seen", *heads])
        for row in self.rows:
            label, seeds, updates, images = self._counts(row)
            failed = len(row.outcomes) - len(row.good)
            cells = [
                f"{value:.10g}" if value is not None else "" for n, _ in numbers for value in mean_std(row.values(n))
            ]
            writer.writerow([label, seeds, failed, updates, images, *cells])
        return stream.getvalue()

    def write(self, folder: Path) -> list[Path]:
        """Write ``table.md`` and ``table.csv``; returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        files = {folder / "table.md": self.markdown(), folder / "table.csv": self.csv()}
        for file, text in files.items():
            replace_text(file, [text])
        return list(files)

    def _columns(self) -> list[tuple[str, str]]:
        """(name, short name) of every metric that a row has."""
        every = [each for row in self.rows for outcome in row.good for each in outcome.measurements]
        shorts = {each.name: each.short for each in every}
        return [(name, shorts[name]) for name, _ in columns(every)]

    def _counts(self, row: TableRow) -> list[str]:
        updates = [each.updates for each in row.good if each.updates is not None]
        images = [each.images for each in row.good if each.images is not None]
        means = [f"{statistics.fmean(found):.0f}" if found else PENDING for found in (updates, images)]
        return [row.label, str(len(row.good)), *means]

    def _cell(self, row: TableRow, name: str, short: str) -> str:
        values, metric = row.values(name), METRICS[short]
        mean, std = mean_std(values)
        if mean is None:
            return FAILED if row.outcomes and not row.good else PENDING
        shown = f"{mean * metric.scale:.{metric.decimals}f}"
        return shown if std is None else f"{shown} +/- {std * metric.scale:.{metric.decimals}f}"

    def _below(self, numbers: Sequence[tuple[str, str]]) -> list[str]:
        lower = [title(name, short) for name, short in numbers if not METRICS[short].higher_is_better]
        higher = [title(name, short) for name, short in numbers if METRICS[short].higher_is_better]
        lines = [
            f"{', '.join(found)}: {way} is better." for found, way in ((lower, "lower"), (higher, "higher")) if found
        ]
        if any(row.num_seeds > 1 for row in self.rows):
            lines.append("a +/- b: mean and sample standard deviation over the seeds that did not fail.")
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


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

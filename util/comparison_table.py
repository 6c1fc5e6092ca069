"""A comparison of runs as tables for a paper: CSV with every digit, Markdown as the numbers are printed."""

from __future__ import annotations

import csv
import io

from util.comparison import ABSENT, Comparison, doubts, notes, soft_doubts, trained


def csv_text(comparison: Comparison) -> str:
    """One row a run: checkpoint, images seen, the options that differ, every number with its spread, not scaled."""
    numbers, options = comparison.numbers, comparison.options.differing
    heads = [f"{column.name}{'' if column.domain == 'B' else f'_{column.domain}'}" for column in numbers]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "tag", "images", *options, *(part for head in heads for part in (head, f"{head}_std"))])
    for place, run in enumerate(comparison.runs):
        values = [
            None if cell is None else value
            for column in numbers
            for cell in (column.cells[place],)
            for value in ((cell.value, cell.std) if cell else (None, None))
        ]
        row = [run.name, run.tag, run.images or "", *(texts[place] for texts in options.values())]
        writer.writerow([*row, *("" if value is None else repr(value) for value in values)])
    return text.getvalue()


def markdown_text(comparison: Comparison) -> str:
    """A table with a row a run, the best of each column bold, and below it what to know of the numbers."""
    numbers, options = comparison.numbers, comparison.options.differing
    heads = ["run", "trained", *options]
    heads += [f"{column.title} {'↑' if column.higher_is_better else '↓'}" for column in numbers]
    lines = [_line(heads), _line(["---"] * (2 + len(options)) + ["---:"] * len(numbers))]
    for place, run in enumerate(comparison.runs):
        cells = [run.name, trained(run), *(texts[place] for texts in options.values())]
        for column in numbers:
            cell = column.cells[place]
            text = ABSENT if cell is None else cell.shown.replace("+/-", "±")
            cells.append(f"**{text}**" if place in column.best else text)
        lines.append(_line(cells))
    says = [f"not comparable: {line}" for line in doubts(numbers)] + notes(numbers, comparison.runs)
    says += [f"other {line}" for line in soft_doubts(numbers)]
    says.append(f"results: {comparison.folder}")
    return "\n".join([f"# {comparison.title}", "", *lines, "", *(f"- {line}" for line in says)]) + "\n"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

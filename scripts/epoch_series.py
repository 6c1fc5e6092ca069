"""A run's numbers over its checkpoints: a table to read, a CSV file, a page and plots."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from util.files import replace_text
from util.html import page
from util.metrics.measurement import Measurement, columns
from util.svg_plot import STYLE, Points, plot, save_svg

Row = dict[tuple[str, str], Measurement]  # by (name, domain)

SIDES = (("fake", "images"), ("real", "real ones"))

TABLE_STYLE = """
.series{border-collapse:collapse;font-variant-numeric:tabular-nums}
.series th,.series td{padding:3px 22px 3px 0;text-align:left;border-top:1px solid var(--line)}
.series .best{font-weight:700}
"""


class Series:
    """The measurements of several result folders, in the order of training.

    Args:
        name: of the run.
        folders: result folder -> its measurements; the order is that of the rows.
    """

    def __init__(self, name: str, folders: dict[str, Sequence[Measurement]]) -> None:
        self.name = name
        self.rows: dict[str, Row] = {
            folder: {(each.name, each.domain): each for each in found} for folder, found in folders.items()
        }
        every = [each for found in folders.values() for each in found]
        self.columns = columns(every)
        self.titles = {(each.name, each.domain): each.title for each in every}
        self.ways = list(dict.fromkeys(f"{each.title}: {_way(each)}" for each in every))
        self.notes = list(dict.fromkeys(f"{each.title}: {note}" for each in every for note in each.notes))

    def table(self) -> str:
        """Lines of equal columns; the best of each column has a star."""
        best = self._best()
        cells = [["results", *(self.titles[key] for key in self.columns)]]
        for folder, row in self.rows.items():
            marks = ["*" if best.get(key) == folder else " " for key in self.columns]
            cells.append([folder, *(f"{row[key].shown} {mark}" for key, mark in zip(self.columns, marks))])
        widths = [max(map(len, column)) for column in zip(*cells)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in cells]
        return "\n".join([*lines, *(f"  {way}" for way in self.ways), *(f"  note: {note}" for note in self.notes)])

    def write(self, results: Path) -> list[Path]:
        """Write ``metrics.csv``, ``metrics.html`` and a plot a number; returns the files.

        Raises:
            OSError: a file cannot be written.
        """
        files = [results / "metrics.csv", results / "metrics.html"]
        replace_text(files[0], [self._csv()])
        plots = [draw for key in self.columns if (draw := self._plot(results, key))]
        pieces = [f"<style>{STYLE}{TABLE_STYLE}</style>", self._html_table()]
        pieces += ['<div class="charts">', *(inline for inline, _ in plots), "</div>"]
        pieces += [f"<p>{escape(line)}</p>" for line in (*self.ways, *self.notes)]
        replace_text(files[1], [page(f"Metrics of {self.name}", pieces)])
        for _, write in plots:
            files.append(write())
        return files

    def _best(self) -> dict[tuple[str, str], str]:
        """Column -> folder with its best value; none where there is one row, or the rows were measured differently."""
        found = {}
        for key in self.columns if len(self.rows) > 1 else ():
            if len({_way(row[key]) for row in self.rows.values()}) > 1:
                continue
            sign = -1 if next(iter(self.rows.values()))[key].higher_is_better else 1
            found[key] = min(self.rows, key=lambda folder: sign * self.rows[folder][key].value)
        return found

    def _csv(self) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        heads = [f"{name}{'' if domain == 'B' else f'_{domain}'}" for name, domain in self.columns]
        writer.writerow(["folder", "tag", *(part for head in heads for part in (head, f"{head}_std"))])
        for folder, row in self.rows.items():
            numbers = [number for key in self.columns for number in (row[key].value, row[key].std)]
            tag = next(iter(row.values())).tag
            writer.writerow([folder, tag, *("" if number is None else repr(number) for number in numbers)])
        return text.getvalue()

    def _html_table(self) -> str:
        best = self._best()
        head = "".join(f"<th>{escape(title)}</th>" for title in ("results", *(self.titles[k] for k in self.columns)))
        lines = [f"<tr>{head}</tr>"]
        for folder, row in self.rows.items():
            link = f'<td><a href="{escape(folder)}/index.html">{escape(folder)}</a></td>'
            cells = [
                f'<td class="{"best" if best.get(key) == folder else "other"}">{escape(row[key].shown)}</td>'
                for key in self.columns
            ]
            lines.append(f"<tr>{link}{''.join(cells)}</tr>")
        return f'<div class="panel"><table class="series">{"".join(lines)}</table></div>'

    def _plot(self, results: Path, key: tuple[str, str]) -> tuple[str, Callable[[], Path]] | None:
        """The chart of a number as HTML, and what writes it as a file; None with fewer than two places to draw."""
        points: list[tuple[float, float]] = []
        errors: list[float | None] = []
        label = "epoch" if any(row[key].tag.isdigit() for row in self.rows.values()) else "images"
        for row in self.rows.values():
            each = row[key]
            number = each.tag if label == "epoch" else each.tag.removeprefix("iter_")
            if number.isdigit():
                value, std = each.scaled
                points.append((float(number), value))
                errors.append(std)
        if len(points) < 2:
            return None
        title = self.titles[key]
        curves: dict[str, Points] = {self.name: points}
        spread = {self.name: errors}
        name, domain = key
        file = results / f"metrics_{name}{'' if domain == 'B' else f'_{domain}'}.svg"

        def write() -> Path:
            save_svg(file, title, curves, x_label=label, errors=spread)
            return file

        return plot(title, curves, x_label=label, errors=spread), write


def _way(each: Measurement) -> str:
    """What must be equal of two numbers that are compared, in words."""
    p = each.protocol
    sides = [f"{p[side]['n']} {what} of {p[side]['size']}" for side, what in SIDES if side in p]
    keys = ("extractor", "lpips_net", "weights_sha256", "subset_size", "subsets", "splits", "seed", "draws")
    settings = [f"{key} {str(p[key])[:8] if key == 'weights_sha256' else p[key]}" for key in keys if key in p]
    return ", ".join([*sides, *settings])

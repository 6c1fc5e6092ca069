"""A run's numbers over its checkpoints: a table to read, a CSV file, a page and charts."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from dominate.tags import a, div, html_tag, td, th

from util.files import replace_text
from util.metrics.measurement import Measurement, columns
from util.pages.charts import Chart
from util.pages.html import bullets, page, wide_table

Row = dict[tuple[str, str], Measurement]  # by (name, domain)

SIDES = (("fake", "images"), ("real", "real ones"))


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
        self.ways = list(dict.fromkeys(f"{each.title}: {protocol_text(each)}" for each in every))
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

    def write(self, results: Path, kind: str = "svg") -> list[Path]:
        """Write ``metrics.csv``, ``metrics.html`` and a chart per number; returns the files.

        Args:
            results: folder of the run's results.
            kind: of the charts' files: ``svg``, ``png`` or ``pdf``.

        Raises:
            OSError: a file cannot be written.
        """
        table, site = results / "metrics.csv", results / "metrics.html"
        replace_text(table, [self._csv()])
        charts = {self._chart_file(results, key, kind): chart for key in self.columns if (chart := self.chart(key))}
        pieces = [
            self._html_table(),
            div((chart.inline() for chart in charts.values()), cls="charts"),
            bullets([*self.ways, *self.notes]),
        ]
        replace_text(site, [page(f"Metrics of {self.name}", pieces)])
        for file, chart in charts.items():
            chart.save(file)
        return [table, site, *charts]

    def chart(self, key: tuple[str, str]) -> Chart | None:
        """The chart of one number (name, domain); None without two numbered checkpoints."""
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
        chart = Chart(self.titles[key], {self.name: points}, label, errors={self.name: errors})
        return None if chart.is_empty else chart

    @staticmethod
    def _chart_file(results: Path, key: tuple[str, str], kind: str) -> Path:
        name, domain = key
        return results / f"metrics_{name}{'' if domain == 'B' else f'_{domain}'}.{kind}"

    def _best(self) -> dict[tuple[str, str], str]:
        """Column -> folder with its best value; none where there is one row, or the rows were measured differently."""
        found = {}
        for key in self.columns if len(self.rows) > 1 else ():
            if len({protocol_text(row[key]) for row in self.rows.values()}) > 1:
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

    def _html_table(self) -> html_tag:
        best = self._best()
        rows = []
        for folder, row in self.rows.items():
            cells = [
                td(row[key].shown.replace("+/-", "±"), cls="number best" if best.get(key) == folder else "number")
                for key in self.columns
            ]
            rows.append([a(folder, href=f"{folder}/index.html"), *cells])
        return wide_table(["results", *(th(self.titles[key], cls="number") for key in self.columns)], rows)


def protocol_text(each: Measurement) -> str:
    """What must be equal of two numbers that are compared, in words."""
    p = each.protocol
    sides = [f"{p[side]['n']} {what} of {p[side]['size']}" for side, what in SIDES if side in p]
    keys = ("extractor", "lpips_net", "weights_sha256", "subset_size", "subsets", "splits", "seed", "draws")
    settings = [f"{key} {str(p[key])[:8] if key == 'weights_sha256' else p[key]}" for key in keys if key in p]
    return ", ".join([*sides, *settings])

"""A comparison of runs as a page, as CSV with every digit, and as Markdown with the numbers as they are printed."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from dominate.dom_tag import dom_tag
from dominate.tags import a, br, code, div, figcaption, figure, h2, h3, html_tag, img, nav, p, section, span, td, th
from dominate.util import raw

from util.metrics import METRICS
from util.metrics.measurement import metric_title, short_name
from util.pages.charts import Chart, Points, swatch
from util.pages.comparison import (
    ABSENT,
    UNKNOWN,
    Column,
    ComparedRun,
    Comparison,
    ImageCell,
    doubts,
    joined,
    notes,
    soft_doubts,
    trained,
)
from util.pages.html import bullets, fold, image_link, page, warning, wide_table
from util.pages.markdown import markdown_table
from util.wording import counted

MARK = "<!-- a page of scripts/evaluate.py --compare -->"
"""Stands in every page, so that a later comparison knows what it may replace."""

_PALE_RUNS = 4  # of more runs, the values of single batches would hide the means


def comparison_page(comparison: Comparison, *, width: int = 256) -> str:
    """Return the whole HTML document; its pictures lie in ``images`` beside it.

    Args:
        comparison: what to show.
        width: width of a picture in CSS pixels, less where a row would not fit.
    """
    pieces = [
        raw(MARK),
        _bar(comparison.runs),
        *_head(comparison),
        *_options(comparison),
        *_numbers(comparison),
        *_curves(comparison.runs),
        *_images(comparison, width),
    ]
    return page(comparison.title, pieces)


def csv_text(comparison: Comparison) -> str:
    """A row per run: checkpoint, images seen, the options that differ, every number with its spread, not scaled."""
    numbers, options = comparison.numbers, comparison.options.differing
    heads = [f"{column.name}{'' if column.domain == 'B' else f'_{column.domain}'}" for column in numbers]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "tag", "images", *options, *(part for head in heads for part in (head, f"{head}_std"))])
    for place, run in enumerate(comparison.runs):
        cells = [column.cells[place] for column in numbers]
        values = [value for cell in cells for value in ((cell.value, cell.std) if cell else (None, None))]
        row = [run.name, run.tag, run.images or "", *(texts[place] for texts in options.values())]
        writer.writerow([*row, *("" if value is None else repr(value) for value in values)])
    return text.getvalue()


def markdown_text(comparison: Comparison) -> str:
    """A table with a row per run, the best of each column bold, and below it what to know of the numbers."""
    numbers, options = comparison.numbers, comparison.options.differing
    heads = ["run", "trained", *options]
    heads += [f"{column.title} {_arrow(column)}" for column in numbers]
    rows = []
    for place, run in enumerate(comparison.runs):
        cells = [run.name, trained(run), *(texts[place] for texts in options.values())]
        cells += [f"**{_shown(c, place)}**" if place in c.best else _shown(c, place) for c in numbers]
        rows.append(cells)
    lines = markdown_table(heads, rows, right=range(2 + len(options), len(heads)))
    says = [f"not comparable: {line}" for line in doubts(numbers)] + notes(numbers, comparison.runs)
    says += [f"other {line}" for line in soft_doubts(numbers)]
    says.append(f"results: {comparison.folder}")
    return "\n".join([f"# {comparison.title}", "", *lines, "", *(f"- {line}" for line in says)]) + "\n"


# --- the sections of the page -----------------------------------------------------------------------------------------


def _bar(runs: Sequence[ComparedRun]) -> html_tag:
    links = [a(name, href=f"#{name.lower()}") for name in ("Runs", "Options", "Metrics", "Curves", "Images")]
    return nav(*_names(runs), span(*links, cls="links"), cls="bar")


def _names(runs: Sequence[ComparedRun]) -> list[html_tag]:
    return [_name(place, run.name) for place, run in enumerate(runs)]


def _name(place: int, name: str) -> html_tag:
    return span(raw(swatch(place)), span(name), cls="run")


def _head(comparison: Comparison) -> list[dom_tag]:
    lines = []
    for place, run in enumerate(comparison.runs):
        options = run.options or {}
        data = PurePath(str(options.get("dataroot", ""))).name or UNKNOWN
        lines.append([_name(place, run.name), str(options.get("model", UNKNOWN)), data, run.tag, trained(run)])
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(comparison.made))
    says = f"Results {comparison.folder}, page made {made}. Beside it: comparison.csv, comparison.md."
    table = wide_table(["Run", "Model", "Data set", "Checkpoint", "Trained"], lines, kind="facts")
    return [h2("Runs", id="runs"), table, p(says, cls="soft")]


def _options(comparison: Comparison) -> list[dom_tag]:
    runs, options = comparison.runs, comparison.options
    parts: list[dom_tag] = [h2("Options that differ", id="options")]
    unknown = [run.name for run in runs if run.options is None]
    known = len(runs) - len(unknown)
    if unknown:
        file = f"no option file (train_opt.json) of {joined(unknown)}: what differs there is unknown"
        parts.append(warning("Not all options are known", [file]))
    if options.differing:
        parts.append(_option_table(runs, options.differing))
    elif known > 1:
        parts.append(p("None: these runs were trained with the same options."))
    if options.partial:
        head = f"{len(options.partial)} that only some of the runs have (another model or version)"
        parts.append(fold(head, _option_table(runs, options.partial)))
    if options.same:
        of = "the run that has a file" if known == 1 else "all runs that have a file" if unknown else "all runs"
        count = f"{len(options.same)} of {of}" if known == 1 else f"{len(options.same)} with the same value in {of}"
        table = wide_table(["Option", f"Value in {of}"], [*options.same.items()], kind="options")
        parts.append(fold(count, table))
    return parts


def _option_table(runs: Sequence[ComparedRun], options: Mapping[str, Sequence[str]]) -> html_tag:
    rows = [[name, *texts] for name, texts in options.items()]
    return wide_table(["Option", *_names(runs)], rows, kind="options")


def _numbers(comparison: Comparison) -> list[dom_tag]:
    runs, numbers = comparison.runs, comparison.numbers
    parts: list[dom_tag] = [h2("Metrics", id="metrics")]
    if not numbers:
        return [*parts, p("Nothing was measured yet; measure by ", code(_command(runs[0])), ".")]
    if found := doubts(numbers):
        parts.append(warning("Not comparable: these numbers were not measured in the same way", found))
    rows = [[_name(place, run.name), *(_number(c, place) for c in numbers)] for place, run in enumerate(runs)]
    parts.append(wide_table(["Run", *map(_number_head, numbers)], rows))
    star = "; ★ the best of a column" if any(column.best for column in numbers) else ""
    remarks = [f"↓ lower is better, ↑ higher is better{star}"]
    if any(cell is not None and cell.std is not None for column in numbers for cell in column.cells):
        remarks.append("± the spread of a number over its subsets, splits or pairs, not over trainings")
    remarks += [f"{run.name}: not measured; measure by {_command(run)}" for run in runs if not run.measurements]
    remarks += [*notes(numbers, runs), *(f"other {line}" for line in soft_doubts(numbers))]
    return [*parts, bullets(remarks)]


def _command(run: ComparedRun) -> str:
    return f"python scripts/evaluate.py --name {run.name}"


def _arrow(column: Column) -> str:
    return "↑" if column.higher_is_better else "↓"


def _number_head(column: Column) -> html_tag:
    doubt = [br(), span("not comparable", cls="doubtful")] if column.obstacles else []
    return th(f"{column.title} {_arrow(column)}", *doubt, cls="number")


def _number(column: Column, place: int) -> html_tag:
    kinds = ["number", *(["best"] if place in column.best else []), *(["doubtful"] if column.obstacles else [])]
    return td(_shown(column, place), cls=" ".join(kinds))


def _shown(column: Column, place: int) -> str:
    cell = column.cells[place]
    return ABSENT if cell is None else cell.shown.replace("+/-", "±")


def _curves(runs: Sequence[ComparedRun]) -> list[dom_tag]:
    """Curves of the numbers measured while training, then of the losses."""
    charts = []
    for name in dict.fromkeys(name for run in runs for name in run.metrics):
        short = short_name(name)
        note = "" if short is None else f"{'higher' if METRICS[short].higher_is_better else 'lower'} is better"
        charts.append(_chart(metric_title(name), runs, [run.metrics.get(name, ()) for run in runs], note=note))
    for name in dict.fromkeys(name for run in runs for name in [*run.means, *run.losses]):
        logged = [run.losses.get(name, ()) for run in runs]
        means = [run.means.get(name, ()) for run in runs]
        strong = [mean if len(mean) > 1 or not single else single for mean, single in zip(means, logged)]
        pale = [single if len(mean) > 1 and len(runs) <= _PALE_RUNS else () for mean, single in zip(means, logged)]
        charts.append(_chart(name, runs, strong, pale))
    parts: list[dom_tag] = [h2("Curves", id="curves")]
    if silent := [run.name for run in runs if not (run.losses or run.means)]:
        parts.append(p(f"No metrics.jsonl with losses of {joined(silent)}.", cls="soft"))
    if charts and any(run.means for run in runs):
        pale_too = "; pale: of single batches, cut off where they leave the axes" if len(runs) <= _PALE_RUNS else ""
        parts.append(p(f"Losses: means of epochs{pale_too}.", cls="soft"))
    if charts:
        parts.append(div((chart.inline() for chart in charts), cls="charts"))
    return parts


def _chart(
    title: str, runs: Sequence[ComparedRun], curves: Sequence[Points], pale: Sequence[Points] = (), note: str = ""
) -> Chart:
    return Chart(
        title,
        {run.name: points for run, points in zip(runs, curves) if points},
        "images seen",
        note=note,
        colours={run.name: place for place, run in enumerate(runs)},
        faint={run.name: points for run, points in zip(runs, pale) if points},
    )


def _images(comparison: Comparison, width: int) -> list[dom_tag]:
    parts: list[dom_tag] = [h2("Images", id="images")]
    if comparison.image_warnings:
        parts.append(warning("Look at the pictures with care", comparison.image_warnings))
    if not comparison.rows:
        return [*parts, p("None (--num_images 0).", cls="soft")]
    shown = len(comparison.rows)
    count = counted(shown, "test image")
    if comparison.num_left_out:
        count += f"; {comparison.num_left_out} more that all runs have are left out (--num_images)"
    parts.append(p(". ".join([count, *comparison.image_remarks]) + ".", cls="soft"))
    for stem, cells in comparison.rows.items():
        side = div(map(_picture, cells), cls="side", style=f"--count:{len(cells)};--width:{width}px")
        parts.append(section(h3(stem), side, cls="entry"))
    return parts


def _picture(cell: ImageCell) -> html_tag:
    link = image_link(cell.file)
    mark = [] if cell.run is None else [raw(swatch(cell.run))]
    caption = figcaption(*mark, span(cell.caption), cls="of-run" if mark else "shared")
    return figure(a(img(src=link, loading="lazy", alt=cell.caption), href=link), caption)

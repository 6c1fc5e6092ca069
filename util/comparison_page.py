"""The page that compares runs, from plain data: options, numbers, curves, and the same test images side by side."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import PurePath

from util.comparison import (
    ABSENT,
    UNKNOWN,
    Column,
    ComparedRun,
    Comparison,
    ImageCell,
    OptionTable,
    doubts,
    joined,
    notes,
    soft_doubts,
    trained,
)
from util.html import image_link, page
from util.loggers.metric_curves import metric_title, short_name
from util.metrics import METRICS
from util.svg_plot import STYLE as PLOT_STYLE
from util.svg_plot import Points, plot, swatch

MARK = "<!-- a page of scripts/evaluate.py --compare -->"
"""Stands in every page, so that a later comparison knows what it may replace."""

_PALE_RUNS = 4  # of more runs, the values of single batches would hide the means

STYLE = """
.bar{position:sticky;top:0;z-index:2;background:var(--back);border-bottom:1px solid var(--line);display:flex;
flex-wrap:wrap;gap:4px 20px;max-height:112px;overflow-y:auto;margin:0 -24px 20px;padding:8px 24px;align-items:baseline}
.bar .links{margin-left:auto;display:flex;flex-wrap:wrap;gap:0 14px;font-size:13px}
.run{display:inline-flex;align-items:center;gap:7px;font-weight:600;overflow-wrap:anywhere}
.wide .run>span{width:max-content;max-width:12em}
.wide tbody .run>span{max-width:22em}
.swatch{flex:none;display:inline-block;vertical-align:middle}
h2{font-size:18px;margin:30px 0 10px;scroll-margin-top:120px}
.soft{color:var(--soft)}
.warning{border:1px solid #c98a00;border-left-width:5px;background:#fff6df;color:#3d2c00;border-radius:8px;
margin:0 0 14px;padding:10px 14px}
.warning p{margin:0 0 4px}
.warning ul{margin:0;padding-left:20px}
.notes{margin:0 0 14px;padding-left:20px;color:var(--soft);font-size:14px}
.wide{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:10px;margin:0 0 14px}
.wide table{border-collapse:collapse;min-width:100%;font-variant-numeric:tabular-nums}
.wide th,.wide td{padding:7px 16px;text-align:left;border-top:1px solid var(--line);vertical-align:baseline}
.wide tr:first-child>*{border-top:0}
.wide th{font-weight:600}
.wide thead th{color:var(--soft);font-size:13px;vertical-align:bottom}
.wide th:first-child{position:sticky;left:0;background:var(--card);z-index:1}
.wide .number{text-align:right;white-space:nowrap}
.wide td.long{overflow-wrap:break-word;max-width:340px}
.facts td{white-space:nowrap}
.wide .best{font-weight:700}
.wide .best::before{content:"★ ";color:var(--accent)}
.wide .doubtful{color:var(--soft);font-style:italic}
.options td,.options th:first-child{font-size:13px}
.options td,.options tbody th{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.options tbody th{font-weight:400}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,365px),1fr));gap:14px;margin:0 0 14px;
align-items:start}
details{margin:0 0 14px}
summary{cursor:pointer;color:var(--soft)}
details .wide{margin-top:8px}
.side{display:grid;gap:12px;grid-template-columns:repeat(auto-fill,max(var(--least),
min(var(--width),(100% - (var(--count) - 1)*12px)/var(--count) - .1px)));--least:128px}
.side figure{margin:0;min-width:0}
.side figcaption{display:flex;align-items:center;gap:6px;font-size:13px;color:var(--soft);padding-top:5px;
overflow-wrap:anywhere}
.side figcaption.of-run{color:var(--text)}
.side img{width:100%}
@media (prefers-color-scheme:dark){.warning{background:#352a0c;color:#f6e3b0;border-color:#a8790f}}
@media (max-width:640px){.bar{margin:0 -10px 14px;padding:6px 10px;gap:2px 14px}.bar .links{display:none}
.side{--least:calc(50% - 6px)}.wide th,.wide td{padding:6px 10px}.bar{max-height:88px}
.wide tbody .run>span{max-width:9em}}
@media print{.bar{position:static}.entry{content-visibility:visible;break-inside:avoid}}
"""


def comparison_page(comparison: Comparison, *, width: int = 256) -> str:
    """Return the whole HTML document; its pictures lie in ``images`` beside it.

    Args:
        comparison: what to show.
        width: width of a picture in CSS pixels, less where a row would not fit.
    """
    pieces = [
        f"{MARK}<style>{PLOT_STYLE}{STYLE}</style>",
        _bar(comparison),
        _head(comparison),
        _options(comparison),
        _numbers(comparison),
        _curves(comparison.runs),
        _images(comparison, width),
    ]
    return page(comparison.title, pieces)


def _bar(comparison: Comparison) -> str:
    names = "".join(_name(place, run.name) for place, run in enumerate(comparison.runs))
    sections = ("Runs", "Options", "Metrics", "Curves", "Images")
    links = "".join(f'<a href="#{section.lower()}">{section}</a>' for section in sections)
    return f'<nav class="bar">{names}<span class="links">{links}</span></nav>'


def _name(place: int, name: str) -> str:
    return f'<span class="run">{swatch(place)}<span>{escape(name)}</span></span>'


def _head(comparison: Comparison) -> str:
    lines = []
    for place, run in enumerate(comparison.runs):
        options = run.options or {}
        data = PurePath(str(options.get("dataroot", ""))).name or UNKNOWN
        cells = [str(options.get("model", UNKNOWN)), data, run.tag, trained(run)]
        lines.append([_name(place, run.name), *map(escape, cells)])
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(comparison.made))
    says = f"Results {comparison.folder}, page made {made}. Beside it: comparison.csv, comparison.md."
    table = _table(["Run", "Model", "Data set", "Checkpoint", "Trained"], lines, kind="facts")
    return f'<h2 id="runs">Runs</h2>{table}<p class="soft">{escape(says)}</p>'


def _options(comparison: Comparison) -> str:
    runs, options = comparison.runs, comparison.options
    parts = ['<h2 id="options">Options that differ</h2>']
    unknown = [run.name for run in runs if run.options is None]
    if unknown:
        file = f"no option file (train_opt.json) of {joined(unknown)}: what differs there is unknown"
        parts.append(_warning("Not all options are known", [file]))
    heads = ["Option", *(_name(place, run.name) for place, run in enumerate(runs))]
    if options.differing:
        parts.append(_table(heads, _option_lines(options.differing), kind="options", plain_heads=False))
    elif len(runs) - len(unknown) > 1:
        parts.append("<p>None: these runs were trained with the same options.</p>")
    if options.partial:
        table = _table(heads, _option_lines(options.partial), kind="options", plain_heads=False)
        count = len(options.partial)
        parts.append(_fold(f"{count} that only some of the runs have (another model or version)", table))
    if options.same and len(runs) - len(unknown) == 1:
        parts.append(_same(options, "Value", f"{len(options.same)} of the run that has a file"))
    elif options.same:
        whose = "all runs that have a file" if unknown else "all runs"
        parts.append(_same(options, f"Value in {whose}", f"{len(options.same)} with the same value in {whose}"))
    return "".join(parts)


def _same(options: OptionTable, head: str, summary: str) -> str:
    lines = [[escape(name), escape(text)] for name, text in options.same.items()]
    return _fold(summary, _table(["Option", head], lines, kind="options"))


def _option_lines(options: Mapping[str, Sequence[str]]) -> list[list[str]]:
    return [[escape(name), *map(escape, texts)] for name, texts in options.items()]


def _numbers(comparison: Comparison) -> str:
    runs, numbers = comparison.runs, comparison.numbers
    parts = ['<h2 id="metrics">Metrics</h2>']
    if not numbers:
        says = f"<p>Nothing was measured yet; measure by <code>{escape(_command(runs[0]))}</code>.</p>"
        return "".join([*parts, says])
    if found := doubts(numbers):
        parts.append(_warning("Not comparable: these numbers were not measured in the same way", found))
    heads = "".join(f'<th class="number">{_number_head(column)}</th>' for column in numbers)
    lines = [f"<tr><th>Run</th>{heads}</tr>"]
    for place, run in enumerate(runs):
        cells = "".join(_number_cell(column, place) for column in numbers)
        lines.append(f"<tr><th>{_name(place, run.name)}</th>{cells}</tr>")
    parts.append(f'<div class="wide"><table><thead>{lines[0]}</thead><tbody>{"".join(lines[1:])}</tbody></table></div>')
    star = "; ★ the best of a column" if any(column.best for column in numbers) else ""
    remarks = [
        "↓ lower is better, ↑ higher is better" + star,
        *(
            ["± the spread of a number over its subsets, splits or pairs, not over trainings"]
            if _spread(numbers)
            else []
        ),
        *(f"{run.name}: not measured; measure by {_command(run)}" for run in runs if not run.measurements),
        *notes(numbers, runs),
        *(f"other {line}" for line in soft_doubts(numbers)),
    ]
    parts.append('<ul class="notes">' + "".join(f"<li>{escape(line)}</li>" for line in remarks) + "</ul>")
    return "".join(parts)


def _command(run: ComparedRun) -> str:
    return f"python scripts/evaluate.py --name {run.name}"


def _number_head(column: Column) -> str:
    arrow = "↑" if column.higher_is_better else "↓"
    doubt = '<br><span class="doubtful">not comparable</span>' if column.obstacles else ""
    return f"{escape(column.title)} {arrow}{doubt}"


def _number_cell(column: Column, place: int) -> str:
    cell = column.cells[place]
    kinds = ["number", *(["best"] if place in column.best else []), *(["doubtful"] if column.obstacles else [])]
    text = ABSENT if cell is None else cell.shown.replace("+/-", "±")
    return f'<td class="{" ".join(kinds)}">{escape(text)}</td>'


def _spread(numbers: Sequence[Column]) -> bool:
    return any(cell is not None and cell.std is not None for column in numbers for cell in column.cells)


def _curves(runs: Sequence[ComparedRun]) -> str:
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
    silent = [run.name for run in runs if not (run.losses or run.means)]
    parts = ['<h2 id="curves">Curves</h2>']
    if silent:
        parts.append(f'<p class="soft">{escape(f"No metrics.jsonl with losses of {joined(silent)}.")}</p>')
    if charts:
        says = "Losses: means of epochs"
        if len(runs) <= _PALE_RUNS:
            says += "; pale: of single batches, cut off where they leave the axes"
        parts.append(f'<p class="soft">{says}.</p>' if any(run.means for run in runs) else "")
        parts.append(f'<div class="plots">{"".join(charts)}</div>')
    return "".join(parts)


def _chart(
    title: str, runs: Sequence[ComparedRun], curves: Sequence[Points], pale: Sequence[Points] = (), note: str = ""
) -> str:
    there = {run.name: (place, points) for place, (run, points) in enumerate(zip(runs, curves)) if points}
    return plot(
        title,
        {name: points for name, (_, points) in there.items()},
        x_label="images seen",
        note=note,
        colours={name: place for name, (place, _) in there.items()},
        faint={run.name: points for run, points in zip(runs, pale) if points},
    )


def _images(comparison: Comparison, width: int) -> str:
    parts = ['<h2 id="images">Images</h2>']
    if comparison.image_warnings:
        parts.append(_warning("Look at the pictures with care", comparison.image_warnings))
    if not comparison.rows:
        return "".join([*parts, '<p class="soft">None (--num_images 0).</p>'])
    shown = len(comparison.rows)
    count = f"{shown} test image{'' if shown == 1 else 's'}"
    if comparison.num_left_out:
        count += f"; {comparison.num_left_out} more that all runs have are left out (--num_images)"
    says = ". ".join([count, *comparison.image_remarks]) + "."
    parts.append(f'<p class="soft">{escape(says)}</p>')
    for stem, cells in comparison.rows.items():
        body = "".join(_picture(cell) for cell in cells)
        size = f"--count:{len(cells)};--width:{width}px"
        parts.append(
            f'<section class="entry"><h3>{escape(stem)}</h3><div class="side" style="{size}">{body}</div></section>'
        )
    return "".join(parts)


def _picture(cell: ImageCell) -> str:
    link = escape(image_link(cell.file))
    mark, kind = ("", "") if cell.run is None else (swatch(cell.run), ' class="of-run"')
    return (
        f'<figure><a href="{link}"><img src="{link}" loading="lazy" alt="{escape(cell.caption)}"></a>'
        f"<figcaption{kind}>{mark}<span>{escape(cell.caption)}</span></figcaption></figure>"
    )


def _warning(head: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<div class="warning" role="note"><p><b>{escape(head)}</b></p><ul>{items}</ul></div>'


def _fold(summary: str, body: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]], *, kind: str = "", plain_heads: bool = True) -> str:
    """A table of cells that are HTML already."""
    head = "".join(f"<th>{escape(text) if plain_heads else text}</th>" for text in heads)
    body = "".join(
        f"<tr><th>{line[0]}</th>" + "".join(f'<td class="long">{cell}</td>' for cell in line[1:]) + "</tr>"
        for line in lines
    )
    return f'<div class="wide {kind}"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'

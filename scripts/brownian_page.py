"""The result of ``atme_brownian.py`` as files: JSON, CSV, charts, and a page with all of it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from scripts.brownian_charts import Chart, charts
from util.brownian import LJUNG_BOX_LAGS, SeriesReport
from util.brownian_report import LOG_2, Analysis, ImageReport, mean_of_known
from util.files import replace_text
from util.html import image_row, page
from util.svg_plot import STYLE

PAGE_STYLE = """
.charts{grid-template-columns:repeat(auto-fill,minmax(min(100%,430px),1fr))}
.panel{overflow-x:auto}
.panel h3{font-size:15px;margin:0}
.panel th{padding:2px 18px 2px 0;text-align:left;font-weight:600}
.panel ul{margin:8px 0 0;padding-left:20px}
"""


def write(found: Analysis, output: Path, gifs: Mapping[int, Path]) -> list[Path]:
    """Write ``brownian.json``, ``series.csv``, ``entropy.csv``, the charts and ``index.html``; returns the files.

    Args:
        found: the analysis.
        output: an existing folder.
        gifs: index of an image -> its animation, in ``<output>/images``.

    Raises:
        OSError: a file cannot be written.
    """
    replace_text(output / "brownian.json", [json.dumps(_as_json(found), indent=1, allow_nan=False), "\n"])
    replace_text(output / "series.csv", [_series_csv(found)])
    replace_text(output / "entropy.csv", [_entropy_csv(found)])
    drawn = charts(found)
    for chart in drawn:
        chart.save(output)
    replace_text(output / "index.html", [_page(found, drawn, gifs)])
    names = ("index.html", "brownian.json", "series.csv", "entropy.csv", *(chart.file for chart in drawn))
    return [output / name for name in names]


def table(found: Analysis) -> list[list[str]]:
    """The tests as rows of text, the head first."""
    rows = [["test", "hypothesis", "series", f"p < {found.alpha:g}", "after B-H", "Brownian motion gives"]]
    for each in found.counts:
        controlled = "-" if each.controlled is None else str(each.controlled)
        counts = [str(each.tested), str(each.rejected), controlled]
        rows.append([each.name, each.hypothesis, *counts, each.brownian])
    return rows


def sentences(found: Analysis) -> list[str]:
    """The numbers beside the tests, in words."""
    known = found.numbers()
    said: list[tuple[str, str]] = [
        ("acf_inside", "autocorrelations of dW inside the band: {:.3f} (Brownian motion: " + f"{1 - found.alpha:g})"),
        ("slope_all_pixels", "slope of the mean square over the lag, all pixels: {:.3f} (Brownian motion: 1)"),
        ("slope_median", "median slope of the single series: {:.3f} (Brownian motion: 1)"),
        ("adf_all_below_alpha", f"unit root rejected (p < {found.alpha:g}) in all series: {{}}"),
        ("shapiro_share_above_alpha", f"series with Shapiro-Wilk p > {found.alpha:g}: {{:.2f}}"),
        ("entropy_last", f"entropy of D in the last epoch: {{:.4f}} (equilibrium: log 2 = {LOG_2:.4f})"),
    ]
    return [words.format(known[key]) for key, words in said if known.get(key) is not None]


def _as_json(found: Analysis) -> dict[str, Any]:
    images = [{**asdict(image), "source": found.sources.get(image.index)} for image in found.images]
    return {
        "mode": "reference" if found.reference else "increments",
        "name": found.name,
        "folder": str(found.folder),
        "alpha": found.alpha,
        "seed": found.seed,
        "pixels": found.pixels,
        "numbers": found.numbers(),
        "tests": [asdict(each) for each in found.counts],
        "remarks": found.remarks(),
        "cautions": found.cautions(),
        "images": images,
    }


def _series_csv(found: Analysis) -> str:
    columns: dict[str, Callable[[ImageReport, SeriesReport], object]] = {
        "index": lambda i, s: s.index,
        "row": lambda i, s: s.row,
        "column": lambda i, s: s.column,
        "first_epoch": lambda i, s: i.epochs[0],
        "last_epoch": lambda i, s: i.epochs[-1],
        "length": lambda i, s: len(s.increments),
        "constant": lambda i, s: int(s.constant),
        "adf": lambda i, s: s.adf,
        "adf_p": lambda i, s: s.adf_p,
        "kpss": lambda i, s: s.kpss,
        "kpss_p": lambda i, s: s.kpss_p,
        "shapiro_p": lambda i, s: s.shapiro_p,
        **{f"ljung_box_{lag}_p": lambda i, s, lag=lag: s.ljung_box_p.get(lag) for lag in LJUNG_BOX_LAGS},  # type: ignore[misc]
        "acf_inside": lambda i, s: s.acf_inside,
        "slope": lambda i, s: s.slope,
    }
    rows = ([cell(image, each) for cell in columns.values()] for image in found.images for each in image.series)
    return _csv([list(columns), *rows])


def _entropy_csv(found: Analysis) -> str:
    epochs = sorted({epoch for image in found.images for epoch in image.entropy})
    head = ["epoch", *(f"image_{image.index}" for image in found.images), "mean"]
    rows = []
    for epoch in epochs:
        values = [image.entropy.get(epoch) for image in found.images]
        rows.append([epoch, *values, mean_of_known(values)])
    return _csv([head, *rows])


def _csv(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _page(found: Analysis, drawn: Sequence[Chart], gifs: Mapping[int, Path]) -> str:
    kind = "as in the published notebook" if found.reference else "increments of the float maps"
    facts = [
        ["maps", str(found.folder)],
        ["mode", kind],
        ["series", f"{found.pixels} pixels of each of {len(found.images)} images, seed {found.seed}"],
        ["level", f"{found.alpha:g}"],
    ]
    facts += [[f"image {i.index}", _image_line(found, i)] for i in found.images]
    files = " · ".join(f'<a href="{name}">{name}</a>' for name in ("brownian.json", "series.csv", "entropy.csv"))
    pieces = [
        f"<style>{STYLE}{PAGE_STYLE}</style>",
        f'<section class="panel"><h3>Tests over all series</h3>{_html_table(table(found), head=True)}'
        f"{_list(sentences(found))}</section>",
        f'<section class="panel"><h3>Before you conclude</h3>{_list([*found.remarks(), *found.cautions()])}</section>',
        '<div class="charts">',
        *(chart.inline() for chart in drawn),
        "</div>",
        *(_animation(found, index, file) for index, file in gifs.items()),
        f'<section class="panel"><h3>What was examined</h3>{_html_table(facts)}<p>{files}</p></section>',
    ]
    return page(f"Is W a Brownian motion? {found.name}", pieces)


def _animation(found: Analysis, index: int, file: Path) -> str:
    source = found.sources.get(index)
    header = f"Image {index}: {source}" if source else f"Image {index}"
    return image_row(header, [file.name], [f"{file.name}: D, W and dW"], [file.name], 808)


def _image_line(found: Analysis, image: ImageReport) -> str:
    words = [f"dW of epochs {image.epochs[0]} to {image.epochs[-1]}"]
    if image.slope is not None:
        words.append(f"slope {image.slope:.3f}")
    if source := found.sources.get(image.index):
        words.append(source)
    return ", ".join(words)


def _html_table(rows: Sequence[Sequence[str]], *, head: bool = False) -> str:
    lines = []
    for place, row in enumerate(rows):
        tag = "th" if head and place == 0 else "td"
        lines.append("<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) + "</tr>")
    return f"<table>{''.join(lines)}</table>"


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"

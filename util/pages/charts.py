"""Line charts, drawn by matplotlib: SVG within a page, whose light or dark scheme it follows, or a file for a paper."""

from __future__ import annotations

import io
import math
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dominate.tags import b, figcaption, figure, span
from dominate.util import raw

from util.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Points = Sequence[tuple[float, float]]

FORMATS = ("svg", "png", "pdf")
"""What ``Chart.save`` writes, by the end of the file name."""

LIGHT = ("#4113f1", "#d27842", "#0595cf", "#a32805", "#5c0b7a", "#0d1312")
"""Colours of the curves, told apart in every common kind of colour blindness and at least 3:1 against the background.

``style.css`` has those of the dark scheme; curve 6 has the colour of curve 0, but dashed.
"""

_INK, _AXIS, _GRID = "#4a535d", "#97a1ac", "#dfe3e8"
_VARIABLES = {colour: f"var(--curve{number})" for number, colour in enumerate(LIGHT)}
_VARIABLES |= {_INK: "var(--soft)", _AXIS: "var(--axis)", _GRID: "var(--line)"}

_DASHES = ("-", (0, (5, 2)), (0, (1, 2)), (0, (6, 2, 1.5, 2)))  # of the curves 0-5, 6-11, ...
_MARKERS = "os^DvP"
_FEW = 24  # up to this many points in the longest curve, every point has a mark; else the last one
_CHARACTER = 6.6  # mean width of a character in pixels, at the font size of 12
_LEGEND_ROW, _LEGEND_NAME = 17, 34

# rcParams are global: one drawing at a time changes them and puts them back.
_LOCK = threading.Lock()
_SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 12,
    "text.parse_math": False,  # a run may be called $x
    "axes.unicode_minus": False,
    "svg.fonttype": "none",  # text stays text: small files that can be searched
    "pdf.fonttype": 42,  # publishers refuse Type 3 fonts
}
_UNDATED: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
_HINT = "hint:"
_LARGEST = 1e100  # values beyond count as infinite: the length of their axis would be
_GUIDE = 11  # number of the look of guides: dark and dashed
_NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


# --- charts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chart:
    """Several curves over one axis. Points that are not finite, or beyond 1e100, are left out.

    Attributes:
        title: headline.
        curves: name in the legend -> points (x, y) in the order of x.
        x_label: quantity along the axis, with its unit.
        y_label: the same upwards; empty where the title says it.
        note: a few words beside the headline of a chart in a page.
        colours: name -> number of its colour, marker and dashes, from 0; by default in order.
        guides: name -> points of lines to compare with, dark and dashed, behind the curves.
        faint: name -> points drawn thin and pale behind its curve, e.g. values of which the curve is the mean. They do
            not extend the y axis: single outliers would flatten the curves.
        others: points of further curves without a name, thin and grey; they do not extend the y axis either.
        bands: name -> (x, low, high) of an area behind its curve.
        errors: name -> half length of the error bar of every point of its curve; None for no bar.
        width: of the drawing in pixels, with text of 12 pixels.
        scattered: marks without lines between them: points that have no order.
        log_x: the axis is logarithmic; all x must be above 0.

    Raises:
        ValueError: a curve has more or fewer errors than points.
    """

    title: str
    curves: Mapping[str, Points]
    x_label: str
    y_label: str = ""
    note: str = ""
    colours: Mapping[str, int] = field(default_factory=dict)
    guides: Mapping[str, Points] = field(default_factory=dict)
    faint: Mapping[str, Points] = field(default_factory=dict)
    others: Sequence[Points] = ()
    bands: Mapping[str, Sequence[tuple[float, float, float]]] = field(default_factory=dict)
    errors: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    width: int = 480
    scattered: bool = False
    log_x: bool = False

    def __post_init__(self) -> None:
        for name, errors in self.errors.items():
            if len(errors) != len(self.curves[name]):
                raise ValueError(f"curve {name}: {len(self.curves[name])} points, but {len(errors)} errors")

    @property
    def is_empty(self) -> bool:
        """True if no curve has a finite point."""
        return not self._drawable()

    def inline(self) -> figure:
        """``<figure>`` with the chart as SVG, in the colours of the page's style sheet."""
        note = "no values" if self.is_empty else self.note
        captions = [b(printable(self.title)), *([span(printable(note))] if note else [])]
        element = figure(figcaption(*captions), cls="chart")
        if not self.is_empty:
            label = escape(printable(f"{self.title} over {self.x_label}"))
            with drawing_settings(self.title):
                element.add(raw(_for_page(_svg(self.figure()), label)))
        return element

    def svg(self) -> str:
        """The chart as an SVG document of its own, on white and with its headline."""
        with drawing_settings(self.title):
            return _with_hints(_svg(self.figure(titled=True)))

    _repr_svg_ = svg  # what a notebook displays

    def save(self, path: Path) -> None:
        """Write the chart as a file of its own, as ``svg`` draws it; a reader never sees a part of it.

        Args:
            path: ends in ``.svg``, ``.png`` or ``.pdf``.

        Raises:
            OSError: it cannot be written.
        """
        if path.suffix.lower() == ".svg":
            with replacing(path) as temporary:
                temporary.write_bytes(self.svg().encode("utf-8"))
        else:
            save_figure(lambda: self.figure(titled=True), path, salt=self.title, dpi=200)

    def figure(self, *, titled: bool = False) -> Figure:
        """Draw with matplotlib.

        Args:
            titled: with the headline, on white; else without, on nothing.
        """
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator, NullFormatter

        drawn = Figure(dpi=72, facecolor="white" if titled else "none")
        axes = drawn.add_axes((0, 0, 1, 1), facecolor="none", xmargin=0.03, ymargin=0.05)
        keys = {name: _key(_GUIDE, marked=False) for name in self.guides}
        for guide in self.guides.values():
            axes.plot(*zip(*guide), **_look(_GUIDE))
        curves = self._drawable()
        few = self.scattered or max(map(len, curves.values())) <= _FEW
        if self.log_x:
            axes.set_xscale("log")
        for place, name in enumerate(self.curves):
            if name in curves:
                number = self.colours.get(name, place)
                keys[name] = _key(number, lined=not self.scattered)
                self._draw_curve(axes, name, curves[name], number, few=few)
        _begin_at_0(axes, "y")
        axes.autoscale(False, axis="y")
        for name, points in self.faint.items():
            if name in curves:
                axes.plot(*zip(*_finite(points)), color=keys[name].get_color(), linewidth=1, alpha=0.28, zorder=1)
        for points in filter(None, map(_finite, self.others)):
            axes.plot(*zip(*points), color=_INK, linewidth=1, alpha=0.35, zorder=1)
        if not self.log_x:
            _begin_at_0(axes, "x")

        # In pixels: the SVG of matplotlib has 72 of them per inch.
        columns = _legend_columns([*keys], self.width)
        rows = math.ceil(len(keys) / columns) if [*keys] != [self.title] else 0  # else the headline says it
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        left = max(30.0, 14 + _CHARACTER * max(len(tick_label(tick)) for tick in axes.get_yticks()))
        right, top, bottom = self.width - 14, 10 + 30 * titled, 42 + _LEGEND_ROW * rows
        height = top + 0.44 * self.width + bottom
        drawn.set_size_inches(self.width / 72, height / 72)
        axes.set_position(
            (left / self.width, bottom / height, (right - left) / self.width, 1 - (top + bottom) / height)
        )
        whole = all(float(x).is_integer() for points in curves.values() for x, *_ in points)
        if self.log_x:
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.xaxis.set_major_locator(MaxNLocator(int((right - left) // 55), steps=[1, 2, 5, 10], integer=whole))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: tick_label(value))
        axes.set_axisbelow(True)
        axes.grid(axis="y", color=_GRID, linewidth=1)
        axes.spines[["left", "right", "top"]].set_visible(False)
        axes.spines["bottom"].set_color(_AXIS)
        axes.tick_params("x", color=_AXIS, labelcolor=_INK)
        axes.tick_params("y", length=0, labelcolor=_INK)
        axes.set_xlabel(printable(self.x_label), color=_INK)
        if self.y_label:
            axes.text(0.01, 0.98, printable(self.y_label), transform=axes.transAxes, va="top", color=_INK)
        if titled:
            drawn.text(12 / self.width, 1 - 24 / height, printable(self.title), size=14, weight="bold")
        if rows:
            _draw_legend(drawn, keys, columns)
        return drawn

    def _drawable(self) -> dict[str, list[tuple[float, float, float]]]:
        """Curves -> (x, y, half length of the error bar or 0) of the points that can be drawn."""
        found = {}
        for name, points in self.curves.items():
            errors = self.errors.get(name) or [None] * len(points)
            halves = [half if half is not None and half < _LARGEST else 0.0 for half in errors]
            if kept := [(x, y, half) for (x, y), half in zip(points, halves) if _finite([(x, y)])]:
                found[name] = kept
        return found

    def _draw_curve(
        self, axes: Axes, name: str, points: Sequence[tuple[float, float, float]], number: int, *, few: bool
    ) -> None:
        look = _look(number) | ({"linestyle": ""} if self.scattered else {})
        colour = look["color"]
        if band := self.bands.get(name):
            x, low, high = zip(*band)
            axes.fill_between(x, low, high, color=colour, alpha=0.22, linewidth=0)
        if bars := [point for point in points if point[2]]:
            x, y, half = zip(*bars)
            axes.errorbar(x, y, yerr=half, fmt="none", ecolor=colour, elinewidth=1.2, capsize=3)
        axes.plot([x for x, _, _ in points], [y for _, y, _ in points], **look)
        for across, up, error in points if few else points[-1:]:
            spread = f" ± {error:.4g}" if error else ""
            hint = f"{_HINT}{printable(name)}: {up:.5g}{spread} at {across:,.10g}"
            axes.plot(across, up, _mark(number), color=colour, markersize=5.5, gid=hint)


@cache
def swatch(number: int) -> str:
    """SVG of 28 x 12 pixels: the piece of line with a mark that stands for colour ``number``; HTML to insert as is."""
    from matplotlib.figure import Figure

    with drawing_settings(f"swatch {number}"):
        drawn = Figure(figsize=(28 / 72, 12 / 72), dpi=72, facecolor="none")
        drawn.add_artist(_key(number))
        return _for_page(_svg(drawn), "").replace("<svg ", '<svg class="swatch" width="28" height="12" ', 1)


def tick_label(value: float) -> str:
    """
    >>> tick_label(0.05), tick_label(1500), tick_label(200000), tick_label(2.5e6)
    ('0.05', '1,500', '200k', '2.5M')
    """
    for scale, unit in ((1e6, "M"), (1e3, "k")):
        if max(1e5, scale) <= abs(value) < 1e12:
            return f"{value / scale:,.6g}{unit}"
    return f"{value:,.6g}"


def printable(text: str) -> str:
    """Text without what XML and fonts cannot hold: control characters and bytes that are not Unicode."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


# --- parts of a drawing -----------------------------------------------------------------------------------------------


def save_figure(draw: Callable[[], Figure], file: Path, *, salt: str, dpi: int) -> None:
    """Write a drawing; a reader never sees a part of it, and equal drawings are equal files.

    Args:
        draw: makes it; runs with ``drawing_settings``.
        file: its suffix is one that matplotlib knows.
        salt: see ``drawing_settings``.
        dpi: pixels per inch.

    Raises:
        OSError: it cannot be written.
    """
    kind, content = file.suffix.lower().removeprefix("."), io.BytesIO()
    with drawing_settings(salt):
        draw().savefig(content, format=kind, dpi=dpi, metadata=_UNDATED.get(kind))
    with replacing(file) as temporary:
        temporary.write_bytes(content.getvalue())


@contextmanager
def drawing_settings(salt: str) -> Iterator[None]:
    """The rcParams of a drawing; ``salt`` makes the ids in its SVG the same in every process."""
    import matplotlib

    with _LOCK, matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": printable(salt)}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a browser has other fonts
        yield


def _finite(points: Points) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if abs(x) < _LARGEST and abs(y) < _LARGEST]


def _begin_at_0(axes: Axes, which: str) -> None:
    """Let an axis begin at 0 where that is near its values."""
    low, high = getattr(axes.dataLim, f"interval{which}")
    getattr(axes, f"get_{which}lim")()  # now, as matplotlib scales late: not with what is drawn later
    if 0 <= low < 0.12 * high:
        getattr(axes, f"set_{which}lim")(0, None)


def _key(number: int, *, marked: bool = True, lined: bool = True) -> Line2D:
    """A line with a mark in its middle, or either alone: the entry of curve ``number`` in a legend."""
    from matplotlib.lines import Line2D

    look = _look(number) | ({} if lined else {"linestyle": ""})
    return Line2D([0, 0.5, 1], [0.5] * 3, marker=_mark(number) if marked else "", markevery=[1], markersize=5.5, **look)


def _look(number: int) -> dict[str, Any]:
    colour, dashes = LIGHT[number % len(LIGHT)], _DASHES[number // len(LIGHT) % len(_DASHES)]
    return {"color": colour, "linestyle": dashes, "linewidth": 1.8}


def _mark(number: int) -> str:
    return _MARKERS[number % len(_MARKERS)]


def _draw_legend(drawn: Figure, keys: Mapping[str, Line2D], columns: int) -> None:
    legend = drawn.legend(
        [*keys.values()],
        [str(place) for place in range(len(keys))],  # matplotlib leaves out labels that begin with _
        loc="lower left",
        ncols=columns,
        frameon=False,
        labelcolor=_INK,
        borderpad=0.2,
        borderaxespad=0.4,
        labelspacing=0.25,
        columnspacing=1.4,
    )
    for text, name in zip(legend.get_texts(), map(printable, keys)):
        text.set_text(_shortened(name))
        if len(name) > _LEGEND_NAME:
            text.set_gid(f"{_HINT}{name}")


def _shortened(name: str) -> str:
    """A long name without its middle: the names of a series often differ at the end."""
    half = _LEGEND_NAME // 2
    return name if len(name) <= _LEGEND_NAME else f"{name[: half - 1]}…{name[-half:]}"


def _legend_columns(names: Sequence[str], width: int) -> int:
    widest = 54 + _CHARACTER * max(len(_shortened(name)) for name in names)
    return max(1, min(len(names), int(width // widest)))


# --- SVG --------------------------------------------------------------------------------------------------------------


def _svg(drawn: Figure) -> str:
    file = io.StringIO()
    drawn.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return file.getvalue()


def _with_hints(svg: str) -> str:
    """Turn the group ids that begin with ``hint:`` into titles, which browsers show under the mouse."""
    return re.sub(rf"""<g id=(["']){_HINT}(.*?)\1>""", r"<g><title>\2</title>", svg)


def _for_page(svg: str, label: str) -> str:
    """SVG to stand in a page: colours by the style sheet, no declarations, no ids but those it refers to itself."""
    svg = _with_hints(svg[svg.index("<svg ") :])
    svg = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r' id="(?![mp][0-9a-f]{10}")[^"]*"', "", svg)
    (box,) = re.findall(r'viewBox="[^"]*"', svg)
    svg = re.sub("<svg [^>]*>", lambda _: f'<svg {_NAMESPACES} {box} role="img" aria-label="{label}">', svg, count=1)
    svg = re.sub("|".join(_VARIABLES), lambda found: _VARIABLES[found[0]], svg)
    svg = re.sub(r' transform="rotate\(-0 [^"]*"|font-family: [^;]*; ', "", svg)
    svg = re.sub(r' (?:d|x|y)="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), svg)  # smaller by half
    return re.sub(r">\s+<", "><", svg).replace(" \n", " ").strip()


# --- curves of bounded size -------------------------------------------------------------------------------------------


@dataclass
class Bucket:
    """Neighbouring values of a curve: the x of the last one, their number, sum and extremes."""

    x: float
    count: int
    total: float
    low: float
    high: float

    @property
    def mean(self) -> float:
        return self.total / self.count

    def absorb(self, other: Bucket) -> None:
        self.x = other.x
        self.count += other.count
        self.total += other.total
        self.low = min(self.low, other.low)
        self.high = max(self.high, other.high)


class Curve:
    """A curve that keeps at most ``capacity`` buckets: a full one merges its neighbours two by two.

    Until then every bucket is one value. Extremes survive merging. The result depends only on the values and their
    order, so a resumed run that takes in its old values first draws what the uninterrupted one draws.
    """

    def __init__(self, capacity: int = 200) -> None:
        if capacity < 2:
            raise ValueError(f"a curve needs a capacity of at least 2, got {capacity}")
        self.capacity = capacity
        self.buckets: list[Bucket] = []
        self._per_bucket = 1  # values that a bucket takes before the next one begins

    @property
    def points(self) -> list[tuple[float, float]]:
        """(x, mean) of every bucket."""
        return [(bucket.x, bucket.mean) for bucket in self.buckets]

    def add(self, x: float, y: float) -> None:
        """Add the value ``y`` at ``x``; one that is not finite, or beyond 1e100, is left out."""
        if not abs(y) < _LARGEST:
            return
        if len(self.buckets) == self.capacity and self.buckets[-1].count >= self._per_bucket:
            self._halve()
        value = Bucket(x, 1, y, y, y)
        if self.buckets and self.buckets[-1].count < self._per_bucket:
            self.buckets[-1].absorb(value)
        else:
            self.buckets.append(value)

    def chart(self, title: str) -> Chart:
        """The means over the images seen before the area between the extremes; the latest value beside the title."""
        merged = any(bucket.count > 1 for bucket in self.buckets)
        return Chart(
            title,
            {title: self.points},
            "images",
            note=f"{self.buckets[-1].mean:.4g}" if self.buckets else "",
            bands={title: [(bucket.x, bucket.low, bucket.high) for bucket in self.buckets]} if merged else {},
            width=340,
        )

    def _halve(self) -> None:
        self._per_bucket *= 2
        for left, right in zip(self.buckets[::2], self.buckets[1::2]):
            left.absorb(right)
        self.buckets = self.buckets[::2]


class Curves(dict[str, Curve]):
    """Curves by name, in the order in which the names first came."""

    def __init__(self, capacity: int = 200) -> None:
        super().__init__()
        self.capacity = capacity

    def add(self, x: float, values: Mapping[str, float]) -> None:
        """Add one value per curve at ``x``."""
        for name, value in values.items():
            if name not in self:
                self[name] = Curve(self.capacity)
            self[name].add(x, value)

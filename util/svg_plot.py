"""Line charts of several curves with round ticks, a legend and error bars: inline in a page, or as a file of their own.

The colours stand in the drawing as attributes, which every viewer and converter reads; ``STYLE`` replaces them where a
page is read in dark mode.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from util.files import replace_text

Points = Sequence[tuple[float, float]]

LIGHT = ("#4113f1", "#d27842", "#0595cf", "#a32805", "#5c0b7a", "#0d1312")
DARK = ("#98d5fb", "#d3840a", "#44aca7", "#a461fc", "#f6c626", "#f4fdca")
"""A colour a curve, told apart in every common kind of colour blindness, at least 3:1 against a page's background."""

_DASHES = ("", "7 3", "2 3", "9 3 2 3")  # of the curves 1-6, 7-12, ...
_MARKERS = ("circle", "square", "triangle", "diamond", "down", "cross")
_STROKE = "stroke-linejoin:round;stroke-linecap:round"

_INK, _LINE, _BACK = "#4a535d", "#dfe3e8", "#ffffff"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_WIDTH, _PLOT_HEIGHT = 480.0, 210.0
_TOP, _RIGHT = 10.0, 466.0
_CHAR = 6.6  # mean width of a character of 12 px
_LEGEND_ROW, _LEGEND_CHARS = 17.0, 34
_FEW = 24  # up to so many points of the longest curve, each gets a mark; else the last one

STYLE = (
    """
.plot{background:var(--card);border:1px solid var(--line);border-radius:10px;margin:0;padding:10px 12px 6px;min-width:0}
.plot figcaption{display:flex;justify-content:space-between;gap:10px;margin-bottom:4px}
.plot figcaption b{font-weight:600;overflow-wrap:anywhere}
.plot figcaption span{color:var(--soft);font-size:13px;text-align:right}
.plot svg{display:block;width:100%;max-width:640px;height:auto;margin:0 auto}
@media (prefers-color-scheme:dark){
.plot .ink,.swatch .ink{fill:#b3bcc6}
.plot .grid{stroke:#343a42}
.plot .frame{stroke:#5b6570}
"""
    + "\n".join(f".s{place}{{stroke:{colour};fill:{colour}}}" for place, colour in enumerate(DARK))
    + "\n}\n"
)
"""The style sheet of ``plot`` and ``swatch`` in a page of ``util.html``."""


def plot(
    title: str,
    curves: Mapping[str, Points],
    *,
    x_label: str,
    y_label: str = "",
    note: str = "",
    colours: Mapping[str, int] | None = None,
    faint: Mapping[str, Points] | None = None,
    errors: Mapping[str, Sequence[float | None]] | None = None,
) -> str:
    """Return ``<figure>`` with a chart as inline SVG; its page needs ``STYLE``.

    Args:
        title: headline.
        curves: name in the legend -> points (x, y) in the order of x. Points that are no finite number are left out.
        x_label: what is along the axis, with its unit.
        y_label: the same upwards; empty where the title says it.
        note: a few words beside the headline.
        colours: name -> number of its colour, from 0; default in order. Curve 6 has the colour of 0, but dashed.
        faint: name -> points drawn thin and pale behind its curve, e.g. values of which the curve is the mean. They do
            not widen the axis upwards or downwards: single outliers would flatten the curves.
        errors: name -> half length of the error bar of every point of ``curves``; None for no bar.

    Raises:
        ValueError: ``errors`` and the points of a curve differ in number.
    """
    drawing, height = _drawing(title, curves, x_label, y_label, colours, faint, errors)
    note = note if height else "no values"
    side = f"<span>{escape(note)}</span>" if note else ""
    return f'<figure class="plot"><figcaption><b>{escape(title)}</b>{side}</figcaption>{drawing}</figure>'


def save_svg(
    path: Path,
    title: str,
    curves: Mapping[str, Points],
    *,
    x_label: str,
    y_label: str = "",
    colours: Mapping[str, int] | None = None,
    faint: Mapping[str, Points] | None = None,
    errors: Mapping[str, Sequence[float | None]] | None = None,
) -> None:
    """Write a chart as a file that any viewer shows: white background, headline inside. Arguments as in ``plot``.

    Raises:
        ValueError: ``errors`` and the points of a curve differ in number.
        OSError: it cannot be written.
    """
    drawing, height = _drawing(title, curves, x_label, y_label, colours, faint, errors)
    whole = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{720 * (height + 30) / _WIDTH:g}" '
        f'viewBox="0 -30 {_WIDTH:g} {height + 30:g}" font-family="{_FONT}">'
        f'<rect y="-30" width="100%" height="100%" fill="{_BACK}"/>'
        f'<text x="12" y="-10" font-size="14" font-weight="600" fill="#1c2127">{escape(title)}</text>{drawing}</svg>\n'
    )
    replace_text(path, [whole])


def swatch(number: int) -> str:
    """Return the piece of line with a mark that stands for colour ``number``, as inline SVG of 28 x 12."""
    return (
        f'<svg class="swatch" viewBox="0 0 28 12" width="28" height="12" aria-hidden="true">{_key(number, 0, 6)}</svg>'
    )


def round_ticks(low: float, high: float, *, count: int = 6, whole: bool = False) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within ``low..high``, about ``count`` of them.

    Args:
        low: lower end.
        high: upper end, above it.
        count: how many ticks are wanted.
        whole: whole numbers only, e.g. of epochs.
    """
    rough = (high - low) / max(count - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.75 * rough)
    step = max(step, 1.0) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Ticks as text: as many decimals as their distance needs, ``1,500``, and ``200k`` or ``30M`` for large ones.

    >>> tick_labels([0, 0.05, 0.1]), tick_labels([0, 100000, 200000])
    (['0', '0.05', '0.10'], ['0', '100k', '200k'])
    """
    largest = max(map(abs, ticks), default=0.0)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else abs(largest) or 1.0
    if largest >= 1e13 or 0 < largest < 1e-4:
        return [f"{tick:.3g}" if tick else "0" for tick in ticks]
    scale, unit = (1e6, "M") if largest >= 1e6 else (1e3, "k") if largest >= 1e5 else (1.0, "")
    decimals = max(0, -math.floor(math.log10(step / scale) + 1e-9))
    return [f"{tick / scale:,.{decimals}f}{unit}" if tick else "0" for tick in ticks]


class _Frame:
    """The axes: from values to places of the drawing."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], *, whole: bool) -> None:
        self.x, self.y = x, y
        self.x_ticks, self.y_ticks = round_ticks(*x, whole=whole), round_ticks(*y, count=7)
        self.x_labels, self.y_labels = tick_labels(self.x_ticks), tick_labels(self.y_ticks)
        self.left = max(30.0, 12 + _CHAR * max(map(len, self.y_labels), default=0))
        self.bottom = _TOP + _PLOT_HEIGHT

    def across(self, x: float) -> float:
        return self.left + (x - self.x[0]) / (self.x[1] - self.x[0]) * (_RIGHT - self.left)

    def down(self, y: float) -> float:
        return self.bottom - (y - self.y[0]) / (self.y[1] - self.y[0]) * _PLOT_HEIGHT

    def place(self, point: tuple[float, float]) -> str:
        return f"{self.across(point[0]):.1f},{self.down(point[1]):.1f}"


def _drawing(
    title: str,
    curves: Mapping[str, Points],
    x_label: str,
    y_label: str,
    colours: Mapping[str, int] | None,
    faint: Mapping[str, Points] | None,
    errors: Mapping[str, Sequence[float | None]] | None,
) -> tuple[str, float]:
    """The SVG of a chart and its height."""
    number = {name: place if colours is None else colours[name] for place, name in enumerate(curves)}
    bars = {name: _bars(name, points, (errors or {}).get(name)) for name, points in curves.items()}
    drawn = {name: [(x, y) for x, y, _ in found] for name, found in bars.items() if found}
    pale = {name: _finite(points) for name, points in (faint or {}).items() if name in drawn}
    if not drawn:
        return "", 0.0
    frame = _frame(bars.values(), pale.values())
    parts = [_axes(frame, x_label, y_label)]
    parts.append(_clipped(frame, [_pale(frame, points, number[name]) for name, points in pale.items()]))
    few = max(map(len, drawn.values())) <= _FEW
    parts += [_curve(frame, name, bars[name], number[name], few=few) for name in drawn]
    legend, rows = _legend({name: number[name] for name in drawn}, frame.bottom + 48)
    height = frame.bottom + 42 + rows * _LEGEND_ROW + 2
    head = f'<svg viewBox="0 0 {_WIDTH:g} {height:g}" width="{_WIDTH:g}" height="{height:g}" role="img"'
    label = f' aria-label="{escape(title)} over {escape(x_label)}" font-size="12">'
    return head + label + "".join(parts) + legend + "</svg>", height


def _bars(name: str, points: Points, errors: Sequence[float | None] | None) -> list[tuple[float, float, float]]:
    """Finite points with the half length of their error bar, 0 where there is none."""
    if errors is not None and len(errors) != len(points):
        raise ValueError(f"curve {name}: {len(points)} points, but {len(errors)} errors")
    halves = [half if half is not None and math.isfinite(half) else 0.0 for half in errors or [0.0] * len(points)]
    return [(x, y, half) for (x, y), half in zip(points, halves) if math.isfinite(x) and math.isfinite(y)]


def _finite(points: Points) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _frame(curves: Iterable[Sequence[tuple[float, float, float]]], pale: Iterable[Points]) -> _Frame:
    strong = [point for points in curves for point in points]
    along = [x for x, _, _ in strong] + [x for points in pale for x, _ in points]
    whole = all(float(x).is_integer() for x in along)
    low, high = min(y - half for _, y, half in strong), max(y + half for _, y, half in strong)
    return _Frame(_range(min(along), max(along), margin=0.03), _range(low, high, margin=0.05), whole=whole)


def _range(low: float, high: float, *, margin: float) -> tuple[float, float]:
    """An axis around the values; it begins at 0 where that is near."""
    if low == high:
        half = abs(low) / 10 or 1.0
        return low - half, high + half
    room = (high - low) * margin
    return (0.0 if 0 <= low < 0.12 * high else low - room), high + room


def _axes(frame: _Frame, x_label: str, y_label: str) -> str:
    parts = []
    for tick, label in zip(frame.y_ticks, frame.y_labels):
        y = frame.down(tick)
        parts.append(f'<path class="grid" stroke="{_LINE}" d="M{frame.left:.1f} {y:.1f}H{_RIGHT:g}"/>')
        parts.append(_text(frame.left - 6, y + 4, "end", label))
    for tick, label in zip(frame.x_ticks, frame.x_labels):
        x = frame.across(tick)
        parts.append(f'<path class="frame" stroke="#97a1ac" d="M{x:.1f} {frame.bottom:g}v4"/>')
        parts.append(_text(x, frame.bottom + 16, "middle", label))
    parts.append(f'<path class="frame" stroke="#97a1ac" d="M{frame.left:.1f} {frame.bottom:g}H{_RIGHT:g}"/>')
    parts.append(_text((frame.left + _RIGHT) / 2, frame.bottom + 31, "middle", x_label))
    if y_label:
        parts.append(_text(frame.left + 4, _TOP + 8, "start", y_label))
    return "".join(parts)


def _pale(frame: _Frame, points: Points, number: int) -> str:
    places = " ".join(map(frame.place, points))
    return _group(number, [f'<polyline fill-opacity="0" stroke-opacity="0.28" style="{_STROKE}" points="{places}"/>'])


def _clipped(frame: _Frame, pieces: Sequence[str]) -> str:
    """Pieces that may lie outside the axes; a nested ``<svg>`` shows its own rectangle only."""
    if not pieces:
        return ""
    box = f"{frame.left:.1f} {_TOP:g} {_RIGHT - frame.left:.1f} {_PLOT_HEIGHT:g}"
    x, y, width, height = box.split()
    head = f'<svg x="{x}" y="{y}" width="{width}" height="{height}" viewBox="{box}" overflow="hidden">'
    return head + "".join(pieces) + "</svg>"


def _curve(frame: _Frame, name: str, points: Sequence[tuple[float, float, float]], number: int, *, few: bool) -> str:
    parts = []
    for x, y, half in points:
        if half:
            across, low, high = frame.across(x), frame.down(y - half), frame.down(y + half)
            parts.append(
                f'<path stroke-width="1.2" d="M{across:.1f} {low:.1f}V{high:.1f}m-3 0h6M{across - 3:.1f} {low:.1f}h6"/>'
            )
    if len(points) > 1:
        dash = _dash(number)
        places = " ".join(frame.place((x, y)) for x, y, _ in points)
        parts.append(f'<polyline fill-opacity="0" stroke-width="1.8"{dash} style="{_STROKE}" points="{places}"/>')
    for x, y, half in points if few else points[-1:]:
        spread = f" ± {half:.4g}" if half else ""
        hint = f"<title>{escape(name)}: {y:.5g}{spread} at {x:,.10g}</title>"
        parts.append(_mark(number, frame.across(x), frame.down(y), hint))
    return _group(number, parts)


def _group(number: int, parts: Sequence[str]) -> str:
    place = number % len(LIGHT)
    return f'<g class="s{place}" stroke="{LIGHT[place]}" fill="{LIGHT[place]}">{"".join(parts)}</g>'


def _dash(number: int) -> str:
    pattern = _DASHES[number // len(LIGHT) % len(_DASHES)]
    return f' stroke-dasharray="{pattern}"' if pattern else ""


def _mark(number: int, x: float, y: float, inside: str = "") -> str:
    """A mark of 7 pixels around a place; shapes tell the curves apart where colours do not."""
    shape = _MARKERS[number % len(_MARKERS)]
    if shape == "circle":
        return f'<circle stroke="none" cx="{x:.1f}" cy="{y:.1f}" r="3.4">{inside}</circle>'
    outline = {
        "square": "m-3 -3h6v6h-6z",
        "triangle": "m0 -4l3.8 6.6h-7.6z",
        "diamond": "m0 -4.2l4.2 4.2l-4.2 4.2l-4.2 -4.2z",
        "down": "m0 4l3.8 -6.6h-7.6z",
        "cross": "m-1.3 -4h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7z",
    }[shape]
    return f'<path stroke="none" d="M{x:.1f} {y:.1f}{outline}">{inside}</path>'


def _key(number: int, x: float, y: float) -> str:
    line = f'<path stroke-width="1.8"{_dash(number)} d="M{x:.1f} {y:.1f}h28"/>'
    return _group(number, [line, _mark(number, x + 14, y)])


def _legend(names: Mapping[str, int], top: float) -> tuple[str, int]:
    """The legend from ``top`` downwards and its number of rows."""
    parts, x, row = [], 12.0, 0
    for name, number in names.items():
        half = _LEGEND_CHARS // 2  # names of a series often differ at the end
        shown = name if len(name) <= _LEGEND_CHARS else f"{name[: half - 1]}…{name[-half:]}"
        width = 34 + _CHAR * len(shown) + 18
        if x > 12 and x + width > _WIDTH:
            x, row = 12.0, row + 1
        y = top + row * _LEGEND_ROW
        parts.append(_key(number, x, y) + _text(x + 34, y + 4, "start", shown, hint=name if shown != name else ""))
        x += width
    return "".join(parts), row + 1


def _text(x: float, y: float, anchor: str, text: str, *, hint: str = "") -> str:
    more = f"<title>{escape(hint)}</title>" if hint else ""
    head = f'<text class="ink" fill="{_INK}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
    return f"{head}{escape(text)}{more}</text>"

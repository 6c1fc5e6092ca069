"""The charts of ``atme_brownian.py``: from an analysis to curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from util.brownian import LJUNG_BOX_LAGS, SeriesReport
from util.brownian_report import LOG_2, Analysis, ImageReport
from util.svg_plot import Points, plot, save_svg

SHOWN = 5  # images that get a curve of their own
LINE = 11  # number of the colour of lines that only guide the eye: dark and dashed


@dataclass(frozen=True)
class Chart:
    """A chart of the page, which is a file of its own too."""

    file: str
    title: str
    curves: Mapping[str, Points]
    x_label: str
    y_label: str = ""
    note: str = ""
    guides: tuple[str, ...] = ()  # the curves that are lines to compare with

    def inline(self) -> str:
        """The chart as HTML."""
        return plot(self.title, self._ordered(), **self._labels(), note=self.note)

    def save(self, folder: Path) -> None:
        """Write it as SVG."""
        save_svg(folder / self.file, self.title, self._ordered(), **self._labels())

    def _labels(self) -> dict[str, Any]:
        own = [name for name in self.curves if name not in self.guides]
        colours = {name: own.index(name) if name in own else LINE for name in self.curves}
        return {"x_label": self.x_label, "y_label": self.y_label, "colours": colours}

    def _ordered(self) -> dict[str, Points]:
        """The guides first, so that the curves lie above them."""
        return {name: self.curves[name] for name in sorted(self.curves, key=lambda name: name not in self.guides)}


def charts(found: Analysis) -> list[Chart]:
    """All charts of an analysis; what has no values is left out."""
    drawn = [_series_charts(found), _acf_charts(found), [_displacement(found)], [_p_values(found), _entropy(found)]]
    return [chart for group in drawn for chart in group if set(chart.curves) - set(chart.guides)]


def _series_charts(found: Analysis) -> list[Chart]:
    W = {_label(s): _points([i.epochs[0] - 1, *i.epochs], s.W) for i, s in _examples(found) if s.W}
    dW = {_label(s): _points(i.epochs, s.increments) for i, s in _examples(found)}
    title = "dW, stretched to -1..1" if found.reference else "dW = W(t) - W(t-1)"
    note = _note(found, "one pixel an image")
    return [Chart("W.svg", "W", W, "epoch", note=note), Chart("dW.svg", title, dW, "epoch", note=note)]


def _acf_charts(found: Analysis) -> list[Chart]:
    examples = [series for _, series in _examples(found)]
    level = f"{1 - found.alpha:.10g}"
    lags = max((len(each.acf) for each in found.series), default=0)
    curves: dict[str, Points] = {_label(each): _points(range(1, len(each.acf) + 1), each.acf) for each in examples}
    kind = "Bartlett's band, mean" if found.reference else "band of white noise"
    names = (f"+ {kind} ({level})", f"- {kind} ({level})")
    if examples:
        longest = max((each.band for each in examples), key=len)
        together = [each.band for each in examples if len(each.band) == len(longest)]
        half = np.mean(together, axis=0)
        for name, sign in zip(names, (1, -1)):
            curves[name] = _dense(range(1, len(half) + 1), sign * half)
    inside: dict[str, Points] = {}
    if found.series:
        share = [
            (lag, float(np.mean([abs(s.acf[lag - 1]) <= s.band[lag - 1] for s in found.series if len(s.acf) >= lag])))
            for lag in range(1, lags + 1)
        ]
        inside = {f"{len(found.series)} series": share, f"expected: {level}": _dense((1, lags), [1 - found.alpha] * 2)}
    note = _note(found, "one pixel an image")
    return [
        Chart("acf.svg", "Autocorrelation of dW", curves, "lag in epochs", note=note, guides=names),
        Chart(
            "acf_inside.svg",
            "Autocorrelation in the band: share of series",
            inside,
            "lag in epochs",
            guides=(f"expected: {level}",),
        ),
    ]


def _displacement(found: Analysis) -> Chart:
    curves: dict[str, Points] = {}
    for image in found.images[:SHOWN]:
        if image.slope is not None:
            name = f"image {image.index}: slope {image.slope:.2f}"
            curves[name] = _points(np.log10(image.lags), np.log10(image.displacement))
    guide = "slope 1 (Brownian motion)"
    if curves:
        start = float(np.mean([points[0][1] for points in curves.values()]))
        end = max(points[-1][0] for points in curves.values())
        curves[guide] = _dense((0, end), (start, start + end))
    return Chart(
        "displacement.svg",
        "Mean square of W(t+k) - W(t), all pixels",
        curves,
        "log10 of the lag k in epochs",
        "log10 of the mean square",
        _note(found),
        (guide,),
    )


def _p_values(found: Analysis) -> Chart:
    series = found.series
    every: dict[str, list[float | None]] = {
        "Dickey-Fuller": [each.adf_p for each in series],
        "Shapiro-Wilk": [each.shapiro_p for each in series],
    }
    for lag in () if found.reference else LJUNG_BOX_LAGS:
        every[f"Ljung-Box {lag}"] = [each.ljung_box_p.get(lag) for each in series]
    guide, note = "uniform: no deviation", "Dickey-Fuller should be near 0"
    curves: dict[str, Points] = {}
    for name, values in every.items():
        known = sorted(p for p in values if p is not None)
        if known:
            curves[name] = [((rank + 0.5) / len(known), p) for rank, p in enumerate(known)]
    curves[guide] = _dense((0, 1), (0, 1))
    return Chart("p_values.svg", "Sorted p-values", curves, "share of the series", note=note, guides=(guide,))


def _entropy(found: Analysis) -> Chart:
    curves: dict[str, Points] = {
        f"image {image.index}": sorted(image.entropy.items()) for image in found.images[:SHOWN] if image.entropy
    }
    guide = "log 2 (D cannot tell)"
    epochs = [epoch for points in curves.values() for epoch, _ in points]
    if epochs:
        curves[guide] = _dense((min(epochs), max(epochs)), (LOG_2, LOG_2))
    note = _note(found, "from 8-bit pictures" if found.reference else "")
    return Chart("entropy.svg", "Entropy of D's probabilities in nats", curves, "epoch", note=note, guides=(guide,))


def _examples(found: Analysis) -> list[tuple[ImageReport, SeriesReport]]:
    """The first series of each image that is not constant, of a few images."""
    firsts = ((image, next((s for s in image.series if not s.constant), None)) for image in found.images)
    return [(image, series) for image, series in firsts if series is not None][:SHOWN]


def _note(found: Analysis, words: str = "") -> str:
    more = f"{SHOWN} of {len(found.images)} images" if len(found.images) > SHOWN else ""
    return ", ".join(filter(None, (words, more)))


def _label(series: SeriesReport) -> str:
    return f"image {series.index}, pixel {series.row},{series.column}"


def _points(x: Iterable[float], y: Iterable[float]) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a, b in zip(x, y)]


def _dense(x: Sequence[float], y: Sequence[float] | np.ndarray) -> list[tuple[float, float]]:
    """A line of so many points that none gets a mark."""
    fine = np.linspace(x[0], x[-1], 60)
    return _points(fine, np.interp(fine, x, y))

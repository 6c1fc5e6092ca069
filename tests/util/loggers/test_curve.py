"""Curves of bounded size, and their drawing."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from tests.util.loggers.records import scalars
from util.loggers.curve import Curve, LossCurves
from util.loggers.svg_chart import chart


def _filled(count: int, capacity: int) -> Curve:
    curve = Curve(capacity)
    for number in range(count):
        curve.add(number, float(number % 10))
    return curve


def test_a_short_curve_keeps_every_value() -> None:
    assert [(b.x, b.mean, b.count) for b in _filled(4, 4).buckets] == [(0, 0, 1), (1, 1, 1), (2, 2, 1), (3, 3, 1)]


def test_a_full_curve_merges_neighbours() -> None:
    buckets = _filled(5, 4).buckets  # 0 1 | 2 3 | 4
    assert [(b.x, b.mean, b.low, b.high, b.count) for b in buckets] == [
        (1, 0.5, 0, 1, 2),
        (3, 2.5, 2, 3, 2),
        (4, 4, 4, 4, 1),
    ]


@pytest.mark.parametrize("count", [1, 7, 64, 1000, 12345])
@pytest.mark.parametrize("capacity", [2, 5, 8])
def test_no_value_is_lost_and_the_size_is_bounded(count: int, capacity: int) -> None:
    curve = _filled(count, capacity)
    assert len(curve.buckets) <= capacity
    assert sum(bucket.count for bucket in curve.buckets) == count
    assert sum(bucket.total for bucket in curve.buckets) == sum(number % 10 for number in range(count))
    assert curve.buckets[-1].x == count - 1
    assert max(bucket.high for bucket in curve.buckets) == min(count - 1, 9)


def test_values_that_are_not_finite_are_left_out() -> None:
    curve = Curve()
    for value in (1.0, math.nan, math.inf, 2.0):
        curve.add(0, value)
    assert [bucket.mean for bucket in curve.buckets] == [1.0, 2.0]


def test_losses_come_in_the_order_of_their_first_record() -> None:
    curves = LossCurves()
    curves.add(scalars(1, G=1.0, D=2.0))
    curves.add(scalars(2, D=2.0, C=3.0, G=1.0))
    assert list(curves.curves) == ["G", "D", "C"]


def _points(svg: str, shape: str) -> list[tuple[float, float]]:
    found = re.search(rf'class="{shape}" points="([^"]*)"', svg)
    assert found is not None
    return [(float(x), float(y)) for x, y in (point.split(",") for point in found[1].split())]


def test_a_chart_is_well_formed_and_labels_its_extremes() -> None:
    curve = Curve()
    for x, y in ((100, 5.0), (200, -1.25), (1200, 2.0)):
        curve.add(x, y)
    svg = chart("<G> & D", curve)
    tree = ElementTree.fromstring(svg)
    assert tree.findtext("./figcaption/b") == "<G> & D"
    assert tree.findtext("./figcaption/span") == "2"
    assert [text.text for text in tree.iter("text")] == ["5", "-1.25", "100", "1,200 images"]
    (x0, y0), (x1, y1), (x2, y2) = _points(svg, "line")
    assert (x1 - x0) / (x2 - x0) == pytest.approx(100 / 1100, abs=1e-3)  # to scale across ...
    assert (y1 - y2) / (y1 - y0) == pytest.approx(3.25 / 6.25, abs=1e-3)  # ... and upwards (SVG counts down)
    assert y0 < y2 < y1


def test_a_long_chart_has_a_band_and_hundreds_of_points_at_most() -> None:
    curve = _filled(100_000, 200)
    svg = chart("G", curve)
    assert 100 <= len(_points(svg, "line")) <= 200
    assert len(_points(svg, "band")) == 2 * len(curve.buckets)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 1.0], [math.nan]])
def test_charts_without_extent(values: list[float]) -> None:
    curve = Curve()
    for number, value in enumerate(values):
        curve.add(number, value)
    assert "nan" not in chart("G", curve)
    ElementTree.fromstring(chart("G", curve))


def test_dots_lie_on_the_line_and_show_their_values() -> None:
    curve = Curve()
    for x, y in ((100, 5.0), (200, -1.25), (1200, 2.0)):
        curve.add(x, y)
    svg = chart("KID x100", curve, dots=True)
    circles = list(ElementTree.fromstring(svg).iter("circle"))
    assert [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in circles] == _points(svg, "line")
    titles = [circle.findtext("title") for circle in circles]
    assert titles == ["5 at 100 images", "-1.25 at 200 images", "2 at 1,200 images"]
    assert "circle" not in chart("KID x100", curve)


def test_one_value_is_one_dot() -> None:
    assert chart("PSNR", _filled(1, 4), dots=True).count("<circle") == 1

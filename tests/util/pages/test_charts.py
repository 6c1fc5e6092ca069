"""Charts: where their values lie, what they say, and files that other programs read."""

from __future__ import annotations

import itertools
import math
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

import util.pages.charts as charts
from util.pages.charts import LIGHT, Chart, Curve, Curves, swatch, tick_label

NAN, INF = math.nan, math.inf
STYLE = Path(charts.__file__).with_name("style.css").read_text(encoding="utf-8")
SVG = "{http://www.w3.org/2000/svg}"


def inline(chart: Chart) -> str:
    return str(chart.inline().render(pretty=False))


def hints(chart: Chart) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(inline(chart)).iter(f"{SVG}title")]


def curves_of(chart: Chart) -> list[Any]:
    """The lines of the drawing that join points, without their marks."""
    return [line for line in chart.figure().axes[0].lines if line.get_linestyle() != "None"]


def along(chart: Chart) -> Any:
    return chart.figure().axes[0]


def shown_ticks(chart: Chart) -> tuple[list[str], list[str]]:
    """The labels along and upwards."""
    texts = ["".join(each.itertext()) for each in ElementTree.fromstring(inline(chart)).iter(f"{SVG}text")]
    middle = texts.index(chart.x_label)
    return texts[:middle], texts[middle + 1 : -1]  # the last one is the legend


# --- drawing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "label"),
    [
        *((0, "0"), (0.05, "0.05"), (-0.5, "-0.5"), (1500, "1,500"), (50_000, "50,000"), (200_000, "200k")),
        *((1e6, "1M"), (2.5e6, "2.5M"), (-3e7, "-30M"), (2e-6, "2e-06"), (1e20, "1e+20"), (0.1 + 0.2, "0.3")),
    ],
)
def test_tick_labels(value: float, label: str) -> None:
    assert tick_label(value) == label


def test_points_lie_on_axes_around_them() -> None:
    chart = Chart("x", {"a": [(0, 0), (5, 40), (10, 100)]}, "epoch")
    (line,) = curves_of(chart)
    assert line.get_xydata().tolist() == [[0, 0], [5, 40], [10, 100]]
    axes = along(chart)
    assert axes.get_ylim() == pytest.approx((0, 105)) and axes.get_xlim() == pytest.approx((0, 10.3))
    assert shown_ticks(chart)[1] == ["0", "20", "40", "60", "80", "100"]
    assert axes.get_xlabel() == "epoch"


def test_an_axis_begins_at_0_where_that_is_near_only() -> None:
    assert along(Chart("x", {"a": [(1, 10), (2, 20)]}, "x")).get_ylim() == pytest.approx((9.5, 20.5))
    assert along(Chart("x", {"a": [(1, 1), (2, 20)]}, "x")).get_ylim() == pytest.approx((0, 20.95))
    assert along(Chart("x", {"a": [(1, -1), (2, 1)]}, "x")).get_ylim() == pytest.approx((-1.1, 1.1))


def test_epochs_have_whole_ticks() -> None:
    assert shown_ticks(Chart("x", {"a": [(1, 1), (3, 2)]}, "epoch"))[0] == ["1", "2", "3"]
    assert "1.5" in shown_ticks(Chart("x", {"a": [(1, 1), (2.5, 2)]}, "images"))[0]


def test_values_that_are_no_number_are_left_out() -> None:
    chart = Chart("x", {"a": [(1, 2.0), (2, NAN), (3, INF), (4, 3.0), (5, 1e200)], "b": [(1, NAN)]}, "epoch")
    assert [line.get_xydata().tolist() for line in curves_of(chart)] == [[[1, 2], [4, 3]]]
    assert "nan" not in inline(chart).lower() and ">b<" not in inline(chart)
    empty = Chart("x", {"b": [(1, NAN)]}, "epoch", note="lower is better")
    assert empty.is_empty and "<svg" not in inline(empty) and "no values" in inline(empty)


@pytest.mark.parametrize(
    "values", [[7.0], [0.0, 0.0], [-5, -5], [1.0, 1 + 2e-16], [5e-324, 1e-323], [1e-300, 2e-300], [3e38, -3e38]]
)
def test_extreme_values_can_be_drawn(values: list[float]) -> None:
    axes = along(Chart("x", {"a": [*enumerate(values)]}, "epoch"))
    low, high = axes.get_ylim()
    assert low < min(values) and high > max(values) and len(axes.get_yticks()) > 1


def test_few_points_have_marks_that_tell_their_value_and_many_only_the_last() -> None:
    assert hints(Chart("x", {"a": [(10, 0.25), (20, 0.5)]}, "epoch")) == ["a: 0.25 at 10", "a: 0.5 at 20"]
    assert hints(Chart("x", {"a": [(n, n) for n in range(2000)]}, "epoch")) == ["a: 1999 at 1,999"]


def test_error_bars_reach_as_far_as_the_error_and_fit_the_axes() -> None:
    chart = Chart("x", {"a": [(1, 50), (2, 100)]}, "epoch", errors={"a": [50, None]})
    (bars,) = along(chart).collections
    assert [segment.tolist() for segment in bars.get_segments()] == [[[1, 0], [1, 100]]]
    assert hints(chart) == ["a: 50 ± 50 at 1", "a: 100 at 2"]
    assert along(Chart("x", {"a": [(1, 5), (2, 6)]}, "x", errors={"a": [3, 4]})).get_ylim()[1] == pytest.approx(10.4)
    with pytest.raises(ValueError, match="curve a: 2 points, but 1 errors"):
        Chart("x", {"a": [(1, 50), (2, 100)]}, "epoch", errors={"a": [1]})


def test_pale_points_do_not_extend_the_upright_axis() -> None:
    curve = {"a": [(0.0, 1.0), (10.0, 2.0)]}
    both = Chart("x", curve, "images", faint={"a": [(0, 500.0), (12, 1.5)], "no curve": [(0, 1), (1, 2)]})
    strong, pale = curves_of(both)
    assert pale.get_zorder() < strong.get_zorder()
    assert pale.get_xydata().tolist() == [[0, 500], [12, 1.5]] and pale.get_alpha() == 0.28
    assert strong.get_xydata().tolist() == [[0, 1], [10, 2]]
    assert along(both).get_ylim() == along(Chart("x", curve, "images")).get_ylim()
    assert along(both).get_xlim()[1] > 12


def test_a_band_lies_behind_its_curve_and_inside_the_axes() -> None:
    chart = Chart("x", {"a": [(0, 1), (1, 2)]}, "x", bands={"a": [(0, 0.5, 3), (1, 1, 4)]})
    (band,) = along(chart).collections
    corners = {tuple(point) for point in band.get_paths()[0].vertices.tolist()}
    assert corners == {(0, 0.5), (0, 3), (1, 1), (1, 4)}
    assert along(chart).get_ylim()[1] > 4


def test_guides_are_dashed_and_come_first() -> None:
    chart = Chart("x", {"a": [(0, 1), (1, 2)]}, "x", guides={"log 4": [(0, 9), (1, 9)]})
    guide, curve = curves_of(chart)
    assert guide.get_ydata().tolist() == [9, 9] and guide.get_linestyle() == "--" and guide.get_color() == LIGHT[5]
    assert curve.get_linestyle() == "-" and along(chart).get_ylim()[1] > 9
    assert [text.get_text() for text in chart.figure().legends[0].get_texts()] == ["log 4", "a"]


def test_colours_can_be_given_and_repeat_with_dashes() -> None:
    points = [(1.0, 1.0), (2.0, 2.0)]
    first, second = curves_of(Chart("x", {"a": points, "b": points}, "x", colours={"a": 7, "b": 2}))
    assert (to_hex(first.get_color()), first.get_linestyle()) == (LIGHT[1], "--")
    assert (to_hex(second.get_color()), second.get_linestyle()) == (LIGHT[2], "-")
    assert "var(--curve1)" in swatch(7) and "stroke-dasharray" in swatch(7) and "stroke-dasharray" not in swatch(5)


def test_a_legend_stays_inside_the_drawing() -> None:
    drawn = Chart("x", {f"run number {n}": [(1, n), (2, n)] for n in range(20)}, "x").figure()
    drawn.draw_without_rendering()
    (legend,) = drawn.legends
    box, whole = legend.get_window_extent(), drawn.bbox
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= whole.width
    assert len(legend.get_texts()) == 20
    label = drawn.axes[0].xaxis.label.get_window_extent()
    assert box.y1 <= label.y0 + 1


def test_the_title_alone_names_a_single_curve_of_that_name() -> None:
    assert Chart("PSNR", {"PSNR": [(1, 1)]}, "images").figure().legends == []


@pytest.mark.parametrize("name", ["_under", "$x^2$", "a\nb", "\udcff", "\x00", "日本語", '<b>"&', "hint:x", ""])
def test_any_name_can_be_drawn(name: str, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    chart = Chart(name, {name: [(1, 1), (2, 2)], "other": [(1, 1)]}, name, y_label=name, note=name)
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
    texts = ["".join(each.itertext()) for each in ElementTree.fromstring(inline(chart)).iter(f"{SVG}text")]
    assert texts.count(shown) >= 3 or not name  # along, upwards and in the legend
    assert hints(chart)[0] == f"{shown}: 1 at 1"
    chart.save(tmp_path / "a.svg")
    ElementTree.parse(tmp_path / "a.svg")
    assert not recwarn.list


def test_long_names_keep_both_ends_and_are_whole_under_the_mouse() -> None:
    name = "a_series_of_runs_with_a_long_name_<number>_7"
    chart = Chart("x", {name: [(1, 1)]}, "x")
    shown = chart.figure().legends[0].get_texts()[0].get_text()
    assert shown == "a_series_of_runs…ame_<number>_7"[:16] + "…" + name[-17:]
    assert name in hints(chart)


# --- SVG in a page ----------------------------------------------------------------------------------------------------


def variables(scheme: str) -> dict[str, str]:
    light, dark = STYLE.split("@media (prefers-color-scheme: dark)", 1)
    return dict(re.findall(r"(--[\w-]+): (#\w+)", {"light": light, "dark": dark.split("* {")[0]}[scheme]))


def test_a_chart_in_a_page_has_the_colours_of_its_style_sheet_only() -> None:
    every = {f"run {n}": [(1.0, n), (2.0, n)] for n in range(6)}
    text = inline(Chart("x", every, "x", guides={"g": [(1, 1), (2, 2)]}, errors={"run 0": [1, 1]}))
    assert not re.findall(r"stroke: (#\w+)", text)
    used = set(re.findall(r"var\((--\w+)\)", text))
    assert {f"--curve{n}" for n in range(6)} < used
    for scheme in ("light", "dark"):
        assert used <= set(variables(scheme))
    assert [variables("light")[f"--curve{n}"] for n in range(6)] == list(LIGHT)


def test_ids_of_two_charts_in_a_page_do_not_clash() -> None:
    points = [(1.0, 1.0), (2.0, 2.0)]
    texts = [inline(Chart(title, {"a": points}, "x")) for title in ("first", "second")]
    ids = [set(re.findall(r' id="([^"]*)"', text)) for text in texts]
    assert ids[0] and not ids[0] & ids[1]
    for text, known in zip(texts, ids):
        assert set(re.findall(r'(?:href="#|url\(#)(\w+)', text)) == known
        assert "<style" not in text and "<metadata" not in text and "DOCTYPE" not in text


def test_drawing_changes_no_setting_of_matplotlib() -> None:
    before = dict(matplotlib.rcParams)
    inline(Chart("x", {"a": [(1, 1)]}, "x"))
    assert dict(matplotlib.rcParams) == before


def test_threads_draw_what_one_draws() -> None:
    every = [Chart(f"chart {n}", {"a": [(1, n), (2, n * n)]}, "x") for n in range(8)]
    alone = [inline(chart) for chart in every]
    found: dict[int, str] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: inline(every[n])})) for n in range(8)]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[n] for n in range(8)] == alone


# --- files ------------------------------------------------------------------------------------------------------------

SAVE = """
import sys
from pathlib import Path
assert "matplotlib" not in sys.modules
from util.pages.charts import Chart
assert "matplotlib" not in sys.modules, "start-up would wait for it"
chart = Chart("KID & co", {"run": [(5, 0.3), (10, 0.2)]}, "epoch", errors={"run": [0.1, None]})
for kind in ("svg", "png", "pdf"):
    chart.save(Path(sys.argv[1]) / f"kid.{kind}")
assert "matplotlib.pyplot" not in sys.modules
"""


def test_files_stand_alone_and_are_the_same_everywhere(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for seed, folder in enumerate(folders, start=1):
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": str(seed), "SOURCE_DATE_EPOCH": str(seed * 10**9)}
        subprocess.run([sys.executable, "-c", SAVE, str(folder)], check=True, env=environment)
    names = ["kid.pdf", "kid.png", "kid.svg"]
    for folder in folders:
        assert sorted(file.name for file in folder.iterdir()) == names
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name
    root = ElementTree.parse(folders[0] / "kid.svg").getroot()
    said = ["".join(each.itertext()) for each in root.iter(f"{SVG}text")]
    assert {"KID & co", "run", "epoch"} <= set(said)
    assert [each.text for each in root.iter(f"{SVG}title")] == ["run: 0.3 ± 0.1 at 5", "run: 0.2 at 10"]
    text = (folders[0] / "kid.svg").read_text(encoding="utf-8")
    assert LIGHT[0] in text and "#ffffff" in text and "var(" not in text and "<dc:date>" not in text
    with Image.open(folders[0] / "kid.png") as picture:
        assert picture.width == 1333 and picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        blue = tuple(int(LIGHT[0][i : i + 2], 16) for i in (1, 3, 5))
        assert (np.asarray(picture.convert("RGB")) == blue).all(axis=2).sum() > 500
    pdf = (folders[0] / "kid.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-") and pdf.rstrip().endswith(b"%%EOF")
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf and b"CreationDate" not in pdf


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.svg").mkdir()
    with pytest.raises(OSError):
        Chart("x", {"a": [(1, 1)]}, "x").save(tmp_path / "a.svg")
    with pytest.raises(OSError):
        Chart("x", {"a": [(1, 1)]}, "x").save(tmp_path / "gone" / "a.png")


# --- curves of bounded size -------------------------------------------------------------------------------------------


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


def test_curves_come_in_the_order_of_their_first_value() -> None:
    curves = Curves()
    curves.add(1, {"G": 1.0, "D": 2.0})
    curves.add(2, {"D": 2.0, "C": 3.0, "G": NAN})
    assert {name: curve.points for name, curve in curves.items()} == {
        "G": [(1, 1)],
        "D": [(1, 2), (2, 2)],
        "C": [(2, 3)],
    }
    assert list(curves) == ["G", "D", "C"]


def test_the_chart_of_a_curve_has_the_latest_value_and_a_band_once_values_were_merged() -> None:
    short = _filled(4, 4).chart("G")
    assert short.note == "3" and not short.bands and short.curves == {"G": [(0, 0), (1, 1), (2, 2), (3, 3)]}
    merged = _filled(5, 4).chart("G")
    assert merged.bands == {"G": [(1, 0, 1), (3, 2, 3), (4, 4, 4)]} and merged.curves["G"] == [
        (1, 0.5),
        (3, 2.5),
        (4, 4),
    ]
    assert "no values" in inline(Curve().chart("G"))


# --- colours ----------------------------------------------------------------------------------------------------------

# Machado, Oliveira & Fernandes 2009, severity 1; on linear RGB.
DARK = tuple(variables("dark")[f"--curve{n}"] for n in range(6))
DEFICIENCIES = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
# Ottosson's Oklab: linear RGB -> cone responses -> lightness and two opponent axes; black and white are 1 apart.
TO_CONES = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
TO_LAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]


def linear(colour: str) -> np.ndarray:
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def seen(colour: str, deficiency: str) -> np.ndarray:
    rgb = np.clip(np.array(DEFICIENCIES[deficiency]) @ linear(colour), 0, 1)
    return np.array(TO_LAB) @ np.cbrt(np.array(TO_CONES) @ rgb)


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_differ_for_every_reader(palette: tuple[str, ...], deficiency: str) -> None:
    """Twice the least distance of the palette of Okabe and Ito, 0.076 by the same measure."""
    pairs = itertools.combinations(palette, 2)
    assert min(np.linalg.norm(seen(a, deficiency) - seen(b, deficiency)) for a, b in pairs) > 0.15


@pytest.mark.parametrize(("palette", "ground"), [(LIGHT, "#ffffff"), (LIGHT, "#f6f7f9"), (DARK, "#1d2126")])
def test_colours_stand_out_from_the_ground(palette: tuple[str, ...], ground: str) -> None:
    """WCAG asks for 3:1 of graphics."""

    def luminance(colour: str) -> float:
        return float(np.array([0.2126, 0.7152, 0.0722]) @ linear(colour))

    for colour in palette:
        dark, bright = sorted([luminance(colour), luminance(ground)])
        assert (bright + 0.05) / (dark + 0.05) >= 3, colour


def test_scattered_points_have_marks_alone_and_a_logarithmic_axis_keeps_them_apart() -> None:
    chart = Chart("x", {"a": [(0.001, 2.0), (0.1, 1.0)]}, "lr", scattered=True, log_x=True)
    axes = along(chart)
    assert axes.get_xscale() == "log" and hints(chart) == ["a: 2 at 0.001", "a: 1 at 0.1"]
    assert [line.get_linestyle() for line in axes.lines if len(line.get_xdata()) == 2] == ["None"]


def test_other_curves_are_grey_and_do_not_extend_the_upright_axis() -> None:
    plain = Chart("x", {"a": [(0.0, 1.0), (10.0, 2.0)]}, "epoch")
    chart = Chart("x", {"a": [(0.0, 1.0), (10.0, 2.0)]}, "epoch", others=[[(0, 500.0), (5, 1.5)], [(1, math.nan)]])
    assert along(chart).get_ylim() == along(plain).get_ylim()
    assert [line.get_xydata().tolist() for line in along(chart).lines if line.get_zorder() == 1] == [
        [[0, 500], [5, 1.5]]
    ]

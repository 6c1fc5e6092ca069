"""Charts of several curves: round ticks, honest places, colours that everybody can tell apart."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from util.svg_plot import DARK, LIGHT, STYLE, plot, round_ticks, save_svg, swatch, tick_labels

Element = ElementTree.Element
NAN, INF = math.nan, math.inf


def parsed(figure: str) -> Element:
    return ElementTree.fromstring(figure)


def texts(figure: str) -> list[str]:
    return [each.text or "" for each in parsed(figure).iter("text")]


def height_of_label(figure: str, label: str) -> float:
    """The y of the grid line to which a label of the upright axis belongs."""
    (found,) = [t for t in parsed(figure).iter("text") if t.text == label and t.get("text-anchor") == "end"]
    return float(found.get("y", "")) - 4


def lines(figure: str) -> list[Element]:
    return list(parsed(figure).iter("polyline"))


def places(line: Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.get("points", "").split())]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (4.9, 15.3, [6, 8, 10, 12, 14]),
        (0.13, 0.42, [0.15, 0.2, 0.25, 0.3, 0.35, 0.4]),
        (1e-6, 5e-6, [1e-6, 2e-6, 3e-6, 4e-6, 5e-6]),
    ],
)
def test_ticks_are_round_and_within(low: float, high: float, ticks: list[float]) -> None:
    assert round_ticks(low, high) == pytest.approx(ticks)


def test_whole_numbers_get_whole_ticks() -> None:
    assert round_ticks(1, 3, whole=True) == [1, 2, 3]
    assert 1.5 in round_ticks(1, 3)


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ([0, 500, 1000], ["0", "500", "1,000"]),
        ([0, 0.05, 0.1], ["0", "0.05", "0.10"]),
        ([-0.5, 0, 0.5], ["-0.5", "0", "0.5"]),
        ([0, 50000, 100000], ["0", "50k", "100k"]),
        ([0, 500000, 1000000], ["0", "0.5M", "1.0M"]),
        ([0, 1e-6, 2e-6], ["0", "1e-06", "2e-06"]),
        ([0, 1e20], ["0", "1e+20"]),
        ([3], ["3"]),
        ([], []),
    ],
)
def test_tick_labels(ticks: list[float], labels: list[str]) -> None:
    assert tick_labels(ticks) == labels


def test_a_point_lies_where_the_axes_say() -> None:
    figure = plot("x", {"a": [(0, 0), (5, 40), (10, 100)]}, x_label="epoch")
    (line,) = lines(figure)
    heights = [y for _, y in places(line)]
    assert heights == pytest.approx([height_of_label(figure, label) for label in ("0", "40", "100")], abs=0.11)
    assert min(heights) >= 10 and max(heights) == 220  # the frame of the drawing; 0 lies on its lower edge
    across = [x for x, _ in places(line)]
    assert across[1] - across[0] == pytest.approx(across[2] - across[1], abs=0.11)
    assert {"0", "2", "4", "6", "8", "10", "epoch", "a"} <= set(texts(figure))


def test_values_that_are_no_number_are_left_out() -> None:
    figure = plot("x", {"a": [(1, 2.0), (2, NAN), (3, INF), (4, 3.0)], "b": [(1, NAN)]}, x_label="epoch")
    assert [len(places(line)) for line in lines(figure)] == [2]
    assert "nan" not in figure.lower() and ">b<" not in figure
    assert "<svg" not in plot("x", {"b": [(1, NAN)]}, x_label="epoch")
    assert "no values" in plot("x", {}, x_label="epoch", note="lower is better")


@pytest.mark.parametrize("points", [[(3.0, 7.0)], [(1.0, 0.0), (2.0, 0.0)], [(1, -5), (2, -5)]])
def test_one_point_and_a_flat_curve_can_be_drawn(points: list[tuple[float, float]]) -> None:
    figure = plot("x", {"a": points}, x_label="epoch")
    assert len(list(parsed(figure).iter("circle"))) == len(points) + 1  # one is in the legend
    assert "nan" not in figure and "inf" not in figure


def test_few_points_have_marks_that_tell_their_value_and_many_only_the_last() -> None:
    few = plot("x", {"a": [(10, 0.25), (20, 0.5)]}, x_label="epoch")
    assert [each.text for each in parsed(few).iter("title")] == ["a: 0.25 at 10", "a: 0.5 at 20"]
    many = plot("x", {"a": [(n, n) for n in range(100)]}, x_label="epoch")
    assert [each.text for each in parsed(many).iter("title")] == ["a: 99 at 99"]


def test_error_bars_reach_as_far_as_the_error_and_fit_the_axes() -> None:
    figure = plot("x", {"a": [(1, 50), (2, 100)]}, x_label="epoch", errors={"a": [50, None]})
    bars = re.findall(r'stroke-width="1.2" d="M[\d.]+ ([\d.]+)V([\d.]+)m', figure)
    assert len(bars) == 1
    assert [float(y) for y in bars[0]] == pytest.approx(
        [height_of_label(figure, "0"), height_of_label(figure, "100")], abs=0.11
    )
    assert "a: 50 ± 50 at 1" in figure
    with pytest.raises(ValueError, match="curve a: 2 points, but 1 errors"):
        plot("x", {"a": [(1, 50), (2, 100)]}, x_label="epoch", errors={"a": [1]})


def test_pale_points_do_not_widen_the_upright_axis() -> None:
    curve = {"a": [(0.0, 1.0), (10.0, 2.0)]}
    alone = plot("x", curve, x_label="images")
    both = plot("x", curve, x_label="images", faint={"a": [(0, 500.0), (10, 1.5)], "no curve": [(0, 1), (1, 2)]})
    pale, strong = lines(both)
    assert places(strong) == places(lines(alone)[0])
    assert pale.get("stroke-opacity") == "0.28" and places(pale)[0][1] < 0
    assert 'overflow="hidden"' in both and "no curve" not in both


def test_colours_can_be_given_and_repeat_with_dashes() -> None:
    figure = plot("x", {"a": [(1, 1), (2, 2)], "b": [(1, 3), (2, 4)]}, x_label="x", colours={"a": 7, "b": 2})
    parents = {child: parent for parent in parsed(figure).iter() for child in parent}
    by_dash = {
        child.get("stroke-dasharray"): parents[child].get("stroke") for child in parents if child.tag == "polyline"
    }
    assert by_dash == {"7 3": LIGHT[1], None: LIGHT[2]}
    assert f'stroke="{LIGHT[1]}"' in swatch(7) and "stroke-dasharray" in swatch(7)
    assert "stroke-dasharray" not in swatch(5)


def test_texts_are_escaped_and_long_names_keep_both_ends() -> None:
    name = "a_series_of_runs_with_a_long_name_<number>_7"
    figure = plot('T & "<b>"', {name: [(1, 1)]}, x_label="<x>", y_label="y & z", note="<n>")
    assert "<b>T" not in figure.replace("<figcaption><b>", "") and "<number>" not in figure
    shown = [text for text in texts(figure) if text.startswith("a_series")]
    assert len(shown) == 1 and len(shown[0]) < len(name) and shown[0].endswith("<number>_7") and "…" in shown[0]
    assert "<x>" in texts(figure) and "y & z" in texts(figure)


def test_a_legend_breaks_into_rows_inside_the_drawing() -> None:
    figure = plot("x", {f"run number {n}": [(1, n), (2, n)] for n in range(20)}, x_label="x")
    (drawing,) = [each for each in parsed(figure).iter("svg") if each.get("role") == "img"]
    _, _, width, height = map(float, drawing.get("viewBox", "").split())
    labels = [each for each in drawing.iter("text") if (each.text or "").startswith("run number")]
    assert len(labels) == 20 and len({each.get("y") for each in labels}) > 3
    assert all(float(each.get("y", "")) < height and float(each.get("x", "")) < width - 60 for each in labels)


def test_a_file_stands_alone(tmp_path: Path) -> None:
    file = tmp_path / "kid.svg"
    save_svg(file, "KID & co", {"run": [(5, 0.3), (10, 0.2)]}, x_label="epoch", errors={"run": [0.1, None]})
    root = ElementTree.parse(file).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root[0].tag.endswith("rect") and root[0].get("fill") == "#ffffff"
    assert "KID & co" in [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    text = file.read_text(encoding="utf-8")
    assert LIGHT[0] in text and "var(" not in text and "href" not in text
    assert list(tmp_path.iterdir()) == [file]


# --- colours ----------------------------------------------------------------------------------------------------------

# Machado, Oliveira & Fernandes 2009, severity 1; on linear RGB.
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


def test_dark_mode_replaces_every_colour() -> None:
    dark = STYLE.split("@media (prefers-color-scheme:dark){")[1]
    for place, colour in enumerate(DARK):
        assert f".s{place}{{stroke:{colour};fill:{colour}}}" in dark

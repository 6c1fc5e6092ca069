"""The report of an image: which epochs count, what is noted, and the published quirks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from models.atme.brownian import (
    Analysis,
    ImageReport,
    SeriesReport,
    TooFewEpochs,
    examine_maps,
    examine_pictures,
    mean_of_known,
)
from models.atme.map_files import FloatMaps, published_increments, stretch

pytest.importorskip("statsmodels")

PIXELS = [(0, 0), (3, 2)]


def walk(epochs: list[int], seed: int = 0) -> FloatMaps:
    steps = 0.02 * np.random.default_rng(seed).normal(size=(len(epochs), 8, 8))
    logits = np.zeros((len(epochs), 2, 2), np.float32)
    return FloatMaps(5, epochs, logits, np.cumsum(steps, axis=0).astype(np.float32))


def pictures(epochs: list[int]) -> dict[int, np.ndarray]:
    generator = np.random.default_rng(0)
    return {epoch: generator.integers(0, 256, (8, 8), dtype=np.uint8) for epoch in epochs}


def test_epoch_1_is_left_out_and_increments_are_true() -> None:
    maps = walk(list(range(1, 41)))
    maps.W[0] = 1000  # would show
    found = examine_maps(maps, PIXELS, 0.01)
    assert found.epochs == list(range(3, 41)) and found.notes == []
    series = found.series[1]
    assert maps.W[1:, 3, 2].tolist() == series.W
    expected = maps.W[2:, 3, 2].astype(float) - maps.W[1:-1, 3, 2].astype(float)
    assert series.increments == pytest.approx(expected)
    assert found.displacement[0] == pytest.approx(np.mean((maps.W[2:] - maps.W[1:-1]) ** 2), rel=1e-5)
    assert found.slope == pytest.approx(1, abs=0.2)
    assert sorted(found.entropy) == list(range(1, 41)) and found.entropy[1] == pytest.approx(math.log(2))


def test_a_gap_leaves_the_longest_run() -> None:
    found = examine_maps(walk([*range(1, 9), *range(10, 31)]), PIXELS, 0.01)
    assert found.epochs == list(range(11, 31))
    assert found.notes == ["no maps of epoch 9; the series use epochs 10 to 30 and leave 7 others out"]


def test_too_few_epochs_are_refused() -> None:
    assert len(examine_maps(walk(list(range(1, 13))), PIXELS, 0.01).series[0].increments) == 10
    with pytest.raises(TooFewEpochs, match="image 5: 10 epochs in a row after epoch 1; at least 11 are needed"):
        examine_maps(walk(list(range(1, 12))), PIXELS, 0.01)
    with pytest.raises(TooFewEpochs, match="image 5: pictures of W of 9 epochs; at least 10 are needed"):
        examine_pictures(5, pictures(list(range(1, 10))), {}, PIXELS, 0.01)


def test_a_saturated_map_is_told() -> None:
    maps = walk(list(range(1, 31)))
    maps.W[:, :5] = 0.999
    found = examine_maps(maps, PIXELS, 0.01)
    assert found.notes == ["more than half of the values of W are beyond 0.99 in size: the map is saturated"]
    assert found.series[0].constant
    analysis = Analysis("p", Path("p"), False, 0.01, 0, 2, [found])
    assert "image 5: 2 of 2 series are constant and not tested: W does not change there" in analysis.remarks()
    assert analysis.numbers()["constant_series"] == 2 and analysis.numbers()["acf_inside"] is None


def test_pictures_are_examined_as_published() -> None:
    W = pictures(list(range(1, 31)))
    found = examine_pictures(5, W, {4: np.full((2, 2), 191, np.uint8)}, PIXELS, 0.01)
    assert found.epochs == list(range(1, 31)) and found.slope is None
    expected = [stretch(picture)[3, 2] for picture in published_increments(W).values()]
    assert found.series[1].increments == expected
    assert found.series[1].increments[0] == stretch(W[1])[3, 2]
    band = np.array(found.series[1].band)
    assert band[0] == pytest.approx(2.5758293 / math.sqrt(30)) and (np.diff(band) > 0).all()  # Bartlett's grows
    p = 2 * 191 / 255 - 1
    assert found.entropy == {4: pytest.approx(-p * math.log(p) - (1 - p) * math.log(1 - p))}


def test_missing_and_constant_pictures_are_told() -> None:
    W = pictures([1, *range(3, 21)])
    W[8] = W[7]
    found = examine_pictures(5, W, {}, PIXELS, 0.01)
    assert found.notes == [
        "no picture of epoch 2; a running average stands in before the next one",
        "dW of epoch 8 is constant, where the notebook divides by 0; taken as 0",
    ]
    assert found.series[0].increments[6] == 0


def image(index: int, series: list[SeriesReport], slope: float | None = None) -> ImageReport:
    return ImageReport(index, list(range(3, 203)), series, slope=slope, entropy={1: 0.1, 200: 0.6 + index / 10})


def report(**values: float | bool) -> SeriesReport:
    return SeriesReport(1, 0, 0, [], **values)  # type: ignore[arg-type]


def test_numbers_of_an_analysis_by_hand() -> None:
    images = [
        image(0, [report(slope=0.8, acf_inside=1.0), report(constant=True)], 0.9),
        image(1, [report(slope=1.0, acf_inside=0.9), report(slope=1.4, acf_inside=0.8)], 1.0),
    ]
    found = Analysis("p", Path("p"), False, 0.01, 0, 2, images)
    assert found.numbers() == {
        "series": 3,
        "constant_series": 1,
        "acf_inside": pytest.approx(0.9),
        "acf_inside_expected": 0.99,
        "slope_median": 1.0,
        "slope_all_pixels": pytest.approx(0.95),
        "entropy_last": pytest.approx(0.65),
        "entropy_equilibrium": pytest.approx(math.log(2)),
    }
    assert found.remarks() == [
        "image 0: 1 of 2 series are constant and not tested: W does not change there",
    ]


def test_numbers_of_the_published_mode_by_hand() -> None:
    series = [report(adf_p=0.001, shapiro_p=p) for p in (0.02, 0.5, 0.001)]
    found = Analysis("p", Path("p"), True, 0.01, 0, 3, [image(0, series)])
    assert found.numbers()["adf_all_below_alpha"] is True
    assert found.numbers()["shapiro_share_above_alpha"] == pytest.approx(2 / 3)
    worse = Analysis("p", Path("p"), True, 0.01, 0, 3, [image(0, [*series, report(adf_p=0.2)])])
    assert worse.numbers()["adf_all_below_alpha"] is False
    assert len(found.cautions()) == 1 + len(Analysis("p", Path("p"), False, 0.01, 0, 3, []).cautions())


def test_mean_of_known() -> None:
    assert mean_of_known([1.0, None, 2.0]) == 1.5 and mean_of_known([None]) is None

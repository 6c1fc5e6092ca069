"""Statistics against closed forms, hand calculation, and series whose nature is known."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest

from models.atme import brownian
from models.atme.brownian import (
    SeriesReport,
    autocorrelation,
    bartlett_band,
    benjamini_hochberg,
    count_rejections,
    default_lags,
    displacement_lags,
    entropy,
    entropy_of_logits,
    examine_series,
    log_log_slope,
    mean_square_displacement,
    white_noise_band,
)

Z = 2.5758293  # of the two-sided level 0.01, from a table
QUARTER = 0.25 * math.log(4) + 0.75 * math.log(4 / 3)  # entropy of p = 1/4


def walk(length: int, seed: int, shape: tuple[int, ...] = ()) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).normal(size=(length, *shape)), axis=0)


def noise(length: int, seed: int, shape: tuple[int, ...] = ()) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(length, *shape))


# --- entropy ----------------------------------------------------------------------------------------------------------


def test_entropy_by_hand() -> None:
    assert entropy(np.array([0.5])) == pytest.approx(math.log(2))
    assert entropy(np.array([[0.25, 0.75]])) == pytest.approx(QUARTER)
    assert entropy(np.array([0.0, 1.0])) == 0
    assert entropy(np.array([0.5, 1.0])) == pytest.approx(math.log(2) / 2)


def test_entropy_of_logits_by_hand() -> None:
    assert entropy_of_logits(np.zeros((3, 3), np.float32)) == pytest.approx(math.log(2))
    assert entropy_of_logits(np.array([math.log(3), -math.log(3)])) == pytest.approx(QUARTER)
    assert entropy_of_logits(np.array([1e4, -1e4], np.float32)) == 0
    # far out, -p log p - (1-p) log(1-p) of p = sigmoid(-l) is (l + 1) exp(-l); p itself would round to 0 in float32
    assert entropy_of_logits(np.array([30.0], np.float32)) == pytest.approx(31 * math.exp(-30), rel=1e-6)


# --- autocorrelation --------------------------------------------------------------------------------------------------


def test_autocorrelation_by_hand() -> None:
    # deviations -1.5 -0.5 0.5 1.5, their squares sum to 5
    expected = [(0.75 - 0.25 + 0.75) / 5, (-0.75 - 0.75) / 5, -2.25 / 5]
    assert autocorrelation(np.array([1.0, 2, 3, 4]), 3) == pytest.approx(expected)


def test_bands_by_hand() -> None:
    assert white_noise_band(400, 2, 0.01) == pytest.approx([Z / 20, Z / 20])
    half = bartlett_band(np.array([0.5, 0.2, 0.9]), 100, 0.01)
    assert half == pytest.approx([Z / 10, Z / 10 * math.sqrt(1.5), Z / 10 * math.sqrt(1 + 2 * (0.25 + 0.04))])


def test_number_of_lags() -> None:
    assert [default_lags(length) for length in (5, 10, 100, 200)] == [4, 9, 20, 24]
    lags = displacement_lags(200)
    assert lags[0] == 1 and lags[-1] == 50 and lags == sorted(set(lags)) and len(lags) >= 10


# --- displacement -----------------------------------------------------------------------------------------------------


def test_mean_square_displacement_by_hand() -> None:
    W = np.array([0.0, 1, 3])
    assert mean_square_displacement(W, [1, 2]) == [(1 + 4) / 2, 9]
    both = np.stack([W, -2 * W], axis=1)[:, :, None]  # the other pixel moves twice as far
    assert mean_square_displacement(both, [1, 2]) == [2.5 * (1 + 4) / 2, 9 * (1 + 4) / 2]


def test_slope_of_a_power_law_and_of_a_drift() -> None:
    lags = [1, 2, 5, 10]
    assert log_log_slope(lags, [3 * lag**1.5 for lag in lags]) == pytest.approx(1.5)
    assert log_log_slope(lags, mean_square_displacement(0.01 * np.arange(50), lags)) == pytest.approx(2)
    assert log_log_slope(lags, [0.0, 1, 1, 1]) is None


def test_slope_tells_a_brownian_motion_from_white_noise() -> None:
    lags = displacement_lags(200)
    assert log_log_slope(lags, mean_square_displacement(walk(200, 0, (20, 20)), lags)) == pytest.approx(1, abs=0.05)
    assert log_log_slope(lags, mean_square_displacement(noise(200, 0, (20, 20)), lags)) == pytest.approx(0, abs=0.01)


# --- Benjamini-Hochberg -----------------------------------------------------------------------------------------------


def test_benjamini_hochberg_by_hand() -> None:
    # sorted 0.005 0.009 0.029 0.039 0.5 against 0.01 0.02 0.03 0.04 0.05
    assert benjamini_hochberg([0.009, 0.039, 0.029, 0.005, 0.5], 0.05) == [True, True, True, True, False]
    # 0.03 fails at its own rank (0.025), but the larger 0.045 passes at its (0.05): both are rejected
    assert benjamini_hochberg([0.045, 0.03], 0.05) == [True, True]
    assert benjamini_hochberg([0.03, 0.2], 0.05) == [False, False]
    assert benjamini_hochberg([], 0.05) == []


def test_counts_by_hand() -> None:
    p = [0.001, 0.009, 0.5, None]
    series = [
        SeriesReport(0, 0, 0, [], adf_p=value, kpss_p=0.01, shapiro_p=value, ljung_box_p={10: value, 20: 0.9})
        for value in p
    ]
    found = {each.name: (each.tested, each.rejected, each.controlled) for each in count_rejections(series, 0.01)}
    # 0.001 <= 0.01/3, 0.009 > 2/3 * 0.01, 0.5 > 0.01; KPSS's 0.01 is the end of its table
    assert found == {
        "Dickey-Fuller": (3, 2, 1),
        "KPSS": (4, 4, None),
        "Shapiro-Wilk": (3, 2, 1),
        "Ljung-Box 10": (3, 2, 1),
        "Ljung-Box 20": (4, 0, 0),
    }
    assert [each.name for each in count_rejections(series, 0.01, reference=True)] == ["Dickey-Fuller", "Shapiro-Wilk"]


# --- a series ---------------------------------------------------------------------------------------------------------


def examine(increments: np.ndarray) -> SeriesReport:
    return examine_series(3, (1, 2), increments, lambda acf: white_noise_band(len(increments), len(acf), 0.01))


def test_increments_of_a_brownian_motion() -> None:
    pytest.importorskip("statsmodels")
    found = [examine(np.diff(walk(300, seed))) for seed in range(20)]
    counts = {each.name: each.rejected for each in count_rejections(found, 0.01)}
    assert counts["Dickey-Fuller"] == 20
    assert max(counts[name] for name in ("KPSS", "Shapiro-Wilk", "Ljung-Box 10", "Ljung-Box 20")) <= 2
    assert np.mean([each.acf_inside for each in found]) == pytest.approx(0.99, abs=0.01)
    assert (found[0].index, found[0].row, found[0].column) == (3, 1, 2)
    assert found[0].increments == np.diff(walk(300, 0)).tolist()


def test_increments_of_white_noise_pass_dickey_fuller_but_not_the_rest() -> None:
    pytest.importorskip("statsmodels")
    found = [examine(np.diff(noise(300, seed))) for seed in range(10)]
    counts = {each.name: each.rejected for each in count_rejections(found, 0.01)}
    assert counts["Dickey-Fuller"] == counts["Ljung-Box 10"] == 10
    # the autocorrelation of differences of white noise is -1/2 at lag 1
    assert np.mean([each.acf[0] for each in found]) == pytest.approx(-0.5, abs=0.05)


def test_a_brownian_motion_in_place_of_its_increments_is_not_stationary() -> None:
    pytest.importorskip("statsmodels")
    found = [examine(walk(300, seed)) for seed in range(10)]
    counts = {each.name: each.rejected for each in count_rejections(found, 0.01)}
    assert counts["Dickey-Fuller"] <= 1 and counts["KPSS"] >= 8 and counts["Ljung-Box 20"] == 10


def test_heavy_tails_are_not_normal() -> None:
    pytest.importorskip("statsmodels")
    found = examine(np.random.default_rng(0).standard_cauchy(200))
    assert found.shapiro_p is not None and found.shapiro_p < 1e-6


@pytest.mark.parametrize("series", [np.full(20, 0.25), 1e-12 * np.arange(20) + 0.25])
def test_a_constant_series_is_told_and_not_tested(series: np.ndarray) -> None:
    found = examine(series)
    assert found.constant and found.adf_p is None and found.shapiro_p is None and found.acf == []
    assert all(each.tested == 0 for each in count_rejections([found], 0.01))


def test_a_short_series_has_no_ljung_box_at_lags_that_it_does_not_reach() -> None:
    pytest.importorskip("statsmodels")
    found = examine(noise(15, 0))
    assert found.ljung_box_p[10] is not None and found.ljung_box_p[20] is None and found.adf_p is not None
    assert examine(noise(brownian.MIN_LENGTH, 0)).ljung_box_p == {10: None, 20: None}


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "statsmodels" else object())
    with pytest.raises(ValueError, match=r"package statsmodels: pip install scipy statsmodels"):
        brownian.require_packages()

"""Is ATME's W_t a Brownian motion? Statistics of the maps of tracked images, from arrays to numbers.

A Brownian motion has independent normal increments of one variance: their series is stationary and without
autocorrelation, and the mean square of W_{t+k} - W_t grows in proportion to k. The increments are the true ones of the
float maps, or those of the 8-bit pictures as the published notebook takes them. The tests come from scipy and
statsmodels, which are optional packages and imported where they are needed.
"""

from __future__ import annotations

import importlib.util
import math
import statistics
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.atme.map_files import FloatMaps, Grey, longest_run, probabilities, published_increments, stretch
from util.wording import counted

Floats = NDArray[np.floating[Any]]

MIN_LENGTH = 10  # increments of a series
LJUNG_BOX_LAGS = (10, 20)
LOG_2 = math.log(2)
MANY_EPOCHS = 100  # below, the tests have so little power that the report says so

CAUTIONS = (
    "Rejecting a unit root in dW is necessary for a Brownian motion, but not sufficient: the increments of white noise "
    "W, or of any W that stays near a mean, pass that test as well. Slope and autocorrelation tell them apart.",
    "Not rejecting normality is no evidence for it: with few epochs the test finds strong deviations only.",
    "A few dozen epochs say little about either; compare with what chance gives, not with zero.",
    "Pixels of one image are correlated, so the series are not independent repetitions of the experiment.",
    "W_t is bounded by (-1, 1), so it can resemble a Brownian motion only as long as it stays away from the ends.",
    "With random crops and flips a pixel of W_t is another place of the image in every epoch, and dW contains that "
    "jump; train with --no_flip and without random crops where the increments matter.",
)


@dataclass(frozen=True)
class SeriesReport:
    """One pixel of one image through the epochs; None for what cannot be computed, as for a constant series.

    Attributes:
        index: of the image.
        row: of the pixel.
        column: of the pixel.
        increments: the series under test.
        W: the values that it is the increments of; empty in the published mode.
        constant: whether all increments are equal, so that nothing can be tested.
        adf: augmented Dickey-Fuller statistic (constant, lags by AIC); p is that of a unit root.
        kpss: KPSS statistic; p is that of stationarity around a level, known between 0.01 and 0.1 only.
        shapiro_p: Shapiro-Wilk, p of normality.
        ljung_box_p: lag -> p of no autocorrelation up to that lag.
        acf: autocorrelation at lags 1, 2, ...
        band: half width of its band at those lags.
        acf_inside: share of the lags inside the band.
        slope: of log mean square displacement over log lag.
    """

    index: int
    row: int
    column: int
    increments: list[float]
    W: list[float] = field(default_factory=list)
    constant: bool = False
    adf: float | None = None
    adf_p: float | None = None
    kpss: float | None = None
    kpss_p: float | None = None
    shapiro_p: float | None = None
    ljung_box_p: dict[int, float | None] = field(default_factory=dict)
    acf: list[float] = field(default_factory=list)
    band: list[float] = field(default_factory=list)
    acf_inside: float | None = None
    slope: float | None = None


@dataclass(frozen=True)
class TestCount:
    """How often a hypothesis was rejected.

    Attributes:
        name: of the test.
        hypothesis: what p is the probability of, loosely said.
        brownian: what a Brownian motion gives.
        tested: number of series with a p-value.
        rejected: of them, p < alpha.
        controlled: of them, after Benjamini and Hochberg at the level alpha; None where p is a table's end.
    """

    __test__ = False  # pytest takes classes named Test* for tests

    name: str
    hypothesis: str
    brownian: str
    tested: int
    rejected: int
    controlled: int | None


# --- single numbers ---------------------------------------------------------------------------------------------------


def entropy(p: Floats) -> float:
    """Mean of -p log p - (1-p) log(1-p) in nats, 0 at p = 0 and 1; log 2 = 0.693 where D cannot tell.

    Args:
        p: probabilities, any shape.
    """
    q = np.asarray(p, dtype=np.float64)
    inside = (q > 0) & (q < 1)
    safe = np.where(inside, q, 0.5)
    return float(np.where(inside, -safe * np.log(safe) - (1 - safe) * np.log1p(-safe), 0.0).mean())


def entropy_of_logits(logits: Floats) -> float:
    """``entropy`` of sigmoid(logits), exact for large logits too: softplus(-|l|) + |l| sigmoid(-|l|)."""
    size = np.abs(np.asarray(logits, dtype=np.float64))
    tail = np.exp(-size)
    return float((np.log1p(tail) + size * tail / (1 + tail)).mean())


def autocorrelation(series: Floats, lags: int) -> Floats:
    """Autocorrelation at lags 1..``lags``, about the mean and over the variance of the whole series, as usual."""
    centred = np.asarray(series, dtype=np.float64) - np.mean(series)
    total = float(centred @ centred)
    return np.array([float(centred[lag:] @ centred[:-lag]) / total for lag in range(1, lags + 1)])


def white_noise_band(length: int, lags: int, alpha: float) -> Floats:
    """Half width at each lag that the autocorrelation of white noise leaves with probability alpha: z / sqrt(T)."""
    return np.full(lags, _z(alpha) / math.sqrt(length))


def bartlett_band(acf: Floats, length: int, alpha: float) -> Floats:
    """Half width by Bartlett's formula, z sqrt((1 + 2 sum of r_j^2 over j < k) / T), which grows with what is found."""
    before = np.concatenate([[0.0], np.cumsum(np.square(acf))[:-1]])
    return _z(alpha) * np.sqrt((1 + 2 * before) / length)


def default_lags(length: int) -> int:
    """How many lags are judged: ceil(10 log10 T), at most T - 1."""
    return min(math.ceil(10 * math.log10(length)), length - 1)


def displacement_lags(length: int) -> list[int]:
    """About twelve lags from 1 to a quarter of the length, evenly spread in the logarithm."""
    return sorted({round(lag) for lag in np.geomspace(1, max(length // 4, 3), 12)})


def mean_square_displacement(W: Floats, lags: Sequence[int]) -> list[float]:
    """Mean of (W_{t+k} - W_t)^2 over t and all pixels, for each lag k.

    It is the variance where nothing drifts; a drift shows as a slope above 1.

    Args:
        W: [T] or [T, H, W].
        lags: each from 1 to T - 1.
    """
    found = []
    for lag in lags:
        # one epoch at a time: the difference of whole stacks would double the memory
        squares = [np.square(W[t + lag] - W[t], dtype=np.float64).mean() for t in range(len(W) - lag)]
        found.append(float(np.mean(squares)))
    return found


def log_log_slope(lags: Sequence[int], values: Sequence[float]) -> float | None:
    """Slope of the straight line through (log lag, log value), by least squares; None where a value is 0."""
    if len(lags) < 2 or min(values) <= 0:
        return None
    return float(np.polyfit(np.log(lags), np.log(values), 1)[0])


def benjamini_hochberg(p: Sequence[float], alpha: float) -> list[bool]:
    """Which hypotheses are rejected with a false discovery rate of at most alpha (Benjamini and Hochberg 1995)."""
    order = sorted(range(len(p)), key=lambda place: p[place])
    passed = [rank for rank, place in enumerate(order, start=1) if p[place] <= rank / len(p) * alpha]
    rejected = set(order[: max(passed, default=0)])
    return [place in rejected for place in range(len(p))]


# --- series -----------------------------------------------------------------------------------------------------------


def require_packages() -> None:
    """Refuse to start without the packages of the tests.

    Raises:
        ValueError: one is missing.
    """
    missing = [name for name in ("scipy", "statsmodels") if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"the tests need the package {' and '.join(missing)}: pip install scipy statsmodels")


def examine_series(
    index: int, pixel: tuple[int, int], increments: Floats, band: Callable[[Floats], Floats]
) -> SeriesReport:
    """Test one series of increments.

    Args:
        index: of the image.
        pixel: (row, column).
        increments: [T], at least ``MIN_LENGTH``.
        band: autocorrelations at lags 1, 2, ... -> half width of their band.
    """
    values = np.asarray(increments, dtype=np.float64)
    report: dict[str, Any] = {"index": index, "row": pixel[0], "column": pixel[1], "increments": values.tolist()}
    # what is equal up to rounding would be tested for its rounding errors
    if np.ptp(values) <= 1e-9 * max(1.0, float(np.abs(values).max())):
        return SeriesReport(**report, constant=True)
    acf = autocorrelation(values, default_lags(len(values)))
    half = band(acf)
    inside = float(np.mean(np.abs(acf) <= half))
    report.update(acf=acf.tolist(), band=half.tolist(), acf_inside=inside)
    return SeriesReport(**report, **_tests(values))


def count_rejections(series: Sequence[SeriesReport], alpha: float, *, reference: bool = False) -> list[TestCount]:
    """Count, test by test, in how many series its hypothesis is rejected.

    Args:
        series: constant ones do not count.
        alpha: level.
        reference: the published tests only, Dickey-Fuller and Shapiro-Wilk.
    """
    few = f"about {100 * alpha:g} % rejected"
    rows: list[tuple[str, str, str, list[float | None]]] = [
        ("Dickey-Fuller", "dW has a unit root", "all rejected", [each.adf_p for each in series]),
        ("Shapiro-Wilk", "dW is normal", few, [each.shapiro_p for each in series]),
    ]
    if not reference:
        rows.insert(1, ("KPSS", "dW is stationary", few, [each.kpss_p for each in series]))
        for lag in LJUNG_BOX_LAGS:
            p = [each.ljung_box_p.get(lag) for each in series]
            rows.append((f"Ljung-Box {lag}", f"dW has no autocorrelation up to lag {lag}", few, p))
    found = []
    for name, hypothesis, brownian, every in rows:
        known = [p for p in every if p is not None]
        ends = name == "KPSS"  # its table ends at 0.01, which stands for everything below
        rejected = sum(p <= alpha if ends else p < alpha for p in known)
        controlled = None if ends else sum(benjamini_hochberg(known, alpha))
        found.append(TestCount(name, hypothesis, brownian, len(known), rejected, controlled))
    return found


def _tests(values: Floats) -> dict[str, Any]:
    from scipy.stats import shapiro
    from statsmodels.stats.diagnostic import acorr_ljungbox
    from statsmodels.tsa.stattools import adfuller, kpss

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # KPSS warns wherever its table ends
        unit_root, level = adfuller(values), kpss(values, regression="c", nlags="auto")
        lags = [lag for lag in LJUNG_BOX_LAGS if lag < len(values)]
        ljung_box = dict(zip(lags, acorr_ljungbox(values, lags=lags)["lb_pvalue"])) if lags else {}
        return {
            "adf": _number(unit_root[0]),
            "adf_p": _number(unit_root[1]),
            "kpss": _number(level[0]),
            "kpss_p": _number(level[1]),
            "shapiro_p": _number(shapiro(values).pvalue),
            "ljung_box_p": {lag: _number(ljung_box.get(lag, math.nan)) for lag in LJUNG_BOX_LAGS},
        }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _z(alpha: float) -> float:
    return NormalDist().inv_cdf(1 - alpha / 2)


# --- the maps of an image ---------------------------------------------------------------------------------------------


class TooFewEpochs(ValueError):
    """The maps of an image are too few for a series; those of other images may do."""


@dataclass(frozen=True)
class ImageReport:
    """One tracked image.

    Attributes:
        index: of the image.
        epochs: those of the increments.
        series: of the chosen pixels.
        lags: k of ``displacement``; empty in the published mode.
        displacement: mean square of W_{t+k} - W_t over all pixels and epochs.
        slope: its slope in log-log; 1 for a Brownian motion, 0 for white noise W.
        entropy: epoch -> mean entropy of D's probabilities in nats.
        notes: what to know about the input.
    """

    index: int
    epochs: list[int]
    series: list[SeriesReport]
    lags: list[int] = field(default_factory=list)
    displacement: list[float] = field(default_factory=list)
    slope: float | None = None
    entropy: dict[int, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Analysis:
    """What was examined and found.

    Attributes:
        name: for the headline.
        folder: of the maps.
        reference: whether as in the published notebook.
        alpha: level of all tests and of the band.
        seed: of the choice of pixels.
        pixels: series an image.
        images: what was found.
        sources: index -> file of the image, where it is known.
        notes: what was left out.
    """

    name: str
    folder: Path
    reference: bool
    alpha: float
    seed: int
    pixels: int
    images: list[ImageReport]
    sources: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def series(self) -> list[SeriesReport]:
        """All series that are not constant."""
        return [each for image in self.images for each in image.series if not each.constant]

    @property
    def counts(self) -> list[TestCount]:
        """The tests over all series."""
        return count_rejections(self.series, self.alpha, reference=self.reference)

    def numbers(self) -> dict[str, Any]:
        """The numbers that say it all, by name; None for what cannot be computed."""
        series = self.series
        found: dict[str, Any] = {
            "series": len(series),
            "constant_series": sum(each.constant for image in self.images for each in image.series),
            "acf_inside": mean_of_known(each.acf_inside for each in series),
            "acf_inside_expected": 1 - self.alpha,
        }
        if self.reference:
            adf = [each.adf_p for each in series if each.adf_p is not None]
            normal = [each.shapiro_p for each in series if each.shapiro_p is not None]
            found["adf_all_below_alpha"] = max(adf) < self.alpha if adf else None
            found["shapiro_share_above_alpha"] = mean_of_known(float(p > self.alpha) for p in normal)
        else:
            slopes = [each.slope for each in series if each.slope is not None]
            found["slope_median"] = statistics.median(slopes) if slopes else None
            found["slope_all_pixels"] = mean_of_known(image.slope for image in self.images)
        last = [image.entropy[max(image.entropy)] for image in self.images if image.entropy]
        found["entropy_last"], found["entropy_equilibrium"] = mean_of_known(last), LOG_2
        return found

    def cautions(self) -> list[str]:
        """What no number here can show."""
        if not self.reference:
            return list(CAUTIONS)
        stretched = (
            "The notebook stretches every dW to -1..1 and cuts it to 8 bits, so sizes of different epochs cannot be "
            "compared; its first value is W and no increment."
        )
        return [*CAUTIONS, stretched]

    def remarks(self) -> list[str]:
        """What to know about the input, an entry each."""
        found = [*self.notes, *(f"image {image.index}: {note}" for image in self.images for note in image.notes)]
        constant = [image for image in self.images if any(each.constant for each in image.series)]
        for image in constant:
            count = sum(each.constant for each in image.series)
            found.append(
                f"image {image.index}: {count} of {len(image.series)} series are constant and not tested: "
                "W does not change there"
            )
        shortest = min(len(image.epochs) for image in self.images)
        if shortest < MANY_EPOCHS:
            found.append(f"{shortest} epochs are few: the tests find strong deviations only")
        return found


def examine_maps(maps: FloatMaps, pixels: Sequence[tuple[int, int]], alpha: float) -> ImageReport:
    """Examine the true increments W_t - W_{t-1} of an image at some pixels, and the mean square over all pixels.

    Epoch 1 is left out, as its W comes from the random numbers that the memory starts with; of the other epochs, the
    longest run without a gap is used. The entropy is that of every epoch.

    Args:
        maps: of the image.
        pixels: (row, column).
        alpha: level of the band.

    Raises:
        TooFewEpochs: fewer than are needed.
    """
    used = longest_run(epoch for epoch in maps.epochs if epoch > 1)
    if len(used) <= MIN_LENGTH:
        raise TooFewEpochs(
            f"image {maps.index}: {counted(len(used), 'epoch')} in a row after epoch 1; at least {MIN_LENGTH + 1} are "
            "needed"
        )
    W = maps.part(used).W
    notes = _gap_notes(maps.epochs, used)
    lags = displacement_lags(len(used))
    spread = mean_square_displacement(W, lags)
    series = [_examine_pixel(maps.index, W, pixel, lags, alpha) for pixel in pixels]
    if np.mean(np.abs(W) > 0.99) > 0.5:
        notes.append("more than half of the values of W are beyond 0.99 in size: the map is saturated")
    return ImageReport(
        index=maps.index,
        epochs=used[1:],
        series=series,
        lags=lags,
        displacement=spread,
        slope=log_log_slope(lags, spread),
        entropy={epoch: entropy_of_logits(each) for epoch, each in zip(maps.epochs, maps.logits)},
        notes=notes,
    )


def examine_pictures(
    index: int,
    W: Mapping[int, Grey],
    D: Mapping[int, Grey],
    pixels: Sequence[tuple[int, int]],
    alpha: float,
    *,
    published: bool = True,
) -> ImageReport:
    """Examine the 8-bit pictures of an image as the published notebook does, with its quirks.

    Args:
        index: of the image.
        W: epoch, ascending -> uint8 [H, W].
        D: epoch -> uint8 [h, w], for the entropy, which the notebook does not have.
        pixels: (row, column).
        alpha: level of the band.
        published: see ``probabilities``.

    Raises:
        TooFewEpochs: fewer than are needed.
    """
    if len(W) < MIN_LENGTH:
        raise TooFewEpochs(
            f"image {index}: pictures of W of {counted(len(W), 'epoch')}; at least {MIN_LENGTH} are needed"
        )
    pictures = published_increments(W)
    notes = []
    if missing := sorted(set(range(2, max(W) + 1)) - set(W)):
        notes.append(f"no picture of epoch {_epochs(missing)}; a running average stands in before the next one")
    if flat := [epoch for epoch, picture in pictures.items() if picture.min() == picture.max()]:
        notes.append(f"dW of epoch {_epochs(flat)} is constant, where the notebook divides by 0; taken as 0")
    stack = np.stack([stretch(picture) for picture in pictures.values()])
    series = [
        examine_series(index, pixel, stack[:, pixel[0], pixel[1]], lambda acf: bartlett_band(acf, len(stack), alpha))
        for pixel in pixels
    ]
    order = {epoch: entropy(probabilities(picture, published=published)) for epoch, picture in D.items()}
    return ImageReport(index=index, epochs=list(pictures), series=series, entropy=order, notes=notes)


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are not None; None where there is none."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _examine_pixel(index: int, W: Floats, pixel: tuple[int, int], lags: Sequence[int], alpha: float) -> SeriesReport:
    values = W[:, pixel[0], pixel[1]].astype(np.float64)
    increments = np.diff(values)
    report = examine_series(index, pixel, increments, lambda acf: white_noise_band(len(increments), len(acf), alpha))
    return replace(report, W=values.tolist(), slope=log_log_slope(lags, mean_square_displacement(values, lags)))


def _gap_notes(epochs: Sequence[int], used: Sequence[int]) -> list[str]:
    left_out = sorted({*epochs} - {*used, 1})
    missing = sorted(set(range(min(epochs), max(epochs))) - set(epochs))
    if not missing:
        return []
    return [
        f"no maps of epoch {_epochs(missing)}; the series use epochs {used[0]} to {used[-1]}"
        + (f" and leave {len(left_out)} others out" if left_out else "")
    ]


def _epochs(numbers: Sequence[int]) -> str:
    more = f" and {len(numbers) - 8} more" if len(numbers) > 8 else ""
    return ", ".join(map(str, numbers[:8])) + more

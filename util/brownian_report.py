"""Is ATME's W_t a Brownian motion? The maps of a tracked image: true increments, or as the published notebook does."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from models.atme.map_files import FloatMaps, Grey, longest_run, probabilities, published_increments, stretch
from util.brownian import (
    MIN_LENGTH,
    Floats,
    SeriesReport,
    TestCount,
    bartlett_band,
    count_rejections,
    displacement_lags,
    entropy,
    entropy_of_logits,
    examine_series,
    log_log_slope,
    mean_square_displacement,
    white_noise_band,
)

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
            f"image {maps.index}: {len(used)} epochs in a row after epoch 1; at least {MIN_LENGTH + 1} are needed"
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
        raise TooFewEpochs(f"image {index}: pictures of W of {len(W)} epochs; at least {MIN_LENGTH} are needed")
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

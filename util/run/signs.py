"""Numbers by which a failing training shows in its pictures: functions of arrays, without a state.

Images are ``[H, W, C]``, uint8 as the loggers have them, where 0 to 255 stands for -1 to 1.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Pattern = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Of each frequency of ``GRID``: how far it stands out, in dB, and its amplitude, in levels of 255."""

LEVELS = 255.0
FLAT = 2.0
"""Standard deviation (levels of 255) below which an image shows nothing."""

GRID = ((2, 0), (0, 2), (2, 2), (1, 0), (0, 1), (1, 1), (1, -1), (1, 2), (2, 1))
"""Frequencies (rows, columns) in quarters of the sampling rate, where up-sampling leaves patterns of period 2 and 4."""


def contrast(image: Image) -> float:
    """Largest standard deviation of a channel over the pixels, in levels of 255."""
    return float(image.reshape(-1, image.shape[-1]).std(axis=0).max())


def difference(a: Image, b: Image) -> float:
    """Mean absolute difference of two images of one shape, in levels of 255."""
    return float(np.abs(a.astype(np.float32) - b.astype(np.float32)).mean())


def correlation(a: Image, b: Image) -> float:
    """Pearson correlation over pixels and channels, after each channel's mean was taken off; 0 where one is flat."""
    x, y = (each.reshape(-1, each.shape[-1]).astype(np.float64) for each in (a, b))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    size = float(np.sqrt((x * x).sum() * (y * y).sum()))
    flat = min(np.sqrt((x * x).mean()), np.sqrt((y * y).mean())) < FLAT
    return 0.0 if flat or size == 0 else float((x * y).sum() / size)


def used_range(images: Iterable[Image]) -> tuple[float, float]:
    """Smallest and largest value of several images, in ``[-1, 1]``."""
    ends = [(int(image.min()), int(image.max())) for image in images]
    return min(low for low, _ in ends) / LEVELS * 2 - 1, max(high for _, high in ends) / LEVELS * 2 - 1


def saturated(image: Image) -> float:
    """Share of the values at either end of ``[-1, 1]``: levels 0 to 2 and 253 to 255."""
    return float(((image <= 2) | (image >= 253)).mean())


def grid_pattern(image: Image) -> Pattern | None:
    """How far each frequency of ``GRID`` stands out in the mean spectrum of the channels, and its amplitude in it.

    Not in that of the brightness: a checkerboard of colours, red against green, has none.
    The neighbours of a frequency on an axis of the spectrum lie on that axis, as edges along rows and columns put more
    power there than beside it. White noise gives about 0 dB, a pattern of one level in a smooth image 20 and more.

    Returns:
        power over that of the neighbours in dB, and amplitude in levels of 255 (that of ``cos``, of period 2 of
        ``+a, -a``): one number each per frequency of ``GRID``; None for an image of less than 32 pixels in height or
        width.
    """
    height, width = (side // 4 * 4 for side in image.shape[:2])
    if min(height, width) < 32:
        return None
    values = image[:height, :width].astype(np.float64)
    window = np.outer(np.hanning(height + 1)[:-1], np.hanning(width + 1)[:-1])  # a frame's edge is no pattern
    spectra = np.fft.fft2((values - values.mean(axis=(0, 1))) * window[:, :, None], axes=(0, 1))
    power = (np.abs(spectra) ** 2).mean(axis=2) + 1e-3  # where an image is flat: 0 dB
    places = [(row * height // 4 % height, column * width // 4 % width) for row, column in GRID]
    peaks = np.array([power[place] for place in places])
    around = np.array([_neighbours(power, *place) for place in places])
    sides = np.array([1 if row != 1 and column % 2 == 0 else 2 for row, column in GRID])  # its own mirror image or not
    return 10 * np.log10(peaks / around), sides * np.sqrt(peaks) / window.sum()


def _neighbours(power: NDArray[np.float64], row: int, column: int) -> float:
    """Median power of the frequencies that are 3 to 5 bins away (the window spreads a peak over 1)."""
    steps = [step for step in range(-5, 6) if abs(step) >= 3]
    rows = np.array([(row + step) % power.shape[0] for step in (steps if row else [0])])
    columns = np.array([(column + step) % power.shape[1] for step in (steps if column else [0])])
    return float(np.median(power[np.ix_(rows, columns)]))

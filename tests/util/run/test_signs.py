"""Numbers of single pictures, on patterns whose numbers follow from their formula."""

from __future__ import annotations

import numpy as np
import pytest

from util.run.signs import GRID, contrast, correlation, difference, grid_pattern, saturated, used_range

ROWS, COLUMNS = np.mgrid[:64, :64]


def grey(values: np.ndarray | float, channels: int = 3) -> np.ndarray:
    """``[64, 64, channels]`` uint8 of the same values in every channel."""
    plane = np.broadcast_to(np.asarray(values, np.float64), (64, 64))
    return np.repeat(np.rint(plane)[:, :, None], channels, axis=2).astype(np.uint8)


def test_contrast_is_the_standard_deviation_of_the_richest_channel() -> None:
    image = grey(100)
    assert contrast(image) == 0
    image[:, ::2, 1] = 120  # half at 100, half at 120
    assert contrast(image) == 10


def test_difference_does_not_wrap_around() -> None:
    assert difference(grey(0), grey(255)) == difference(grey(255), grey(0)) == 255


def test_correlation_of_an_image_with_itself_its_negative_and_an_orthogonal_one() -> None:
    rows, columns = grey(100 + 50 * (ROWS % 2)), grey(100 + 50 * (COLUMNS % 2))
    assert correlation(rows, rows) == pytest.approx(1)
    assert correlation(rows, 255 - rows) == pytest.approx(-1)
    assert correlation(rows, columns) == pytest.approx(0)


def test_correlation_takes_no_notice_of_the_mean_colour_and_of_flat_images() -> None:
    red, blue = grey(100), grey(100)
    red[..., 0], blue[..., 2] = 255, 255
    assert correlation(red, blue) == 0  # by the means alone they would be opposites
    assert correlation(grey(100), grey(ROWS)) == 0
    assert correlation(grey(100 + ROWS % 2), grey(ROWS % 2)) == 0, "half a level of noise shows nothing"


def test_used_range_is_that_of_all_images() -> None:
    assert used_range([grey(0), grey(51)]) == (-1.0, pytest.approx(-0.6))
    assert used_range([grey(255)]) == (1.0, 1.0)


def test_saturated_counts_both_ends() -> None:
    image = grey(128, channels=1)
    image[:16], image[16:32] = 0, 254
    assert saturated(image) == 0.5
    assert saturated(grey(4)) == 0


@pytest.mark.parametrize(
    ("pattern", "frequency"),
    [
        (ROWS % 2, (2, 0)),
        (COLUMNS % 2, (0, 2)),
        ((ROWS + COLUMNS) % 2, (2, 2)),
        (np.cos(np.pi / 2 * ROWS), (1, 0)),
        (np.cos(np.pi / 2 * COLUMNS), (0, 1)),
        (np.cos(np.pi / 2 * (ROWS + COLUMNS)), (1, 1)),
        (np.cos(np.pi / 2 * (ROWS - COLUMNS)), (1, -1)),
    ],
)
def test_a_faint_pattern_stands_out_at_its_frequency(pattern: np.ndarray, frequency: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).normal(0, 2, (64, 64))
    excess, amplitude = grid_pattern(grey(128 + noise + 6 * pattern))
    assert GRID[int(np.argmax(excess))] == frequency
    assert excess.max() > 12 > 9 > np.sort(excess)[-2]
    height = 3 if pattern.min() == 0 else 6  # 0 and 6 is 3 +- 3
    assert amplitude.max() == pytest.approx(height, abs=0.3) and np.sort(amplitude)[-2] < 0.5


def test_noise_edges_and_flat_images_have_no_pattern() -> None:
    rng = np.random.default_rng(1)
    mean = np.mean([grid_pattern(grey(rng.uniform(0, 255, (64, 64))))[0] for _ in range(50)], axis=0)
    assert mean.max() < 3
    edges, _ = grid_pattern(grey(200 * ((COLUMNS > 20) & (COLUMNS < 43)) + 20 * (ROWS > 31)))
    assert edges.max() < 9
    excess, amplitude = grid_pattern(grey(77))
    assert excess == pytest.approx(np.zeros(len(GRID))) and amplitude.max() < 1e-4


def test_odd_sizes_are_cut_and_small_ones_refused() -> None:
    odd, _ = grid_pattern(grey(100 + 50 * (COLUMNS % 2))[:63, :, :1])
    assert GRID[int(np.argmax(odd))] == (0, 2)
    assert grid_pattern(grey(0)[:31]) is None


def test_a_checkerboard_of_colours_is_a_pattern_though_its_brightness_is_even() -> None:
    board = 10 * ((ROWS + COLUMNS) % 2)
    coloured = np.stack([100 + board, 110 - board, np.full_like(board, 128)], axis=2).astype(np.uint8)
    assert np.ptp(coloured.sum(axis=2)) == 0
    excess, amplitude = grid_pattern(coloured)
    assert GRID[int(np.argmax(amplitude))] == (2, 2) and excess.max() > 12
    assert amplitude.max() == pytest.approx(5 * np.sqrt(2 / 3), abs=0.01), "0 and 10 is 5 +- 5, in two channels"

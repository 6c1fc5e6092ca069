"""Grids and 8-bit values equal those of the published program."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.golden_rules import load_golden
from util.images.draw import tile, to_uint8_truncating

INDEX, ARRAYS = load_golden("sagan/golden_sagan")


def test_values_are_cut_not_rounded() -> None:
    x, want = (INDEX["to_uint8"][key] for key in ("x", "u"))
    assert to_uint8_truncating(torch.tensor(x)).tolist() == want
    assert to_uint8_truncating(torch.tensor([[-1.5, 2.0]], dtype=torch.bfloat16)).tolist() == [[0, 255]]


def test_three_images_fill_a_square_of_four_cells() -> None:
    images = (np.arange(36).reshape(3, 3, 2, 2) + 1).astype(np.uint8)
    assert np.array_equal(tile(images), ARRAYS["tile_3x3x2x2"])


@pytest.mark.parametrize(("count", "side"), [(1, 1), (2, 2), (4, 2), (5, 3), (9, 3), (10, 4)])
def test_images_go_row_by_row_and_need_not_be_square(count: int, side: int) -> None:
    images = np.arange(1, count + 1, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 3), np.uint8)
    grid = tile(images)
    assert grid.shape == (side * 3, side * 4, 1)
    wanted = [*range(1, count + 1), *[0] * (side * side - count)]
    assert grid[::3, ::4, 0].ravel().tolist() == grid[1::3, 2::4, 0].ravel().tolist() == wanted
    assert not grid[2::3].any() and not grid[:, 3::4].any()


@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (3, 2, 2)])
def test_no_grid_of_nothing(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="N at least 1"):
        tile(np.zeros(shape, np.uint8))

"""Tiles: they cover a picture, their weights add up to 1, and what they read is reflected at its edges."""

from __future__ import annotations

import numpy as np
import pytest

from util.images.tiles import Grid, cut_tile, join_rows, plan_grid, reflected, tile_picture

SIZES = [(1, 1), (5, 300), (64, 64), (65, 64), (100, 177), (300, 517)]
SHAPES = [(64, 0, 1), (64, 16, 1), (64, 16, 16), (33, 7, 4), (128, 64, 32), (64, 56, 8), (33, 30, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("tile", "overlap", "multiple"), SHAPES)
def test_weights_add_up_to_one_everywhere(size, tile, overlap, multiple):
    grid = plan_grid(*size, tile, overlap, multiple=multiple)
    total = np.zeros(size, np.float64)
    for each in grid:
        total[each.rows.kept, each.columns.kept] += each.weights()
    np.testing.assert_allclose(total, 1, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("tile", "overlap", "multiple"), SHAPES)
def test_a_picture_comes_back_from_its_tiles(size, tile, overlap, multiple):
    picture = np.random.default_rng(0).random((*size, 2), np.float32)
    grid = plan_grid(*size, tile, overlap, multiple=multiple)
    tiles = (each.transpose(2, 0, 1) for each in tile_picture(picture, grid))
    strips = list(join_rows(grid, tiles))
    assert [first for first, _ in strips] == [sum(s.shape[1] for _, s in strips[:n]) for n in range(len(strips))]
    joined = np.concatenate([strip for _, strip in strips], axis=1).transpose(1, 2, 0)
    np.testing.assert_allclose(joined, picture, atol=1e-6)


def test_tiles_are_alike_and_start_at_multiples():
    grid = plan_grid(300, 517, 100, 30, multiple=16, minimum=32)
    spans = (*grid.rows, *grid.columns)
    assert {span.size for span in spans} == {112} and all(span.start % 16 == 0 for span in spans)
    assert all(after.start < before.start + before.size - 31 for before, after in zip(grid.rows, grid.rows[1:]))


def test_a_small_picture_is_one_tile_of_the_smallest_size():
    grid = plan_grid(3, 10, 64, 16, multiple=4, minimum=8)
    assert (grid.rows[0].size, grid.columns[0].size, len(grid)) == (8, 12, 1)


def test_edges_of_tiles_are_thrown_away_and_the_middle_of_an_overlap_is_blended():
    first, second = plan_grid(1, 24, 16, 8).columns
    assert (first.start, second.start) == (0, 8)  # they share 8 ... 15
    assert (first.kept_to, second.kept_from) == (13, 11)  # 3 pixels are thrown away at each side
    np.testing.assert_allclose(first.weights()[-3:], [1, 0.75, 0.25])
    np.testing.assert_allclose(second.weights()[:3], [0.25, 0.75, 1])


def test_an_overlap_as_large_as_the_tile_is_refused():
    with pytest.raises(ValueError, match=r"--overlap 60: .* share 64; give --tile 96 or more"):
        plan_grid(300, 300, 64, 60, multiple=32)


def test_reflection_repeats_as_often_as_needed():
    assert reflected(0, 9, 3).tolist() == [0, 1, 2, 1, 0, 1, 2, 1, 0]
    assert reflected(2, 4, 1).tolist() == [0, 0, 0, 0]
    assert reflected(4, 4, 6).tolist() == [4, 5, 4, 3]


def test_a_tile_beyond_the_edge_reads_the_mirror_image():
    picture = np.arange(6).reshape(2, 3, 1)
    tile = next(iter(plan_grid(2, 3, 4, 0, multiple=4)))
    assert cut_tile(picture, tile)[:, :, 0].tolist() == [[0, 1, 2, 1], [3, 4, 5, 4], [0, 1, 2, 1], [3, 4, 5, 4]]


def test_a_grid_counts_its_tiles():
    grid = plan_grid(100, 200, 64, 0)
    assert isinstance(grid, Grid) and len(grid) == len(list(grid)) == 2 * 4

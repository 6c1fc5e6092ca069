"""Where the pictures and pieces of a figure lie."""

import numpy as np
import pytest

from util.pages.figure_grid import BOX_COLOURS, Box, FigureGrid

PICTURE = np.zeros((40, 80, 3), np.uint8)  # half as tall as wide


def axes_of(grid: FigureGrid) -> list[tuple[float, float, float, float]]:
    """Left, distance from the top, width, height of all pictures in inches."""
    figure = grid.figure()
    wide, tall = figure.get_size_inches()
    boxes = [axes.get_position() for axes in figure.axes]
    return [(box.x0 * wide, (1 - box.y1) * tall, box.width * wide, box.height * tall) for box in boxes]


def test_two_columns_without_pieces() -> None:
    # Two cells of (4.05 - 2 * 0.01 - 0.03) / 2 = 2 inches below a caption of 10 points * 1.7.
    grid = FigureGrid(["a", "b"], [""], [[PICTURE, PICTURE]], width=4.05, font_size=10)
    top = 10 / 72 * 1.7
    assert axes_of(grid) == [pytest.approx((0.01, top, 2, 1)), pytest.approx((2.04, top, 2, 1))]
    assert [text.get_text() for text in grid.figure().texts] == ["a", "b"]


def test_pieces_below_share_the_width_and_have_one_height() -> None:
    # Pieces of 20 x 20 and 40 x 20 pixels: widths h and 2 h with 3 h + 0.03 = 2.
    boxes = [[Box(0.0, 0.0, 0.25, 0.5), Box(0.5, 0.5, 0.5, 0.5)]]
    grid = FigureGrid(["a"], [""], [[PICTURE]], boxes, width=2.02, font_size=10)
    top, tall = 10 / 72 * 1.7, 1.97 / 3
    _, first, second = axes_of(grid)
    assert first == pytest.approx((0.01, top + 1.03, tall, tall))
    assert second == pytest.approx((0.01 + tall + 0.03, top + 1.03, 2 * tall, tall))


def test_pieces_beside_are_as_tall_as_the_picture() -> None:
    boxes = [[Box(0.0, 0.0, 0.25, 0.5), Box(0.5, 0.5, 0.5, 0.5)]]
    picture, first, second = axes_of(FigureGrid(["a"], [""], [[PICTURE]], boxes, width=2.02, beside=True))
    assert first[2] == pytest.approx(second[2]) == pytest.approx(2 - 0.03 - picture[2])
    assert first[3] == pytest.approx(first[2]) and second[3] == pytest.approx(second[2] / 2)
    assert first[1] == pytest.approx(picture[1])
    assert second[1] + second[3] == pytest.approx(picture[1] + picture[3])


def test_a_piece_has_the_pixels_of_its_frame() -> None:
    picture = np.arange(40 * 80, dtype=np.uint16).reshape(40, 80).astype(np.uint8)
    grid = FigureGrid(["a"], ["row"], [[picture]], [[Box(0.25, 0.5, 0.125, 0.25)]])
    whole, piece = grid.figure().axes
    assert (piece.images[0].get_array() == picture[20:30, 20:30]).all()
    (frame,) = whole.patches
    assert (frame.get_xy(), frame.get_width(), frame.get_height()) == ((19.5, 19.5), 10, 10)
    assert piece.spines["left"].get_edgecolor()[:3] == frame.get_edgecolor()[:3]
    assert BOX_COLOURS[0] == "#e6194b" and [text.get_text() for text in grid.figure().texts] == ["a", "row"]


def test_a_missing_picture_leaves_its_place_empty() -> None:
    grid = FigureGrid(["a", "b"], ["", ""], [[PICTURE, None], [PICTURE, PICTURE]])
    assert len(grid.figure().axes) == 3

"""Pictures by tiles: where the tiles lie, how they are padded, and how overlapping results become one picture.

Everything is done per axis: the weight of a pixel in a tile is the product of a weight by its row and one by its
column, and the weights of all tiles add up to 1 at every pixel. Heights, widths and positions are in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Span:
    """A tile along one axis.

    Attributes:
        start: first pixel that the tile reads, in the padded picture.
        size: how many it reads.
        kept_from: first pixel of the picture that the tile gives something to.
        kept_to: the one after the last.
        ramp_in: the weight rises over this many pixels from ``kept_from``; 0 at the picture's edge.
        ramp_out: it falls over this many up to ``kept_to``.
    """

    start: int
    size: int
    kept_from: int
    kept_to: int
    ramp_in: int = 0
    ramp_out: int = 0

    @property
    def inside(self) -> slice:
        """What is kept, counted from the tile's own first pixel."""
        return slice(self.kept_from - self.start, self.kept_to - self.start)

    @property
    def kept(self) -> slice:
        """What is kept, in the picture."""
        return slice(self.kept_from, self.kept_to)

    def weights(self) -> NDArray[np.float32]:
        """The weight of each kept pixel, ``[kept_to - kept_from]`` in (0, 1]; falling and rising ramps add up to 1."""
        found = np.ones(self.kept_to - self.kept_from, np.float32)
        if self.ramp_in:
            found[: self.ramp_in] = _rise(self.ramp_in)
        if self.ramp_out:
            found[len(found) - self.ramp_out :] = 1 - _rise(self.ramp_out)
        return found


def _rise(length: int) -> NDArray[np.float32]:
    return ((np.arange(length) + 0.5) / length).astype(np.float32)


@dataclass(frozen=True)
class Tile:
    """A rectangle of a picture: one span by rows, one by columns."""

    rows: Span
    columns: Span

    def weights(self) -> NDArray[np.float32]:
        """``[kept rows, kept columns]``."""
        return self.rows.weights()[:, None] * self.columns.weights()[None, :]


@dataclass(frozen=True)
class Grid:
    """The tiles of a picture.

    Attributes:
        height: of the picture.
        width: of the picture.
        rows: spans from top to bottom.
        columns: spans from left to right.
    """

    height: int
    width: int
    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def __iter__(self) -> Iterator[Tile]:
        """Row by row, from left to right."""
        return (Tile(row, column) for row in self.rows for column in self.columns)


def plan_grid(height: int, width: int, tile: int, overlap: int, *, multiple: int = 1, minimum: int = 1) -> Grid:
    """Tiles that cover a picture.

    All tiles have the same size, unless the picture is smaller. Each starts at a multiple of ``multiple``, so that a
    network that halves the size sees the same grid in every tile. Neighbours share ``overlap`` pixels or a little more:
    three eighths of them at each side are thrown away, as a network sees the tile's edge there, and the quarter in the
    middle is blended.

    Args:
        height: of the picture.
        width: of the picture.
        tile: height and width of a tile; rounded up to the multiple.
        overlap: pixels that neighbours share; rounded up to the multiple.
        multiple: tile sizes and positions are multiples of it.
        minimum: the smallest size of a tile, itself a multiple.

    Raises:
        ValueError: the overlap leaves nothing of the tile.
    """
    size = max(up_to(tile, multiple), minimum)
    shared = up_to(overlap, multiple)
    if overlap < 0 or shared >= size:
        least = up_to(shared + 1, multiple)
        raise ValueError(
            f"--overlap {overlap}: with tiles of {size} pixels and a step of {multiple} neighbours would share "
            f"{shared}; give --tile {least} or more, or a smaller overlap"
        )
    rows, columns = (_spans(length, size, shared, multiple, minimum) for length in (height, width))
    return Grid(height, width, rows, columns)


def up_to(size: int, multiple: int) -> int:
    """The next multiple, upwards."""
    return -(-size // multiple) * multiple


def _spans(length: int, size: int, shared: int, multiple: int, minimum: int) -> tuple[Span, ...]:
    if length <= size:
        return (Span(0, max(up_to(length, multiple), minimum), 0, length),)
    padded, step = up_to(length, multiple), size - shared
    count = -(-(padded - shared) // step)
    # Spread evenly, so that all neighbours share about the same.
    starts = [number * (padded - size) // (count - 1) // multiple * multiple for number in range(count)]
    # Where more than two tiles share a pixel, the ramps between them follow one another.
    steps = [after - before for before, after in pairwise(starts)]
    spans = []
    for number, start in enumerate(starts):
        cut_in, ramp_in = _edge(size - steps[number - 1], min(steps)) if number else (0, 0)
        cut_out, ramp_out = _edge(size - steps[number], min(steps)) if number + 1 < count else (0, 0)
        spans.append(Span(start, size, start + cut_in, min(start + size - cut_out, length), ramp_in, ramp_out))
    return tuple(spans)


def _edge(shared: int, longest: int) -> tuple[int, int]:
    """Of an overlap: how much is thrown away at each tile's edge, and how long the ramp is, at most ``longest``."""
    cut = max(3 * shared // 8, (shared - longest + 1) // 2)
    return cut, shared - 2 * cut


def reflected(start: int, size: int, length: int) -> NDArray[np.intp]:
    """Which pixels of an axis of ``length`` stand at ``start`` ... ``start + size - 1`` of the reflected axis.

    The axis goes on as its mirror image, without repeating the pixel at the edge, as often as needed: of 3 pixels
    0 1 2 1 0 1 2 ...; of a single pixel only that one.
    """
    places = np.arange(start, start + size)
    if length == 1:
        return np.zeros(size, np.intp)
    places = places % (2 * length - 2)
    return np.where(places < length, places, 2 * length - 2 - places).astype(np.intp)


def cut_tile(picture: NDArray[Any], tile: Tile) -> NDArray[Any]:
    """What a tile reads of ``[H, W, C]``, reflected beyond its edges: ``[rows.size, columns.size, C]``."""
    height, width = picture.shape[:2]
    rows, columns = tile.rows, tile.columns
    if rows.start + rows.size <= height and columns.start + columns.size <= width:
        return picture[rows.start : rows.start + rows.size, columns.start : columns.start + columns.size]
    chosen = picture[reflected(rows.start, rows.size, height)]
    return chosen[:, reflected(columns.start, columns.size, width)]


def join_rows(grid: Grid, tiles: Iterator[NDArray[np.float32]]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The blended picture from top to bottom, in strips as soon as their rows are complete.

    Args:
        grid: the tiles' places.
        tiles: ``[C, rows.size, columns.size]`` of every tile, in the grid's order.

    Yields:
        first row of a strip, and the strip ``[C, rows, W]``; together they are the whole picture. Memory: two rows of
        tiles.
    """
    done = 0
    waiting: NDArray[np.float32] | None = None
    for number, row in enumerate(grid.rows):
        top = grid.rows[number + 1].kept_from if number + 1 < len(grid.rows) else grid.height
        strip: NDArray[np.float32] | None = None
        for column in grid.columns:
            values = next(tiles)
            if strip is None:
                strip = np.zeros((values.shape[0], row.kept_to - done, grid.width), np.float32)
                if waiting is not None:
                    strip[:, : waiting.shape[1]] = waiting
            weights = Tile(row, column).weights()
            kept = values[:, row.inside, column.inside]
            strip[:, row.kept_from - done : row.kept_to - done, column.kept] += kept * weights
        assert strip is not None
        yield done, strip[:, : top - done]
        waiting, done = strip[:, top - done :], top


def tile_picture(picture: NDArray[Any], grid: Grid) -> Iterator[NDArray[Any]]:
    """What each tile of ``[H, W, C]`` reads, in the grid's order."""
    return (cut_tile(picture, tile) for tile in grid)

"""Put tiles, or what a model made of them, together to the large pictures that make_tiles.py cut.

Usage:
    python scripts/translate.py --name run tiles/A --output translated
    python datasets/join_tiles.py tiles/tiles.csv --tiles translated --out joined
Overlaps are blended; a picture of the size of its source gets its georeference. What make_tiles.py left out is missing
(``--fill``).
"""

from __future__ import annotations

import csv
import logging
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from options.parse import parse_record
from options.schema import OptionRecord, arg
from util.exit_code import EXIT_DONE, EXIT_FAILED, report_error, run_command
from util.images.io import IMAGE_SUFFIXES, Geo, Picture, read_header, read_image, save_array, written_path
from util.images.tiles import Grid, Tile, join_rows, plan_grid
from util.wording import counted

logger = logging.getLogger("join_tiles")

_NUMBERS = ("x", "y", "width", "height", "source_width", "source_height", "size", "overlap")


@dataclass(frozen=True, kw_only=True)
class JoinOptions(OptionRecord):
    """What is put together, and how."""

    table: Path = arg(Path(), positional=True, help="tiles.csv that make_tiles.py wrote")
    tiles: Path | None = arg(
        None, metavar="DIR", help="folder of the results, named as the tiles of side A (default: the tiles themselves)"
    )
    side: str = arg("A", choices=("A", "B"), help="without --tiles: which side's tiles")
    visual: str = arg("", help="of a result folder of test.py: which picture of each tile, e.g. fake_B")
    out: Path = arg(Path(), required=True, metavar="DIR", help="folder of the joined pictures")
    labels: bool = arg(False, help="the numbers are labels: nothing is blended, the later tile wins in an overlap")
    fill: float | None = arg(
        None, help="number where there is no tile (default: the nodata of the tiles, else 0); named as nodata in a TIFF"
    )
    overwrite: bool = arg(False, help="replace pictures that are in --out")


def read_rows(table: Path) -> dict[str, list[dict[str, str]]]:
    """Picture -> the rows of its tiles.

    Raises:
        FileNotFoundError, ValueError: there is no such table, or it is not of make_tiles.py.
    """
    if not table.is_file():
        raise FileNotFoundError(f"{table}: there is no such file; give the tiles.csv that make_tiles.py wrote")
    with open(table, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = {"A", "group", *_NUMBERS} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{table}: is no table of make_tiles.py, as it lacks {', '.join(sorted(missing))}")
        found: dict[str, list[dict[str, str]]] = defaultdict(list)
        for row in reader:
            if not all(row[name].isdecimal() for name in _NUMBERS):
                raise ValueError(f"{table} line {reader.line_num}: {', '.join(_NUMBERS)} must be whole numbers")
            found[row["group"]].append(row)
    if not found:
        raise ValueError(f"{table}: the table has no rows")
    return found


def find_tile(row: Mapping[str, str], options: JoinOptions) -> Path | None:
    """The file of a tile, or of what was made of it; None if there is none.

    Results lie in ``--tiles`` under the name of the tile, with or without the folders above it.
    """
    own = Path(row[options.side])
    if options.tiles is None:
        file = options.table.parent / own
        return file if file.is_file() else None
    ending = f"_{options.visual}" if options.visual else ""
    parts = own.with_suffix("").parts
    for first in range(len(parts)):
        stem = options.tiles.joinpath(*parts[first:])
        for suffix in (".tif", *IMAGE_SUFFIXES):  # test.py shows a PNG beside a TIFF, which holds the values
            file = stem.with_name(stem.name + ending + suffix)
            if file.is_file():
                return file
    return None


def join(rows: Sequence[Mapping[str, str]], options: JoinOptions) -> tuple[NDArray[np.generic], Picture, int]:
    """The joined picture ``[H, W, C]``, its first tile, and how many tiles of the grid are missing.

    Raises:
        FileNotFoundError: there is no file of a row.
        ValueError: a tile cannot be read, or differs from the others.
    """
    number = {name: int(rows[0][name]) for name in _NUMBERS}
    grid = plan_grid(number["source_height"], number["source_width"], number["size"], number["overlap"])
    places = {(int(row["y"]), int(row["x"])): row for row in rows}
    unknown = places.keys() - {(tile.rows.start, tile.columns.start) for tile in grid}
    if unknown:
        y, x = min(unknown)
        raise ValueError(f"{options.table}: a tile of {rows[0]['group']} at x {x}, y {y} is not on the grid of its row")
    first = _read(rows[0], options)
    tiles = _Tiles(grid, places, first, options)
    array, dtype = np.zeros((grid.height, grid.width, first.array.shape[2]), first.array.dtype), first.array.dtype
    if options.labels:
        for tile, values in zip(grid, tiles.arrays()):
            if values is not None:
                array[tile.rows.kept, tile.columns.kept] = values[tile.rows.inside, tile.columns.inside]
        covered = tiles.covered()
    else:
        covered = tiles.covered()
        for top, strip in join_rows(grid, tiles.floats()):
            weights = covered[top : top + strip.shape[1], :, None]
            values = strip.transpose(1, 2, 0) / np.maximum(weights, 1e-6)
            if tiles.gap is not None:
                values = np.where(np.isnan(values), tiles.gap, values)
            array[top : top + strip.shape[1]] = (values if dtype.kind == "f" else np.rint(values)).astype(dtype)
    gaps = covered < 1e-3
    if gaps.any():
        array[gaps] = _fill(options, first)
    return array, first, len(grid) - len(places)


def _fill(options: JoinOptions, first: Picture) -> float:
    if options.fill is not None:
        return options.fill
    return first.nodata if first.nodata is not None else 0.0


class _Tiles:
    """The tiles of a grid, read one after the other."""

    def __init__(
        self, grid: Grid, places: Mapping[tuple[int, int], Mapping[str, str]], first: Picture, options: JoinOptions
    ) -> None:
        self._grid, self._places, self._first, self._options = grid, places, first, options
        nodata = first.nodata
        self.gap = None if nodata is None or np.isnan(nodata) else nodata  # is NaN while tiles are blended

    def arrays(self) -> Iterator[NDArray[Any] | None]:
        """``[h, w, C]`` of each tile in the grid's order, None where there is none."""
        for tile in self._grid:
            row = self._row(tile)
            yield None if row is None else self._checked(tile, row)

    def floats(self) -> Iterator[NDArray[np.float32]]:
        """``[C, h, w]`` of each tile, 0 where there is none."""
        for tile, array in zip(self._grid, self.arrays()):
            if array is None:
                array = np.zeros((tile.rows.size, tile.columns.size, self._first.array.shape[2]), np.float32)
            values = array.astype(np.float32)
            if self.gap is not None:
                values[array == self.gap] = np.nan
            yield values.transpose(2, 0, 1)

    def covered(self) -> NDArray[np.float32]:
        """``[H, W]``: the sum of the weights of the tiles that are there; 1 where none is missing."""
        found = np.zeros((self._grid.height, self._grid.width), np.float32)
        for tile in self._grid:
            if self._row(tile) is not None:
                found[tile.rows.kept, tile.columns.kept] += tile.weights()
        return found

    def _row(self, tile: Tile) -> Mapping[str, str] | None:
        return self._places.get((tile.rows.start, tile.columns.start))

    def _checked(self, tile: Tile, row: Mapping[str, str]) -> NDArray[np.generic]:
        picture = _read(row, self._options)
        wanted = (tile.rows.size, tile.columns.size, self._first.array.shape[2])
        if picture.array.shape != wanted or picture.array.dtype != self._first.array.dtype:
            shapes = ["x".join(map(str, shape)) for shape in (picture.array.shape, wanted)]
            raise ValueError(
                f"{find_tile(row, self._options)}: is {shapes[0]} {picture.array.dtype}, but the tiles before it are "
                f"{shapes[1]} {self._first.array.dtype} (height x width x channels): translate tiles at their own size "
                "(scripts/translate.py; test.py with --preprocess none)"
            )
        return picture.array


def _read(row: Mapping[str, str], options: JoinOptions) -> Picture:
    file = find_tile(row, options)
    if file is None:
        place = f"--tiles {options.tiles}" if options.tiles else str(options.table)
        visual = f" (with --visual {options.visual})" if options.visual else ""
        raise FileNotFoundError(f"{place}: there is nothing of the tile {row[options.side]}{visual}")
    return read_image(file, alpha="keep", palette="indices" if options.labels else "colours", allow_nonfinite=True)


def _geo_of(row: Mapping[str, str], size: tuple[int, int]) -> Geo | None:
    """The georeference of the source, if it is still where it was."""
    for side in "AB":
        source = Path(row.get(f"source_{side}") or "")
        if source.suffix.lower() in (".tif", ".tiff") and source.is_file():
            geo = read_header(source).geo
            if geo is not None and geo.size == size:
                return geo
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Join; returns the exit code: 1 if a picture could not be made."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return run_command("join_tiles.py", argv, _run)


def _run(words: list[str]) -> int:
    options = parse_record("datasets/join_tiles.py", JoinOptions, words, __doc__)
    scenes = read_rows(options.table)
    if options.tiles is not None and not options.tiles.is_dir():
        raise FileNotFoundError(f"--tiles {options.tiles}: there is no such folder")
    errors: list[Exception] = []
    for name, rows in tqdm(scenes.items(), unit="picture", disable=None):
        try:
            _write(name, rows, options)
        except (ValueError, FileNotFoundError, FileExistsError) as error:
            if len(scenes) == 1:
                raise
            errors.append(error)
    for each in errors:
        report_error("join_tiles.py", each)
    return EXIT_FAILED if errors else EXIT_DONE


def _write(name: str, rows: Sequence[Mapping[str, str]], options: JoinOptions) -> None:
    wanted = options.out / f"{name}.png"
    there = [file for file in (wanted, wanted.with_suffix(".tif")) if file.exists()]
    if there and not options.overwrite:
        raise FileExistsError(f"{there[0]}: exists already; give --overwrite, or another --out")
    array, first, missing = join(rows, options)
    geo = _geo_of(rows[0], (array.shape[1], array.shape[0]))
    nodata = first.nodata if options.fill is None else options.fill
    wanted.parent.mkdir(parents=True, exist_ok=True)
    file = written_path(wanted, array.shape[2], first.format, alpha=first.alpha)
    if geo is not None or nodata is not None:
        file = file.with_suffix(".tif")
    written = save_array(file, array, alpha=first.alpha, geo=geo, nodata=nodata)
    note = f", {counted(missing, 'tile')} left out" if missing else ""
    joined = counted(len(rows), "tile")
    logger.info("%s: %s, %dx%d pixels%s", written, joined, array.shape[1], array.shape[0], note)


if __name__ == "__main__":
    sys.exit(main())

"""Cut large pictures into tiles for a training: orthophotos, satellite scenes, slides; one side, or pairs on one grid.

Usage:
    python datasets/make_tiles.py --A scenes/optical --B scenes/thermal --out tiles --size 256 --overlap 32
    python train.py --dataroot tiles --dataset_mode table --name run
Values, depth, bands and georeference stay. ``tiles.csv`` says where each tile lies; all tiles of a picture are in one
phase.
"""

from __future__ import annotations

import csv
import io
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import hashlib

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from datasets.pairs import appearing_whole, require_folder
from options.base_options import is_number
from options.parse import parse_record
from options.schema import OptionError, OptionRecord, arg
from util.background import BackgroundWriter
from util.exit_code import EXIT_DONE, EXIT_FAILED, report_error, run_command
from util.files import replace_text
from util.images.folder import scan, stem
from util.images.io import Geo, read_header, read_image, save_array
from util.images.slides import SLIDE_SUFFIXES, Slide
from util.images.tiles import Tile, plan_grid
from util.wording import counted

COLUMNS = (
    *("A", "B", "phase", "group", "source_A", "source_B"),
    *("x", "y", "width", "height", "source_width", "source_height", "size", "overlap"),
)
TABLE = "tiles.csv"
_WHITE = 230  # 8-bit values from which on a slide's background is empty

logger = logging.getLogger("make_tiles")


@dataclass(frozen=True, kw_only=True)
class TileOptions(OptionRecord):
    """What is cut, and how."""

    A: Path = arg(Path(), required=True, metavar="DIR|FILE", help="pictures of side A")
    B: Path | None = arg(None, metavar="DIR", help="pictures of side B, of the names and sizes of those of A")
    out: Path = arg(Path(), required=True, metavar="DIR", help="new folder of the tiles")
    size: int = arg(256, minimum=16, help="height and width of a tile (pixels)")
    overlap: int = arg(0, minimum=0, help="pixels that neighbours share")
    skip_empty: float = arg(
        1.0, minimum=0.0, maximum=1.0, help="leave out tiles of which this share or more is --empty; 0 keeps all"
    )
    empty: str = arg(
        "nodata",
        metavar="nodata|black|white|VALUE",
        help=f"what is empty: what the file marks as missing (NaN too), 0, values of {_WHITE} or more, or a number",
    )
    test_share: float = arg(0.0, minimum=0.0, maximum=0.9, help="share of the pictures that becomes the phase test")
    test_area: tuple[int, ...] = arg(
        (),
        metavar="X0,Y0,X1,Y1",
        help="of a single picture: tiles inside this rectangle (pixels) are the phase test, those across its edge are "
        "left out",
    )
    seed: int = arg(0, minimum=0, help="decides which pictures become the phase test")
    level: int = arg(0, minimum=0, help="of whole-slide files: which level; 0 is the full resolution")

    def __post_init__(self) -> None:
        if self.test_area and (len(self.test_area) != 4 or not _is_area(self.test_area)):
            shown = ",".join(map(str, self.test_area))
            raise OptionError(f"--test_area {shown}: give four numbers X0,Y0,X1,Y1 with X0 < X1 and Y0 < Y1")
        if self.test_area and self.test_share:
            raise OptionError(
                f"--test_share {self.test_share:g}: --test_area says already what is tested; leave one out"
            )
        if self.empty not in ("nodata", "black", "white") and not is_number(self.empty):
            raise OptionError(f"--empty {self.empty}: give nodata, black, white, or a number")


def _is_area(area: Sequence[int]) -> bool:
    return 0 <= area[0] < area[2] and 0 <= area[1] < area[3]


class Scene:
    """A picture to cut: read whole, or, of a slide, tile by tile.

    Raises:
        ValueError, FileNotFoundError: it cannot be read.
    """

    def __init__(self, path: Path, level: int) -> None:
        self.path = path
        self._slide = Slide(path, level) if path.suffix.lower() in SLIDE_SUFFIXES else None
        self._array: NDArray[np.generic] | None = None
        self.alpha = False
        self.geo: Geo | None = None
        self.nodata: float | None = None
        if self._slide is not None:
            self.width, self.height = self._slide.width, self._slide.height
            return
        picture = read_image(path, alpha="keep", allow_nonfinite=True)
        self._array, self.alpha, self.nodata = picture.array, picture.alpha, picture.nodata
        self.geo = read_header(path).geo if path.suffix.lower() in (".tif", ".tiff") else None
        self.height, self.width = picture.array.shape[:2]

    def cut(self, x: int, y: int, width: int, height: int) -> NDArray[np.generic]:
        """``[height, width, C]`` in the numbers of the file."""
        if self._slide is not None:
            return self._slide.read(x, y, width, height)
        assert self._array is not None
        return self._array[y : y + height, x : x + width]

    def close(self) -> None:
        if self._slide is not None:
            self._slide.close()


def empty_share(array: NDArray[Any], empty: str, nodata: float | None) -> float:
    """Share of the pixels of ``[H, W, C]`` that are empty in all channels.

    Args:
        array: numbers of the file.
        empty: ``--empty``.
        nodata: the number that the file names for missing pixels.
    """
    if empty == "white":
        found: NDArray[np.bool_] = array >= _WHITE
    elif empty == "nodata":
        found = np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)
        if nodata is not None and not np.isnan(nodata):
            found = found | (array == nodata)
    else:
        found = array == (0 if empty == "black" else float(empty))
    return float(found.all(2).mean())


def phase_of(name: str, options: TileOptions) -> str:
    """``test`` for a share of the names, by the seed and the name alone."""
    digest = hashlib.sha256(f"{options.seed}/{name}".encode()).digest()
    return "test" if int.from_bytes(digest[:8], "big") < options.test_share * 2**64 else "train"


def phase_at(tile: Tile, area: Sequence[int]) -> str:
    """``test`` inside the area, ``train`` outside, empty across its edge."""
    x0, y0, x1, y1 = area
    left, top = tile.columns.start, tile.rows.start
    right, bottom = left + tile.columns.size, top + tile.rows.size
    if x0 <= left and right <= x1 and y0 <= top and bottom <= y1:
        return "test"
    return "train" if right <= x0 or x1 <= left or bottom <= y0 or y1 <= top else ""


def find_scenes(options: TileOptions) -> dict[str, tuple[Path, ...]]:
    """Name -> the file of A, or those of A and B.

    Raises:
        FileNotFoundError: a folder is missing or empty.
        ValueError: A and B do not have the same names.
    """
    sides = [_files("--A", options.A), *([_files("--B", options.B)] if options.B else [])]
    for number, (flag, other) in enumerate((("--A", "--B"), ("--B", "--A"))[: 2 * (len(sides) - 1)]):
        alone = sorted(sides[number].keys() - sides[1 - number].keys())
        if alone:
            raise ValueError(
                f"{flag}: no partner of the same name in {other} for {counted(len(alone), 'picture')}, e.g. "
                f"{alone[0]}; rename or remove them"
            )
    return {name: tuple(side[name] for side in sides) for name in sides[0]}


def _files(flag: str, place: Path) -> dict[str, Path]:
    if place.is_file():
        return {place.stem: place}
    require_folder(flag, place)
    slides = [str(file) for file in sorted(place.rglob("*")) if file.suffix.lower() in SLIDE_SUFFIXES]
    found: dict[str, Path] = {}
    for path in [*scan(place), *slides]:
        name = stem(path, place)
        if name in found:
            raise ValueError(
                f"{flag}: {found[name]} and {path} have the same name but for the suffix: keep one of them"
            )
        found[name] = Path(path)
    if not found:
        raise FileNotFoundError(f"{flag} {place}: no pictures found")
    return found


@dataclass
class _Result:
    rows: list[dict[str, object]] = field(default_factory=list)
    empty: int = 0
    across: int = 0  # the edge of the test area
    errors: list[Exception] = field(default_factory=list)
    small: list[str] = field(default_factory=list)


def cut_scene(
    name: str,
    paths: Sequence[Path],
    phase: str,
    options: TileOptions,
    out: Path,
    writer: BackgroundWriter,
    found: _Result,
) -> None:
    """Write the tiles of one picture, or of a pair, and note them in ``found``.

    Raises:
        ValueError: it cannot be read, or the sizes of the pair differ.
    """
    scenes = [Scene(path, options.level) for path in paths]
    first = scenes[0]
    for other in scenes[1:]:
        if (first.width, first.height) != (other.width, other.height):
            raise ValueError(
                f"{other.path}: {other.width}x{other.height} pixels, but {first.path} {first.width}x{first.height}: "
                "bring both onto one grid first (gdalwarp, or datasets/combine_A_and_B.py --resize)"
            )
    grid = plan_grid(first.height, first.width, options.size, options.overlap)
    if min(first.width, first.height) < options.size:
        found.small.append(name)
    for tile in grid:
        x, y, width, height = tile.columns.start, tile.rows.start, tile.columns.size, tile.rows.size
        own_phase = phase_at(tile, options.test_area) if options.test_area else phase
        if not own_phase:
            found.across += 1
            continue
        parts = [scene.cut(x, y, width, height) for scene in scenes]
        shares = [empty_share(part, options.empty, scene.nodata) for part, scene in zip(parts, scenes)]
        if options.skip_empty and max(shares) >= options.skip_empty:
            found.empty += 1
            continue
        row: dict[str, object] = {"phase": own_phase, "group": name}
        for side, scene, part in zip("AB", scenes, parts):
            file = out / side / f"{name}_y{y:05d}_x{x:05d}.png"
            geo = scene.geo.cut(x, y, width, height) if scene.geo else None
            written = _target(file, part, geo is not None or scene.nodata is not None)
            written.parent.mkdir(parents=True, exist_ok=True)
            how = {"alpha": scene.alpha, "geo": geo, "nodata": scene.nodata}
            writer.submit(save_array, written, np.ascontiguousarray(part), **how)
            row |= {side: written.relative_to(out).as_posix(), f"source_{side}": scene.path.as_posix()}
        row |= {"x": x, "y": y, "width": width, "height": height, "size": options.size, "overlap": options.overlap}
        found.rows.append({**row, "source_width": first.width, "source_height": first.height})
    for scene in scenes:
        scene.close()


def _target(file: Path, part: NDArray[np.generic], tiff: bool) -> Path:
    """PNG where it can hold the tile as it is, else TIFF."""
    fits = part.dtype in (np.uint8, np.uint16) and part.shape[2] in (1, 2, 3)
    return file if fits and not tiff else file.with_suffix(".tif")


def _csv(rows: Sequence[dict[str, object]]) -> Iterator[str]:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    yield text.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    """Cut; returns the exit code: 1 if a picture could not be read."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return run_command("make_tiles.py", argv, _run)


def _run(words: list[str]) -> int:
    options = parse_record("datasets/make_tiles.py", TileOptions, words, __doc__)
    scenes = find_scenes(options)
    if options.overlap >= options.size:
        raise ValueError(f"--overlap {options.overlap}: must be smaller than --size {options.size}")
    if options.test_area and len(scenes) > 1:
        raise ValueError("--test_area: it is for a single picture; of several, --test_share keeps each in one phase")
    if options.test_share and len(scenes) == 1:
        raise ValueError(
            f"--test_share {options.test_share:g}: there is one picture only, and neighbouring tiles are alike; "
            "give --test_area X0,Y0,X1,Y1"
        )
    if options.out.exists():
        raise FileExistsError(f"--out {options.out}: exists already; name a new folder")
    found = _Result()
    with appearing_whole(options.out) as draft:
        with BackgroundWriter() as writer:
            for name, paths in tqdm(scenes.items(), unit="picture", disable=None):
                try:
                    cut_scene(name, paths, phase_of(name, options), options, draft, writer, found)
                except ValueError as error:
                    found.errors.append(error)
        if not found.rows:
            if found.errors:
                raise found.errors[0]
            tiles = counted(found.empty, "tile")
            raise ValueError(
                f"--skip_empty {options.skip_empty:g}: nothing is left of {tiles}, empty by --empty {options.empty}"
            )
        replace_text(draft / TABLE, _csv(found.rows))
    for each in found.errors:
        report_error("make_tiles.py", each)
    phases = {phase: sum(row["phase"] == phase for row in found.rows) for phase in ("train", "test")}
    notes = [f"{number} {phase}" for phase, number in phases.items() if number]
    notes += [f"{found.empty} empty left out"] if found.empty else []
    notes += [f"{found.across} across the edge of the test area left out"] if found.across else []
    notes += [f"{counted(len(found.errors), 'picture')} could not be read"] if found.errors else []
    logger.info("%s (%s): %s", counted(len(found.rows), "tile"), ", ".join(notes), options.out / TABLE)
    if found.small:
        logger.warning(
            "warning: one smaller tile each of %s below --size %d, e.g. %s",
            *(counted(len(found.small), "picture"), options.size, found.small[0]),
        )
    return EXIT_FAILED if found.errors else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())

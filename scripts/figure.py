"""The qualitative grid of a paper: input, results of several runs, target; crops enlarged; metrics as a LaTeX table.

Usage:
    python scripts/figure.py facades_pix2pix facades_atme --num_images 4
    python scripts/figure.py pix2pix atme --names pix2pix "ATME (ours)" --images 12 47 \\
        --crops 60,40,48,48 47:120,80,48,48 --output paper/qualitative --table
The pictures are those that test.py wrote, the numbers those of scripts/evaluate.py.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

from options.parse import parse_record
from options.schema import OptionRecord, arg
from util.exit_code import EXIT_DONE, run_command
from util.files import replace_text
from util.pages.comparison import ComparedRun, choose_numbers, compare_numbers, doubts
from util.pages.comparison_folder import Pictures, common_stems, find_pictures, read_compared
from util.pages.figure_grid import FORMATS, Box, FigureGrid, load_pixels
from util.pages.html import shown_of
from util.pages.latex import latex_table
from util.registry import unknown
from util.run.folder import check_name, check_writable, make_folder
from util.wording import counted

_CROP = re.compile(r"(?:(?P<image>.+):)?(?P<box>\d+,\d+,\d+,\d+)")
_MOST_CROPS = 4


@dataclass(frozen=True, kw_only=True)
class FigureOptions(OptionRecord):
    """Which pictures, and how they are laid out."""

    runs: tuple[str, ...] = arg((), positional=True, several=True, metavar="RUN", help="names of the runs: the columns")
    images: tuple[str, ...] = arg(
        (), several=True, metavar="NAME", help="names of the test images: the rows (default: the first --num_images)"
    )
    num_images: int = arg(4, minimum=0, help="rows, where --images does not name them; 0 = no grid, the table alone")
    columns: tuple[str, ...] = arg(
        ("input", "results", "target"), help="what is shown, in this order: input, results, target"
    )
    names: tuple[str, ...] = arg(
        (),
        several=True,
        metavar="NAME",
        help="what the runs are called in the figure and the table (default: their names)",
    )
    captions: tuple[str, ...] = arg(
        (), several=True, metavar="TEXT", help="texts above all columns (default: Input, --names, Target)"
    )
    labels: tuple[str, ...] = arg((), several=True, metavar="TEXT", help="texts beside the rows (default: none)")
    crops: tuple[str, ...] = arg(
        (),
        several=True,
        metavar="[IMAGE:]X,Y,W,H",
        help="pieces to enlarge, in pixels of the input; of one image, with its name before a colon",
    )
    beside: bool = arg(False, help="the enlarged pieces stand beside each picture, not below it")
    width: float = arg(7.0, minimum=1.0, maximum=40.0, help="of the figure in inches: a page 7, a column 3.4")
    font_size: float = arg(8.0, minimum=3.0, maximum=40.0, help="of the texts in points")
    table: bool = arg(False, help="also write the metrics of the runs as a LaTeX table")
    metrics: tuple[str, ...] = arg((), help="columns of the table, e.g. kid,psnr (default: all that were measured)")
    spread: bool = arg(False, help="the table has the spread of each number, too")
    table_caption: str = arg("", help="caption of the table")
    folder: str = arg("test_latest", help="result folder of every run: <phase>_<epoch>")
    domain: str = arg("B", choices=("A", "B"), help="which outputs: fake_B or fake_A")
    checkpoints_dir: Path = arg(Path("checkpoints"), metavar="DIR", help="folder of all runs")
    results_dir: Path = arg(Path("results"), metavar="DIR", help="folder of all results")
    output: Path = arg(Path("results/figure"), metavar="FILE", help="the figure, without or with one of the endings")
    formats: tuple[str, ...] = arg(("pdf", "png"), help="files to write where --output has no ending: pdf, png, svg")


def main(argv: Sequence[str] | None = None) -> int:
    """Draw; returns 0 done, 1 failed, 2 bad input, 130 stopped by Ctrl-C."""
    return run_command("figure.py", argv, _run)


def _run(words: list[str]) -> int:
    o = parse_record("scripts/figure.py", FigureOptions, words, __doc__)
    for place, name in enumerate(o.runs):
        check_name(name)
        if name in o.runs[:place]:
            raise ValueError(f"{name}: given twice; name every run once")
    files = _files(o) if o.images or o.num_images else []
    if not files and not o.table:
        raise ValueError("--num_images 0: there is nothing to draw; give --table for the metrics alone")
    check_writable(o.output, f"--output {o.output}")
    figure = _figure(o) if files else None
    table = _table(o) if o.table else ""
    make_folder(o.output.parent, f"--output {o.output}")
    for file in files:
        assert figure is not None
        figure.save(file)
    if table:
        files.append(_base(o).with_name(_base(o).name + ".tex"))
        replace_text(files[-1], [table])
    print(f"written: {', '.join(map(str, files))}")
    return EXIT_DONE


def _base(o: FigureOptions) -> Path:
    """``--output`` without one of our endings; a dot within its name is none."""
    known = {f".{kind}" for kind in (*FORMATS, "tex")}
    return o.output.with_suffix("") if o.output.suffix.lower() in known else o.output


def _files(o: FigureOptions) -> list[Path]:
    ending = o.output.suffix.lower().removeprefix(".")
    kinds = (ending,) if ending in FORMATS else o.formats
    for kind in kinds:
        if kind not in FORMATS:
            raise ValueError(f"--formats {kind}: {unknown('format', kind, FORMATS)}")
    if not kinds or o.output.is_dir():
        raise ValueError(f"--output {o.output}: name a file, e.g. results/figure.pdf")
    files = [_base(o).with_name(f"{_base(o).name}.{kind}") for kind in kinds]
    for file in files:
        if file.is_dir():
            raise ValueError(f"--output {o.output}: {file} is a folder; give another name")
    return files


# --- the grid ---------------------------------------------------------------------------------------------------------


def _figure(o: FigureOptions) -> FigureGrid:
    pictures = [find_pictures(n, o.checkpoints_dir, o.results_dir, o.folder, o.domain, "run") for n in o.runs]
    stems = _stems(o, pictures)
    names = _column_names(o, pictures, stems)
    called = dict(zip(o.runs, o.names or o.runs))
    _check_count("--names", o.names or o.runs, len(o.runs), "run")
    captions = o.captions or tuple(called[n] if kind == "fake" else n.capitalize() for kind, n in names)
    _check_count("--captions", captions, len(names), "column")
    _check_count("--labels", o.labels or stems, len(stems), "row")
    crops = _crops(o, stems)
    rows, boxes = [], []
    for stem in stems:
        files = [_file(o, pictures, stem, kind, name) for kind, name in names]
        row = [None if file is None else load_pixels(file) for file in files]
        first = next((each for each in row if each is not None), None)
        if first is None:
            raise ValueError(f"--columns {','.join(o.columns)}: there is no such picture of {stem}; add results")
        rows.append(row)
        boxes.append([_box(crop, stem, first.shape[1], first.shape[0]) for crop in crops.get(stem, crops.get("", []))])
    labels = o.labels or [""] * len(stems)
    return FigureGrid(captions, labels, rows, boxes, width=o.width, font_size=o.font_size, beside=o.beside)


def _check_count(flag: str, texts: Sequence[str], count: int, what: str) -> None:
    if len(texts) != count:
        given = f"{counted(len(texts), 'text')} for {counted(count, what)}"
        raise ValueError(f"{flag} {','.join(texts)}: {given}; give {count}")


def _stems(o: FigureOptions, pictures: Sequence[Pictures]) -> list[str]:
    common = common_stems(o.runs, pictures, o.folder, o.domain, "runs")
    for name in o.images:
        if name not in common:
            raise ValueError(f"--images {name}: {unknown('image', name, common)}")
    return list(o.images) or common[: o.num_images]


def _column_names(o: FigureOptions, pictures: Sequence[Pictures], stems: Sequence[str]) -> list[tuple[str, str]]:
    """(kind, name) of every column; a side that no run has is left out unless it was asked for."""
    found: list[tuple[str, str]] = []
    for column in o.columns:
        if column == "results":
            found += [("fake", name) for name in o.runs]
        elif column in ("input", "target"):
            if any(stem in each[column] for each in pictures for stem in stems):
                found.append((column, column))
        else:
            raise ValueError(f"--columns {column}: {unknown('column', column, ('input', 'results', 'target'))}")
    if not found:
        raise ValueError(f"--columns {','.join(o.columns)}: there are no such pictures; add results")
    return found


def _file(o: FigureOptions, pictures: Sequence[Pictures], stem: str, kind: str, name: str) -> Path | None:
    if kind == "fake":
        places = [o.runs.index(name)]
    else:
        places = [place for place, each in enumerate(pictures) if stem in each[kind]]
    if not places:
        return None
    file = pictures[places[0]][kind][stem]
    return shown_of(file, file.parents[len(Path(stem).parts) - 1])


def _crops(o: FigureOptions, stems: Sequence[str]) -> Mapping[str, list[tuple[int, ...]]]:
    """Image -> its pieces (left, top, width, height) in pixels; those of all other images are under an empty name."""
    found: dict[str, list[tuple[int, ...]]] = {}
    for crop in o.crops:
        match = _CROP.fullmatch(crop)
        if match is None:
            raise ValueError(f"--crops {crop}: write X,Y,W,H in pixels, e.g. 60,40,48,48, or IMAGE:X,Y,W,H")
        if match["image"] and match["image"] not in stems:
            raise ValueError(f"--crops {crop}: {unknown('image', match['image'], stems)}")
        found.setdefault(match["image"] or "", []).append(tuple(map(int, match["box"].split(","))))
    for pieces in found.values():
        if len(pieces) > _MOST_CROPS:
            raise ValueError(f"--crops: {len(pieces)} of one picture; give at most {_MOST_CROPS}")
    return found


def _box(crop: Sequence[int], stem: str, width: int, height: int) -> Box:
    left, top, wide, tall = crop
    if not wide or not tall or left + wide > width or top + tall > height:
        shown = ",".join(map(str, crop))
        raise ValueError(f"--crops {shown}: not within the picture {stem} of {width} x {height} pixels")
    return Box(left / width, top / height, wide / width, tall / height)


# --- the table --------------------------------------------------------------------------------------------------------


def _table(o: FigureOptions) -> str:
    runs = [read_compared(ComparedRun(name), o.checkpoints_dir, o.results_dir, o.folder) for name in o.runs]
    numbers = [column for column in compare_numbers(runs) if column.domain == o.domain]
    if not numbers:
        raise ValueError(
            f"--table: nothing was measured of fake_{o.domain} in {o.folder}; "
            f"measure by: python scripts/evaluate.py --name {o.runs[0]}"
        )
    numbers = choose_numbers(numbers, o.metrics)
    for doubt in doubts(numbers):
        print(f"figure.py: not comparable: {doubt}", file=sys.stderr)
    names = o.names or o.runs
    _check_count("--names", names, len(o.runs), "run")
    return latex_table(names, numbers, caption=o.table_caption, label="tab:metrics", spread=o.spread)


if __name__ == "__main__":
    sys.exit(main())

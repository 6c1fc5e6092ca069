"""Is ATME's W_t a Brownian motion? Statistics, charts and animations of the maps that training saved.

Usage:
    python scripts/atme_brownian.py --name facades_atme           true increments of the float maps
    python scripts/atme_brownian.py --name facades_atme --gif     and an animation of every image
    python scripts/atme_brownian.py --images DIR --reference      as the published notebook, on 8-bit pictures
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tqdm import tqdm

from models.atme.map_files import MapFolder, draw_pixels, find_maps, published_pixels, read_float_maps, read_pictures
from options.parse import parse_record
from options.schema import OptionRecord, arg
from scripts.brownian_page import sentences, table, write
from util.brownian import require_packages
from util.brownian_report import Analysis, ImageReport, TooFewEpochs, examine_maps, examine_pictures
from util.exit_code import EXIT_DONE, run_command
from util.images.folder import subfolders
from util.map_frames import float_frames, published_frames, save_gif
from util.registry import closest
from util.run.folder import check_name, check_writable, make_folder

PROGRAM = "atme_brownian.py"
MAPS = "images_noisy"


@dataclass(frozen=True, kw_only=True)
class BrownianOptions(OptionRecord):
    """Which maps are examined, and how."""

    name: str = arg("", help="name of a run that was trained with --n_save_noisy")
    checkpoints_dir: Path = arg(Path("checkpoints"), metavar="DIR", help="folder of all runs")
    images: Path | None = arg(None, metavar="DIR", help="folder of maps, instead of --name")
    ids: str = arg("all", help="numbers of the images to examine, e.g. 3,7")
    pixels: int = arg(5, help="random pixels per image")
    seed: int = arg(0, help="seed of the choice of pixels")
    alpha: float = arg(0.01, help="significance level of the tests")
    reference: bool = arg(False, help="calculate as the published notebook does")
    gif: bool = arg(False, help="make an animation of every image")
    output: Path | None = arg(None, metavar="DIR", help="folder of the results (default: results/<name>/brownian)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the analysis; returns 0 done, 1 failed, 2 bad input, 130 stopped by Ctrl-C."""
    return run_command(PROGRAM, argv, _run)


def analyse(
    maps: MapFolder,
    indices: Sequence[int],
    *,
    name: str,
    pixels: int = 5,
    seed: int = 0,
    alpha: float = 0.01,
    reference: bool = False,
    progress: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> Analysis:
    """Examine images one after the other; one with too few epochs is left out with a note.

    Args:
        maps: the folder.
        indices: of the images.
        name: for the headline.
        pixels: random ones of each image.
        seed: of their choice.
        alpha: level of the tests.
        reference: as the published notebook.
        progress: shows how far it is.

    Raises:
        ValueError: a file is spoilt, or no image has enough epochs.
    """
    examine = _published(maps, indices, pixels, seed, alpha) if reference else _increments(maps, pixels, seed, alpha)
    found: list[ImageReport] = []
    notes: list[str] = []
    for index in progress(indices):
        try:
            found.append(examine(index))
        except TooFewEpochs as error:
            notes.append(str(error))
    if not found:
        raise ValueError(f"{maps.path}: no image has enough epochs: {notes[0]}")
    notes = [f"{note}; left out" for note in notes]
    return Analysis(name, maps.path, reference, alpha, seed, pixels, found, maps.sources, notes)


def _increments(maps: MapFolder, pixels: int, seed: int, alpha: float) -> Callable[[int], ImageReport]:
    def examine(index: int) -> ImageReport:
        each = read_float_maps(maps, index)
        return examine_maps(each, draw_pixels(each.W.shape[1], each.W.shape[2], pixels, seed, index), alpha)

    return examine


def _published(
    maps: MapFolder, indices: Sequence[int], pixels: int, seed: int, alpha: float
) -> Callable[[int], ImageReport]:
    height, width = maps.smallest(indices)
    places = dict(zip(indices, published_pixels(height, width, len(indices), pixels, seed)))

    def examine(index: int) -> ImageReport:
        W, D = (read_pictures(maps, kind, index) for kind in "WD")
        return examine_pictures(index, W, D, places[index], alpha, published=maps.published)

    return examine


def _run(words: list[str]) -> int:
    args = parse_record(f"scripts/{PROGRAM}", BrownianOptions, words, __doc__)
    folder, name, flag = _source(args)
    if args.pixels < 1:
        raise ValueError(f"--pixels {args.pixels}: give 1 or more")
    if not 0 <= args.seed < 2**32:
        raise ValueError(f"--seed {args.seed}: give a number from 0 to {2**32 - 1}")
    if not 0 < args.alpha < 1:
        raise ValueError(f"--alpha {args.alpha}: give a number between 0 and 1, such as 0.01")
    output = args.output or Path("results") / name / ("brownian_reference" if args.reference else "brownian")
    check_writable(output, f"--output {output}")
    require_packages()
    maps = find_maps(folder, flag)
    indices = maps.choose(args.ids, pictures=args.reference)

    def bar(numbers: Sequence[int]) -> Iterable[int]:
        return tqdm(numbers, unit="image", disable=None)

    found = analyse(
        maps,
        indices,
        name=name,
        pixels=args.pixels,
        seed=args.seed,
        alpha=args.alpha,
        reference=args.reference,
        progress=bar,
    )
    make_folder(output / "images" if args.gif else output, f"--output {output}")
    gifs = {
        index: gif
        for index in (bar([each.index for each in found.images]) if args.gif else ())
        if (gif := _animate(maps, index, output / "images", reference=args.reference))
    }
    files = write(found, output, gifs)
    _print(found)
    for file in [*files[:1], *gifs.values()]:
        print(f"written: {file}")
    return EXIT_DONE


def _source(args: BrownianOptions) -> tuple[Path, str, str]:
    """The folder of the maps, the name of the run, and the flag that says so."""
    if bool(args.name) == bool(args.images):
        raise ValueError("give either --name RUN or --images DIR")
    if args.images:
        named = args.images.absolute()
        return args.images, (named.parent if named.name == MAPS else named).name, f"--images {args.images}"
    check_name(args.name)
    run = args.checkpoints_dir / args.name
    if not run.is_dir():
        near = closest(args.name, subfolders(args.checkpoints_dir))
        hint = f"did you mean {near}?" if near else "check --name and --checkpoints_dir"
        raise FileNotFoundError(f"--name {args.name}: there is no run {run}; {hint}")
    return run / MAPS, args.name, f"--name {args.name}"


def _animate(maps: MapFolder, index: int, folder: Path, *, reference: bool) -> Path | None:
    """Write the animation of an image; None where nothing can be shown."""
    if reference:
        frames = published_frames(read_pictures(maps, "D", index), read_pictures(maps, "W", index))
    else:
        frames = float_frames(read_float_maps(maps, index))
    if not frames:
        print(f"note: {maps.path} has no picture of D of image {index}: no animation of it")
        return None
    file = folder / f"DWdW_{index}.gif"
    save_gif(file, frames, loop=1 if reference else 0)
    return file


def _print(found: Analysis) -> None:
    rows = table(found)
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    print("\n".join(sentences(found)))
    for remark in found.remarks():
        print(f"note: {remark}")
    for caution in found.cautions():
        print(f"caution: {caution}")


if __name__ == "__main__":
    sys.exit(main())

"""Is ATME's W_t a Brownian motion? Statistics, charts and animations of the maps that training saved.

Usage:
    python scripts/atme_brownian.py --name facades_atme           true increments of the float maps
    python scripts/atme_brownian.py --name facades_atme --gif     and an animation of every image
    python scripts/atme_brownian.py --images DIR --reference      as the published notebook, on 8-bit pictures
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

import numpy as np
from dominate.dom_tag import dom_tag
from dominate.tags import a, div, h2, p
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from models.atme.brownian import (
    LJUNG_BOX_LAGS,
    LOG_2,
    Analysis,
    ImageReport,
    SeriesReport,
    TooFewEpochs,
    examine_maps,
    examine_pictures,
    mean_of_known,
    require_packages,
)
from models.atme.map_files import (
    FloatMaps,
    Floats,
    Grey,
    MapFolder,
    draw_pixels,
    find_maps,
    longest_run,
    published_increments,
    published_pixels,
    read_float_maps,
    read_pictures,
    stretch,
)
from options.parse import parse_record
from options.schema import OptionRecord, arg
from util.exit_code import EXIT_DONE, run_command
from util.files import replace_text
from util.images.folder import subfolders
from util.images.io import save_gif
from util.pages.charts import FORMATS, Chart, Points
from util.pages.html import bullets, image_row, page, warning, wide_table
from util.registry import closest
from util.run.folder import check_name, check_writable, make_folder
from util.wording import counted

PROGRAM = "atme_brownian.py"
MAPS = "images_noisy"
SHOWN = 5  # images that get a curve of their own
PANEL, PADDING, TOP, BOTTOM = 256, 10, 40, 50  # of a frame in pixels: each map, the room between, above and below


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
    format: str = arg("svg", choices=FORMATS, help="file format of the charts")
    output: Path | None = arg(None, metavar="DIR", help="folder of the results (default: results/<name>/brownian)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the analysis; returns 0 done, 1 failed, 2 bad input, 130 stopped by Ctrl-C."""
    return run_command(PROGRAM, argv, _run)


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
    written = write(found, output, gifs, args.format)
    rows = table(found)
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    print("\n".join(sentences(found)))
    for remark in found.remarks():
        print(f"note: {remark}")
    for caution in found.cautions():
        print(f"caution: {caution}")
    for file in [*written[:1], *gifs.values()]:
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
        ValueError: a file is damaged, or no image has enough epochs.
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


# --- the result as files ----------------------------------------------------------------------------------------------


def write(found: Analysis, output: Path, gifs: Mapping[int, Path], kind: str = "svg") -> list[Path]:
    """Write ``index.html``, ``brownian.json``, ``series.csv``, ``entropy.csv`` and the charts; returns the files.

    Args:
        found: the analysis.
        output: an existing folder.
        gifs: index of an image -> its animation, in ``<output>/images``.
        kind: of the charts' files: ``svg``, ``png`` or ``pdf``.

    Raises:
        OSError: a file cannot be written.
    """
    drawn = charts(found)
    texts = {
        "brownian.json": json.dumps(_as_json(found), indent=1, allow_nan=False) + "\n",
        "series.csv": _series_csv(found),
        "entropy.csv": _entropy_csv(found),
    }
    for name, text in texts.items():
        replace_text(output / name, [text])
    for name, chart in drawn.items():
        chart.save(output / f"{name}.{kind}")
    replace_text(output / "index.html", [_page(found, drawn, gifs, [*texts])])
    return [output / name for name in ("index.html", *texts, *(f"{name}.{kind}" for name in drawn))]


def table(found: Analysis) -> list[list[str]]:
    """The tests as rows of text, the head first."""
    rows = [["test", "hypothesis", "series", f"p < {found.alpha:g}", "after B-H", "Brownian motion gives"]]
    for each in found.counts:
        controlled = "-" if each.controlled is None else str(each.controlled)
        counts = [str(each.tested), str(each.rejected), controlled]
        rows.append([each.name, each.hypothesis, *counts, each.brownian])
    return rows


def sentences(found: Analysis) -> list[str]:
    """The numbers beside the tests, in words."""
    known = found.numbers()
    said: list[tuple[str, str]] = [
        ("acf_inside", "autocorrelations of dW inside the band: {:.3f} (Brownian motion: " + f"{1 - found.alpha:g})"),
        ("slope_all_pixels", "slope of the mean square over the lag, all pixels: {:.3f} (Brownian motion: 1)"),
        ("slope_median", "median slope of the single series: {:.3f} (Brownian motion: 1)"),
        ("adf_all_below_alpha", f"unit root rejected (p < {found.alpha:g}) in all series: {{}}"),
        ("shapiro_share_above_alpha", f"series with Shapiro-Wilk p > {found.alpha:g}: {{:.2f}}"),
        ("entropy_last", f"entropy of D in the last epoch: {{:.4f}} (equilibrium: log 2 = {LOG_2:.4f})"),
    ]
    return [words.format(known[key]) for key, words in said if known.get(key) is not None]


def _as_json(found: Analysis) -> dict[str, Any]:
    images = [{**asdict(image), "source": found.sources.get(image.index)} for image in found.images]
    return {
        "mode": "reference" if found.reference else "increments",
        "name": found.name,
        "folder": str(found.folder),
        "alpha": found.alpha,
        "seed": found.seed,
        "pixels": found.pixels,
        "numbers": found.numbers(),
        "tests": [asdict(each) for each in found.counts],
        "remarks": found.remarks(),
        "cautions": found.cautions(),
        "images": images,
    }


def _series_csv(found: Analysis) -> str:
    columns: dict[str, Callable[[ImageReport, SeriesReport], object]] = {
        "index": lambda i, s: s.index,
        "row": lambda i, s: s.row,
        "column": lambda i, s: s.column,
        "first_epoch": lambda i, s: i.epochs[0],
        "last_epoch": lambda i, s: i.epochs[-1],
        "length": lambda i, s: len(s.increments),
        "constant": lambda i, s: int(s.constant),
        "adf": lambda i, s: s.adf,
        "adf_p": lambda i, s: s.adf_p,
        "kpss": lambda i, s: s.kpss,
        "kpss_p": lambda i, s: s.kpss_p,
        "shapiro_p": lambda i, s: s.shapiro_p,
        **{f"ljung_box_{lag}_p": lambda i, s, lag=lag: s.ljung_box_p.get(lag) for lag in LJUNG_BOX_LAGS},  # type: ignore[misc]
        "acf_inside": lambda i, s: s.acf_inside,
        "slope": lambda i, s: s.slope,
    }
    rows = ([cell(image, each) for cell in columns.values()] for image in found.images for each in image.series)
    return _csv([list(columns), *rows])


def _entropy_csv(found: Analysis) -> str:
    epochs = sorted({epoch for image in found.images for epoch in image.entropy})
    head = ["epoch", *(f"image_{image.index}" for image in found.images), "mean"]
    rows = []
    for epoch in epochs:
        values = [image.entropy.get(epoch) for image in found.images]
        rows.append([epoch, *values, mean_of_known(values)])
    return _csv([head, *rows])


def _csv(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _page(found: Analysis, drawn: Mapping[str, Chart], gifs: Mapping[int, Path], files: Sequence[str]) -> str:
    head, *tests = table(found)
    kind = "as in the published notebook" if found.reference else "increments of the float maps"
    facts = [
        ["maps", str(found.folder)],
        ["mode", kind],
        [
            "series",
            f"{counted(found.pixels, 'pixel')} of each of {counted(len(found.images), 'image')}, seed {found.seed}",
        ],
        ["level", f"{found.alpha:g}"],
        *([f"image {image.index}", _image_line(found, image)] for image in found.images),
    ]
    pieces: list[dom_tag] = [
        h2("Tests over all series"),
        wide_table(head, tests),
        bullets(sentences(found)),
        warning("Before you conclude", [*found.remarks(), *found.cautions()]),
        h2("Charts"),
        div((chart.inline() for chart in drawn.values()), cls="charts"),
        *([h2("Animations")] if gifs else []),
        *(_animation(found, index, file) for index, file in gifs.items()),
        h2("What was examined"),
        wide_table([], facts, kind="options"),
        p("Files: ", *(a(f"{file} ", href=file) for file in files)),
    ]
    return page(f"Is W a Brownian motion? {found.name}", pieces)


def _animation(found: Analysis, index: int, file: Path) -> dom_tag:
    source = found.sources.get(index)
    header = f"Image {index}: {source}" if source else f"Image {index}"
    return image_row(header, [file.name], [f"{file.name}: D, W and dW"], [file.name], 808)


def _image_line(found: Analysis, image: ImageReport) -> str:
    words = [f"dW of epochs {image.epochs[0]} to {image.epochs[-1]}"]
    if image.slope is not None:
        words.append(f"slope {image.slope:.3f}")
    if source := found.sources.get(image.index):
        words.append(source)
    return ", ".join(words)


# --- charts -----------------------------------------------------------------------------------------------------------


def charts(found: Analysis) -> dict[str, Chart]:
    """File name without its end -> chart; charts without values are left out."""
    drawn = {
        **_series_charts(found),
        **_acf_charts(found),
        "displacement": _displacement(found),
        "p_values": _p_values(found),
        "entropy": _entropy(found),
    }
    return {name: chart for name, chart in drawn.items() if not chart.is_empty}


def _series_charts(found: Analysis) -> dict[str, Chart]:
    W = {_label(s): _points([i.epochs[0] - 1, *i.epochs], s.W) for i, s in _examples(found) if s.W}
    dW = {_label(s): _points(i.epochs, s.increments) for i, s in _examples(found)}
    title = "dW, stretched to -1..1" if found.reference else "dW = W(t) - W(t-1)"
    note = _note(found, "one pixel per image")
    return {"W": Chart("W", W, "epoch", note=note), "dW": Chart(title, dW, "epoch", note=note)}


def _acf_charts(found: Analysis) -> dict[str, Chart]:
    examples = [series for _, series in _examples(found)]
    level = f"{1 - found.alpha:.10g}"
    bands: dict[str, Points] = {}
    if examples:
        longest = max((each.band for each in examples), key=len)
        half = np.mean([each.band for each in examples if len(each.band) == len(longest)], axis=0)
        kind = "Bartlett's band, mean" if found.reference else "band of white noise"
        for sign, factor in (("+", 1), ("-", -1)):
            bands[f"{sign} {kind} ({level})"] = _points(range(1, len(half) + 1), factor * half)
    lags = max((len(each.acf) for each in found.series), default=0)
    share = [
        (lag, float(np.mean([abs(s.acf[lag - 1]) <= s.band[lag - 1] for s in found.series if len(s.acf) >= lag])))
        for lag in range(1, lags + 1)
    ]
    return {
        "acf": Chart(
            "Autocorrelation of dW",
            {_label(each): _points(range(1, len(each.acf) + 1), each.acf) for each in examples},
            "lag in epochs",
            note=_note(found, "one pixel per image"),
            guides=bands,
        ),
        "acf_inside": Chart(
            "Autocorrelation in the band: share of series",
            {f"{len(found.series)} series": share},
            "lag in epochs",
            guides={f"expected: {level}": [(1, 1 - found.alpha), (lags, 1 - found.alpha)]},
        ),
    }


def _displacement(found: Analysis) -> Chart:
    curves = {
        f"image {image.index}: slope {image.slope:.2f}": _points(np.log10(image.lags), np.log10(image.displacement))
        for image in found.images[:SHOWN]
        if image.slope is not None
    }
    guides: dict[str, Points] = {}
    if curves:
        start = float(np.mean([points[0][1] for points in curves.values()]))
        end = max(points[-1][0] for points in curves.values())
        guides["slope 1 (Brownian motion)"] = [(0, start), (end, start + end)]
    return Chart(
        "Mean square of W(t+k) - W(t), all pixels",
        curves,
        "log10 of the lag k in epochs",
        y_label="log10 of the mean square",
        note=_note(found),
        guides=guides,
    )


def _p_values(found: Analysis) -> Chart:
    every: dict[str, list[float | None]] = {
        "Dickey-Fuller": [each.adf_p for each in found.series],
        "Shapiro-Wilk": [each.shapiro_p for each in found.series],
    }
    for lag in () if found.reference else LJUNG_BOX_LAGS:
        every[f"Ljung-Box {lag}"] = [each.ljung_box_p.get(lag) for each in found.series]
    known = {name: sorted(p for p in values if p is not None) for name, values in every.items()}
    return Chart(
        "Sorted p-values",
        {name: [((rank + 0.5) / len(ps), p) for rank, p in enumerate(ps)] for name, ps in known.items() if ps},
        "share of the series",
        note="Dickey-Fuller should be near 0",
        guides={"uniform: no deviation": [(0, 0), (1, 1)]},
    )


def _entropy(found: Analysis) -> Chart:
    shown = [image for image in found.images[:SHOWN] if image.entropy]
    epochs = [epoch for image in shown for epoch in image.entropy]
    return Chart(
        "Entropy of D's probabilities in nats",
        {f"image {image.index}": sorted(image.entropy.items()) for image in shown},
        "epoch",
        note=_note(found, "from 8-bit pictures" if found.reference else ""),
        guides={"log 2 (D cannot tell)": [(min(epochs), LOG_2), (max(epochs), LOG_2)]} if epochs else {},
    )


def _examples(found: Analysis) -> list[tuple[ImageReport, SeriesReport]]:
    """The first series of each image that is not constant, of a few images."""
    firsts = ((image, next((s for s in image.series if not s.constant), None)) for image in found.images)
    return [(image, series) for image, series in firsts if series is not None][:SHOWN]


def _note(found: Analysis, words: str = "") -> str:
    more = f"{SHOWN} of {len(found.images)} images" if len(found.images) > SHOWN else ""
    return ", ".join(filter(None, (words, more)))


def _label(series: SeriesReport) -> str:
    return f"image {series.index}, pixel {series.row},{series.column}"


def _points(x: Iterable[float], y: Iterable[float]) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a, b in zip(x, y)]


# --- animations -------------------------------------------------------------------------------------------------------


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


def float_frames(maps: FloatMaps) -> list[Image.Image]:
    """Frames of the float maps on one scale through all epochs, so that sizes can be compared.

    D is sigmoid(logits), from 0 to 1, W from -1 to 1. dW = W_t - W_{t-1} is grey at 0, and black or white where its
    size reaches what 99.5 % of the values stay below. The epochs are those of the longest run without a gap; epoch 2
    has no frame, as W_1 comes from random numbers.
    """
    used = maps.part(longest_run(epoch for epoch in maps.epochs if epoch > 1))
    dW = np.diff(used.W, axis=0)
    if not len(dW):
        return []
    limit = float(np.quantile(np.abs(dW), 0.995)) or 1.0
    return [
        frame(to_grey(_sigmoid(logits), 0, 1), to_grey(W, -1, 1), to_grey(step, -limit, limit), epoch)
        for epoch, logits, W, step in zip(used.epochs[1:], used.logits[1:], used.W[1:], dW)
    ]


def published_frames(D: Mapping[int, Grey], W: Mapping[int, Grey]) -> list[Image.Image]:
    """Frames as the published notebook draws them, of every epoch that has both pictures.

    Args:
        D: epoch, ascending -> uint8 [h, w].
        W: epoch, ascending -> uint8 [H, W].
    """
    dW = published_increments(W)
    return [frame(published_D(D[epoch]), W[epoch], dW[epoch], epoch) for epoch in D if epoch in W]


def published_D(picture: Grey) -> Grey:
    """D as the notebook shows it: a picture of probabilities, stretched, through a second sigmoid, so in 161..220."""
    return (255 * (1 / (1 + np.exp(-stretch(picture))) + 1) / 2).astype(np.uint8)


def to_grey(values: Floats, low: float, high: float) -> Grey:
    """``low..high`` as 0..255, rounded; what is beyond is cut."""
    return np.clip(np.rint((values - low) / (high - low) * 255), 0, 255).astype(np.uint8)


def frame(D: Grey, W: Grey, dW: Grey, epoch: int) -> Image.Image:
    """Draw D, W and dW side by side on white, 808 x 346, with their names above and the epoch below."""
    canvas = Image.new("L", (3 * PANEL + 4 * PADDING, TOP + PANEL + BOTTOM), 255)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(20)
    for place, (title, values) in enumerate((("D", D), ("W", W), ("dW", dW))):
        left = PADDING + place * (PANEL + PADDING)
        factor = PANEL / max(values.shape)
        height, width = (max(1, round(side * factor)) for side in values.shape)
        small = Image.fromarray(values).resize((width, height), Image.Resampling.NEAREST)
        canvas.paste(small, (left + (PANEL - width) // 2, TOP + (PANEL - height) // 2))
        draw.text((left + PANEL / 2, TOP / 2), title, fill=0, font=font, anchor="mm")
    draw.text((canvas.width / 2, TOP + PANEL + BOTTOM / 2), f"Epoch {epoch}", fill=0, font=font, anchor="mm")
    return canvas


def _sigmoid(logits: Floats) -> Floats:
    return 0.5 * (1 + np.tanh(0.5 * logits))


if __name__ == "__main__":
    sys.exit(main())

"""The pictures of a page of the gallery: test images side by side, progress, curves; all made small."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scripts.experiments.showcase.runs import GalleryRun
from scripts.experiments.showcase.training import Folders, shown_epochs
from util.files import replacing
from util.images.folder import natural_key
from util.metrics.measurement import short_name, title
from util.pages.charts import LIGHT, Points, drawing_settings, tick_label
from util.pages.comparison import ComparedRun
from util.pages.figure_grid import FigureGrid, load_pixels
from util.types import ABOUT_A_FAKE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Pixels = NDArray[np.uint8]
"""``[H, W, 3]`` or ``[H, W]``."""

ROWS = 4
PROGRESS_ROWS = 2
MOST_BYTES = 120_000
_SIDE = 170  # pixels of a picture on a page, about
_MOST_WIDTH = 1040
_SMALL = 80  # height in the index
_QUALITIES = (80, 70, 60, 50)


# --- the results of a run ---------------------------------------------------------------------------------------------


def visual_files(images: Path, visual: str) -> list[Path]:
    """The files of one visual in a folder of results, in natural order: ``fake_B`` without ``heat_fake_B``."""
    others = tuple(f"_{prefix}{visual}.png" for prefix in ABOUT_A_FAKE)
    found = [file for file in images.rglob(f"*_{visual}.png") if not file.name.endswith(others)]
    return sorted(found, key=lambda file: natural_key(file.relative_to(images).as_posix()))


def at_equal_distances(count: int, wanted: int) -> list[int]:
    """Places in a list, from the first one on.

    >>> at_equal_distances(80, 4), at_equal_distances(2, 4)
    ([0, 20, 40, 60], [0, 1])
    """
    wanted = min(count, wanted)
    return [place * count // wanted for place in range(wanted)]


def test_grid(run: GalleryRun, folders: Folders) -> FigureGrid | None:
    """Rows of test images at equal distances in the list, columns as the run names them; None without results."""
    images = folders.results / run.name / run.folder / "images"
    if not run.columns:
        return class_grid(images, ROWS)
    columns = [visual_files(images, visual) for visual in run.columns]
    count = min(map(len, columns))
    if not count:
        return None
    rows = [[load_pixels(files[place]) for files in columns] for place in at_equal_distances(count, ROWS)]
    return _grid(run.captions, rows)


def class_grid(images: Path, rows: int) -> FigureGrid | None:
    """A column for each class folder, samples below each other."""
    classes = sorted((folder for folder in images.glob("*") if folder.is_dir()), key=lambda f: natural_key(f.name))
    files = [sorted(folder.glob("*.png"), key=lambda f: natural_key(f.name)) for folder in classes]
    count = min(map(len, files), default=0)
    if not count:
        return None
    return _grid(
        [_class_name(folder) for folder in classes],
        [[load_pixels(each[row]) for each in files] for row in range(min(count, rows))],
    )


def _class_name(folder: Path) -> str:
    return folder.name.partition("_")[2] if folder.name[:1].isdigit() else folder.name


def progress_grid(run: GalleryRun, folders: Folders) -> FigureGrid | None:
    """The same test images by checkpoints of several epochs, and by the last one; None with less than two."""
    phase, _, _ = run.folder.rpartition("_")
    places = {f"epoch {epoch}": f"{phase}_{epoch}" for epoch in shown_epochs(folders.checkpoints / run.name)}
    places["end"] = run.folder
    found = {caption: folders.results / run.name / place / "images" for caption, place in places.items()}
    found = {caption: images for caption, images in found.items() if images.is_dir()}
    if len(found) < 2:
        return None
    if not run.columns:
        grids = {caption: class_grid(images, 1) for caption, images in found.items()}
        kept = {caption: grid for caption, grid in grids.items() if grid is not None}
        first = next(iter(kept.values()), None)
        return first and _grid(first.captions, [grid.pictures[0] for grid in kept.values()], list(kept))
    files = [visual_files(folders.results / run.name / run.folder / "images", run.columns[0])]
    files += [visual_files(images, run.progress) for images in found.values()]
    columns = [[load_pixels(file) for file in each[:PROGRESS_ROWS]] for each in files]
    rows = min(map(len, columns))
    return _grid(["input", *found], [[column[row] for column in columns] for row in range(rows)]) if rows else None


def _grid(captions: Sequence[str], rows: Sequence[Sequence[Any]], labels: Sequence[str] = ()) -> FigureGrid:
    width = min(_SIDE * len(captions), _MOST_WIDTH) / 100
    return FigureGrid(captions, labels or [""] * len(rows), rows, width=width, font_size=8)


# --- files ------------------------------------------------------------------------------------------------------------


def save_grid(grid: FigureGrid, file: Path) -> None:
    """A JPEG of at most ``MOST_BYTES``.

    Raises:
        OSError: it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with drawing_settings("gallery"):
        figure = grid.figure()
        figure.set_dpi(100)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        drawn = np.asarray(canvas.buffer_rgba())[..., :3]
    _save_jpeg(Image.fromarray(drawn), file)


def save_small(pictures: Sequence[Pixels], file: Path) -> None:
    """A row of pictures without captions, for the index."""
    sized = []
    for pixels in pictures:
        picture = Image.fromarray(pixels).convert("RGB")
        width = round(picture.width * _SMALL / picture.height)
        sized.append(picture.resize((width, _SMALL), Image.Resampling.BICUBIC))
    row = Image.new("RGB", (sum(each.width + 2 for each in sized) - 2, _SMALL), "white")
    left = 0
    for each in sized:
        row.paste(each, (left, 0))
        left += each.width + 2
    _save_jpeg(row, file)


def _save_jpeg(picture: Image.Image, file: Path) -> None:
    for quality in _QUALITIES:
        content = io.BytesIO()
        picture.save(content, "JPEG", quality=quality, optimize=True)
        if content.tell() <= MOST_BYTES:
            break
    with replacing(file) as temporary:
        temporary.write_bytes(content.getvalue())


# --- curves -----------------------------------------------------------------------------------------------------------


def panels(run: ComparedRun) -> dict[str, Mapping[str, Points]]:
    """Title -> curves: losses of discriminators, of generators, what else an epoch reports, and each metric."""
    points = run.means if any(len(each) > 2 for each in run.means.values()) else run.losses
    names = [name for name in points if name in run.losses]
    judges = {name: points[name] for name in names if name.startswith("D")}
    makers = {name: points[name] for name in names if name not in judges}
    others = {name: each for name, each in points.items() if name not in names and any(y for _, y in each)}
    found: dict[str, Mapping[str, Points]] = {"discriminator": judges, "generator": makers, "diagnostics": others}
    for name, each in run.metrics.items():
        short = short_name(name)
        found[title(name, short) if short else name] = {name: each}
    return {head: curves for head, curves in found.items() if any(curves.values())}


def save_curves(run: ComparedRun, file: Path) -> bool:
    """A PNG with a panel for each group of numbers; False where there is nothing to draw.

    Raises:
        OSError: it cannot be written.
    """
    from matplotlib.figure import Figure

    shown = panels(run)
    if not shown:
        return False
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    with drawing_settings("gallery curves"):
        figure = Figure(figsize=(3.5 * columns, 2.5 * rows), dpi=100, facecolor="white", layout="constrained")
        for place, (head, curves) in enumerate(shown.items()):
            _draw(figure.add_subplot(rows, columns, place + 1), head, curves)
        content = io.BytesIO()
        figure.savefig(content, format="png")
    small = Image.open(content).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    with replacing(file) as temporary:
        small.save(temporary, "PNG", optimize=True)
    return True


def _draw(axes: Axes, head: str, curves: Mapping[str, Points]) -> None:
    from matplotlib.ticker import MaxNLocator, NullFormatter

    single = len(curves) == 1
    for number, (name, points) in enumerate(curves.items()):
        mark = "o" if len(points) < 12 else ""
        dashes = ("-", "--", ":")[number // len(LIGHT) % 3]
        x, y = zip(*points)
        axes.plot(x, y, dashes, color=LIGHT[number % len(LIGHT)], marker=mark, markersize=3, linewidth=1.4, label=name)
    values = [abs(y) for points in curves.values() for _, y in points if y]
    positive = all(y > 0 for points in curves.values() for _, y in points)
    if positive and values and max(values) > 30 * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(lambda value, _: tick_label(value))
    axes.xaxis.set_major_locator(MaxNLocator(4))  # more labels of six digits overlap
    axes.set_title(head, fontsize=10)
    axes.set_xlabel("images seen", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", linewidth=0.5, alpha=0.5)
    axes.spines[["right", "top"]].set_visible(False)
    if not single:
        axes.legend(fontsize=6.5, framealpha=0.75, edgecolor="none", ncols=1 + (len(curves) > 5))

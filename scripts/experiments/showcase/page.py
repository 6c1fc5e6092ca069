"""The Markdown pages of the gallery, made from the files of the runs; what people wrote on a page is kept."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models import MODELS
from scripts.experiments.showcase.facts import (
    TIME,
    Facts,
    facts_of_numbers,
    facts_of_run,
    notes_of_numbers,
    numbers_file,
    read_facts,
)
from scripts.experiments.showcase.pictures import Pixels, progress_grid, save_curves, save_grid, save_small, test_grid
from scripts.experiments.showcase.runs import GalleryRun
from scripts.experiments.showcase.training import Folders
from util.files import replace_text
from util.pages.figure_grid import FigureGrid
from util.pages.markdown import markdown_table
from util.run.folder import make_folder

COMMAND = "python scripts/experiments/gallery.py"
PLACEHOLDER = "Nobody has written yet what is good here and what is not."
_WORDS = re.compile(r"<!-- words of the run of (?P<run>[^>]*?): begin -->\n(?P<text>.*?)\n<!-- words: end -->", re.S)


@dataclass(frozen=True)
class Words:
    """What somebody wrote about a run.

    Attributes:
        text: Markdown; its first paragraph is the verdict of the index.
        run: when the run began that it is about; empty while nobody has written.
    """

    text: str = PLACEHOLDER
    run: str = ""

    @property
    def verdict(self) -> str:
        """The first paragraph, on one line."""
        return " ".join(self.text.strip().split("\n\n")[0].split())


def read_words(page: Path) -> Words:
    """The section of a page that is written by hand; the placeholder where there is none."""
    found = _WORDS.search(page.read_text(encoding="utf-8")) if page.is_file() else None
    return Words(found["text"].strip(), found["run"]) if found else Words()


def write_gallery(runs: Sequence[GalleryRun], folders: Folders, docs: Path) -> list[Path]:
    """Write a page for each run that was started, its pictures, and the index of all pages.

    Args:
        runs: of the gallery; those that were not started keep the page they have.
        folders: of the runs.
        docs: gets ``gallery.md`` and ``gallery/``.

    Returns:
        the files that were written.

    Raises:
        ValueError: a file of a run is damaged.
    """
    folder = docs / "gallery"
    make_folder(folder, f"--docs {docs}")
    written, rows = list[Path](), list[list[str]]()
    for run in runs:
        facts = read_facts(run, folders)
        page = folder / f"{run.name}.md"
        if facts.state != "not started":
            written += _write_page(facts, folders, page)
        if page.is_file():
            rows.append(_index_row(run, page))
    index = docs / "gallery.md"
    replace_text(index, [_index(rows)])
    return [*written, index]


# --- a page -----------------------------------------------------------------------------------------------------------


def _write_page(facts: Facts, folders: Folders, page: Path) -> list[Path]:
    run = facts.run
    images: dict[str, Path] = {}
    for what, grid in (("test", test_grid(run, folders)), ("progress", progress_grid(run, folders))):
        if grid is not None:
            images[what] = page.with_name(f"{run.name}_{what}.jpg")
            save_grid(grid, images[what])
            if what == "test":
                images["small"] = page.with_name(f"{run.name}_small.jpg")
                save_small(_first_pictures(run, grid), images["small"])
    curves = page.with_name(f"{run.name}_curves.png")
    if save_curves(facts.compared, curves):
        images["curves"] = curves
    replace_text(page, [page_text(facts, images, read_words(page))])
    return [page, *images.values()]


def _first_pictures(run: GalleryRun, grid: FigureGrid) -> list[Pixels]:
    """Input and result of the first test image, or some samples."""
    places = [run.columns.index(name) for name in (run.columns[0], run.progress)] if run.columns else range(4)
    return [picture for place in places if (picture := grid.pictures[0][place]) is not None]


def page_text(facts: Facts, images: dict[str, Path], words: Words) -> str:
    """The whole page."""
    run = facts.run
    doc = f" More about it: [{run.doc}](../{run.doc})." if run.doc else ""
    parts = [f"# {run.title}", f"{MODELS.summaries()[run.model]}{doc} [All models](../gallery.md)", _state(facts)]
    parts += [f"Data: {run.told}."]
    if "test" in images:
        parts += ["## Test images", f"![test images of {run.title}]({images['test'].name})", _about_images(run)]
    parts += ["## What is good, what failed", *_hand_written(facts, words)]
    if "progress" in images:
        caption = "Samples" if not run.columns else "The first test images"
        parts += ["## Progress", f"![progress of {run.title}]({images['progress'].name})"]
        parts += [f"{caption} by the checkpoints of these epochs, and at the end."]
    if "curves" in images:
        parts += ["## Curves", f"![curves of {run.title}]({images['curves'].name})"]
        parts += ["Means of every epoch; the metrics are of held-out images."]
    if numbers := facts_of_numbers(facts):
        rows = [[fact.what, fact.value, fact.source] for fact in numbers]
        parts += ["## Numbers", _table(["metric", "value", "protocol"], rows)]
        lines = [f"- {note}" for note in notes_of_numbers(facts.compared.measurements)]
        parts += ["\n".join([*lines, f"- from `{numbers_file(run)}`, folder `{run.numbers_folder}`"])]
    rows = [[fact.what, fact.value, f"`{fact.source}`"] for fact in facts_of_run(facts)]
    parts += ["## The run", _table(["", "", "from"], rows)]
    lines = [_wrapped(["python", *words]) for words in facts.commands]
    parts += ["\n".join(["```bash", *lines, "```"])]
    parts += [f"Made by `{COMMAND} --pages` from the files of the run."]
    return "\n\n".join(filter(None, parts)) + "\n"


def _state(facts: Facts) -> str:
    if facts.state == "failed":
        return f"**This run failed: {facts.failure}.** What it left behind is shown."
    return "**This training has not come to its end.**" if facts.state == "stopped" else ""


def _about_images(run: GalleryRun) -> str:
    if not run.columns:
        return "One column for each class; the first samples that were drawn, none chosen."
    return "Test images at equal distances in the list of files, the first one first; none chosen."


def _hand_written(facts: Facts, words: Words) -> list[str]:
    began = facts.trainings[0].began if facts.trainings else ""
    run = began if words.text == PLACEHOLDER else words.run
    about = "" if run == began else f"_These words are about an earlier run, which began {run}._"
    return [about, f"<!-- words of the run of {run}: begin -->\n\n{words.text}\n\n<!-- words: end -->"]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(markdown_table(heads, rows))


def _wrapped(words: Sequence[str], width: int = 100) -> str:
    """A command on several lines."""
    lines, line = list[str](), ""
    for word in map(shlex.quote, words):
        if line and word.startswith("--") and len(line) + len(word) > width:
            lines.append(line)
            line = "   "
        line += f" {word}" if line else word
    return " \\\n".join([*lines, line])


# --- the index --------------------------------------------------------------------------------------------------------


def _index_row(run: GalleryRun, page: Path) -> list[str]:
    small = page.with_name(f"{run.name}_small.jpg")
    picture = f"[![{run.title}](gallery/{small.name})](gallery/{page.name})" if small.is_file() else ""
    text = page.read_text(encoding="utf-8")
    failed = re.search(r"^\*\*(This (?:run|training) .*?)\.?\*\*", text, re.M)
    time = re.search(rf"^\| {TIME} \| (.*?) \|", text, re.M)
    verdict = read_words(page).verdict
    verdict = f"{failed[1]}. {verdict}" if failed else verdict
    return [f"[{run.title}](gallery/{page.name})", picture, time[1] if time else "", verdict]


def _index(rows: Sequence[Sequence[str]]) -> str:
    parts = [
        "# Gallery",
        "A short training of every model on real photos, on one processor core, with few images: what to expect of a "
        "first try, not of a model. Each page has the pictures of test images, the progress, the curves, the numbers "
        "with their protocol, the command, and what went wrong. Tables of the numbers: [results](results.md). The "
        "time below is processor time; the wall time, on each page, has the waiting for other programs in it.",
        _table(["model", "input and result", "training", "verdict"], rows),
        "## Make it",
        f"```bash\n{COMMAND}             # train what is missing, one run after the other; goes on after a stop\n"
        f"{COMMAND} --pages     # write these pages and the tables of results.md from the files of the runs\n```",
        "The data sets are folders in `datasets/`: `facades` (pairs, CMP facades), `edges2shoes` (pairs), `day2night` "
        "(`trainA`, `trainB`, `testA`, `testB`) and `cifar10` (a folder for each class in `train` and `test`). The "
        'section "What is good, what failed" of a page is written by hand, between two comments, and kept; '
        "all else is made.",
    ]
    return "\n\n".join(parts) + "\n"

"""The tables of docs/results.md: which runs of the gallery stand in one."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.experiments.showcase.runs import GalleryRun
from scripts.experiments.showcase.training import Folders
from util.run.folder import holds_run

_OPTIONS = "model,crop_size,direction"


def table_words(runs: Sequence[GalleryRun], folders: Folders) -> dict[str, list[str]]:
    """Block of the page -> words of ``results_table.py``: the runs of a data set that have a checkpoint.

    Runs whose numbers are of another folder of results, as they read another part of the data, have a block of their
    own: ``gallery_day2night_testA``.
    """
    blocks: dict[str, list[GalleryRun]] = {}
    for run in runs:
        if holds_run(folders.checkpoints / run.name):
            part = run.folder.removesuffix("_latest")
            name = f"gallery_{run.data}" + ("" if part == "test" else f"_{part}")
            blocks.setdefault(name, []).append(run)
    return {name: _words(group, folders) for name, group in blocks.items()}


def _words(group: Sequence[GalleryRun], folders: Folders) -> list[str]:
    places = ["--checkpoints_dir", str(folders.checkpoints), "--results_dir", str(folders.results)]
    names = ["--names", *(run.title for run in group), "--options", _OPTIONS, "--folder", group[0].numbers_folder]
    return [*(run.name for run in group), *names, *places]

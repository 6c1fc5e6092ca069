"""The comparison of runs that ``scripts/evaluate.py --compare`` makes: a page that can be moved, and tables."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from options.files import read_options
from options.records import options_of
from scripts.compared_pictures import Gallery, common_stems, find_pictures, left_alone
from util.comparison import ComparedRun, Comparison, compare_numbers, compare_options
from util.comparison_page import MARK, comparison_page
from util.comparison_table import csv_text, markdown_text
from util.files import replace_text
from util.images.folder import listed, natural_key, subfolders
from util.loggers.curve import Curve, LossCurves
from util.loggers.jsonl import FILE_NAME as METRICS_LOG
from util.loggers.jsonl import read_metrics
from util.loggers.metric_curves import MetricCurves
from util.metrics.images import FolderImages
from util.metrics.measurement import FILE_NAME as METRICS
from util.metrics.measurement import Measurement, read_measurements
from util.registry import unknown
from util.run.folder import check_name, check_writable, make_folder
from util.svg_plot import Points
from util.types import EpochRecord, ScalarRecord

logger = logging.getLogger(__name__)

FILES = {"index.html", "images", "comparison.csv", "comparison.md"}
_CLUTTER = {".DS_Store", "Thumbs.db", "desktop.ini"}  # what file managers leave behind
_LEFT_OUT = options_of("start", "machine")


def compare(
    names: Sequence[str],
    *,
    checkpoints_dir: Path,
    results_dir: Path,
    output: Path,
    folder: str = "test_latest",
    domain: str = "B",
    num_images: int = 20,
    width: int = 256,
) -> Path:
    """Write ``index.html``, its images, ``comparison.csv`` and ``comparison.md`` into a folder.

    An earlier comparison in that folder is replaced in one step at the end: who stops before keeps the old one.

    Args:
        names: of two runs or more, in the order of their colours.
        checkpoints_dir: folder of all runs: options and curves are read from it.
        results_dir: folder of all results: images and ``metrics.json``.
        output: folder of the page; empty, missing, or with an earlier comparison.
        folder: result folder of every run, ``<phase>_<tag>``.
        domain: which outputs are shown: ``fake_B`` or ``fake_A``.
        num_images: at most so many test images, in natural order; 0 for none.
        width: width of an image on the page in CSS pixels.

    Returns:
        the page.

    Raises:
        ValueError: fewer than two runs, one named twice or unknown, an output folder with other things in it, results
            without a common image, or a file that cannot be read.
        FileNotFoundError: a run without results; the message has the command that makes them.
    """
    names = _checked([Path(name).as_posix() for name in names], checkpoints_dir, results_dir)
    output = Path(os.path.realpath(output))
    draft, old = (output.with_name(output.name + end) for end in (".partial", ".partial.old"))
    _tidy(output, draft, old)
    _check_output(output)
    runs = [_read_run(name, checkpoints_dir, results_dir, folder) for name in names]
    shown = names if num_images else []
    pictures = [find_pictures(name, checkpoints_dir, results_dir, folder, domain) for name in shown]
    stems = common_stems(names, pictures, folder, domain) if shown else []
    make_folder(draft / "images", f"--output {output}")
    try:
        gallery = Gallery(runs, pictures, draft / "images")
        rows = {stem: gallery.row(stem) for stem in stems[:num_images]}
        comparison = Comparison(
            runs=runs,
            folder=folder,
            options=compare_options(runs, _LEFT_OUT),
            numbers=compare_numbers(runs),
            rows=rows,
            image_remarks=left_alone(pictures, stems),
            image_warnings=gallery.warnings(),
            num_left_out=len(stems) - len(rows),
        )
        replace_text(draft / "comparison.csv", [csv_text(comparison)])
        replace_text(draft / "comparison.md", [markdown_text(comparison)])
        replace_text(draft / "index.html", [comparison_page(comparison, width=width)])
        _swap(draft, output, old)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return output / "index.html"


# --- what is asked for ------------------------------------------------------------------------------------------------


def _checked(names: Sequence[str], checkpoints_dir: Path, results_dir: Path) -> Sequence[str]:
    if len(names) < 2:
        raise ValueError(f"--compare {' '.join(names)}: name two runs or more")
    for place, name in enumerate(names):
        if name in names[:place]:
            raise ValueError(f"--compare {' '.join(names)}: {name} is there twice; name every run once")
        check_name(name)
        if not (checkpoints_dir / name).is_dir() and not (results_dir / name).is_dir():
            tested = {each for each in subfolders(results_dir) if any((results_dir / each).glob("*/images"))}
            known = sorted({*subfolders(checkpoints_dir), *tested}, key=natural_key)
            if not known:
                raise ValueError(
                    f"--compare {name}: there are no runs in {checkpoints_dir} and {results_dir}; "
                    "check --checkpoints_dir and --results_dir"
                )
            raise unknown(f"run --compare {name}", name, known)
    return names


def _check_output(output: Path) -> None:
    """Refuse to write over anything but an earlier comparison."""
    for place in (output, output.parent):
        check_writable(place, f"--output {output}")
    if output.exists() and not output.is_dir():
        raise ValueError(f"--output {output}: this is a file; name a folder")
    held = _names(output) if output.is_dir() else set()
    page = output / "index.html"
    if foreign := sorted(held - FILES):
        raise ValueError(
            f"--output {output}: holds {listed(foreign)}, no part of a comparison; name a folder of its own"
        )
    if held and not (page.is_file() and MARK in page.read_text(encoding="utf-8", errors="replace")):
        raise ValueError(f"--output {output}: what it holds is no earlier comparison; name a folder of its own")


def _tidy(output: Path, draft: Path, old: Path) -> None:
    """Put in order what a killed call left behind."""
    for left in (draft, old):
        if left.exists() and not (left.is_dir() and _names(left) <= FILES):
            raise ValueError(
                f"--output: {left} is in the way and no draft of a comparison; move it, or name another folder"
            )
    if old.exists() and not output.exists():
        old.rename(output)
    for left in (draft, old):
        shutil.rmtree(left, ignore_errors=True)


def _names(folder: Path) -> set[str]:
    return {each.name.removesuffix(".tmp") for each in folder.iterdir()} - _CLUTTER


def _swap(draft: Path, output: Path, old: Path) -> None:
    """Put the draft into the place of an earlier comparison, which comes back should that fail."""
    try:
        if output.exists():
            output.rename(old)
        draft.rename(output)
    except BaseException:
        if old.exists() and not output.exists():
            old.rename(output)
        raise
    shutil.rmtree(old, ignore_errors=True)


# --- one run ----------------------------------------------------------------------------------------------------------


def _read_run(name: str, checkpoints_dir: Path, results_dir: Path, folder: str) -> ComparedRun:
    known = [each for each in read_measurements(results_dir / name / METRICS) if each.folder == folder]
    measurements = [each for each in known if _is_of_these_pictures(each, results_dir / name / folder / "images")]
    if len(measurements) < len(known):
        count = len(known) - len(measurements)
        logger.warning("warning: %d numbers of %s are of earlier pictures and left out; measure again", count, name)
    tags = dict.fromkeys(each.tag for each in measurements if each.tag)
    return ComparedRun(
        name,
        options=read_options(checkpoints_dir / name, required=False) or None,
        measurements=measurements,
        tag=next(iter(tags), folder.partition("_")[2]),
        **_curves(checkpoints_dir / name / METRICS_LOG),
    )


def _is_of_these_pictures(each: Measurement, images: Path) -> bool:
    """Whether a number was measured on what the folder holds now; true where that is not known."""
    content = each.protocol.get("fake", {}).get("content")
    if not content or not images.is_dir():
        return True
    try:
        return FolderImages(images, "--compare", suffix=f"fake_{each.domain}").content() == content
    except FileNotFoundError:
        return False


def _curves(log: Path) -> dict[str, Any]:
    """The training of a run as far as it was logged."""
    if not log.is_file():
        return {}
    losses, metrics = LossCurves(), MetricCurves()
    means: dict[str, Curve] = {}
    epochs = images = 0
    for record in read_metrics(log):
        images = max(images, record.total_iters)
        if isinstance(record, ScalarRecord):
            losses.add(record)
        elif isinstance(record, EpochRecord):
            epochs = max(epochs, record.epoch)
            metrics.add(record)
            for name, value in record.means.items():
                means.setdefault(name, Curve()).add(record.total_iters, value)
    return {
        "epochs": epochs,
        "images": images,
        "losses": _points(losses.curves),
        "means": _points(means),
        "metrics": _points(metrics.curves),
    }


def _points(curves: Mapping[str, Curve]) -> dict[str, Points]:
    return {name: [(bucket.x, bucket.mean) for bucket in curve.buckets] for name, curve in curves.items()}

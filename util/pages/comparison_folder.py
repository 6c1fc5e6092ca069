"""The folder of ``scripts/evaluate.py --compare``: a page that can be moved, its pictures, and tables."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from util.files import replace_text
from util.images.folder import listed, natural_key, scan, subfolders
from util.loggers.jsonl import FILE_NAME as METRICS_LOG
from util.loggers.jsonl import read_metrics
from util.metrics.images import FolderImages
from util.metrics.measurement import FILE_NAME as METRICS
from util.metrics.measurement import Measurement, read_measurements, scaled
from util.pages.charts import Curves, Points
from util.pages.comparison import ComparedRun, Comparison, ImageCell, compare_numbers, compare_options, joined
from util.pages.comparison_page import MARK, comparison_page, csv_text, markdown_text
from util.pages.html import shown_of
from util.registry import unknown
from util.run.folder import check_name, check_writable, make_folder
from util.types import ABOUT_A_FAKE, IN_COLOURS, EpochRecord, ScalarRecord
from util.wording import counted

logger = logging.getLogger(__name__)

FILES = {"index.html", "images", "comparison.csv", "comparison.md"}
_CLUTTER = {".DS_Store", "Thumbs.db", "desktop.ini"}  # what file managers leave behind

Pictures = Mapping[str, Mapping[str, Path]]
"""Kind of picture (``fake``, ``input``, ``target``) -> stem -> file."""

_FOLDER = re.compile(r"(?P<phase>.+?)_(?P<tag>latest|latest_iter(?P<iter>\d+)|\d+|iter_\d+|best_\w+)")
_SHOWN = 3


def compare(
    runs: Sequence[ComparedRun],
    *,
    checkpoints_dir: Path,
    results_dir: Path,
    output: Path,
    left_out: Collection[str] = (),
    folder: str = "test_latest",
    domain: str = "B",
    num_images: int = 20,
    width: int = 256,
) -> Path:
    """Write ``index.html``, its images, ``comparison.csv`` and ``comparison.md`` into a folder.

    An earlier comparison in that folder is replaced in one step at the end: who stops before keeps the old one.

    Args:
        runs: two or more, in the order of their colours, with what their option files say; the rest is read here.
        checkpoints_dir: folder of all runs: curves are read from it.
        results_dir: folder of all results: images and ``metrics.json``.
        output: folder of the page; empty, missing, or with an earlier comparison.
        left_out: options that are no difference between runs, e.g. their names.
        folder: result folder of every run, ``<phase>_<tag>``.
        domain: which outputs are shown: ``fake_B`` or ``fake_A``.
        num_images: at most this many test images, in natural order; 0 for none.
        width: width of an image on the page in CSS pixels.

    Returns:
        the page.

    Raises:
        ValueError: fewer than two runs, one named twice or unknown, an output folder with other things in it, results
            without a common image, or a file that cannot be read.
        FileNotFoundError: a run without results; the message has the command that makes them.
    """
    runs = [replace(run, name=Path(run.name).as_posix()) for run in runs]
    names = [run.name for run in runs]
    _check_names(names, checkpoints_dir, results_dir)
    output = Path(os.path.realpath(output))
    draft, old = (output.with_name(output.name + end) for end in (".partial", ".partial.old"))
    _tidy(output, draft, old)
    _check_output(output)
    runs = [read_compared(run, checkpoints_dir, results_dir, folder) for run in runs]
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
            options=compare_options(runs, left_out),
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


def _check_names(names: Sequence[str], checkpoints_dir: Path, results_dir: Path) -> None:
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


def read_compared(run: ComparedRun, checkpoints_dir: Path, results_dir: Path, folder: str) -> ComparedRun:
    """The run with its numbers and curves.

    Raises:
        ValueError: a file of it is damaged.
    """
    name = run.name
    known = [each for each in read_measurements(results_dir / name / METRICS) if each.folder == folder]
    measurements = [each for each in known if _is_of_these_pictures(each, results_dir / name / folder / "images")]
    if len(measurements) < len(known):
        count = counted(len(known) - len(measurements), "number")
        logger.warning("warning: %s of %s left out, of earlier pictures; measure again", count, name)
    tags = dict.fromkeys(each.tag for each in measurements if each.tag)
    return replace(
        run,
        measurements=measurements,
        tag=next(iter(tags), folder.partition("_")[2]),
        **_curves(checkpoints_dir / name / METRICS_LOG),
    )


def _is_of_these_pictures(each: Measurement, images: Path) -> bool:
    """Whether a number was measured on what the folder holds now; true where that is not known."""
    content = each.protocol.get("fake", {}).get("content")
    if not content or not images.is_dir():
        return True
    for suffix in (f"fake_{each.domain}", ""):  # a run that draws from noise has samples alone, without a suffix
        with contextlib.suppress(FileNotFoundError, ValueError):
            return FolderImages(images, "--compare", suffix=suffix).content() == content
    return False


def _curves(log: Path) -> dict[str, Any]:
    """The training of a run as far as it was logged."""
    if not log.is_file():
        return {}
    losses, means, metrics = Curves(), Curves(), Curves()
    epochs = images = 0
    for record in read_metrics(log):
        images = max(images, record.total_iters)
        if isinstance(record, ScalarRecord):
            losses.add(record.total_iters, record.losses)
        elif isinstance(record, EpochRecord):
            epochs = max(epochs, record.epoch)
            means.add(record.total_iters, record.means)
            metrics.add(record.total_iters, scaled(record.metrics))
    return {
        "epochs": epochs,
        "images": images,
        "losses": _points(losses),
        "means": _points(means),
        "metrics": _points(metrics),
    }


def _points(curves: Curves) -> dict[str, Points]:
    return {name: curve.points for name, curve in curves.items()}


# --- the pictures -----------------------------------------------------------------------------------------------------


def find_pictures(
    name: str, checkpoints_dir: Path, results_dir: Path, folder: str, domain: str, flag: str = "--compare"
) -> Pictures:
    """The pictures of one result folder of a run; ``flag`` named it, for messages.

    Raises:
        FileNotFoundError: it is missing or has no outputs; the message has the command that makes them.
    """
    place = results_dir / name / folder / "images"
    command = _test_command(name, checkpoints_dir, results_dir, folder)
    if not place.is_dir():
        raise FileNotFoundError(f"{flag} {name}: {place} does not exist; make it by: {command}")
    files = scan(place)
    found = _of_suffix(files, place, f"fake_{domain}")
    if found:
        other = "A" if domain != "A" else "B"
        sides = {"input": f"real_{other}", "target": f"real_{domain}"}
        return {"fake": found, **{kind: _of_suffix(files, place, suffix) for kind, suffix in sides.items()}}
    if one_sided := _of_suffix(files, place, "fake"):  # of --model test
        return {"fake": one_sided, "input": _of_suffix(files, place, "real"), "target": {}}
    raise FileNotFoundError(
        f"{flag} {name}: no image *_fake_{domain}.png in {place}; check --domain, or make them by: {command}"
    )


def _of_suffix(files: Sequence[str], place: Path, suffix: str) -> dict[str, Path]:
    """PNG files only: beside those of floating point values lies a file that no browser shows."""
    for end in (f"_{suffix}.png", f"_{suffix}{IN_COLOURS}.png"):
        found = {Path(f).relative_to(place).as_posix().removesuffix(end): Path(f) for f in files if f.endswith(end)}
        abouts = [f"_{prefix.removesuffix('_')}" for prefix in ABOUT_A_FAKE]
        about = {s for s in found for a in abouts if s.endswith(a) and s.removesuffix(a) in found}  # of 1_heat_fake_B
        if found:
            return {stem: file for stem, file in found.items() if stem not in about}
    return {}


def _test_command(name: str, checkpoints_dir: Path, results_dir: Path, folder: str) -> str:
    words = ["python test.py --name", name]
    for flag, value in (("checkpoints_dir", checkpoints_dir), ("results_dir", results_dir)):
        if value != Path(flag.removesuffix("_dir")):
            words += [f"--{flag}", str(value)]
    if match := _FOLDER.fullmatch(folder):
        words += ["--phase", match["phase"]] if match["phase"] != "test" else []
        words += ["--load_iter", match["iter"]] if match["iter"] else []
        words += ["--epoch", match["tag"]] if not match["tag"].startswith("latest") else []
    return " ".join(words)


def common_stems(
    names: Sequence[str], pictures: Sequence[Pictures], folder: str, domain: str, flag: str = "--compare"
) -> list[str]:
    """Stems of the outputs that all runs have, natural order; ``flag`` named the runs, for messages.

    Raises:
        ValueError: there is none.
    """
    common = set.intersection(*({*each["fake"]} for each in pictures))
    if not common:
        counts = ", ".join(f"{name} has {_some([*each['fake']])}" for name, each in zip(names, pictures))
        raise ValueError(
            f"{flag} {' '.join(names)}: no fake_{domain} image of {folder} is there in all runs: {counts}; "
            "test them on the same images"
        )
    return sorted(common, key=natural_key)


def left_alone(pictures: Sequence[Pictures], stems: Sequence[str]) -> list[str]:
    """A sentence about the outputs that only some of the runs have; none if there are none."""
    lonely = {stem for each in pictures for stem in each["fake"]} - {*stems}
    return (
        [f"{len(lonely)} that not all runs have are left out ({_some(sorted(lonely, key=natural_key))})"]
        if lonely
        else []
    )


class Gallery:
    """Copies the pictures of a page, and notes where those that should be equal are not.

    Args:
        runs: those compared.
        pictures: of each.
        images: folder for the copies; it exists.
    """

    def __init__(self, runs: Sequence[ComparedRun], pictures: Sequence[Pictures], images: Path) -> None:
        self._runs, self._pictures, self._images = runs, pictures, images
        self._paired = [place for place, run in enumerate(runs) if run.is_paired]
        self._unequal: dict[str, dict[str, list[str]]] = {"input": {}, "target": {}}  # kind -> stem -> runs

    def row(self, stem: str) -> list[ImageCell]:
        """Input, target, and the output of every run."""
        cells = [*self._shared("input", stem, range(len(self._runs))), *self._shared("target", stem, self._paired)]
        for place, run in enumerate(self._runs):
            file = self._copy(self._pictures[place]["fake"][stem], f"{place + 1}_{run.name}", stem)
            cells.append(ImageCell(file, run.name, place))
        return cells

    def warnings(self) -> list[str]:
        """Sentences about pictures of one name with different content."""
        found = []
        for kind, stems in self._unequal.items():
            if stems:
                others = joined(list(dict.fromkeys(name for names in stems.values() for name in names)))
                found.append(
                    f"the {kind}s of {others} differ from those shown ({_some(list(stems))}): tested on other "
                    "data, at another size or in the other direction"
                )
        return found

    def _shared(self, kind: str, stem: str, places: Sequence[int]) -> list[ImageCell]:
        """The picture that all runs should have, from the first one that has it."""
        having = [place for place in places if stem in self._pictures[place][kind]]
        if not having:
            return []
        file = self._pictures[having[0]][kind][stem]
        differing = [self._runs[p].name for p in having[1:] if not _same(file, self._pictures[p][kind][stem])]
        if differing:
            self._unequal[kind][stem] = differing
        of = f" of {self._runs[having[0]].name}" if differing else ""
        return [ImageCell(self._copy(file, f"0_{kind}", stem), f"{kind}{of}")]

    def _copy(self, file: Path, below: str, stem: str) -> str:
        """Copy into the page's folder; returns the place below its ``images``.

        Every run has a folder that begins with its number: ``a`` with an image ``b/1`` is not ``a/b`` with ``1``.
        """
        name = (Path(below.replace("/", "_")) / Path(stem).parent / file.name).as_posix()
        (self._images / name).parent.mkdir(parents=True, exist_ok=True)
        images = file.parents[len(Path(stem).parts) - 1]
        shutil.copyfile(shown_of(file, images), self._images / name)
        return name


def _same(one: Path, other: Path) -> bool:
    """Whether two pictures have the same pixels; their files may differ by the library that wrote them."""
    if one.read_bytes() == other.read_bytes():
        return True
    with Image.open(one) as left, Image.open(other) as right:
        return left.mode == right.mode and left.size == right.size and left.tobytes() == right.tobytes()


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")

"""Which result folders of a run are meant, in natural order, and how those that are missing come to be."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from util.images.folder import natural_key, scan
from util.registry import closest
from util.run.checkpoint import Checkpointer
from util.run.folder import check_name
from util.types import IN_COLOURS

logger = logging.getLogger(__name__)

_LATEST_ITER = re.compile(r"latest_iter(\d+)")  # test.py --load_iter n
_FOLDER = re.compile(rf"(?P<phase>.+?)_(?P<tag>latest|{_LATEST_ITER.pattern}|\d+|iter_\d+|best_\w+)")


@dataclass(frozen=True)
class RunPlace:
    """Where a run's checkpoints and results are."""

    name: str
    checkpoints_dir: Path
    results_dir: Path

    @property
    def checkpoints(self) -> Path:
        """Its folder of checkpoints."""
        return self.checkpoints_dir / self.name

    @property
    def results(self) -> Path:
        """Its folder of results."""
        return self.results_dir / self.name


@dataclass(frozen=True)
class ResultFolder:
    """The results of one checkpoint on one phase: ``<results_dir>/<name>/<phase>_<tag>``."""

    path: Path
    tag: str

    @property
    def phase(self) -> str:
        """The part of its name before the tag."""
        return self.path.name.removesuffix(f"_{self.tag}")

    @property
    def images(self) -> Path:
        """Where its pictures are."""
        return self.path / "images"

    def num_samples(self, domain: str) -> int:
        """Draws of each image (``test.py --num_samples``), by the highest number in a file name; 1 without any."""
        drawn = re.compile(rf"_fake_{domain}_(\d+)({IN_COLOURS})?\.[a-z]+$")
        files = scan(self.images) if self.images.is_dir() else []
        return max([1, *(int(match[1]) for file in files if (match := drawn.search(Path(file).name)))])


def choose(place: RunPlace, phase: str, epochs: Sequence[str], *, any_phase: bool) -> list[ResultFolder]:
    """The folders that the user means; they need not exist.

    Without ``epochs`` it is ``<phase>_latest``; where the run has no checkpoint of that name and that folder is
    missing, the only result folder there is.

    Args:
        place: of the run.
        phase: ``test``, ``val``...
        epochs: tags, ``("all",)`` for every checkpoint and every result folder of the phase, or nothing.
        any_phase: whether the phase was not given, so that another one may be meant.

    Raises:
        FileNotFoundError: there is neither such a run nor such results.
        ValueError: several could be meant.
    """
    check_name(place.name)
    if not place.checkpoints.is_dir() and not place.results.is_dir():
        names = [each.name for folder in (place.results_dir, place.checkpoints_dir) for each in _folders(folder)]
        near = closest(place.name, names)
        hint = f"; did you mean {near}?" if near else ""
        raise FileNotFoundError(
            f"--name {place.name}: neither {place.results} nor {place.checkpoints} exists{hint}; "
            f"make results by: python test.py --name {place.name}"
        )
    there = _result_folders(place)
    of_phase = {each.tag for each in there if each.phase == phase}
    saved = set(_checkpoint_tags(place))
    if epochs == ("all",):
        tags = of_phase | saved
        if not tags:
            raise FileNotFoundError(f"--name {place.name} --epoch all: no checkpoint in {place.checkpoints}")
        return [ResultFolder(place.results / f"{phase}_{tag}", tag) for tag in sorted(tags, key=_in_time)]
    for tag in epochs:
        if tag not in of_phase | saved:
            known = ", ".join(sorted(of_phase | saved, key=_in_time)) or "none"
            raise FileNotFoundError(
                f"--name {place.name} --epoch {tag}: neither {place.results / f'{phase}_{tag}'} nor such a checkpoint "
                f"in {place.checkpoints} exists; there are: {known}"
            )
    if epochs:
        return [ResultFolder(place.results / f"{phase}_{tag}", tag) for tag in sorted(set(epochs), key=_in_time)]
    if "latest" in of_phase | saved:
        return [ResultFolder(place.results / f"{phase}_latest", "latest")]
    fitting = [each for each in there if any_phase or each.phase == phase]
    if len(fitting) == 1:
        return fitting
    if fitting:
        several = ", ".join(each.path.name for each in fitting)
        raise ValueError(
            f"--name {place.name}: {place.results} has {several}; choose by --phase and --epoch, "
            f"e.g. --phase {fitting[0].phase} --epoch {fitting[0].tag}"
        )
    raise FileNotFoundError(
        f"--name {place.name}: no results in {place.results}; make them by: python test.py --name {place.name}"
    )


def make_missing(
    place: RunPlace,
    folders: Sequence[ResultFolder],
    flags: Sequence[str],
    *,
    again: bool,
    test: Callable[[list[str]], int],
) -> int:
    """Run ``test.py`` for the folders that are missing (or for all); returns the first exit code that is not 0."""
    for folder in folders:
        newer = _outdated(place, folder)
        if folder.images.is_dir() and not again:
            if newer:
                logger.warning("warning: %s is older than the checkpoint; --retest makes it again", folder.path)
            continue
        words = [*words_of_test(place, folder), *flags]
        logger.info("making %s: python test.py %s", folder.path, " ".join(words))
        if code := test(words):
            return code
    return 0


def words_of_test(place: RunPlace, folder: ResultFolder, *, only_needed: bool = False) -> list[str]:
    """The words of test.py that make a folder; with ``only_needed`` without those that say the default."""
    where = {"checkpoints_dir": place.checkpoints_dir, "results_dir": place.results_dir}
    words = ["--name", place.name]
    for flag, value in where.items():
        words += [] if only_needed and value == Path(flag.removesuffix("_dir")) else [f"--{flag}", str(value)]
    words += [] if only_needed and folder.phase == "test" else ["--phase", folder.phase]
    return words + ([] if only_needed and folder.tag == "latest" else _which(folder.tag))


def _outdated(place: RunPlace, folder: ResultFolder) -> bool:
    page = folder.path / "index.html"
    loaded = _LATEST_ITER.fullmatch(folder.tag)
    tag = f"iter_{loaded[1]}" if loaded else folder.tag
    saved = [file.stat().st_mtime for file in place.checkpoints.glob(f"{tag}_net_*.pth")]
    return bool(saved) and page.is_file() and max(saved) > page.stat().st_mtime


def _which(tag: str) -> list[str]:
    """The flags of test.py that give this tag."""
    loaded = _LATEST_ITER.fullmatch(tag)
    return ["--epoch", "latest", "--load_iter", loaded[1]] if loaded else ["--epoch", tag]


def _result_folders(place: RunPlace) -> list[ResultFolder]:
    """Folders with pictures, in natural order; what a test left behind that was killed is none."""
    found = []
    for path in _folders(place.results):
        if (path / "images").is_dir() and path.suffix != ".partial":
            match = _FOLDER.fullmatch(path.name)
            found.append(ResultFolder(path, match["tag"] if match else path.name.partition("_")[2]))
    return sorted(found, key=lambda each: natural_key(each.path.name))


def _checkpoint_tags(place: RunPlace) -> list[str]:
    return Checkpointer(place.checkpoints).tags() if place.checkpoints.is_dir() else []


def _folders(folder: Path) -> list[Path]:
    return [each for each in folder.iterdir() if each.is_dir()] if folder.is_dir() else []


def _in_time(tag: str) -> tuple[int, tuple[list[str | int], str]]:
    """Epochs, then images, then the best, then the latest; each in the order in which people count."""
    kinds = (tag.isdigit(), tag.startswith("iter_"), bool(_LATEST_ITER.fullmatch(tag)), tag.startswith("best"))
    rank = kinds.index(True) if True in kinds else 4
    return (5 if tag == "latest" else rank), natural_key(tag)

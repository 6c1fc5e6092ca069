"""The pictures of a comparison of runs: which there are, which all runs have, and copies of them for the page."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from data import DATASETS
from util.comparison import ComparedRun, ImageCell, joined
from util.images.folder import natural_key, scan
from util.types import ABOUT_A_FAKE, IN_COLOURS

Pictures = Mapping[str, Mapping[str, Path]]
"""Kind of picture (``fake``, ``input``, ``target``) -> stem -> file."""

_FOLDER = re.compile(r"(?P<phase>.+?)_(?P<tag>latest|latest_iter(?P<iter>\d+)|\d+|iter_\d+|best_\w+)")
_SHOWN = 3


def find_pictures(name: str, checkpoints_dir: Path, results_dir: Path, folder: str, domain: str) -> Pictures:
    """The pictures of one result folder of a run.

    Raises:
        FileNotFoundError: it is missing or has no outputs; the message has the command that makes them.
    """
    place = results_dir / name / folder / "images"
    command = _test_command(name, checkpoints_dir, results_dir, folder)
    if not place.is_dir():
        raise FileNotFoundError(f"--compare {name}: {place} does not exist; make it by: {command}")
    files = scan(place)
    found = _of_suffix(files, place, f"fake_{domain}")
    if found:
        other = "A" if domain != "A" else "B"
        sides = {"input": f"real_{other}", "target": f"real_{domain}"}
        return {"fake": found, **{kind: _of_suffix(files, place, suffix) for kind, suffix in sides.items()}}
    if one_sided := _of_suffix(files, place, "fake"):  # of --model test
        return {"fake": one_sided, "input": _of_suffix(files, place, "real"), "target": {}}
    raise FileNotFoundError(
        f"--compare {name}: no image *_fake_{domain}.png in {place}; check --domain, or make them by: {command}"
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


def common_stems(names: Sequence[str], pictures: Sequence[Pictures], folder: str, domain: str) -> list[str]:
    """Stems of the outputs that all runs have, natural order.

    Raises:
        ValueError: there is none.
    """
    common = set.intersection(*({*each["fake"]} for each in pictures))
    if not common:
        counts = ", ".join(f"{name} has {_some([*each['fake']])}" for name, each in zip(names, pictures))
        raise ValueError(
            f"--compare {' '.join(names)}: no fake_{domain} image of {folder} is there in all runs: {counts}; "
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
        self._paired = [place for place, run in enumerate(runs) if _is_paired(run)]
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
        shutil.copyfile(file, self._images / name)
        return name


def _is_paired(run: ComparedRun) -> bool:
    """Whether real_B is the target of fake_B; a run without options counts as paired."""
    mode = str((run.options or {}).get("dataset_mode", "aligned"))
    return mode not in DATASETS.names() or DATASETS.get(mode).paired


def _same(one: Path, other: Path) -> bool:
    """Whether two pictures have the same pixels; their files may differ by the library that wrote them."""
    if one.read_bytes() == other.read_bytes():
        return True
    with Image.open(one) as left, Image.open(other) as right:
        return left.mode == right.mode and left.size == right.size and left.tobytes() == right.tobytes()


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")

"""Where volumes lie: the files of folders sorted into series, each with its patient."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from util.files import real_path
from util.images.folder import natural_key
from util.volumes import dicom, files
from util.volumes.grid import Volume

PACKAGES = {"nibabel": "nibabel", "pydicom": "'pydicom>=3.0.2'", "SimpleITK": "SimpleITK"}
"""Package -> what pip is to install."""

_BIDS = re.compile(r"(?:^|/)(sub-[A-Za-z0-9]+)")


@dataclass(frozen=True)
class Series:
    """One volume that is not read yet.

    Attributes:
        patient: whose it is.
        name: number and description of a DICOM series, else the file's name without suffix.
        paths: its files, in the order of its slices.
        modality: of DICOM, such as ``CT``; empty for other files.
    """

    patient: str
    name: str
    paths: tuple[Path, ...]
    modality: str = ""
    dicom: bool = False

    @property
    def source(self) -> str:
        """The file, or of several the folder."""
        return str(self.paths[0] if len(self.paths) == 1 else self.paths[0].parent)

    def load(self) -> Volume:
        """Raises ``ValueError`` with the reason where it cannot be used."""
        return dicom.read_series(self.paths) if self.dicom else files.read_file(self.paths[0])

    def grid(self) -> Volume:
        """Where its voxels lie, from the headers alone, all of them 0; raises as ``load``."""
        if self.dicom:
            return dicom.read_series(self.paths, voxels=False)
        return files.read_file(self.paths[0], voxels=False)


@contextmanager
def naming_packages(program: str) -> Iterator[None]:
    """Turn the error of a missing optional package into one that says how to get it.

    Raises:
        ValueError: nibabel, pydicom or SimpleITK is missing, or pydicom is older than 3.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in PACKAGES:
            raise
        raise ValueError(f"{program} needs the package {package} for this: pip install {PACKAGES[package]}") from None


def find_series(sources: Sequence[Path], patient_pattern: str = "") -> tuple[list[Series], list[str]]:
    """All series of files and folders, and one line for each file that belongs to none.

    A patient is what ``patient_pattern`` finds in the path; without it the PatientID of DICOM, else ``sub-NAME`` in the
    path (BIDS), else the first folder below the source, else the file's name.

    Args:
        sources: files and folders, which are searched to any depth. Hidden files and DICOMDIR are passed over.
        patient_pattern: regular expression with one group.

    Raises:
        FileNotFoundError: a source does not exist.
        ValueError: no regular expression.
    """
    for source in sources:
        if not source.exists():
            raise FileNotFoundError(f"SOURCE {source}: there is no such file or folder")
    try:
        pattern = re.compile(patient_pattern) if patient_pattern else None
    except re.error as error:
        raise ValueError(f"--patient_pattern {patient_pattern}: is no regular expression ({error})") from None
    folders = [source if source.is_dir() else source.parent for source in sources]
    root = Path(os.path.commonpath([os.path.abspath(folder) for folder in folders]))
    found: list[Series] = []
    problems: list[str] = []
    headers = []
    sets: set[frozenset[Path]] = set()
    for path in _files(sources):
        try:
            if files.suffix_of(path) in files.SUFFIXES:
                if (together := files.set_of(path)) and together in sets:
                    continue
                sets.add(together)
                name = path.name[: len(path.name) - len(files.suffix_of(path))].removesuffix(".ome")
                found.append(Series(_patient(path, root, pattern), name, (path,)))
            elif files.suffix_of(path) not in files.COMPANIONS:
                if not dicom.is_dicom(path):
                    files.read_file(path)  # raises why it is no volume
                headers.append(dicom.read_header(path))
        except (ValueError, OSError) as error:
            problems.append(f"{path}: {error}")
    sorted_series, unsorted = dicom.sort_into_series(headers)
    for group in sorted_series:
        paths = tuple(header.path for header in group)
        try:
            patient = (not pattern and dicom.patient_of(group[0])) or _patient(paths[0], root, pattern)
        except ValueError as error:
            problems.append(f"{paths[0].parent}: {error}")
            continue
        name = dicom.series_name(group[0]) or paths[0].stem
        found.append(Series(patient, name, paths, str(group[0].tags.get("Modality", "")), True))
    found.sort(key=lambda series: (natural_key(series.patient), natural_key(str(series.paths[0]))))
    return found, problems + unsorted


def _files(sources: Sequence[Path]) -> Iterator[Path]:
    seen = set()
    for source in sources:
        below = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
        for path in below:
            hidden = any(part.startswith(".") for part in path.relative_to(source).parts)
            real = real_path(path)
            if not hidden and path.name.upper() != "DICOMDIR" and real not in seen:
                seen.add(real)
                yield path


def _patient(path: Path, root: Path, pattern: re.Pattern[str] | None) -> str:
    whole = path.absolute().as_posix()
    if pattern:
        match = pattern.search(whole)
        if not match:
            raise ValueError(f"--patient_pattern {pattern.pattern} finds no patient in its path")
        return match[1] if pattern.groups else match[0]
    if match := _BIDS.search(whole):
        return match[1]
    parts = Path(os.path.relpath(path.absolute(), root)).parts
    return parts[0] if len(parts) > 1 else path.name[: len(path.name) - len(files.suffix_of(path))] or path.name

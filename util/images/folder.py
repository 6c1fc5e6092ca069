"""Finding the images of a folder, in the order in which people count."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from util.images.io import IMAGE_SUFFIXES
from util.wording import counted

_DIGITS = re.compile(r"([0-9]+)")
_SHOWN = 6  # names in a message

# What lies beside images in a data set without being one: nobody misses it.
_BESIDE = (
    "txt md rst pdf html json jsonl xml yaml yml toml csv tsv xlsx ini cfg log py sh ipynb db zip gz tgz tar 7z rar "
    "pth pt onnx pkl aux ovr prj tfw wld jgw pgw lnk url tmp bak"
)
_NO_IMAGES = frozenset(f".{suffix}" for suffix in _BESIDE.split())
_REMEDIES = {
    "DICOM": ((".dcm", ".dicom", ".ima"), "save the slices as 16-bit TIFF with their values in HU"),
    "volumes": ((".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".mgz", ".hdr"), "save their slices as TIFF"),
    "videos": (
        (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"),
        "datasets/prepare_video.py saves their frames",
    ),
    "raw photos": ((".dng", ".nef", ".cr2", ".cr3", ".arw", ".raf", ".orf"), "develop them to 16-bit TIFF"),
    "HEIF": ((".heic", ".heif"), "convert them to PNG or JPEG"),
    "arrays": ((".npz", ".mat", ".h5", ".hdf5", ".nc", ".zarr", ".pfm", ".exr"), "save them as .npy or float TIFF"),
}


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sort key by which ``img2`` comes before ``img10``; equal numbers (``1``, ``01``) fall back to the text."""
    parts: list[str | int] = list(_DIGITS.split(name))
    parts[1::2] = [int(part) for part in parts[1::2]]
    return parts, name


def is_image(name: str) -> bool:
    """Whether a file name has the suffix of an image, in upper or lower case, and is not hidden."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def scan(folder: str | os.PathLike[str], max_size: float = float("inf")) -> list[str]:
    """All images below ``folder``, natural order by relative path, then the first ``max_size`` of them.

    Hidden files and folders are left out; links to folders are followed once.

    Raises:
        FileNotFoundError: no such folder.
    """
    root = os.fspath(folder)
    found = sorted(_images_below(root), key=natural_key)
    count = len(found) if max_size == float("inf") else int(max_size)
    return [os.path.join(root, name) for name in found[:count]]


def holds_images(folder: str | os.PathLike[str]) -> bool:
    """Whether ``scan`` would find anything; stops at the first image."""
    return any(True for _ in _images_below(os.fspath(folder)))


def left_out(folders: Iterable[str | os.PathLike[str]]) -> str:
    """One line on the files of these folders (not of those below) that are not read; empty where there are none.

    Counted by suffix, with what to do about well-known kinds: "2 .dcm files are not read (DICOM: save ...)". Hidden
    files, and those that are usual beside images (text, tables, archives, world files), do not count.
    """
    counts: Counter[str] = Counter()
    for folder in folders:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_file()]
        counts.update(_suffix(name) for name in names if not name.startswith(".") and not is_image(name))
    for suffix in _NO_IMAGES:
        del counts[suffix]
    if not counts:
        return ""
    by_number = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    known = {suffix: kind for kind, (suffixes, _) in _REMEDIES.items() for suffix in suffixes}
    named = [f"{count} {suffix or 'without a suffix'}" for suffix, count in by_number]
    what = f"{listed(named)} file{'s' if counts.total() > 1 else ''} {'are' if counts.total() > 1 else 'is'} not read"
    kinds = dict.fromkeys(known[suffix] for suffix, _ in by_number if suffix in known)
    remedies = "; ".join(f"{kind}: {_REMEDIES[kind][1]}" for kind in kinds)
    return f"{what} ({remedies})" if remedies else what


def _suffix(name: str) -> str:
    lower = name.lower()
    return ".nii.gz" if lower.endswith(".nii.gz") else os.path.splitext(lower)[1]


def _images_below(root: str) -> Iterator[str]:
    """Paths below ``root`` in no order, see ``scan``."""
    for folder, name in _files_below(root):
        if is_image(name):
            yield f"{folder}/{name}" if folder else name


def _files_below(root: str) -> Iterator[tuple[str, str]]:
    """(folder below ``root``, name) of all files that are not hidden, in no order."""
    seen: set[str] = set()
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        with os.scandir(os.path.join(root, inside)) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    if entry.is_symlink():
                        real = os.path.realpath(entry.path)
                        if real in seen or Path(os.path.realpath(root)).is_relative_to(real):
                            continue  # a link in a circle
                        seen.add(real)
                    waiting.append(f"{inside}/{entry.name}" if inside else entry.name)
                else:
                    yield inside, entry.name


def require_images(folder: Path, *, flags: str, max_size: float = float("inf"), remedy: str = "") -> list[str]:
    """``scan`` of a folder that must exist and hold images.

    Args:
        folder: where to look.
        flags: how the user named it, e.g. ``--dataroot D --phase train``.
        max_size: see ``scan``.
        remedy: what to do, beside looking at the names that the message lists.

    Raises:
        FileNotFoundError: no folder, or no image in it; the message says what is there instead.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{flags}: there is no folder {folder}; {describe(nearest(folder))}{_tail(remedy)}")
    files = scan(folder, max_size)
    if not files:
        kinds = " ".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
        others = left_out({os.path.join(folder, inside) for inside, _ in _files_below(os.fspath(folder))})
        there = "; ".join(part for part in (describe(folder), others) if part)
        raise FileNotFoundError(f"{flags}: no images ({kinds}) in {folder}; {there}{_tail(remedy)}")
    return files


def nearest(folder: Path) -> Path:
    """The folder itself, or the first of its parents that exists."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


def subfolders(folder: Path) -> list[str]:
    """Names of the visible folders directly in ``folder``, natural order; none if it does not exist."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    return sorted(names, key=natural_key)


def has_images(folder: Path) -> bool:
    """Whether an image lies directly in ``folder``."""
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return any(is_image(entry.name) and entry.is_file() for entry in entries)


def describe(folder: Path) -> str:
    """What lies directly in a folder, in a few words for a message."""
    folders = subfolders(folder)
    files = 0
    with os.scandir(folder) as entries:
        files = sum(entry.is_file() for entry in entries)
    if not folders and not files:
        return f"{folder} is empty"
    parts = [f"the folders {listed(folders)}"] if folders else []
    parts += [counted(files, "file")] if files else []
    return f"{folder} has {' and '.join(parts)}"


def listed(names: list[str]) -> str:
    """The first few names and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def stem(path: str, folder: str | os.PathLike[str]) -> str:
    """The path below ``folder``, without its suffix: the name by which the two sides of a pair find each other.

    Args:
        path: as ``scan(folder)`` gives it.
        folder: the folder that was scanned.
    """
    return os.path.splitext(path.removeprefix(os.fspath(folder)).lstrip(os.sep))[0]


def _tail(remedy: str) -> str:
    return f": {remedy}" if remedy else ""

"""The phases of a data set on disk, and how each is laid out: for scripts/check_data.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from data.class_layout import PHASES, ClassFolders, class_root, find_classes
from data.coco import CocoImages, image_folder, read_coco
from util.image_folder import describe, has_images, scan, subfolders
from util.image_io import read_header


@dataclass(frozen=True)
class Phase:
    """One phase of a data set on disk: its layout, and the files of its sides (``A`` alone where there is no B)."""

    name: str
    layout: str  # side_by_side, folders, unaligned, single or class_folders
    sides: dict[str, list[str]]
    folders: dict[str, Path]
    annotations: dict[str, CocoImages] = field(default_factory=dict)  # of unaligned_coco, by side
    classes: ClassFolders | None = None  # of class_folders


def find_phases(dataroot: Path, names: Iterable[str] = (), dataset_mode: str = "") -> list[Phase]:
    """The phases below ``dataroot`` and how each is laid out.

    Args:
        dataroot: folder of the data set.
        names: phases to look at (default: all there are).
        dataset_mode: ``aligned``, ``unaligned``, ``single`` or ``class_folder`` instead of a guess from the folders.

    Raises:
        FileNotFoundError: no such folder, or no such phase in it.
    """
    if not dataroot.is_dir():
        raise FileNotFoundError(f"{dataroot}: there is no such folder")
    if dataset_mode == "class_folder":
        return class_phases(dataroot, names)
    inside = set(subfolders(dataroot))
    pairs = sorted(name[:-1] for name in inside if name.endswith("A") and len(name) > 1 and name[:-1] + "B" in inside)
    plain = sorted(inside - {name + side for name in pairs for side in "AB"})
    if not names and has_images(dataroot):
        return [_phase(dataroot, "", dataset_mode)]
    if not names and not dataset_mode and not pairs and _holds_classes(dataroot):
        return [_class_phase(".", dataroot)]
    wanted = list(names) or [*plain, *(name for name in pairs if name not in plain)]
    phases = []
    for name in wanted:
        if name not in inside and name not in pairs:
            raise FileNotFoundError(f"--phase {name}: {describe(dataroot)}")
        phases.append(_phase(dataroot, name, dataset_mode or ("unaligned" if name not in inside else "")))
    found = [phase for phase in phases if any(phase.sides.values())]
    if not found:
        raise FileNotFoundError(f"{dataroot}: no images found; {describe(dataroot)}")
    return found


def class_phases(dataroot: Path, names: Iterable[str] = ()) -> list[Phase]:
    """The phases whose folders have class folders, or the data root itself as one, as the data set reads them.

    Args:
        dataroot: folder of the data set.
        names: phases to look at (default: all there are).

    Raises:
        FileNotFoundError: no class folders, or no image in them.
    """
    wanted = list(names) or [name for name in subfolders(dataroot) if subfolders(dataroot / name)]
    roots = {name: class_root(dataroot, name) for name in wanted or ["train"]}
    phases = [_class_phase("." if root == dataroot else name, root) for name, root in roots.items()]
    if not any(phase.sides["A"] for phase in phases):
        raise FileNotFoundError(f"{dataroot}: no images found in class folders; {describe(dataroot)}")
    return phases


def _class_phase(name: str, root: Path) -> Phase:
    found = find_classes(root)
    files = [path for paths in found.images.values() for path in paths]
    return Phase(name, "class_folders", {"A": files}, {"A": root}, classes=found)


def _holds_classes(folder: Path) -> bool:
    """Whether it looks like a folder of classes: two folders or more with images right in them, none called a phase."""
    inside = subfolders(folder)
    named = {"A", "B"} <= set(inside) or set(PHASES) & set(inside)
    return not named and not has_images(folder) and sum(has_images(folder / name) for name in inside) >= 2


def coco_phases(dataroot: Path, names: Iterable[str] = (), *, imagedir: str, category_id: int) -> list[Phase]:
    """The phases that have the annotation files PHASEA.json and PHASEB.json in ``dataroot``.

    Args:
        dataroot: folder of the data set.
        names: phases to look at (default: all there are).
        imagedir: ``--coco_imagedir``.
        category_id: of the boxes.

    Raises:
        FileNotFoundError: no such files.
        ValueError: one of them is broken.
    """
    there = {file.stem for file in dataroot.glob("?*[AB].json")}
    phases = list(names) or sorted(name[:-1] for name in there if name.endswith("A") and name[:-1] + "B" in there)
    if not phases:
        raise FileNotFoundError(f"{dataroot}: no annotation files <phase>A.json and <phase>B.json")
    found = []
    for name in phases:
        sides = {
            side: read_coco(
                dataroot / f"{name}{side}.json",
                image_folder(dataroot, name + side, imagedir),
                category_id=category_id,
            )
            for side in "AB"
        }
        paths = {side: images.paths for side, images in sides.items()}
        folders = {side: images.folder for side, images in sides.items()}
        found.append(Phase(name, "unaligned", paths, folders, sides))
    return found


def _phase(dataroot: Path, name: str, dataset_mode: str) -> Phase:
    folder = dataroot / name
    if dataset_mode == "unaligned":
        folders = {side: dataroot / f"{name}{side}" for side in "AB"}
        layout = "unaligned"
    elif dataset_mode != "single" and {"A", "B"} <= set(subfolders(folder)):
        folders = {side: folder / side for side in "AB"}
        layout = "folders"
    else:
        folders, layout = {"A": folder}, "single"
    sides = {side: scan(where) if where.is_dir() else [] for side, where in folders.items()}
    if layout == "single" and dataset_mode != "single" and (dataset_mode == "aligned" or _looks_paired(sides["A"])):
        layout = "side_by_side"
    if layout == "single" and not dataset_mode and _holds_classes(folder):
        return _class_phase(name, folder)
    return Phase(name or ".", layout, sides, folders)


def _looks_paired(files: list[str]) -> bool:
    """Whether the first readable file is two squares side by side."""
    for path in files[:5]:
        try:
            header = read_header(path)
        except ValueError:
            continue
        return header.width == 2 * header.height
    return False

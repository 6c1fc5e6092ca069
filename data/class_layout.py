"""Where the images of classes lie: a folder a class, in the folder of a phase."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from util.image_folder import describe, has_images, holds_images, listed, nearest, scan, subfolders

PHASES = ("train", "val", "test")


@dataclass(frozen=True)
class ClassFolders:
    """What lies in a folder of classes.

    Attributes:
        root: that folder.
        images: class -> its files, classes by plain order of their names as published, files in natural order.
        empty: class folders without an image.
        loose: whether images lie beside the class folders.
    """

    root: Path
    images: dict[str, list[str]] = field(default_factory=dict)
    empty: tuple[str, ...] = ()
    loose: bool = False

    def remarks(self) -> list[str]:
        """What of the folder is not used, one line each."""
        found = []
        if self.empty:
            many = len(self.empty) > 1
            found.append(
                f"{self.root}: {len(self.empty)} class folder{'s have' if many else ' has'} no images and "
                f"{'are' if many else 'is'} left out: {listed(list(self.empty))}"
            )
        if self.loose:
            found.append(f"{self.root}: images that lie beside the class folders have no class and are left out")
        return found


def class_root(dataroot: Path, phase: str) -> Path:
    """The folder that holds the class folders of a phase: DATAROOT/PHASE, or DATAROOT itself for ``train``.

    The data root itself only where it has no folder of any usual phase, and never for a test, which would then be done
    on the images of the training.

    Raises:
        FileNotFoundError: there are no class folders; the message says what is there instead.
    """
    folder = dataroot / phase
    if subfolders(folder):
        return folder
    flags, there = f"--dataroot {dataroot} --phase {phase}", subfolders(dataroot)
    phases = [name for name in PHASES if name in there]
    if phase == "train" and not phases and there:
        return dataroot
    if folder.is_dir():
        raise FileNotFoundError(
            f"{flags}: no class folders in {folder}; {describe(folder)}: "
            f"put the images of each class into {folder / 'CLASS'}"
        )
    if there and not phases:
        raise FileNotFoundError(
            f"{flags}: there is no folder {folder}, and the classes in {dataroot} are those of the training: give "
            f"--phase train to use them, or put other images into {folder / 'CLASS'}"
        )
    raise FileNotFoundError(
        f"{flags}: there is no folder {folder}; {describe(nearest(folder))}: give the --phase that is there, "
        f"or put the images of each class into {folder / 'CLASS'}"
    )


def class_names_below(root: Path) -> list[str]:
    """Names of the folders in ``root`` that hold images, in plain order."""
    return [name for name in sorted(subfolders(root)) if holds_images(root / name)]


def find_classes(root: Path) -> ClassFolders:
    """The classes of a folder; hidden folders are passed over, subfolders belong to their class."""
    files = {name: scan(root / name) for name in sorted(subfolders(root))}
    return ClassFolders(
        root,
        {name: paths for name, paths in files.items() if paths},
        tuple(name for name, paths in files.items() if not paths),
        has_images(root),
    )


def in_turn(classes: Sequence[Sequence[str]], count: float) -> list[list[str]]:
    """Of every class its first files, ``count`` of them in all or all there are, taken from the classes in turn."""
    sizes = [len(files) for files in classes]
    if sum(sizes) <= count:
        return [list(files) for files in classes]
    full = bisect_right(range(max(sizes)), count, key=lambda depth: sum(min(size, depth) for size in sizes)) - 1
    taken, left = [], int(count) - sum(min(size, full) for size in sizes)
    for files in classes:
        more = left > 0 and len(files) > full
        left -= more
        taken.append(list(files[: full + more]))
    return taken

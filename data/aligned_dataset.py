"""Pairs: one picture beside the other in a file, or two folders matched by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from data import DATASETS
from data.base_dataset import BaseDataset, Side
from data.transforms import Prepared
from options.base_options import DataOptions
from options.schema import Given, arg
from util.images.folder import describe, has_images, listed, require_images, scan, stem, subfolders
from util.images.io import Header, Picture

_ONE_SIDED = "for images without a partner use --model test --dataset_mode single"


@dataclass(frozen=True, kw_only=True)
class AlignedOptions(DataOptions):
    """Whether files may be pairs that look like one picture."""

    portrait_pairs: bool = arg(
        False,
        advanced=True,
        help="files that are no wider than high are pairs too, of halves at least twice as high as wide (set by giving "
        "--dataset_mode aligned)",
    )

    @classmethod
    def derive(cls, values: Mapping[str, Any], given: Given) -> Mapping[str, Any]:
        """Who names the data set by ``--dataset_mode aligned`` is believed; the run remembers it."""
        values = super().derive(values, given)
        named = "dataset_mode" in given.flags or "dataset_mode" in given.config
        return {**values, "portrait_pairs": True} if named and "portrait_pairs" not in given.flags else values


@DATASETS.register("aligned")
class AlignedDataset(BaseDataset):
    """Pairs of images: DATAROOT/PHASE/*.png with A left and B right, or folders DATAROOT/PHASE/A and B.

    Both sides of a pair get the same crop and flip. In folders, partners have the same name; suffixes may differ.
    """

    Options: ClassVar[type[DataOptions]] = AlignedOptions
    paired: ClassVar[bool] = True
    layout: ClassVar[str] = "aligned"

    def __init__(self, options: DataOptions, *, input_nc: int, output_nc: int, seed: int = 0) -> None:
        super().__init__(options, input_nc=input_nc, output_nc=output_nc, seed=seed)
        folder = self.dataroot / options.phase
        flags = f"--dataroot {options.dataroot} --phase {options.phase}"
        self.side_by_side = not _check_layout(folder, flags)
        self._other_names = _hint_of_names(folder) if self.side_by_side else ""
        if self.side_by_side:
            self._a_paths = self._b_paths = require_images(folder, flags=flags, max_size=options.max_dataset_size)
            self.root = folder
        else:
            pairs = match_by_stem(folder / "A", folder / "B", flags=flags)
            count = int(min(len(pairs), options.max_dataset_size))
            self._a_paths, self._b_paths = [a for a, _ in pairs[:count]], [b for _, b in pairs[:count]]
            self.root = folder / ("A" if options.direction == "AtoB" else "B")

    def __len__(self) -> int:
        return len(self._a_paths)

    def counts(self) -> dict[str, int]:
        return {"pairs": len(self)}

    def unit_paths(self, unit: int) -> tuple[str, ...]:
        return (self._a_paths[unit],) if self.side_by_side else (self._a_paths[unit], self._b_paths[unit])

    def picture_size(self, header: Header) -> tuple[int, int]:
        return (header.width // 2 if self.side_by_side else header.width), header.height

    def pictures(self, unit: int) -> dict[Side, Picture]:
        if not self.side_by_side:
            return super().pictures(unit)
        path = self._a_paths[unit]
        a, b = self.halves(path)
        return {"A": self.chosen(a, "A", path), "B": self.chosen(b, "B", path)}

    def halves(self, path: str) -> tuple[Picture, Picture]:
        """A and B of one file, which is read twice where one of them is to be read in another way."""
        portrait = getattr(self.options, "portrait_pairs", False)
        try:
            a, b = split(self.read(path), path, portrait=portrait)
        except ValueError as error:
            raise ValueError(f"{error}{self._other_names}") from None
        A, B = self.options.side("A"), self.options.side("B")
        alike = (bool(A.label_nc), bool(A.nodata)) == (bool(B.label_nc), bool(B.nodata))
        return a, (b if alike else split(self.read(path, "B"), path, portrait=portrait)[1])

    def decode(self, unit: int) -> dict[str, Prepared]:
        if not self.side_by_side:
            return self.decode_files(self._a_paths[unit], self._b_paths[unit])
        path = self._a_paths[unit]
        a, b = self.halves(path)
        return {"A": self.prepare_side(a, "A", path), "B": self.prepare_side(b, "B", path)}


def split(picture: Picture, path: str, *, portrait: bool = False) -> tuple[Picture, Picture]:
    """The left and the right half of a side-by-side picture.

    Args:
        picture: to cut.
        path: of its file, for messages.
        portrait: the halves may be at least twice as high as wide.

    Raises:
        ValueError: the width is odd, or, unless ``portrait``, no larger than the height: that is one picture, not two.
    """
    height, width = picture.array.shape[:2]
    if width % 2:
        raise ValueError(
            f"{path}: a width of {width} pixels cannot be cut into two equal halves A and B: "
            f"make pairs with datasets/combine_A_and_B.py; {_ONE_SIDED}"
        )
    if width <= height and not portrait:
        raise ValueError(
            f"{path}: {width}x{height} pixels look like one picture, not A and B side by side: "
            f"put the sides into folders A and B; if they are pairs, give --dataset_mode aligned; {_ONE_SIDED}"
        )
    half = width // 2
    return replace(picture, array=picture.array[:, :half]), replace(picture, array=picture.array[:, half:])


def match_by_stem(folder_a: Path, folder_b: Path, *, flags: str) -> list[tuple[str, str]]:
    """Pairs of files with the same relative path, suffixes aside, in natural order.

    Raises:
        FileNotFoundError: a folder is missing or empty.
        ValueError: files without a partner, or two files of a folder with one stem.
    """
    sides = [(folder, require_images(folder, flags=flags)) for folder in (folder_a, folder_b)]
    stems_a, stems_b = (stems(folder, files) for folder, files in sides)
    only_a, only_b = [s for s in stems_a if s not in stems_b], [s for s in stems_b if s not in stems_a]
    if only_a or only_b:
        parts = [
            f"{len(only)} of {len(files)} files in {folder} have no partner ({listed(only)})"
            for only, (folder, files) in zip((only_a, only_b), sides)
            if only
        ]
        raise ValueError(f"{flags}: {'; '.join(parts)}: partners have the same name in A and B; rename or remove these")
    return [(path, stems_b[key]) for key, path in stems_a.items()]


def stems(folder: Path, files: list[str]) -> dict[str, str]:
    """Stem -> path, in the order of ``files``.

    Raises:
        ValueError: two files have the same stem.
    """
    found: dict[str, str] = {}
    for path in files:
        other = found.setdefault(stem(path, folder), path)
        if other != path:
            raise ValueError(f"{other} and {path} have the same name but for the suffix: keep one of them")
    return found


def _check_layout(folder: Path, flags: str) -> bool:
    """True for folders A and B; raises if the layout is one that ``aligned`` cannot read."""
    inside = set(subfolders(folder))
    if {"A", "B"} <= inside:
        return True
    for here, missing in (("A", "B"), ("B", "A")):
        if inside == {here} and not has_images(folder):
            raise FileNotFoundError(
                f"{flags}: {folder} has a folder {here} but no {missing}: pairs need both; {_ONE_SIDED} "
                f"--dataroot {folder / here}"
            )
    if not folder.is_dir() and {"A", "B"} <= set(subfolders(folder.parent)):
        raise FileNotFoundError(
            f"{flags}: {describe(folder.parent)}, but the sides of pairs lie below the phase: move them to "
            f"{folder / 'A'} and {folder / 'B'}, or join them by datasets/combine_A_and_B.py --fold_A "
            f"{folder.parent / 'A'} --fold_B {folder.parent / 'B'} --fold_AB NEW"
        )
    if not folder.is_dir() and {f"{folder.name}A", f"{folder.name}B"} <= set(subfolders(folder.parent)):
        raise FileNotFoundError(
            f"{flags}: {describe(folder.parent)}, which is the layout of unpaired data: use --dataset_mode unaligned "
            f"(and a model for unpaired images), or move pairs to {folder / 'A'} and {folder / 'B'}"
        )
    return False


def _hint_of_names(folder: Path) -> str:
    """For messages: that two folders of equal file names must be called A and B to be pairs; empty for others."""
    inside = subfolders(folder)
    if len(inside) != 2 or has_images(folder):
        return ""
    first, second = ({stem(path, folder / name) for path in scan(folder / name)} for name in inside)
    if first != second:
        return ""
    return f"; if {folder / inside[0]} and {inside[1]} hold the sides of pairs, call these folders A and B"

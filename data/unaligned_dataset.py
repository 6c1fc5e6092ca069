"""Two collections of images without pairs."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, ClassVar

from data import DATASETS
from data.base_dataset import BaseDataset, Side
from data.transforms import Placement, Prepared
from options.base_options import DataOptions
from util.images.folder import require_images, subfolders
from util.images.io import Picture

SIDES: tuple[Side, Side] = ("A", "B")


@DATASETS.register("unaligned")
class UnalignedDataset(BaseDataset):
    """Two folders of unpaired images: DATAROOT/PHASEA and DATAROOT/PHASEB, e.g. trainA and trainB.

    An epoch has as many samples as the larger folder. A goes in turn; B is drawn at random, by seed, epoch and index,
    or goes in turn too with ``--serial_batches``. Crop and flip of A and B are independent.
    """

    layout: ClassVar[str] = "unaligned"

    def __init__(self, options: DataOptions, *, input_nc: int, output_nc: int, seed: int = 0) -> None:
        super().__init__(options, input_nc=input_nc, output_nc=output_nc, seed=seed)
        (a_root, self._a_paths), (b_root, self._b_paths) = self.find_side("A"), self.find_side("B")
        self.root = a_root if options.direction == "AtoB" else b_root

    def find_side(self, side: Side) -> tuple[Path, list[str]]:
        """The folder of a side and its images in order.

        Raises:
            FileNotFoundError: there are none.
        """
        o = self.options
        flags = f"--dataroot {o.dataroot} --phase {o.phase}"
        remedy = "--dataset_mode unaligned reads <phase>A and <phase>B"
        if {"A", "B"} <= set(subfolders(self.dataroot / o.phase)):
            remedy += "; folders <phase>/A and <phase>/B are read by --dataset_mode aligned"
        elif {"A", "B"} <= set(subfolders(self.dataroot)):
            there = (
                self.dataroot / side / o.phase if (self.dataroot / side / o.phase).is_dir() else self.dataroot / side
            )
            remedy += f"; move {there} to {self.dataroot / f'{o.phase}{side}'}"
        folder, other = (self.dataroot / f"{o.phase}{each}" for each in (side, "B" if side == "A" else "A"))
        if o.phase != "train" and not folder.is_dir() and other.is_dir():
            suffix = "_B" if (side == "A") == (o.direction == "AtoB") else "_A"
            remedy = (
                f"for the images of one side: python test.py --model test --model_suffix {suffix} "
                f"--dataset_mode single --dataroot {other}"
            )
        return folder, require_images(folder, flags=flags, max_size=o.max_dataset_size, remedy=remedy)

    def __len__(self) -> int:
        return max(len(self._a_paths), len(self._b_paths))

    def num_units(self) -> int:
        return len(self._a_paths) + len(self._b_paths)

    def counts(self) -> dict[str, int]:
        return {"A": len(self._a_paths), "B": len(self._b_paths)}

    def sides(self) -> dict[Side, list[str]]:
        return {side: self._paths(side) for side in SIDES}

    def unit_paths(self, unit: int) -> tuple[str, ...]:
        of_b = unit - len(self._a_paths)
        return (self._a_paths[unit] if of_b < 0 else self._b_paths[of_b],)

    def _cached_as(self, unit: int) -> tuple[str, tuple[str, ...]]:
        return ("A" if unit < len(self._a_paths) else "B"), self.unit_paths(unit)

    def pictures(self, unit: int) -> dict[Side, Picture]:
        side: Side = "A" if unit < len(self._a_paths) else "B"
        (path,) = self.unit_paths(unit)
        return {side: self.chosen(self.read(path, side), side, path)}

    def decode(self, unit: int) -> dict[str, Prepared]:
        of_b = unit - len(self._a_paths)
        return {"A": self.decode_side("A", unit)} if of_b < 0 else {"B": self.decode_side("B", of_b)}

    def decode_side(self, side: Side, number: int) -> Prepared:
        """Read and scale image ``number`` of a side."""
        path = self._paths(side)[number]
        return self.prepare_side(self.read(path, side), side, path)

    def fetch_side(self, side: Side, number: int) -> Prepared:
        """``decode_side``, or its kept result with ``--cache ram``."""
        return self.fetch(number if side == "A" else len(self._a_paths) + number)[side]

    def sample(self, epoch: int, index: int) -> dict[str, Any]:
        rng = self.rng(epoch, index)
        a_index, b_index = self._partners(index, rng)
        return {**self.sample_side("A", a_index, rng), **self.sample_side("B", b_index, rng), "index": index}

    def readable(self, epoch: int, index: int) -> tuple[dict[str, Any] | None, list[Exception]]:
        """As ``BaseDataset.readable``; where one side is broken, the other is given the next partner that is not, so
        that it is not lost as well."""
        rng = self.rng(epoch, index)
        found: dict[str, Any] = {"index": index}
        errors: list[Exception] = []
        for side, number in zip(SIDES, self._partners(index, rng)):
            count = len(self._paths(side))
            for step in range(count):
                try:
                    found |= self.sample_side(side, (number + step) % count, rng)
                    break
                except (ValueError, OSError) as error:
                    errors += [] if step else [error]
        return (found if {"A", "B"} <= found.keys() and len(errors) < 2 else None), errors

    def _partners(self, index: int, rng: random.Random) -> tuple[int, int]:
        """The numbers of the images of A and B in a sample."""
        b_count = len(self._b_paths)
        return index % len(self._a_paths), index % b_count if self.options.serial_batches else rng.randrange(b_count)

    def sample_side(self, side: Side, number: int, rng: random.Random) -> dict[str, Any]:
        """What a sample has of image ``number`` of a side."""
        prepared = self.fetch_side(side, number)
        return self.described(side, number, prepared, self.place(rng, prepared))

    def described(self, side: Side, number: int, prepared: Prepared, placement: Placement) -> dict[str, Any]:
        """The picture of a side, its path, format and number."""
        return {
            side: self.cut(prepared, placement),
            f"{side}_paths": self._paths(side)[number],
            f"{side}_format": prepared.format,
            **dict(self.gaps(side, prepared, placement)),
            f"{side}_index": number,
        }

    def _paths(self, side: Side) -> list[str]:
        return self._a_paths if side == "A" else self._b_paths

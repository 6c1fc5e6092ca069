"""Two collections of images without pairs."""

from __future__ import annotations

from typing import Any

from data import DATASETS
from data.base_dataset import BaseDataset
from data.transforms import Prepared
from options.base_options import DataOptions
from util.image_folder import require_images, subfolders


@DATASETS.register("unaligned")
class UnalignedDataset(BaseDataset):
    """Two folders of unpaired images: DATAROOT/PHASEA and DATAROOT/PHASEB, e.g. trainA and trainB.

    An epoch has as many samples as the larger folder. A goes in turn; B is drawn at random, by seed, epoch and index,
    or goes in turn too with ``--serial_batches``. Crop and flip of A and B are independent.
    """

    def __init__(self, options: DataOptions, *, input_nc: int, output_nc: int, seed: int = 0) -> None:
        super().__init__(options, input_nc=input_nc, output_nc=output_nc, seed=seed)
        flags = f"--dataroot {options.dataroot} --phase {options.phase}"
        remedy = "--dataset_mode unaligned reads <phase>A and <phase>B"
        if {"A", "B"} <= set(subfolders(self.dataroot / options.phase)):
            remedy += "; folders <phase>/A and <phase>/B are read by --dataset_mode aligned"
        folders = [self.dataroot / f"{options.phase}{side}" for side in "AB"]
        self._a_paths, self._b_paths = (
            require_images(folder, flags=flags, max_size=options.max_dataset_size, remedy=remedy) for folder in folders
        )
        self.root = folders[0] if options.direction == "AtoB" else folders[1]

    def __len__(self) -> int:
        return max(len(self._a_paths), len(self._b_paths))

    def num_units(self) -> int:
        return len(self._a_paths) + len(self._b_paths)

    def counts(self) -> dict[str, int]:
        return {"A": len(self._a_paths), "B": len(self._b_paths)}

    def unit_paths(self, unit: int) -> tuple[str, ...]:
        of_b = unit - len(self._a_paths)
        return (self._a_paths[unit] if of_b < 0 else self._b_paths[of_b],)

    def decode(self, unit: int) -> tuple[Prepared, ...]:
        (path,) = self.unit_paths(unit)
        return (self.prepare_side(self.read(path), "A" if unit < len(self._a_paths) else "B", path),)

    def sample(self, epoch: int, index: int) -> dict[str, Any]:
        rng = self.rng(epoch, index)
        a_index = index % len(self._a_paths)
        b_index = index % len(self._b_paths) if self.options.serial_batches else rng.randrange(len(self._b_paths))
        (a,), (b,) = self.fetch(a_index), self.fetch(len(self._a_paths) + b_index)
        return {
            "A": self.tensor(a, self.place(rng, a)),
            "B": self.tensor(b, self.place(rng, b)),
            "A_paths": self._a_paths[a_index],
            "B_paths": self._b_paths[b_index],
            "A_format": a.format,
            "B_format": b.format,
            "A_index": a_index,
            "B_index": b_index,
            "index": index,
        }

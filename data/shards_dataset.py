"""Pairs, or inputs alone, in tar files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from data import DATASETS
from data.aligned_dataset import split
from data.base_dataset import BaseDataset, Side
from data.shards import Shards, cut_off, find_shards, refuse_compressed, samples
from data.transforms import Prepared
from options.base_options import DataOptions
from util.images.io import Header, Picture


@DATASETS.register("shards")
class ShardsDataset(BaseDataset):
    """Pairs in tar files: ``--dataroot 'shards/{000..099}.tar'``, a folder of ``<phase>-*.tar``, or a web address.

    Names are those of WebDataset: ``000017.A.png`` and ``000017.B.png``, or ``000017.AB.png`` with both side by side;
    pictures without a side are inputs alone. Files from the web are downloaded into ``--cache_dir`` first.
    """

    paired: ClassVar[bool] = True

    def __init__(self, options: DataOptions, *, input_nc: int, output_nc: int, seed: int = 0) -> None:
        super().__init__(options, input_nc=input_nc, output_nc=output_nc, seed=seed)
        paths = find_shards(options.dataroot, options.phase, options.cache_dir)
        found = samples(paths)
        self._samples = found[: int(min(len(found), options.max_dataset_size))]
        self._shards = Shards(paths, self._samples)
        sides = sorted(self._samples[0].members)
        self.side_by_side = sides == ["AB"]
        if sides == ["B"]:
            raise ValueError(f"{paths[0]}: has pictures of side B alone; --dataset_mode unaligned_shards reads them")
        for sample in self._samples:
            if sorted(sample.members) != sides:
                raise ValueError(
                    f"{paths[next(iter(sample.members.values())).shard]}: {sample.key} has "
                    f"{' and '.join(sorted(sample.members))}, but those before it {' and '.join(sides)}; pictures "
                    "without partners are read by --dataset_mode unaligned_shards"
                )
        self._sides = sides
        self.remarks = cut_off(paths)
        self.root = self.dataroot = paths[0].parent

    def find_root(self) -> Path:
        return root_of(self.options)

    def __len__(self) -> int:
        return len(self._samples)

    def counts(self) -> dict[str, int]:
        return {"images" if self._sides == ["A"] else "pairs": len(self), "shards": len(self._shards.paths)}

    def unit_paths(self, unit: int) -> tuple[str, ...]:
        return tuple(self._shards.path_of(self._samples[unit].members[side]) for side in self._sides)

    def picture_size(self, header: Header) -> tuple[int, int]:
        return (header.width // 2 if self.side_by_side else header.width), header.height

    def pictures(self, unit: int) -> dict[Side, Picture]:
        if not self.side_by_side:
            return super().pictures(unit)
        (path,) = self.unit_paths(unit)
        a, b = split(self.read(path), path, portrait=True)
        return {"A": self.chosen(a, "A", path), "B": self.chosen(b, "B", path)}

    def decode(self, unit: int) -> dict[str, Prepared]:
        a_path, *rest = self.unit_paths(unit)
        if self.side_by_side:
            a, _ = split(self.read(a_path), a_path, portrait=True)
            _, b = split(self.read(a_path, "B"), a_path, portrait=True)
            return {"A": self.prepare_side(a, "A", a_path), "B": self.prepare_side(b, "B", a_path)}
        return self.decode_files(a_path, *rest)

    def load(self, path: str, **how: Any) -> Picture:
        return self._shards.picture(path, **how)

    def header(self, path: str) -> Header:
        return self._shards.header(path)

    def _cached_as(self, unit: int) -> tuple[str, tuple[str, ...]]:
        return " ".join(map(self._shards.identity, self.unit_paths(unit))), ()

    @classmethod
    def phases(cls, options: DataOptions) -> tuple[str, ...]:
        raise ValueError(
            f"--dataroot {options.dataroot}: shards are checked before they are made; give the folder of the files"
        )


def root_of(options: DataOptions) -> Path:
    """The folder of local shards, or what the address on the web begins with, for names only.

    Raises:
        FileNotFoundError: no such folder.
    """
    root = Path(options.dataroot)
    refuse_compressed(options.dataroot)
    if options.dataroot.endswith(".tar"):
        return root.parent
    if not root.is_dir():
        raise FileNotFoundError(
            f"--dataroot {options.dataroot}: there is no such folder; name a folder of tar files, or the files: "
            "'shards/{000..099}.tar'"
        )
    return root

"""Two collections of images without pairs in tar files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from data import DATASETS
from data.base_dataset import Side
from data.shards import Shards, cut_off, find_shards, samples
from data.shards_dataset import ShardsDataset, root_of
from data.unaligned_dataset import UnalignedDataset
from options.base_options import DataOptions
from util.images.io import Header, Picture


@DATASETS.register("unaligned_shards")
class UnalignedShardsDataset(UnalignedDataset):
    """Unpaired images in tar files, named ``000017.A.png`` or ``000018.B.png``; see ``shards`` for ``--dataroot``.

    Pictures of both sides under one key are no pair.
    """

    layout: ClassVar[str] = ""

    def __init__(self, options: DataOptions, *, input_nc: int, output_nc: int, seed: int = 0) -> None:
        paths = find_shards(options.dataroot, options.phase, options.cache_dir) if options.dataroot else []
        self._samples = samples(paths) if paths else []
        self._shards = Shards(paths, self._samples)
        super().__init__(options, input_nc=input_nc, output_nc=output_nc, seed=seed)
        self.root = self.dataroot = paths[0].parent
        self.remarks = cut_off(paths)

    def find_root(self) -> Path:
        return root_of(self.options)

    def find_side(self, side: Side) -> tuple[Path, list[str]]:
        o = self.options
        found = [self._shards.path_of(each.members[side]) for each in self._samples if side in each.members]
        if not found:
            raise FileNotFoundError(
                f"--dataroot {o.dataroot} --phase {o.phase}: no pictures of side {side} in the shards"
            )
        return self.dataroot, found[: int(min(len(found), o.max_dataset_size))]

    def load(self, path: str, **how: Any) -> Picture:
        return self._shards.picture(path, **how)

    def header(self, path: str) -> Header:
        return self._shards.header(path)

    def _cached_as(self, unit: int) -> tuple[str, tuple[str, ...]]:
        side, (path,) = super()._cached_as(unit)
        return f"{side} {self._shards.identity(path)}", ()

    @classmethod
    def phases(cls, options: DataOptions) -> tuple[str, ...]:
        return ShardsDataset.phases(options)

"""Inputs only, for inference."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from data import DATASETS
from data.base_dataset import FileDataset
from data.transforms import Prepared, prepare
from options.base_options import DataOptions
from util.images.folder import describe, has_images, require_images, subfolders


@DATASETS.register("single")
class SingleDataset(FileDataset):
    """Images without partners: those in DATAROOT itself, or else in DATAROOT/PHASE.

    They are the model's input (side A, ``--input_nc`` channels) whatever ``--direction`` says.
    """

    layout: ClassVar[str] = "single"

    def __init__(self, options: DataOptions, *, input_nc: int, output_nc: int, seed: int = 0) -> None:
        super().__init__(options, input_nc=input_nc, output_nc=output_nc, seed=seed)
        self.root = _image_root(self.dataroot, options.phase)
        flags = f"--dataroot {options.dataroot}"
        self._paths = require_images(self.root, flags=flags, max_size=options.max_dataset_size)

    def decode(self, unit: int) -> dict[str, Prepared]:
        path = self._paths[unit]
        return {
            "A": prepare(
                self.read(path), self.input_nc, self.options, path=path, flag="input_nc", side=self.options.domain("A")
            )
        }


def _image_root(dataroot: Path, phase: str) -> Path:
    if has_images(dataroot):
        return dataroot
    if (dataroot / phase).is_dir():
        return dataroot / phase
    unpaired = [name for name in subfolders(dataroot) if name in (f"{phase}A", f"{phase}B")]
    if unpaired:
        raise FileNotFoundError(
            f"--dataroot {dataroot} --phase {phase}: {describe(dataroot)}: say which to use, "
            f"e.g. --dataroot {dataroot / unpaired[0]}"
        )
    return dataroot

"""Two collections of images without pairs, with boxes around the objects in them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from data import DATASETS
from data.base_dataset import Side
from data.coco import CocoImages, draw_placement_around, image_folder, place_boxes, read_coco, scale_boxes
from data.transforms import Prepared
from data.unaligned_dataset import UnalignedDataset
from options.base_options import DataOptions
from options.schema import arg


@dataclass(frozen=True, kw_only=True)
class UnalignedCocoOptions(DataOptions):
    """Where the images are, and which boxes are read."""

    coco_imagedir: str = arg(
        "", metavar="DIR", help="folder of the images below --dataroot (default: PHASEA and PHASEB; . = itself)"
    )
    category_id: int = arg(1, minimum=0, help="category of the annotation files whose boxes are read")


@DATASETS.register("unaligned_coco")
class UnalignedCocoDataset(UnalignedDataset):
    """Unpaired images that COCO files name: DATAROOT/PHASEA.json and PHASEB.json, with the boxes of one category.

    Samples are those of ``unaligned`` and ``A_boxes``, ``B_boxes``: float32 ``[k, 4]``, rows (x0, y0, x1, y1) in
    pixels of the tensor, k = 0 included. A random crop holds the first box of its image where it can.

    Attributes:
        remarks: what of the annotation files was left out or cut, for ``check.quick_check``.
    """

    Options: ClassVar[type[DataOptions]] = UnalignedCocoOptions
    layout: ClassVar[str] = "unaligned_coco"
    options: UnalignedCocoOptions

    def __init__(self, options: UnalignedCocoOptions, *, input_nc: int, output_nc: int, seed: int = 0) -> None:
        self._found: dict[Side, CocoImages] = {}
        super().__init__(options, input_nc=input_nc, output_nc=output_nc, seed=seed)
        self.remarks = [line for found in self._found.values() for line in found.remarks]

    def find_side(self, side: Side) -> tuple[Path, list[str]]:
        o, name = self.options, f"{self.options.phase}{side}"
        found = self._found[side] = read_coco(
            self.dataroot / f"{name}.json",
            image_folder(self.dataroot, name, o.coco_imagedir),
            category_id=o.category_id,
            max_size=o.max_dataset_size,
        )
        return found.folder, found.paths

    def counts(self) -> dict[str, int]:
        counts = super().counts()
        for side, found in self._found.items():
            counts[f"{side} boxes"] = sum(len(boxes) for boxes in found.boxes)
            counts[f"{side} without boxes"] = sum(not len(boxes) for boxes in found.boxes)
        return counts

    def decode_side(self, side: Side, number: int) -> Prepared:
        found, path = self._found[side], self._found[side].paths[number]
        picture = self.read(path, side)
        height, width = picture.array.shape[:2]
        if (width, height) != found.sizes[number] and len(found.boxes[number]):
            labelled = "{}x{}".format(*found.sizes[number])
            raise ValueError(
                f"{path}: {width}x{height} pixels, but {self.options.phase}{side}.json has boxes for {labelled}: "
                f"give the image that was labelled, or bring the boxes to its size (scripts/label_converter.py)"
            )
        return self.prepare_side(picture, side, path)

    def sample_side(self, side: Side, number: int, rng: random.Random) -> dict[str, Any]:
        prepared, found = self.fetch_side(side, number), self._found[side]
        size = prepared.array.shape[1], prepared.array.shape[0]
        boxes = scale_boxes(found.boxes[number], found.sizes[number], size)
        placement = draw_placement_around(rng, size, boxes, self.options)
        placed = place_boxes(boxes, size, placement, self.options)
        return {
            **self.described(side, number, prepared, placement),
            f"{side}_boxes": torch.from_numpy(placed.astype("float32")),
        }

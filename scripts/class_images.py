"""Images of classes as a training reads them, but for chance: to compare what a model draws with what it learned."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path, PurePath
from typing import Any

from data.class_folder_dataset import ClassFolderDataset
from data.transforms import cut, final_size, normalise, placement_of
from scripts.class_samples import class_folder
from util.centre_square import centred_corner
from util.image_io import read_header
from util.metrics.images import ImageSet, Pixels, as_stored


class ClassImages(ImageSet):
    """Images of a class folder data set, scaled and cropped as in training; never flipped, the crop in the middle.

    Args:
        dataset: the images.
        label: where they come from, for messages and protocols.
        classes: only the images with these labels; None for all.

    Attributes:
        labels: class of each image.
        class_names: by label.
        paths: file of each image.
    """

    def __init__(self, dataset: ClassFolderDataset, label: str, classes: Collection[int] | None = None) -> None:
        self.label, self.class_names, self._dataset = label, dataset.class_names, dataset
        wanted = set(dataset.labels if classes is None else classes)
        self._units = [unit for unit, number in enumerate(dataset.labels) if number in wanted]
        self.labels = [dataset.labels[unit] for unit in self._units]
        self.paths = [dataset.unit_paths(unit)[0] for unit in self._units]
        self.names = _names(self.paths, self.labels, dataset)
        self._digest = ""

    def of_classes(self, classes: Collection[int]) -> ClassImages:
        """Those of these images that have one of the labels."""
        return ClassImages(self._dataset, self.label, set(classes) & set(self.labels))

    def read(self, index: int) -> Pixels:
        """One image, uint8 ``[H, W, 3]``; of files with more depth, the values rounded to 8 bit."""
        options = self._dataset.options
        (prepared,) = self._dataset.fetch(self._units[index])
        height, width = prepared.array.shape[:2]
        corner = centred_corner(width, height, options.crop_size)
        pixels = cut(prepared, placement_of(*corner, False, width, height, options), options)
        return as_stored(normalise(pixels, options.value_range), "uint8")

    def digest(self) -> str:
        if not self._digest:
            o = self._dataset.options
            how = [o.preprocess, o.load_size, o.crop_size, list(o.value_range), o.alpha, self._dataset.input_nc]
            whole = hashlib.sha256(json.dumps(how).encode())
            for path in self.paths:
                whole.update(hashlib.sha256(Path(path).read_bytes()).digest())
            self._digest = whole.hexdigest()
        return self._digest

    def look(self) -> dict[str, Any]:
        headers = [read_header(path) for path in self.paths]
        sizes = sorted({final_size(each.width, each.height, self._dataset.options) for each in headers})
        shown = [f"{width}x{height}" for width, height in sizes]
        size = shown[0] if len(shown) == 1 else f"{shown[0]} to {shown[-1]} ({len(shown)} sizes)"
        return {"size": size, "depth": " and ".join(sorted({each.format for each in headers}))}


def _names(paths: Sequence[str], labels: Sequence[int], dataset: ClassFolderDataset) -> list[str]:
    """Class folder and file below it, without suffix but where two files differ in nothing else."""
    inside = [PurePath(*PurePath(path).relative_to(dataset.root).parts[1:]) for path in paths]
    folders = [class_folder(label, dataset.class_names) for label in labels]
    short = [f"{folder}/{file.with_suffix('').as_posix()}" for folder, file in zip(folders, inside)]
    uses = Counter(short)
    whole = [f"{folder}/{file.as_posix()}" for folder, file in zip(folders, inside)]
    return [long if uses[name] > 1 else name for name, long in zip(short, whole)]

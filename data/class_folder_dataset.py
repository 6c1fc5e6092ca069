"""Images in a folder a class, with the class as their label."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from data import DATASETS
from data.base_dataset import FileDataset
from data.class_layout import class_names_below, class_root, find_classes, in_turn
from data.class_names import read_class_names, read_label_map
from data.transforms import Prepared, cut, dequantise, prepare
from options.base_options import DataOptions
from options.schema import OptionError, arg
from util.image_folder import describe, listed


@dataclass(frozen=True, kw_only=True)
class ClassFolderOptions(DataOptions):
    """Which classes there are, how often each comes, and the values of the pixels."""

    dataroot: str = arg("", aliases=("train_dir", "train-dir"), help="folder of the data set (with phase subfolders)")
    load_size: int = 128
    crop_size: int = 128
    preprocess: str = "shorter_and_center_crop"
    class_map: str = arg(
        "",
        metavar="FILE",
        aliases=("dirname_to_label_path", "dirname-to-label-path"),
        help="labels of the class folders, rows of folder and label (default: 0, 1, ... in the order of their names)",
    )
    class_names: str = arg(
        "", metavar="FILE", help="names of the classes, one a row or LABEL: 'name' (default: those of the folders)"
    )
    max_classes: int = arg(0, minimum=0, help="use the classes with labels below this; 0 = all")
    class_balanced: bool = arg(False, help="every class equally often in an epoch")
    dequantize: bool = arg(False, help="training values x/128 - 1 + U(0, 1/128) as published, in place of x/127.5 - 1")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.direction != "AtoB":
            raise OptionError(f"--direction {self.direction}: class_folder has no sides A and B: leave the flag out")
        if self.class_balanced and self.serial_batches:
            raise OptionError(
                "--class_balanced draws an order, --serial_batches keeps that of the files: give one of them"
            )
        if self.dequantize and self.value_range:
            raise OptionError("--dequantize is for the values 0 to 255 of 8-bit images: leave --value_range out")


@DATASETS.register("class_folder")
class ClassFolderDataset(FileDataset):
    """Images with a class: DATAROOT/PHASE/CLASS/*, or for a training DATAROOT/CLASS/*.

    Labels are 0, 1, ... in the plain order of the folders' names. Other phases than ``train`` have the labels of
    DATAROOT/train, where that is there, so that a class without test images shifts nothing. ``--class_map`` overrides
    both. With ``--max_dataset_size`` the images are taken from the classes in turn.

    Attributes:
        num_classes: how many labels there are.
        labels: of the images, by unit.
    """

    Options: ClassVar[type[DataOptions]] = ClassFolderOptions
    options: ClassFolderOptions

    def __init__(self, options: ClassFolderOptions, *, input_nc: int, output_nc: int, seed: int = 0) -> None:
        super().__init__(options, input_nc=input_nc, output_nc=output_nc, seed=seed)
        self.root = class_root(self.dataroot, options.phase)
        found = find_classes(self.root)
        if not found.images:
            raise FileNotFoundError(
                f"--dataroot {options.dataroot} --phase {options.phase}: no images in the class folders of "
                f"{self.root}; {describe(self.root)}"
            )
        table = self._label_table(list(found.images))
        total, limit = len(table), options.max_classes or len(table)
        self._folders = tuple(name for name, label in table.items() if label < limit)
        self.num_classes = len(self._folders)
        self._names = _captions(options.class_names, self._folders, total)
        chosen = in_turn([found.images.get(name, []) for name in self._folders], options.max_dataset_size)
        self._paths = [path for files in chosen for path in files]
        self.labels = [label for label, files in enumerate(chosen) for _ in files]
        if not self._paths:
            raise ValueError(
                f"--max_classes {options.max_classes}: the first {self.num_classes} classes have no images in "
                f"{self.root}: raise it"
            )
        without = [name for name, files in zip(self._folders, chosen) if not files]
        missing = f"{len(without)} of {self.num_classes} classes have no images here: {listed(without)}"
        self.remarks = [*found.remarks(), *([missing] if without else [])]

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._names

    def counts(self) -> dict[str, int]:
        sizes = np.bincount(self.labels, minlength=self.num_classes)
        return {
            "images": len(self),
            "classes": self.num_classes,
            "images of the smallest class": int(sizes.min()),
            "images of the largest class": int(sizes.max()),
        }

    def epoch_order(self, rng: random.Random) -> list[int]:
        if not self.options.class_balanced:
            return super().epoch_order(rng)
        members: dict[int, list[int]] = {}
        for index, label in enumerate(self.labels):
            members.setdefault(label, []).append(index)
        share, extra = divmod(len(self), len(members))
        favoured = set(rng.sample(sorted(members), extra))
        order: list[int] = []
        for label, indices in members.items():
            rest = share + (label in favoured)
            while rest > 0:
                rng.shuffle(indices)
                order += indices[:rest]
                rest -= len(indices)
        rng.shuffle(order)
        return order

    def decode(self, unit: int) -> tuple[Prepared, ...]:
        path = self._paths[unit]
        prepared = prepare(self.read(path), self.input_nc, self.options, path=path, flag="input_nc")
        if self.options.dequantize and prepared.format != "uint8":
            raise ValueError(f"{path}: is {prepared.format}, but --dequantize is for 8-bit images: leave the flag out")
        return (prepared,)

    def sample(self, epoch: int, index: int) -> dict[str, Any]:
        (prepared,) = self.fetch(index)
        rng = self.rng(epoch, index)
        placement = self.place(rng, prepared)
        if self.options.dequantize:
            image = dequantise(cut(prepared, placement, self.options), rng)
        else:
            image = self.tensor(prepared, placement)
        label = self.labels[index]
        return {
            "image": image,
            "label": label,
            "class_name": self._names[label],
            "path": self._paths[index],
            "index": index,
        }

    def _label_table(self, there: list[str]) -> dict[str, int]:
        """Folder name -> label of all classes, by rising label.

        Args:
            there: the class folders of this phase.

        Raises:
            ValueError: a folder of this phase has no label.
        """
        o, training = self.options, self.dataroot / "train"
        if o.class_map:
            table = read_label_map(Path(o.class_map))
            source, remedy = f"--class_map {o.class_map}", "add a row for it, or move the folder away"
        else:
            names = class_names_below(training) if self.root != training else []
            table = {name: label for label, name in enumerate(names or there)}
            source, remedy = str(training), "train on it too, move it away, or give --class_map"
        strange = [name for name in there if name not in table]
        if strange:
            raise ValueError(f"{source} has no class {listed(strange)}, which {self.root} has: {remedy}")
        return table


def _captions(file: str, folders: tuple[str, ...], total: int) -> tuple[str, ...]:
    """The names by label: those of the folders, or of ``--class_names``.

    Args:
        file: ``--class_names``; may have the names of classes that ``--max_classes`` leaves out.
        folders: of the classes in use, by label.
        total: how many classes there are without ``--max_classes``.

    Raises:
        ValueError: the file has another number of names.
    """
    if not file:
        return folders
    names = read_class_names(Path(file))
    if len(names) not in (len(folders), total):
        raise ValueError(
            f"--class_names {file}: has {len(names)} names, but there are {total} classes: give one name a class, "
            f"in the order of the labels"
        )
    return names[: len(folders)]

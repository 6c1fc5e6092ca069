"""Images of labelled classes, one folder per class."""

from __future__ import annotations

import hashlib
import json
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from data import DATASETS
from data.base_dataset import FileDataset
from data.pixels import Cut
from data.transforms import Prepared, centred_corner, cropped, dequantise, final_size, normalise, placement_of, prepare
from options.base_options import DataOptions
from options.schema import OptionError, arg
from util.images.folder import describe, has_images, holds_images, listed, nearest, scan, subfolders
from util.images.io import read_header
from util.metrics.images import ImageSet, Pixels, as_rgb, as_stored
from util.run.class_names import class_folder, read_class_names, read_label_map
from util.wording import counted

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
        help="file with the labels of the class folders, rows of folder and label (default: 0, 1, ... in the order of "
        "their names)",
    )
    class_names: str = arg(
        "",
        metavar="FILE",
        of="samples",
        help="file with the names of the classes, one per row or LABEL: 'name' (default: those of the folders)",
    )
    max_classes: int = arg(0, minimum=0, help="use the classes with labels below this; 0 = all")
    class_balanced: bool = arg(False, in_test=False, help="every class equally often in an epoch")
    dequantize: bool = arg(
        False, in_test=False, help="training values x/128 - 1 + U(0, 1/128) as published, in place of x/127.5 - 1"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.direction != "AtoB":
            raise OptionError(f"--direction {self.direction}: class_folder has no sides A and B: leave the flag out")
        if self.class_balanced and self.serial_batches:
            raise OptionError(
                "--class_balanced draws an order, --serial_batches keeps that of the files: give one of them"
            )
        if self.dequantize and self.side("A").value_range:
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
    layout: ClassVar[str] = "class_folder"
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
            first = counted(self.num_classes, "class", "classes")
            raise ValueError(
                f"--max_classes {options.max_classes}: no images of the first {first} in {self.root}: raise it"
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

    def decode(self, unit: int) -> dict[str, Prepared]:
        path = self._paths[unit]
        prepared = prepare(
            self.read(path), self.input_nc, self.options, path=path, flag="input_nc", side=self.options.side("A")
        )
        if self.options.dequantize and prepared.format != "uint8":
            raise ValueError(f"{path}: is {prepared.format}, but --dequantize is for 8-bit images: leave the flag out")
        return {"image": prepared}

    def sample(self, epoch: int, index: int) -> dict[str, Any]:
        prepared = self.fetch(index)["image"]
        rng = self.rng(epoch, index)
        placement = self.place(rng, prepared)
        if self.options.dequantize:
            pixels = cropped(prepared.array, placement, self.options)
            image: Tensor | Cut = dequantise(pixels[:, ::-1] if placement.flip else pixels, rng)
        else:
            image = self.cut(prepared, placement)
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
            f"--class_names {file}: has {counted(len(names), 'name')} for {counted(total, 'class', 'classes')}: give "
            "one name per class, in the order of the labels"
        )
    return names[: len(folders)]


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

    def hashes(self) -> list[str]:
        return [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in self.paths]

    def of_classes(self, classes: Collection[int]) -> ClassImages:
        """Those of these images that have one of the labels."""
        return ClassImages(self._dataset, self.label, set(classes) & set(self.labels))

    def read(self, index: int) -> Pixels:
        """One image, uint8 ``[H, W, 3]``; of files with more depth, the values rounded to 8 bit."""
        options = self._dataset.options
        prepared = self._dataset.fetch(self._units[index])["image"]
        height, width = prepared.array.shape[:2]
        corner = centred_corner(width, height, options.crop_size)
        pixels = cropped(prepared.array, placement_of(*corner, False, width, height, options), options)
        return as_rgb(as_stored(normalise(pixels, prepared.value_range)))

    def digest(self) -> str:
        if not self._digest:
            o = self._dataset.options
            how = [
                o.preprocess,
                o.load_size,
                o.crop_size,
                list(o.side("A").value_range),
                o.alpha,
                self._dataset.input_nc,
            ]
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

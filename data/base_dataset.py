"""What every data set has: files, their preparation, and samples that depend on seed, epoch and index only."""

from __future__ import annotations

import hashlib
import os
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch.utils.data
from torch import Tensor

from data.cache import PixelCache, fill
from data.disk_cache import DiskCache, default_folder, fill_disk
from data.pixels import Cut
from data.transforms import (
    Placement,
    Prepared,
    chosen_bands,
    cut,
    cut_missing,
    draw_placement,
    final_size,
    finish,
    prepare,
)
from options.base_options import DataOptions
from util.images.folder import describe, nearest
from util.images.io import Alpha, Header, Picture, read_header, read_image

Side = Literal["A", "B"]

_NOT_DECODED = {
    *("dataroot", "phase", "max_dataset_size", "table", "cache", "cache_dir"),
    *("batch_size", "num_threads", "serial_batches", "no_flip", "transform_on_device", "unit_A", "unit_B"),
}
"""Options that a decoded picture does not depend on."""


class BaseDataset(torch.utils.data.Dataset[dict[str, Any]], ABC):
    """Base of all data sets.

    A data set numbers its files as *units*: what one file (or one pair of files) gives, before anything random. A
    subclass says how many there are (``__len__``), which files belong to one (``unit_paths``), and how it is decoded
    (``decode``). Samples, reading, ``--cache ram``, checks and summaries follow. Where a sample is more than the sides
    of one unit, the subclass overrides ``sample`` too, and ``num_units`` where units and samples differ in number.

    Args:
        options: the data options of the run.
        input_nc: channels of the model's input.
        output_nc: channels of the model's output.
        seed: of every crop, flip and pairing.

    Class attributes:
        Options: its options, derived from ``DataOptions``.
        option_defaults: other options' defaults that this data set changes.
        paired: whether B is the target of A, so that an output can be compared with it pixel by pixel.
        layout: how its phases lie on disk, for scripts/check_data.py: ``aligned``, ``unaligned``, ``single``,
            ``class_folder`` or ``unaligned_coco``; empty for a layout of its own, which is checked by ``unit_paths``.

    Attributes:
        root: folder of the input side; results are named by the path below it.
        side_by_side: whether a file holds a pair, A left and B right.
        remarks: files that are ignored or cut off, one warning each, for ``check.quick_check``.
        why_missing: key of a sample -> why it may be missing, for messages.

    Raises:
        FileNotFoundError: no ``--dataroot``, or no images where the layout has them.
    """

    Options: ClassVar[type[DataOptions]] = DataOptions
    option_defaults: ClassVar[Mapping[str, object]] = {}
    paired: ClassVar[bool] = False
    layout: ClassVar[str] = ""
    root: Path
    side_by_side: bool = False
    remarks: Sequence[str] = ()
    why_missing: Mapping[str, str] = {}

    def __init__(self, options: DataOptions, *, input_nc: int, output_nc: int, seed: int = 0) -> None:
        if not options.dataroot:
            raise FileNotFoundError(
                "--dataroot is missing: name the folder of the data set, e.g. --dataroot data/facades"
            )
        self.options, self.input_nc, self.output_nc, self.seed = options, input_nc, output_nc, seed
        self.dataroot = self.find_root()
        self._cache: PixelCache | DiskCache | None = None

    def find_root(self) -> Path:
        """The folder that ``--dataroot`` names.

        Raises:
            FileNotFoundError: there is none.
        """
        root = Path(self.options.dataroot)
        if not root.is_dir():
            there = describe(nearest(root))
            raise FileNotFoundError(
                f"--dataroot {self.options.dataroot}: there is no such folder; {there}; of data that were moved give "
                "the new place by --dataroot"
            )
        return root

    @abstractmethod
    def __len__(self) -> int:
        """Samples of an epoch."""

    @abstractmethod
    def unit_paths(self, unit: int) -> tuple[str, ...]:
        """The files of a unit: one for each side of ``decode``, or one for all."""

    @abstractmethod
    def decode(self, unit: int) -> dict[str, Prepared]:
        """Read and scale a unit, e.g. ``{"A": ..., "B": ...}``; the same result every time."""

    def num_units(self) -> int:
        """How many units there are."""
        return len(self)

    def sample(self, epoch: int, index: int) -> dict[str, Any]:
        """One sample: a ``Cut`` or tensor float32 ``[C, H, W]`` in ``[-1, 1]`` per side, ``*_paths``, ``*_format``,
        ``index``. With ``--nodata`` also ``*_mask``, which becomes float32 ``[1, H, W]``, 0 where pixels are missing,
        and ``*_nodata``.

        ``Cut``s become tensors outside: for ``dataset[...]`` at once, in a loader for the whole batch, and with
        ``--transform_on_device`` on the model's device.

        Here unit ``index``, with one crop and flip for all of its sides.
        """
        sides, paths = self.fetch(index), self.unit_paths(index)
        placement = self.place(self.rng(epoch, index), next(iter(sides.values())))
        return {
            **{side: self.cut(prepared, placement) for side, prepared in sides.items()},
            **{f"{side}_paths": paths[min(number, len(paths) - 1)] for number, side in enumerate(sides)},
            **{f"{side}_format": prepared.format for side, prepared in sides.items()},
            **{key: each for side, prepared in sides.items() for key, each in self.gaps(side, prepared, placement)},
            "index": index,
        }

    @classmethod
    def phases(cls, options: DataOptions) -> tuple[str, ...]:
        """Names of the phases that there may be, for scripts/check_data.py."""
        return ("train", "val", "test")

    def sides(self) -> dict[Side, list[str]]:
        """The files of each side, for scripts/check_data.py; here one side for each file of a unit."""
        columns = zip(*(self.unit_paths(unit) for unit in range(self.num_units())))
        return dict(zip(cast(tuple[Side, ...], ("A", "B")), map(list, columns)))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes by label, where the data have any; else empty."""
        return ()

    def epoch_order(self, rng: random.Random) -> list[int]:
        """The indices of a shuffled epoch, ``len(self)`` of them; here each once.

        Args:
            rng: random numbers of this epoch; the order depends on nothing else.
        """
        indices = list(range(len(self)))
        rng.shuffle(indices)
        return indices

    def counts(self) -> dict[str, int]:
        """Name -> number of images, for the summary."""
        return {"images": len(self)}

    def picture_size(self, header: Header) -> tuple[int, int]:
        """Width and height of one side in a file of the data set."""
        return header.width, header.height

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """The sample of ``(epoch, index)``, or of ``index`` in epoch 1, with tensors alone: no ``Cut``.

        Raises:
            ValueError: the file is broken or does not fit the options.
        """
        epoch, index = key if isinstance(key, tuple) else (1, key)
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of a data set of {len(self)} samples")
        sample = self.sample(epoch, index)
        return {name: value.tensor() if isinstance(value, Cut) else value for name, value in sample.items()}

    def readable(self, epoch: int, index: int) -> tuple[dict[str, Any] | None, list[Exception]]:
        """The sample, or None where a file of it cannot be read, and why; for a test, which goes on without it."""
        try:
            return self.sample(epoch, index), []
        except (ValueError, OSError) as error:
            return None, [error]

    def fetch(self, unit: int) -> dict[str, Prepared]:
        """``decode``, or its kept result with ``--cache ram`` or ``disk``."""
        return self.decode(unit) if self._cache is None else self._cache[unit]

    def fill_cache(self, copies: int = 1) -> None:
        """With ``--cache ram`` or ``disk``: decode what is not there yet, before the workers start; else nothing.

        Args:
            copies: processes on this machine that will each hold one.

        Raises:
            ValueError: a broken file, or more memory or disk needed than is free.
        """
        if self._cache is not None:
            return
        if self.options.cache == "ram":
            self._cache = fill(self.decode, self.num_units(), copies=copies)
        if self.options.cache == "disk":
            asked = {field.name: getattr(self.options, field.name) for field in fields(self.options)}
            settings = {name: value for name, value in asked.items() if name not in _NOT_DECODED}
            channels = {"input_nc": self.input_nc, "output_nc": self.output_nc, "class": type(self).__qualname__}
            folder = Path(self.options.cache_dir) if self.options.cache_dir else default_folder()
            how: dict[str, Any] = {"folder": folder, "settings": {**settings, **channels}}
            self._cache = fill_disk(self.decode, self._cached_as, self.num_units(), **how)

    def _cached_as(self, unit: int) -> tuple[str, tuple[str, ...]]:
        """What tells units of equal files apart, e.g. their side, and the files, for ``--cache disk``."""
        return "", self.unit_paths(unit)

    def rng(self, epoch: int, index: int) -> random.Random:
        """The random numbers of a sample: a stream of (seed, epoch, index) and of nothing else."""
        return random.Random(f"{self.seed}/{epoch}/{index}")

    def read(self, path: str, side: Side = "A") -> Picture:
        """The picture of a file of a side: transparency treated by ``--alpha``, of ``--label_nc`` the indices."""
        own = self.options.side(side)
        return self.load(
            path,
            alpha=cast(Alpha, self.options.alpha),
            palette="indices" if own.label_nc else "colours",
            allow_nonfinite=bool(own.nodata),
        )

    def load(self, path: str, **how: Any) -> Picture:
        """``util.images.io.read_image`` of what ``unit_paths`` names."""
        return read_image(path, **how)

    def header(self, path: str) -> Header:
        """``util.images.io.read_header`` of what ``unit_paths`` names."""
        return read_header(path)

    def pictures(self, unit: int) -> dict[Side, Picture]:
        """The sides of a unit as its files hold them, of the bands chosen, for the look at their values."""
        sides = cast(tuple[Side, ...], ("A", "B"))
        return {
            side: self.chosen(self.read(path, side), side, path) for side, path in zip(sides, self.unit_paths(unit))
        }

    def chosen(self, picture: Picture, side: Side, path: str) -> Picture:
        """The picture with the bands of its side alone."""
        return replace(picture, array=chosen_bands(picture.array, self.options.side(side), path))

    def prepare_side(self, picture: Picture, side: Side, path: str) -> Prepared:
        """Channels and scaling for side A or B *of the files*: with ``--direction BtoA``, A is the model's output."""
        is_input = (side == "A") == (self.options.direction == "AtoB")
        flag, channels = ("input_nc", self.input_nc) if is_input else ("output_nc", self.output_nc)
        return prepare(picture, channels, self.options, path=path, flag=flag, side=self.options.side(side))

    def decode_files(self, a_path: str, b_path: str = "") -> dict[str, Prepared]:
        """Side A of one file and B of another, if there is one, which must have the same size.

        Raises:
            ValueError: a file cannot be read, or the sizes differ.
        """
        a = self.read(a_path)
        if not b_path:
            return {"A": self.prepare_side(a, "A", a_path)}
        b = self.read(b_path, "B")
        sizes = [f"{picture.array.shape[1]}x{picture.array.shape[0]}" for picture in (a, b)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"the sides of a pair differ in size: {a_path} is {sizes[0]}, {b_path} is {sizes[1]}: scale one of "
                "them (datasets/combine_A_and_B.py can), or take the pair out"
            )
        return {"A": self.prepare_side(a, "A", a_path), "B": self.prepare_side(b, "B", b_path)}

    def place(self, rng: random.Random, prepared: Prepared) -> Placement:
        """Draw crop and flip for a prepared picture."""
        height, width = prepared.array.shape[:2]
        return draw_placement(rng, width, height, self.options)

    def cut(self, prepared: Prepared, placement: Placement) -> Cut:
        """The crop of a picture, to be flipped and scaled outside, see ``sample``."""
        return cut(prepared, placement, self.options)

    def tensor(self, prepared: Prepared, placement: Placement) -> Tensor:
        """float32 ``[C, H, W]`` in ``[-1, 1]``, for a sample that computes with the values of its pictures."""
        return finish(prepared, placement, self.options)

    def gaps(self, side: str, prepared: Prepared, placement: Placement) -> list[tuple[str, Any]]:
        """``*_mask`` and ``*_nodata`` of a side, as items of a sample; none without ``--nodata``."""
        mask = cut_missing(prepared, placement, self.options)
        return [] if mask is None else [(f"{side}_mask", mask), (f"{side}_nodata", prepared.nodata)]

    def probe_units(self, count: int) -> list[int]:
        """Unit numbers spread evenly over the data set, first and last among them."""
        last = self.num_units() - 1
        steps = max(min(count, last + 1) - 1, 1)
        return sorted({round(last * step / steps) for step in range(steps + 1)})

    def headers(self, count: int) -> list[tuple[str, Header]]:
        """Path and header of the files of ``count`` units, see ``probe_units``."""
        return [(path, self.header(path)) for unit in self.probe_units(count) for path in self.unit_paths(unit)]

    def summary(self) -> dict[str, Any]:
        """What ``--dry_run`` shows: counts, and from up to 16 files: sizes, channels, depth, size of the tensors."""
        headers = [header for _, header in self.headers(16)]
        sizes = Counter(f"{h.width}x{h.height}" for h in headers)
        finals = Counter("{}x{}".format(*final_size(*self.picture_size(h), self.options)) for h in headers)
        return {
            "root": str(self.root),
            **self.counts(),
            "sizes": dict(sizes.most_common(4)) | ({"...": len(sizes) - 4} if len(sizes) > 4 else {}),
            "channels": sorted({h.channels for h in headers}),
            "depth": sorted({h.format for h in headers}),
            "preprocessed": dict(finals.most_common(4)),
        }


class FileDataset(BaseDataset):
    """A data set of which every sample is one file: a subclass fills ``_paths`` and says what a file gives."""

    _paths: list[str]

    def __len__(self) -> int:
        return len(self._paths)

    def unit_paths(self, unit: int) -> tuple[str, ...]:
        return (self._paths[unit],)


def fingerprint(dataset: BaseDataset) -> dict[str, Any]:
    """Number of samples, and a hash over the files' names below ``--dataroot`` in their order."""
    digest = hashlib.sha256()
    for unit in range(dataset.num_units()):
        for path in dataset.unit_paths(unit):
            digest.update(os.path.relpath(path, dataset.dataroot).encode("utf-8", "surrogateescape") + b"\n")
    return {"num_images": len(dataset), "files": digest.hexdigest()[:16]}


def sample_size(sample: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width of a sample's input in pixels, after scaling and cropping."""
    side = next(key for key in ("A", "image", "B") if key in sample)
    height, width = sample[side].shape[-2:]
    return int(height), int(width)


def check_needs(needs: Mapping[str, str], dataset: BaseDataset, who: str, mode: str, own_mode: str) -> None:
    """Refuse a data set that lacks what a model reads in training.

    Args:
        needs: key of a sample -> the flag that asks for it, empty for the model itself; ``pairs`` if A and B must
            belong together; ``one_size`` is left to the model.
        dataset: looked at by its first sample.
        who: ``--model NAME`` or another flag, for messages.
        mode: ``--dataset_mode``.
        own_mode: the model's own.

    Raises:
        ValueError: naming the flag and the remedy.
    """
    sample = dataset[0]
    for key, flag in needs.items():
        if key in sample or key in ("pairs", "one_size"):
            continue
        if key in dataset.why_missing:
            raise ValueError(f"{who}: {dataset.why_missing[key]}")
        if key.endswith("_boxes"):
            raise ValueError(f"{flag}: --dataset_mode {mode} has no boxes; give --dataset_mode unaligned_coco")
        raise ValueError(f"--dataset_mode {mode}: it has no side {key}; {who} needs {own_mode}")
    if "pairs" in needs and "B_index" in sample:
        raise ValueError(
            f"--dataset_mode {mode}: its images are no pairs, which {who} compares; use --dataset_mode aligned, or "
            "--model cycle_gan"
        )

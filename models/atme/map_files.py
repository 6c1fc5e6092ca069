"""The maps that ATME saves while it trains (``images_noisy/``): written, found, read, turned into increments."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models.atme.maps import TrackedMaps
from util.background import BackgroundWriter
from util.files import replace_text, replacing
from util.images.folder import describe, nearest
from util.images.io import save_array
from util.loggers.base import Logger

Floats = NDArray[np.floating[Any]]
Grey = NDArray[np.uint8]

GAMMA = 0.95  # weight of the newest picture in the published running average

_PICTURE = re.compile(r"epoch_(\d+)_([DW])_(\d+)\.png")
_FLOATS = re.compile(r"epoch_(\d+)_(\d+)\.npz")

ByEpoch = dict[int, Path]


@dataclass(frozen=True)
class MapFolder:
    """What a folder of saved maps holds.

    Attributes:
        path: the folder.
        floats: index of the image -> epoch -> ``.npz``.
        pictures: ``"D"`` or ``"W"`` -> index -> epoch -> ``.png``.
        sources: index -> file of the image, where ``tracked.json`` says it.
        published: whether the pictures may be those of the published code, whose D pictures use 127..255 only.
    """

    path: Path
    floats: dict[int, ByEpoch]
    pictures: dict[str, dict[int, ByEpoch]]
    sources: dict[int, str]
    published: bool

    def choose(self, ids: str, *, pictures: bool) -> list[int]:
        """The images that ``--ids`` means.

        Args:
            ids: ``all``, or indices with commas between them.
            pictures: whether the pictures of W are to be read, and not the float maps.

        Raises:
            ValueError: no numbers, or images of which there are no maps.
        """
        known = sorted(self.pictures["W"] if pictures else self.floats)
        if not known:
            said = "no pictures of W: leave --reference out" if pictures else "8-bit pictures only: add --reference"
            raise ValueError(f"{self.path} has {said}")
        if ids == "all":
            return known
        words = [word.strip() for word in ids.split(",") if word.strip()]
        if not words or not all(word.isdecimal() for word in words):
            raise ValueError(f"--ids {ids}: give all, or indices such as {','.join(map(str, known[:2]))}")
        wanted = list(dict.fromkeys(int(word) for word in words))
        missing = [str(index) for index in wanted if index not in known]
        if missing:
            kind = "pictures of W" if pictures else "float maps"
            raise ValueError(f"--ids {ids}: {self.path} has no {kind} of {', '.join(missing)}; it has {_few(known)}")
        return wanted

    def smallest(self, indices: Sequence[int]) -> tuple[int, int]:
        """Height and width that the first pictures of W of all these images have.

        Raises:
            ValueError: a file is no picture.
        """
        sizes = [_read_picture(min(self.pictures["W"][index].items())[1]).shape for index in indices]
        return min(height for height, _ in sizes), min(width for _, width in sizes)


@dataclass(frozen=True)
class FloatMaps:
    """The float maps of one image.

    Attributes:
        index: of the image in its data set.
        epochs: ascending; not always without gaps.
        logits: float32 [T, h, w], of the discriminator.
        W: float32 [T, H, W], in (-1, 1).
    """

    index: int
    epochs: list[int]
    logits: Floats
    W: Floats

    def part(self, epochs: Sequence[int]) -> FloatMaps:
        """The maps of some of the epochs."""
        at = [self.epochs.index(epoch) for epoch in epochs]
        return FloatMaps(self.index, list(epochs), self.logits[at], self.W[at])


# --- reading ----------------------------------------------------------------------------------------------------------


def find_maps(folder: Path, flag: str) -> MapFolder:
    """List the maps of a folder; other files in it, such as the published notebook's own pictures, are left out.

    Raises:
        FileNotFoundError: no folder, or no maps in it.
        ValueError: ``tracked.json`` is damaged.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{flag}: there is no folder {folder}; {describe(nearest(folder))}; train.py writes it with --n_save_noisy"
        )
    floats: dict[int, ByEpoch] = {}
    pictures: dict[str, dict[int, ByEpoch]] = {"D": {}, "W": {}}
    for name in sorted(os.listdir(folder)):
        if match := _FLOATS.fullmatch(name):
            floats.setdefault(int(match[2]), {})[int(match[1])] = folder / name
        elif match := _PICTURE.fullmatch(name):
            pictures[match[2]].setdefault(int(match[3]), {})[int(match[1])] = folder / name
    if not floats and not pictures["W"]:
        raise FileNotFoundError(
            f"{flag}: no maps (epoch_001_7.npz, epoch_001_W_7.png) in {folder}; {describe(folder)}; "
            "train.py writes them with --n_save_noisy"
        )
    tracked = folder / "tracked.json"
    return MapFolder(folder, floats, pictures, _sources(tracked), published=not floats and not tracked.is_file())


def read_float_maps(folder: MapFolder, index: int) -> FloatMaps:
    """Read all float maps of an image.

    Raises:
        ValueError: a file is damaged, lacks an array, holds numbers that are not finite, or differs in size.
    """
    files = dict(sorted(folder.floats[index].items()))
    logits, maps = [], []
    for file in files.values():
        arrays = _read_arrays(file)
        logits.append(arrays["logits"])
        maps.append(arrays["W"])
        for name, stack in (("logits", logits), ("W", maps)):
            if stack[-1].shape != stack[0].shape:
                first = next(iter(files.values())).name
                raise ValueError(
                    f"{file}: {name} is {_size(stack[-1])}, but {_size(stack[0])} in {first}; series need maps of "
                    "one size: choose other --ids, or train with a fixed --crop_size"
                )
    return FloatMaps(index, list(files), np.stack(logits), np.stack(maps))


def read_pictures(folder: MapFolder, kind: str, index: int) -> dict[int, Grey]:
    """Read the pictures ``D`` or ``W`` of an image: epoch, ascending -> uint8 [H, W]; three equal channels become one.

    Raises:
        ValueError: a file is no picture, or differs in size.
    """
    found: dict[int, Grey] = {}
    for epoch, file in sorted(folder.pictures[kind].get(index, {}).items()):
        found[epoch] = _read_picture(file)
        first = next(iter(found.values()))
        if found[epoch].shape != first.shape:
            raise ValueError(
                f"{file}: the picture is {_size(found[epoch])}, but the first one of image {index} is {_size(first)}; "
                "choose other --ids"
            )
    return found


def probabilities(picture: Grey, *, published: bool) -> Floats:
    """The probabilities in a picture of D.

    Args:
        picture: uint8 [h, w].
        published: a run of the published code, which drew p as (p + 1) / 2; a value below 127 shows that it is none.
    """
    grey = picture.astype(np.float64) / 255
    return np.clip(2 * grey - 1, 0, 1) if published and picture.min() >= 127 else grey


def longest_run(epochs: Iterable[int]) -> list[int]:
    """The longest run of epochs without a gap; of equally long ones, the last."""
    best: list[int] = []
    run: list[int] = []
    for epoch in sorted(epochs):
        run = [*run, epoch] if run and epoch == run[-1] + 1 else [epoch]
        best = run if len(run) >= len(best) else best
    return best


def draw_pixels(height: int, width: int, count: int, seed: int, index: int) -> list[tuple[int, int]]:
    """Different random pixels (row, column) of an image; they depend on the seed and its index only.

    Raises:
        ValueError: more than there are.
    """
    if count > height * width:
        raise ValueError(f"--pixels {count}: the maps have {height * width} pixels; ask for fewer")
    places = np.random.default_rng([seed, index]).choice(height * width, count, replace=False)
    return [(int(place) // width, int(place) % width) for place in places]


# --- as published -----------------------------------------------------------------------------------------------------


def stretch(values: Floats | Grey) -> Floats:
    """Stretch to [-1, 1] by minimum and maximum. A constant array, where the published code divides by 0, becomes 0."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        return np.zeros(values.shape)
    return 2 * (values.astype(np.float64) - low) / (high - low) - 1


def published_increments(W: Mapping[int, Grey]) -> dict[int, Grey]:
    """The dW pictures of the published notebook.

    Each is the difference of two stretched pictures, stretched again and cut to 8 bits. Where the epoch before is
    missing, a running average that already contains the current picture stands in; in epoch 1 it is W itself.

    Args:
        W: epoch, ascending -> uint8 [H, W].
    """
    average: Floats = np.zeros(())
    found: dict[int, Grey] = {}
    for epoch, picture in W.items():
        current = picture.astype(np.float64)
        average = (1 - GAMMA) * average + GAMMA * current
        if epoch == 1:
            found[epoch] = picture
            continue
        before = W[epoch - 1].astype(np.float64) if epoch - 1 in W else average
        found[epoch] = (255 * (stretch(stretch(current) - stretch(before)) + 1) / 2).astype(np.uint8)
    return found


def published_pixels(height: int, width: int, images: int, count: int, seed: int) -> list[list[tuple[int, int]]]:
    """The notebook's random pixels, ``randint(0, 256, (images, count, 2))``, after ``numpy.random.seed(seed)``."""
    generator = np.random.RandomState(seed)
    high: Any = height if height == width else [height, width]
    return [
        [(int(row), int(column)) for row, column in each] for each in generator.randint(0, high, (images, count, 2))
    ]


# --- parts ------------------------------------------------------------------------------------------------------------


def _read_picture(file: Path) -> Grey:
    try:
        with Image.open(file) as picture:
            return np.asarray(picture.convert("L"))
    except OSError as error:
        raise ValueError(f"{file}: cannot be read as a picture ({error}); delete the file") from None


def _read_arrays(file: Path) -> dict[str, Floats]:
    try:
        with np.load(file) as archive:
            arrays = {name: archive[name] for name in ("logits", "W")}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file}: cannot be read as maps with logits and W ({error}); delete the file") from None
    for name, array in arrays.items():
        if array.ndim != 2 or array.dtype.kind != "f" or array.size == 0:
            raise ValueError(f"{file}: {name} is {array.dtype} {list(array.shape)}, not float [height, width]")
        if not np.isfinite(array).all():
            raise ValueError(
                f"{file}: {name} has values that are not finite: the training diverged; choose other --ids"
            )
    return arrays


def _sources(file: Path) -> dict[int, str]:
    if not file.is_file():
        return {}
    try:
        tracked = json.loads(file.read_text(encoding="utf-8"))
        return {int(index): str(path) for index, path in zip(tracked["indices"], tracked["paths"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: cannot be read ({type(error).__name__}: {error}); delete the file") from None


def _size(array: NDArray[Any]) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"


def _few(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    return (shown or "none") + (f" and {len(numbers) - 10} more" if len(numbers) > 10 else "")


FOLDER = "images_noisy"


class TrackedMapsLogger(Logger):
    """Writes, for every tracked image and epoch, ``epoch_003_D_<index>.png`` (the sigmoid of D's new logits, 0..255),
    ``epoch_003_W_<index>.png`` (W_t, -1..1 as 0..255) and ``epoch_003_<index>.npz`` (``logits`` ``[h, w]`` and ``W``
    ``[H, W]``, float32); and ``tracked.json`` with the indices and their files.

    The published code writes one of the tracked images of a batch, and D's map in the upper half of the scale.

    Args:
        run_dir: folder of the run.
        tracked: gives the maps of the last step's images. In every process, of its own images.
    """

    def __init__(self, run_dir: Path, tracked: Callable[[], Sequence[TrackedMaps]]) -> None:
        self._tracked = tracked
        self._folder = run_dir / FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        self._writer = BackgroundWriter(num_threads=1)  # one at a time: they share tracked.json
        self._epoch = 0
        self._paths: dict[int, str] = {}

    def start_epoch(self, epoch: int, last_epoch: int, num_images: int, done: int) -> None:
        self._epoch = epoch

    def advance(self, num_images: int) -> None:
        for record in self._tracked():
            self._writer.submit(self._write, f"epoch_{self._epoch:03d}", record)

    def close(self) -> None:
        self._writer.close()

    def _write(self, head: str, record: TrackedMaps) -> None:
        logits, W = record.logits.numpy(), record.W.numpy()
        pictures = {"D": torch.sigmoid(record.logits).numpy(), "W": (W + 1) / 2}
        for name, values in pictures.items():
            grey = np.rint(values * 255).clip(0, 255).astype(np.uint8)
            save_array(self._folder / f"{head}_{name}_{record.index}.png", grey[:, :, None])
        # Of a batch smaller than the number of processes, two of them have the same image.
        with replacing(self._folder / f"{head}_{record.index}.npz") as temporary, open(temporary, "wb") as file:
            np.savez(file, logits=logits, W=W)
        self._paths[record.index] = record.path
        self._note_paths()

    def _note_paths(self) -> None:
        """Add to ``tracked.json``: other processes and earlier starts have entries there, too.

        Two processes that write at once may lose an entry, so it is looked up again at every map.
        """
        file = self._folder / "tracked.json"
        known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"indices": [], "paths": []}
        before = dict(zip(known["indices"], known["paths"]))
        entries = {**before, **self._paths}
        if entries == before:
            return
        indices = sorted(entries)
        replace_text(file, [json.dumps({"indices": indices, "paths": [entries[i] for i in indices]})])

"""Two images made one: read, brought to the same kind, put side by side, written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from util.image_io import read_image, save_array

Item = TypeVar("Item")

FILTERS = {"nearest": Image.Resampling.NEAREST, "bicubic": Image.Resampling.BICUBIC}
_JPEG = (".jpg", ".jpeg")


def read_side(path: str | os.PathLike[str]) -> NDArray[Any]:
    """An image as [H, W, C], depth and transparency kept."""
    return read_image(path, alpha="keep").array


def resize(image: NDArray[Any], height: int, width: int, filter_name: str) -> NDArray[Any]:
    """[H, W, C] brought to [height, width, C], in the range and type it had."""
    planes = [Image.fromarray(image[:, :, i].astype(np.float32)) for i in range(image.shape[2])]
    scaled = np.stack([np.asarray(plane.resize((width, height), FILTERS[filter_name])) for plane in planes], axis=2)
    if image.dtype == np.float32:
        return scaled
    return np.clip(np.rint(scaled), 0, np.iinfo(image.dtype).max).astype(image.dtype)


def side_by_side(a: NDArray[Any], b: NDArray[Any], names: str) -> NDArray[Any]:
    """``a`` left and ``b`` right; grey becomes RGB beside RGB, and transparency goes if one side has none.

    Raises:
        ValueError: the sides differ in size, bit depth, or in a number of channels that has no common form.
    """
    if a.shape[:2] != b.shape[:2]:
        raise ValueError(f"{names}: {_size(a)} and {_size(b)} pixels; the sides of a pair must have the same size")
    if a.dtype != b.dtype:
        raise ValueError(f"{names}: {a.dtype} and {b.dtype} numbers; store both sides in the same bit depth")
    channels = max(_colours(a), _colours(b))
    if _colours(a) != _colours(b) and (_colours(a), _colours(b)) not in ((1, 3), (3, 1)):
        raise ValueError(f"{names}: {a.shape[2]} and {b.shape[2]} channels cannot stand in one image")
    if a.shape[2] != b.shape[2]:
        a, b = (np.broadcast_to(side[:, :, : _colours(side)], (*side.shape[:2], channels)) for side in (a, b))
    return np.concatenate([a, b], axis=1)


def _colours(image: NDArray[Any]) -> int:
    return image.shape[2] - 1 if image.shape[2] in (2, 4) else image.shape[2]


def _size(image: NDArray[Any]) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


def save_pair(path: Path, image: NDArray[Any]) -> Path:
    """Write [H, W, C]; JPEG in its best quality without colour subsampling, because label maps suffer most from it.

    What JPEG cannot hold becomes PNG or TIFF. Returns the file that was written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() not in _JPEG:
        return save_array(path, image)
    if image.dtype != np.uint8 or image.shape[2] not in (1, 3):
        return save_array(path.with_suffix(".png"), image)
    pillow = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    partial = path.with_name(f".{path.name}.partial")
    pillow.save(partial, format="JPEG", quality=100, subsampling=0)
    partial.replace(path)
    return path


def in_parallel(work: Callable[[Item], None], items: Iterable[Item], threads: int) -> list[str]:
    """Calls ``work`` for every item; returns what failed, in order, so that nothing is lost in a worker."""

    def attempt(item: Item) -> str:
        try:
            work(item)
        except (ValueError, OSError) as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(max_workers=max(threads, 1)) as pool:
        return [failure for failure in pool.map(attempt, items) if failure]


@contextmanager
def appearing_whole(folder: Path) -> Iterator[Path]:
    """A folder to write in, which gets the name ``folder`` when the block ends without an error; else it is removed.

    Raises:
        FileExistsError: ``folder`` exists.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists: move it away first")
    stage = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    try:
        yield stage
        stage.rename(folder)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def shown(names: Iterable[str], limit: int = 6) -> str:
    """The first names in one line, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def require_folder(flag: str, folder: Path) -> Path:
    """The folder.

    Raises:
        FileNotFoundError: there is none.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{flag} {folder}: there is no such folder")
    return folder

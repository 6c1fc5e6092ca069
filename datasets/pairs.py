"""Pairs of images for a data set: two files read and put side by side, folders filled without overwriting anything."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from util.files import replacing
from util.images.io import Picture, read_header, read_image, save_array
from util.wording import counted

Item = TypeVar("Item")

FILTERS = {"nearest": Image.Resampling.NEAREST, "bicubic": Image.Resampling.BICUBIC}
_JPEG = (".jpg", ".jpeg")


def read_side(path: str | os.PathLike[str]) -> Picture:
    """An image with its depth and its transparency."""
    return read_image(path, alpha="keep")


def resize(image: NDArray[Any], height: int, width: int, filter_name: str) -> NDArray[Any]:
    """[H, W, C] brought to [height, width, C], in the range and type it had."""
    planes = [Image.fromarray(image[:, :, i].astype(np.float32)) for i in range(image.shape[2])]
    scaled = np.stack([np.asarray(plane.resize((width, height), FILTERS[filter_name])) for plane in planes], axis=2)
    if image.dtype == np.float32:
        return scaled
    limits = np.iinfo(image.dtype)
    return np.clip(np.rint(scaled), limits.min, limits.max).astype(image.dtype)


def side_by_side(left: Picture, right: Picture, names: str) -> Picture:
    """Two pictures as one; grey becomes RGB beside RGB, and transparency goes if one side has none.

    Raises:
        ValueError: the sides differ in size, bit depth, or in a number of channels that has no common form.
    """
    a, b = left.array, right.array
    if a.shape[:2] != b.shape[:2]:
        raise ValueError(f"{names}: {_size(a)} and {_size(b)} pixels; the sides of a pair must have the same size")
    if a.dtype != b.dtype:
        raise ValueError(f"{names}: {a.dtype} and {b.dtype} numbers; store both sides in the same bit depth")
    colours = a.shape[2] - left.alpha, b.shape[2] - right.alpha
    if colours[0] != colours[1] and colours not in ((1, 3), (3, 1)):
        raise ValueError(f"{names}: {a.shape[2]} and {b.shape[2]} channels cannot stand in one image")
    alpha = left.alpha and right.alpha
    if not alpha or colours[0] != colours[1]:
        alpha, shape = False, (*a.shape[:2], max(colours))
        a, b = (np.broadcast_to(side[:, :, :kept], shape) for side, kept in zip((a, b), colours))
    return Picture(np.concatenate([a, b], axis=1), left.format, alpha)


def _size(image: NDArray[Any]) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


def save_pair(path: Path, picture: Picture) -> Path:
    """Write a picture; JPEG in its best quality without colour subsampling, because label maps suffer most from it.

    What JPEG cannot hold becomes PNG or TIFF. Returns the file that was written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    image = picture.array
    if path.suffix.lower() not in _JPEG:
        return save_array(path, image, alpha=picture.alpha)
    if image.dtype != np.uint8 or image.shape[2] not in (1, 3):
        return save_array(path.with_suffix(".png"), image, alpha=picture.alpha)
    pillow = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    with replacing(path) as temporary:
        pillow.save(temporary, format="JPEG", quality=100, subsampling=0)
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


@dataclass
class Placed:
    """What became of the files of one folder.

    Attributes:
        sizes: name in the folder -> width and height of the image; what failed is not in it.
        new: how many were written now.
        failures: one line each.
    """

    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    new: int = 0
    failures: list[str] = field(default_factory=list)


def place_images(files: Sequence[Path], folder: Path, *, link: bool) -> Placed:
    """Copy images into a folder under their own names, in the order given.

    Args:
        files: to copy; their names differ.
        folder: is made; files that are there already with the same content stay and count.
        link: make hard links, which need no space, instead of copies.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def place(file: Path) -> tuple[tuple[int, int], bool] | str:
        try:
            header = read_header(file)
            return (header.width, header.height), _place(file, folder / file.name, link)
        except (ValueError, OSError) as error:
            return str(error)

    placed = Placed()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        results = tqdm(pool.map(place, files), folder.name, len(files), unit="image", disable=None)
        for file, result in zip(files, results):
            if isinstance(result, str):
                placed.failures.append(result)
            else:
                placed.sizes[file.name], new = result
                placed.new += new
    return placed


def _place(source: Path, target: Path, link: bool) -> bool:
    """True if the file is new, false if it was there.

    Raises:
        FileExistsError: another file has the name.
    """
    if target.exists():
        if not filecmp.cmp(source, target):
            raise FileExistsError(f"{target} exists and is another image than {source}: move it away")
        return False
    with replacing(target) as temporary:
        if link:
            temporary.unlink(missing_ok=True)  # of a killed process that had the same number
            os.link(source, temporary)
        else:
            shutil.copy2(source, temporary)
    return True


def place_json(content: Any, target: Path) -> bool:
    """Write a JSON file; false if it was there with the same content.

    Raises:
        FileExistsError: it is there with other content.
    """
    text = json.dumps(content) + "\n"
    if target.exists():
        if target.read_text(encoding="utf-8", errors="replace") != text:
            raise FileExistsError(f"{target} exists with other content: move it away")
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return True


def tell(folder: Path, placed: Placed) -> None:
    """Print what a folder has now, and what failed."""
    total, there = len(placed.sizes), len(placed.sizes) - placed.new
    print(f"{folder}: {counted(total, 'image')}" + (f", {there} of them there already" if there else ""))
    if placed.failures:
        print(f"error: {folder}: {len(placed.failures)} failed: {shown(placed.failures, 3)}", file=sys.stderr)

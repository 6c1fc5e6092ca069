"""Filling the folders of a data set from files that lie elsewhere: nothing is overwritten, a second call goes on."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from datasets.pairing import shown
from util.image_io import read_header


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
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    if link:
        os.link(source, partial)
    else:
        shutil.copy2(source, partial)
    partial.rename(target)
    return True


def place_json(content: Any, target: Path) -> bool:
    """Write a JSON file; false if it was there with the same content.

    Raises:
        FileExistsError: it is there with other content.
    """
    text = json.dumps(content) + "\n"
    if target.exists():
        if target.read_text(encoding="utf-8") != text:
            raise FileExistsError(f"{target} exists with other content: move it away")
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.rename(target)
    return True


def tell(folder: Path, placed: Placed) -> None:
    """Print what a folder has now, and what failed."""
    total, there = len(placed.sizes), len(placed.sizes) - placed.new
    print(f"{folder}: {total} images" + (f", {there} of them there already" if there else ""))
    if placed.failures:
        print(f"error: {folder}: {len(placed.failures)} failed: {shown(placed.failures, 3)}", file=sys.stderr)

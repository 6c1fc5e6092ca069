"""One file of a data set in full: whether it can be read, and what its values are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data.transforms import checked_values
from data.values import Values, values_of
from options.base_options import SideOptions
from util.images.io import Header, Palette, Picture, read_header, read_image

Sides = tuple[SideOptions, ...]
"""How a file is read: one for all of it, or those of its left and of its right half."""

AS_PICTURES: Sides = (SideOptions("A"),)


@dataclass(frozen=True)
class FileFacts:
    """What decoding one file showed.

    Attributes:
        header: size, channels, depth; None if the file is broken.
        error: one line; empty if the file is sound.
        digest: of the file's bytes; equal for copies.
        values: of the left and of the right half, without missing pixels; empty if the file is broken.
    """

    path: str
    header: Header | None
    error: str
    digest: bytes
    values: tuple[Values, ...] = ()


def examine(path: str, sides: Sides = AS_PICTURES) -> FileFacts:
    """Decode one file in full; an unreadable one becomes a fact, not an exception."""
    try:
        digest = hashlib.blake2b(Path(path).read_bytes(), digest_size=16).digest()
        left = read_side(path, sides[0])
        alike = (sides[0].label_nc > 0, sides[0].nodata > "") == (sides[-1].label_nc > 0, sides[-1].nodata > "")
        right = left if alike else read_side(path, sides[-1])
        half = max(left.array.shape[1] // 2, 1)
        values = []
        for picture, columns, side in ((left, slice(0, half), sides[0]), (right, slice(half, None), sides[-1])):
            part = replace(picture, array=picture.array[:, columns])
            if part.array.size:
                values.append(values_of(part, checked_values(part, side, path)))
        return FileFacts(path, read_header(path), "", digest, tuple(values))
    except (ValueError, OSError) as error:
        return FileFacts(path, None, str(error), b"")


def read_side(path: str, side: SideOptions) -> Picture:
    """The picture of a file as it is, read as its side says."""
    palette: Palette = "indices" if side.label_nc else "colours"
    return read_image(path, alpha="keep", palette=palette, allow_nonfinite=bool(side.nodata))


def examine_all(
    paths: Sequence[str],
    *,
    sides: Mapping[str, Sides] | None = None,
    progress: Callable[[Any], Any] = iter,
    threads: int = 4,
) -> dict[str, FileFacts]:
    """``examine`` for many files at a time.

    Args:
        paths: of the files.
        sides: path -> how it is read; default: as pictures.
        progress: wraps the iterator of results, e.g. tqdm.
        threads: that read.
    """
    known = sides or {}
    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(lambda path: examine(path, known.get(path, AS_PICTURES)), paths)
        return {facts.path: facts for facts in progress(found)}

"""What a result takes over from its source file: the place on the map, and the pixels that are missing."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from util.images.io import Geo, read_header
from util.types import Batch, Visual

_TIFF = (".tif", ".tiff")


@dataclass(frozen=True)
class Origin:
    """What is written beside the values of a result.

    Attributes:
        geo: georeference of the source file.
        nodata: the number that marks missing pixels.
        missing: ``[H, W]``, where they are.
    """

    geo: Geo | None = None
    nodata: float | None = None
    missing: NDArray[np.bool_] | None = None

    @property
    def has_gaps(self) -> bool:
        """Whether some pixels are missing, and a number marks them."""
        return self.nodata is not None and self.missing is not None and bool(self.missing.any())

    def of_size(self, height: int, width: int) -> Origin:
        """What of it holds for a result of this size."""
        geo = self.geo if self.geo is not None and self.geo.size == (width, height) else None
        missing = self.missing if self.missing is not None and self.missing.shape == (height, width) else None
        return replace(self, geo=geo, missing=missing)


def origin_of(
    batch: Batch,
    row: int,
    side: str,
    kind: Visual,
    *,
    domain_key: str,
    nodata: str,
    keeps_place: Callable[[int, int], bool],
) -> Origin:
    """The origin of a visual of a batch's row.

    A real picture has its own file's, any other that of the file it was made from: a fake is missing where its input
    is, marked as files of its domain mark it.

    Args:
        batch: of the loader.
        row: in it.
        side: key of the source file in the batch, ``A`` or ``B``.
        kind: what the visual is.
        domain_key: key in the batch of files of the visual's domain.
        nodata: ``--nodata`` of the domain.
        keeps_place: whether a picture of (width, height) pixels comes through the preprocessing at its place.
    """
    if not kind.domain or kind.colours:
        return Origin()
    own = _own(batch, side, kind, domain_key)
    geo = _georeference(batch[f"{own}_paths"][row]) if f"{own}_paths" in batch else None
    if geo is not None and not keeps_place(*geo.size):
        geo = None
    mask: Any = batch.get(f"{own}_mask")
    if not nodata or mask is None:
        return Origin(geo)
    numbers = [batch.get(f"{key}_nodata", [None] * (row + 1))[row] for key in (domain_key, own)]
    number = _given(nodata) if nodata != "file" else next((each for each in numbers if each is not None), None)
    return Origin(geo, number, _gaps(mask, row))


def with_gaps(pixels: NDArray[Any], batch: Batch, row: int, kind: Visual, source: str = "A") -> NDArray[Any]:
    """The pixels ``[H, W, C]`` of a visual, NaN where test.py would write that they are missing.

    Args:
        pixels: numbers of any type; float64 is returned where some are missing.
        batch: of the loader.
        row: in it.
        kind: what the visual is.
        source: domain of the batch's ``A``.
    """
    side = "B" if kind.source == "B" and "B_paths" in batch else "A"
    domain_key = "A" if kind.domain == source else "B"
    mask: Any = batch.get(f"{_own(batch, side, kind, domain_key)}_mask")
    if kind.colours or mask is None or f"{domain_key}_mask" not in batch:
        return pixels
    missing = _gaps(mask, row)
    if not missing.any() or missing.shape != pixels.shape[:2]:
        return pixels
    return np.where(missing[:, :, None], np.nan, pixels.astype(np.float64))


def _own(batch: Batch, side: str, kind: Visual, domain_key: str) -> str:
    """Key of the file that says which pixels of a visual are missing."""
    return domain_key if kind.role == "real" and f"{domain_key}_paths" in batch else side


def _gaps(mask: Any, row: int) -> NDArray[np.bool_]:
    return np.asarray(mask[row, 0].cpu().numpy() == 0)


def _given(nodata: str) -> float:
    return math.nan if nodata == "nan" else float(nodata)


def _georeference(path: str) -> Geo | None:
    # What is read from an archive has no file of its own.
    return read_header(path).geo if path.lower().endswith(_TIFF) and os.path.isfile(path) else None

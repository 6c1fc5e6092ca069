"""Whole-slide images (.svs, .ndpi, .mrxs, ...), by openslide or tiffslide, where one of them is installed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SLIDE_SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif")
_PACKAGES = (("openslide", "OpenSlide"), ("tiffslide", "TiffSlide"))


class Slide:
    """One level of a slide, read region by region.

    Args:
        path: of the file.
        level: 0 for the full resolution; each further one is smaller.

    Attributes:
        width, height: of the level, in pixels.

    Raises:
        ValueError: no package for it, a file that it cannot read, or no such level.
    """

    def __init__(self, path: Path, level: int = 0) -> None:
        self._slide = _opened(path)
        count = int(self._slide.level_count)
        if level >= count:
            raise ValueError(f"{path}: has the levels 0 to {count - 1}, so --level {level} is none of them")
        self._level, self._factor = level, float(self._slide.level_downsamples[level])
        self.width, self.height = (int(size) for size in self._slide.level_dimensions[level])

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """RGB ``[height, width, 3]`` of a region of the level; what the slide does not hold is white."""
        corner = (round(x * self._factor), round(y * self._factor))  # both packages count in pixels of level 0
        region = np.asarray(self._slide.read_region(corner, self._level, (width, height)))
        if region.shape[2] == 3:
            return region.astype(np.uint8)
        opacity = region[:, :, 3:].astype(np.float32) / 255
        return np.rint(region[:, :, :3] * opacity + 255 * (1 - opacity)).astype(np.uint8)

    def close(self) -> None:
        self._slide.close()


def _opened(path: Path) -> Any:
    for name, kind in _PACKAGES:
        try:
            package = importlib.import_module(name)
        except (ImportError, OSError):  # openslide is there, but its C library is not
            continue
        try:
            return getattr(package, kind)(str(path))
        except Exception as error:  # each package has errors of its own
            raise ValueError(f"{path}: {name} cannot read it as a slide ({error})") from error
    raise ValueError(f"{path}: whole-slide files need the package tiffslide or openslide-python: pip install tiffslide")

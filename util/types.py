"""The records and dictionaries that cross a border between packages. Standard library only at import time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Batch = Mapping[str, Any]
"""What a loader gives to a model: ``A``, ``B`` float32 ``[N, C, H, W]`` in ``[-1, 1]``, ``A_paths``, ``B_paths``
lists of str, ``index`` int64 ``[N]``; for class data ``image``, ``label``, ``index``, ``path``. Optional: ``A_format``,
``B_format`` (how the file stored it: ``uint8``, ``uint16``, ``int16``, ``float32``), ``A_mask``, ``B_mask`` (float32
``[N, 1, H, W]``, 0 where pixels are missing, else 1; with ``--nodata``), ``A_nodata``, ``B_nodata`` (lists of the
numbers that mark them, None where the file names none), ``A_boxes``, ``B_boxes`` (lists of
float32 ``[k, 4]``, (x0, y0, x1, y1) in pixels of the image, k may be 0) and ``share``, the weight of this process's
part of the global batch (default ``1 / number of processes``)."""

Losses = dict[str, "Tensor"]
"""Published loss name -> detached 0-dim tensor on the model's device."""

Visuals = dict[str, "Tensor"]
"""Published visual name -> ``[N, C, H, W]`` in ``[-1, 1]``; C is 1 or 3 unless the data have other channels."""


@dataclass(frozen=True)
class Visual:
    """What a picture of a model is.

    Attributes:
        role: ``real`` (from a file), ``fake`` (a translation), ``rec``, ``idt`` (reconstruction, identity), ``about``
            (a map, a difference, boxes: for the eye).
        domain: ``A`` or ``B``: in whose values it is; empty where it has values of its own in ``[-1, 1]``.
        source: ``A`` or ``B``: the side of the file that it was made from, after which a test names it.
        colours: True if it shows as sRGB what its domain has in other numbers.
    """

    role: str
    domain: str
    source: str = "A"
    colours: bool = False

    @property
    def stored_as(self) -> str:
        """The domain whose kind of file and range it takes; of a picture for the eye that of its source."""
        return self.domain or self.source


PAIRED_VISUALS: Mapping[str, Visual] = {
    "real_A": Visual("real", "A"),
    "fake_B": Visual("fake", "B"),
    "real_B": Visual("real", "B"),
}
"""Of a model that learns from pairs: all are named after the file of A."""

CYCLE_VISUALS: Mapping[str, Visual] = {
    **{f"real_{side}": Visual("real", side, side) for side in "AB"},
    **{f"fake_{other}": Visual("fake", other, side) for side, other in ("AB", "BA")},
    **{f"rec_{side}": Visual("rec", side, side) for side in "AB"},
}
"""Of a model of two directions: each is named after the file that it was made from."""

SHEETS = ("samples",)
"""Pictures of many samples that a training shows beside the visuals: pages show them as large as they are."""

VIEWS, STORED = ("axial", "coronal", "sagittal"), "stored"
"""Directions in which a volume is cut into upright slices; ``STORED``: as its file has them."""

ABOUT_A_FAKE = ("heat_", "rec_")
"""What begins the name of a result file that is about a fake and no translation itself, such as ``heat_fake_B``."""

IN_COLOURS = "_rgb"
"""Ending of the result files of visuals in ``colours``: ``fake_B_rgb`` is measured and compared in place of
``fake_B``."""


def paths_of(batch: Batch) -> list[str]:
    """The files of a batch; both sides of a pair may lie in one."""
    paths = (path for side in ("A_paths", "B_paths", "path") for path in batch.get(side, ()))
    return list(dict.fromkeys(paths))


@dataclass(frozen=True)
class ScalarRecord:
    """One line of the console: the losses of one batch."""

    epoch: int
    epoch_iter: int  # images seen in this epoch
    total_iters: int  # images seen in all
    losses: dict[str, float]  # published names in published order
    lr: float
    t_comp: float  # seconds of computing per image
    t_data: float  # seconds waited for data per image
    images_per_s: float
    data_wait: float  # share of the wall time spent waiting for data, 0..1
    memory_mb: float  # peak memory of the device so far


@dataclass(frozen=True)
class EpochRecord:
    """The end of an epoch: the mean of every loss over its images, and what was measured on held-out images."""

    epoch: int
    total_iters: int
    means: dict[str, float]
    lr: float
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)  # full name -> value; empty when nothing was measured


@dataclass(frozen=True)
class ImageRecord:
    """The visuals of one sample, ready to draw."""

    epoch: int
    total_iters: int
    images: dict[str, np.ndarray]  # visual name -> uint8 [H, W, 3] or [H, W, 1]
    paths: tuple[str, ...]
    kinds: Mapping[str, Visual] = field(default_factory=dict)  # of the visuals whose levels are values, no labels

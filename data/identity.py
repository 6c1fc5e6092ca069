"""What a data set is, in a few numbers: to notice a changed file list, and to try a model's sizes early."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data.base_dataset import BaseDataset


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

"""Data sets by name: one layout a file, ``<name>_dataset.py``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from util.registry import Registry

if TYPE_CHECKING:
    from data.base_dataset import BaseDataset

DATASETS: Registry[BaseDataset] = Registry("dataset", "data", "_dataset", Path(__file__).parent)

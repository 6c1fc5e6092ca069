"""Models by name: one recipe a file, ``<name>_model.py``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from util.registry import Registry

if TYPE_CHECKING:
    from models.base_model import BaseModel

MODELS: Registry[BaseModel] = Registry("model", "models", "_model", Path(__file__).parent)

"""Loggers by name: one sink a file with its flags, ``<name>_log.py``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from util.registry import Registry

if TYPE_CHECKING:
    from util.loggers.base import Logger

LOGGERS: Registry[Logger] = Registry("logger", "util.loggers", "_log", Path(__file__).parent)

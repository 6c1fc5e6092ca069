"""Alias of ``datasets/prepare_class_folder.py``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from datasets.prepare_class_folder import main

if __name__ == "__main__":
    sys.exit(main())

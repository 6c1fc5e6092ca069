"""Alias of ``datasets/prepare_class_folder.py``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

from datasets.prepare_class_folder import main

if __name__ == "__main__":
    sys.exit(main())

"""Text files that survive a kill: replaced whole, or appended line by line."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def replace_text(path: Path, pieces: Iterable[str]) -> None:
    """Write the joined pieces to ``path`` by a temporary file beside it and a rename.

    A reader, and a start after a kill, sees the old content or the new one, never a part. Line ends stay as given.
    A file name that is no Unicode (Python keeps its bytes as lone surrogates) is written with backslashes.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full. The old file is then untouched.
    """
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        file.writelines(pieces)
    os.replace(temporary, path)


class LineFile:
    """A text file that grows by whole lines; each line is handed to the system before ``append`` returns.

    A killed process leaves at most one cut line, the last, which is known by its missing line end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open(path, "a", encoding="utf-8", errors="backslashreplace", newline="")  # noqa: SIM115 (open as long as the run)

    def append(self, line: str) -> None:
        """Add ``line`` (without line end)."""
        self._file.write(line + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()

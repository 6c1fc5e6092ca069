"""Hears the line of error that a program prints before it ends, while it is printed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

_KEPT = 8000  # characters: far more than such a line has


class Listener:
    """A stream that passes everything on to another one, and remembers the end of it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._end = ""

    def write(self, text: str) -> int:
        """As a stream's."""
        self._end = (self._end + text)[-_KEPT:]
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def error(self) -> str:
        """What came after the last ``error:`` of a line (see ``util.exit_code``); empty if nothing did."""
        found = [line.partition(": error: ")[2] for line in self._end.splitlines() if ": error: " in line]
        return found[-1].strip() if found else ""


@contextlib.contextmanager
def listening() -> Iterator[Listener]:
    """Listen to what this process writes to stderr. What its children write is not heard."""
    listener = Listener(sys.stderr)
    with contextlib.redirect_stderr(cast(TextIO, listener)):
        yield listener

"""Errors of the libraries that read volumes, for messages of one line."""

from __future__ import annotations

_LENGTH = 120


def one_line(error: BaseException) -> str:
    """What an error says, or its kind: without line ends, its middle left out where it is long."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= _LENGTH else words[:60] + "..." + words[-57:]  # ITK names the cause at the end

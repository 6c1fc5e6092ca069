"""Words of messages."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: ``1 file``, ``2 files``, ``12,000 images``.

    Args:
        number: how many.
        noun: the word for one.
        plural: that for several; default: the noun with an s.
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"

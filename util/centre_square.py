"""The centred square of a picture: its shorter side scaled to a size, then the middle cut out."""

from __future__ import annotations


def shorter_to(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height after scaling by which the shorter side becomes ``size``; the other is cut to whole pixels."""
    return (size, size * height // width) if width <= height else (size * width // height, size)


def centred_corner(width: int, height: int, size: int) -> tuple[int, int]:
    """x and y where the square of ``size`` pixels in the middle begins; 0 where the picture is smaller."""
    return max(0, (width - size) // 2), max(0, (height - size) // 2)

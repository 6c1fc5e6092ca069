"""Pretrained weights: reading their files, and downloading them without waiting for ever."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

_DOWNLOAD_SECONDS = 20.0  # without an answer


class MissingWeights(ValueError):
    """A pretrained network cannot be had here; the message says what is missing and how to get it."""


@contextlib.contextmanager
def patience(seconds: float = _DOWNLOAD_SECONDS) -> Iterator[None]:
    """Do not wait longer than this for a silent server while something is downloaded."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def load_weights(file: Path, flag: str) -> dict[str, Tensor]:
    """A file with a state_dict: tensors only, nothing is executed.

    Raises:
        ValueError: it is damaged, or something else; the message names the flag and the file.
    """
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file, with advice not to be followed
        kind = type(error).__name__
        raise ValueError(f"{flag} {file}: damaged or no file of weights ({kind}); download it again") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{flag} {file}: not a state_dict of a network; download it again")
    return state

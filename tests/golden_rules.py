"""The rules behind the golden data: weights and inputs made from numpy seeds, so that only outputs are stored.

``tests/golden/atme`` and ``tests/golden/dlim`` hold what the published networks (DLR-MI/atme at c910e7e, DLIM at
4fd59a6; torch 2.14.1, CPU, float32, eval mode) give for these weights and inputs.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

GOLDEN = Path(__file__).parent / "golden"


def load_golden(stem: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Index and arrays of ``tests/golden/<stem>.json`` and ``.npz``."""
    index = json.loads((GOLDEN / f"{stem}.json").read_text(encoding="utf-8"))
    with np.load(GOLDEN / f"{stem}.npz") as arrays:
        return index, dict(arrays)


def fill_value(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The float32 value of one state_dict entry; it depends on nothing but the name and the shape."""
    rng = np.random.default_rng(zlib.crc32(key.encode("utf-8")))
    value = rng.standard_normal(shape).astype("float32") * np.float32(0.05)
    if key.endswith("running_var"):
        return 1 + np.abs(value)
    if (key.endswith(".weight") and len(shape) == 1) or key.endswith(".g"):
        return 1 + value
    return value


def fill(net: nn.Module) -> nn.Module:
    """Give every entry of the state_dict its value by rule; integer entries become 0. Returns ``net``."""
    for key, entry in net.state_dict().items():
        if entry.is_floating_point():
            entry.copy_(torch.from_numpy(np.asarray(fill_value(key, tuple(entry.shape)))))
        else:
            entry.zero_()
    return net


def uniform_input(shape: tuple[int, ...] | list[int], seed: int = 1234) -> Tensor:
    """A float32 input in [-1, 1)."""
    return torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32"))


def structure(net: nn.Module) -> list[list[Any]]:
    """``[key, shape, dtype]`` of every state_dict entry, in order, as the golden index lists them."""
    return [[key, list(v.shape), str(v.dtype).removeprefix("torch.")] for key, v in net.state_dict().items()]

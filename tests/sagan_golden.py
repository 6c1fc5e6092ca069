"""The rule behind the golden data of SAGAN: weights by the name in the published file, and networks that have them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.sagan.h5 import layout
from models.sagan.networks import SAGANDiscriminator, SAGANGenerator
from tests.golden_rules import load_golden

INDEX, ARRAYS = load_golden("sagan/golden_sagan")
CLASSES, LATENT, WIDTH = 5, 16, 4


def h5_value(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The float32 value of one tensor of the file; it depends on nothing but the name and the shape."""
    rng = np.random.default_rng(zlib.crc32(name.encode("utf-8")))
    value = rng.standard_normal(shape).astype("float32") * np.float32(0.05)
    if name.endswith("/singular-vector"):
        return (value / np.linalg.norm(value)).astype("float32")
    if name.endswith(("/gamma", "/gamma/embed/W")):
        return 1 + value
    return 1 + np.abs(value) if name.endswith("/var") else value


def h5_values(shapes: Mapping[str, Any] | None = None) -> dict[str, NDArray[np.float32]]:
    """Name -> value, by default of every tensor of the golden networks."""
    shapes = shapes or {name: entry["shape"] for name, entry in INDEX["parameters"].items()}
    return {name: h5_value(name, tuple(shape)) for name, shape in shapes.items()}


def golden_networks() -> tuple[nn.Module, nn.Module]:
    """G and D with the weights of the rule."""
    G = SAGANGenerator(ngf=WIDTH, nz=LATENT, num_classes=CLASSES)
    D = SAGANDiscriminator(ndf=WIDTH, num_classes=CLASSES)
    fill({"G": G, "D": D})
    return G, D


def fill(networks: Mapping[str, nn.Module]) -> None:
    """Give ``G`` and ``D`` of the golden sizes the weights of the rule."""
    states = {key: net.state_dict() for key, net in networks.items()}
    for entry in layout(networks):
        states[entry.network][entry.key].copy_(entry.read(h5_value(entry.name, entry.shape)))


def golden_inputs() -> dict[str, Tensor]:
    """z, the labels of the fakes, the real images and their labels."""
    return {
        "z": torch.from_numpy(np.random.default_rng(1234).standard_normal((2, LATENT)).astype("float32")),
        "y_fake": torch.tensor(INDEX["y_fake"]),
        "x_real": torch.from_numpy(np.random.default_rng(4321).uniform(-1, 1, (2, 3, 128, 128)).astype("float32")),
        "y_real": torch.tensor(INDEX["y_real"]),
    }


def differs(found: Tensor, entry: Mapping[str, Any]) -> float:
    """Largest difference of a tensor from a golden "stats" entry, in units of what it is compared with.

    Single values count in units of the root mean square, sums in units of the sum of absolute values. A wrong shape
    fails.
    """
    assert list(found.shape) == entry["shape"]
    flat = found.detach().double().flatten()
    scale = entry["l2"] / len(flat) ** 0.5
    ends = torch.cat([flat[:6], flat[-3:]]) - torch.tensor(entry["first"] + entry["last"], dtype=torch.float64)
    sums = torch.stack([flat.sum() - entry["sum"], flat.abs().sum() - entry["abs_sum"]]) / entry["abs_sum"]
    length = (flat.norm() - entry["l2"]) / entry["l2"]
    return max(float(each.abs().max()) for each in (ends / scale, sums, length))

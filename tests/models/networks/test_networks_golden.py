"""Keys, shapes, order, parameter counts and outputs equal the published networks'."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.networks.factory import build_discriminator, build_generator
from tests.golden_rules import fill, load_golden, structure, uniform_input

ATME, ATME_ARRAYS = load_golden("atme/golden_pix2pix")
DLIM, DLIM_ARRAYS = load_golden("dlim/golden_inherited")

# name -> what to build; where the index says nothing, ngf = ndf = 64, three image channels, six for D
GENERATORS: dict[str, dict[str, Any]] = {
    "unet_256_batch": {"dropout": 0.5},
    "unet_256_instance": {},
    "unet_128_batch": {"ngf": 16},
    "unet_128_instance": {"ngf": 16},
    "resnet_9blocks_batch": {"dropout": 0.5},
    "resnet_9blocks_instance": {},
    "resnet_6blocks_batch": {},
    "resnet_6blocks_instance": {},
    "resnet_6blocks_none": {"ngf": 16, "input_nc": 1},
}
DISCRIMINATORS: dict[str, dict[str, Any]] = {
    f"D_{name}_{norm}": options
    for norm in ("batch", "instance")
    for name, options in {
        "basic": {"netD": "basic"},
        "n_layers_2": {"netD": "n_layers", "n_layers_D": 2},
        "n_layers_3": {"netD": "n_layers", "n_layers_D": 3},
        "n_layers_5": {"netD": "n_layers", "n_layers_D": 5, "ndf": 16},
        "pixel": {"netD": "pixel"},
    }.items()
} | {"D_basic_instance_256": {"netD": "basic", "norm": "instance"}}


def generator(netG: str, norm: str, *, input_nc: int = 3, output_nc: int = 3, **options: Any) -> nn.Module:
    return build_generator(netG, input_nc, output_nc, norm=norm, **{"dropout": 0.0, **options})


def output_and_pretanh(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """The output and what entered the last tanh."""
    seen: list[Tensor] = []
    (tanh,) = (module for module in net.modules() if isinstance(module, nn.Tanh))
    handle = tanh.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    with torch.no_grad():
        y = net(x)
    handle.remove()
    return y, seen[0]


def test_every_golden_network_is_tested() -> None:
    assert set(ATME["networks"]) == set(GENERATORS) | set(DISCRIMINATORS)


@pytest.mark.parametrize("name", GENERATORS)
def test_generator(name: str) -> None:
    entry = ATME["networks"][name]
    netG, norm = name.rsplit("_", 1)
    net = fill(generator(netG, norm, **GENERATORS[name])).eval()
    assert structure(net) == entry["state_dict"]
    assert sum(p.numel() for p in net.parameters()) == entry["n_params"]

    y, pretanh = output_and_pretanh(net, uniform_input(entry["inputs"][0]["shape"]))
    assert list(y.shape) == entry["output_shape"]
    step, std = entry["stored_stride_hw"], entry["pretanh"]["std"]
    want = torch.from_numpy(ATME_ARRAYS[entry["pretanh"]["npz_key"]])
    assert (pretanh[..., ::step, ::step] - want).abs().max() <= 2e-4 * std
    assert pretanh.mean().item() == pytest.approx(entry["pretanh"]["mean"], abs=2e-4 * std)
    assert pretanh.std(correction=0).item() == pytest.approx(std, rel=2e-4)
    assert torch.equal(y, torch.tanh(pretanh))
    assert y.mean().item() == pytest.approx(entry["mean"], abs=1e-3)
    assert y.abs().max().item() == pytest.approx(entry["absmax"], abs=1e-3)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_discriminator(name: str) -> None:
    entry = ATME["networks"][name]
    options = {"norm": name.rsplit("_", 1)[1], **DISCRIMINATORS[name]}
    net = fill(build_discriminator(options.pop("netD"), 6, **options)).eval()
    assert structure(net) == entry["state_dict"]
    assert sum(p.numel() for p in net.parameters()) == entry["n_params"]
    with torch.no_grad():
        y = net(uniform_input(entry["inputs"][0]["shape"]))
    assert list(y.shape) == entry["output_shape"]
    step = entry["stored_stride_hw"]
    want = torch.from_numpy(ATME_ARRAYS[entry["npz_key"]])
    assert (y[..., ::step, ::step] - want).abs().max() <= 2e-4 * entry["std"]
    assert y.mean().item() == pytest.approx(entry["mean"], abs=2e-4 * entry["std"])


INHERITED = {
    "resnet9_instance": lambda: generator("resnet_9blocks", "instance", ngf=16),
    "unet256_color": lambda: generator("unet_256", "batch", ngf=8, input_nc=1, output_nc=2),
    "unet128_g": lambda: generator("unet_128", "batch", ngf=16, dropout=0.5),
    "basicD3_instance": lambda: build_discriminator("basic", 3, ndf=16, norm="instance"),
}


@pytest.mark.parametrize("name", INHERITED)
def test_networks_of_cyclegan_and_colorization(name: str) -> None:
    entry = DLIM["nets"][name]
    net = fill(INHERITED[name]()).eval()
    assert structure(net) == entry["keys"]
    with torch.no_grad():
        y = net(uniform_input(entry["input_shape"]))
    want = entry["outputs"]["out"]
    assert list(y.shape) == want["shape"]
    difference = np.abs(y.flatten().numpy()[:: want["stride"]] - DLIM_ARRAYS[f"{name}__out"])
    assert difference.max() <= 1e-4 * want["absmax"]


STRUCTURES = {
    "resnet9_structure": lambda: generator("resnet_9blocks", "instance"),
    "unet256_color_structure": lambda: generator("unet_256", "batch", input_nc=1, output_nc=2),
    "basicD3_structure": lambda: build_discriminator("basic", 3, norm="instance"),
    "basicD_color_structure": lambda: build_discriminator("basic", 3, norm="batch"),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_published_sizes(name: str) -> None:
    with torch.device("meta"):
        net = STRUCTURES[name]()
    entry = DLIM["nets"][name]
    assert sum(p.numel() for p in net.parameters()) == entry["num_params"]
    assert sum(v.numel() for v in net.state_dict().values()) == entry["num_state_values"]
    assert len(net.state_dict()) == entry["keys_omitted"]

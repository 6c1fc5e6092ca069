"""Initialisation: which modules, and which distribution, against the closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from models.networks.factory import build_generator
from models.networks.init import init_weights
from models.networks.names import INIT_TYPES

FAN_IN, FAN_OUT = 32 * 9, 64 * 9
STD = {
    "normal": lambda gain: gain,
    "xavier": lambda gain: gain * math.sqrt(2 / (FAN_IN + FAN_OUT)),
    "kaiming": lambda gain: math.sqrt(2 / FAN_IN),
}


@pytest.mark.parametrize("gain", [0.02, 0.5])
@pytest.mark.parametrize("init_type", STD)
def test_distribution(init_type: str, gain: float) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(32, 64, 3)  # 18432 weights: the standard error of their std is 0.5 %
    init_weights(conv, init_type, gain)
    std = STD[init_type](gain)
    assert conv.weight.std().item() == pytest.approx(std, rel=0.03)
    assert abs(conv.weight.mean().item()) < 4 * std / math.sqrt(18432)
    assert conv.weight.abs().max() > 3 * std  # not a uniform distribution
    assert not conv.bias.any()


def test_orthogonal_rows_have_the_length_of_the_gain() -> None:
    linear = nn.Linear(12, 5)
    init_weights(linear, "orthogonal", 0.3)
    assert torch.allclose(linear.weight @ linear.weight.T, 0.09 * torch.eye(5), atol=1e-6)


def test_batch_norm_is_near_one() -> None:
    torch.manual_seed(0)
    for norm in (nn.BatchNorm2d(4096), nn.SyncBatchNorm(4096)):
        nn.init.ones_(norm.bias)
        init_weights(norm, "normal", 0.02)
        assert norm.weight.mean().item() == pytest.approx(1, abs=0.002)
        assert norm.weight.std().item() == pytest.approx(0.02, rel=0.1)
        assert not norm.bias.any()


def test_only_convolutions_linear_layers_and_batch_norm() -> None:
    others = nn.Sequential(nn.GroupNorm(1, 4), nn.Embedding(3, 4), nn.BatchNorm1d(4), nn.InstanceNorm2d(4, affine=True))
    before = {key: value.clone() for key, value in others.state_dict().items()}
    init_weights(others)
    assert all(torch.equal(value, before[key]) for key, value in others.state_dict().items())


def test_transposed_convolutions_count_too() -> None:
    net = build_generator("unet_128", 3, 3, ngf=4)
    init_weights(net, "normal", 1e-9)
    assert all(p.abs().max() < 1e-7 for name, p in net.named_parameters() if p.dim() == 4)


def test_a_module_can_keep_its_own_initialisation() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Sequential(nn.Conv2d(1, 1, 1)))
    nn.init.constant_(net[1][0].weight, 7.0)
    net[1].keeps_own_init = True
    init_weights(net, "normal", 0.02)
    assert net[1][0].weight.item() == 7.0
    assert abs(net[0].weight.item()) < 0.2 and net[0].bias.item() == 0


def test_spectral_norm_gets_its_stored_weight_initialised() -> None:
    torch.manual_seed(0)
    conv = spectral_norm(nn.Conv2d(32, 64, 3))
    init_weights(conv, "normal", 0.02)
    assert conv.parametrizations.weight.original.std().item() == pytest.approx(0.02, rel=0.03)


def test_same_seed_same_weights() -> None:
    nets = [build_generator("resnet_6blocks", 3, 3, ngf=2) for _ in range(2)]
    for net in nets:
        torch.manual_seed(5)
        init_weights(net)
    first, second = (net.state_dict() for net in nets)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_unknown_name() -> None:
    assert INIT_TYPES == ("normal", "xavier", "kaiming", "orthogonal", "default")
    with pytest.raises(ValueError, match="--init_type 'xavir': did you mean 'xavier'"):
        init_weights(nn.Conv2d(1, 1, 1), "xavir")

"""Reflected borders."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.networks.factory import build_generator
from models.networks.padding import ReflectionPad2d, reflect


def test_values_are_those_of_torch_and_by_hand() -> None:
    x = torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]])
    by_hand = torch.tensor([[[[5.0, 4, 5, 6, 5], [2, 1, 2, 3, 2], [5, 4, 5, 6, 5], [2, 1, 2, 3, 2]]]])
    assert torch.equal(ReflectionPad2d(1)(x), by_hand) and torch.equal(reflect(x, (1, 1, 1, 1)), by_hand)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_under_autocast_the_precision_stays(dtype: torch.dtype) -> None:
    x = torch.randn(1, 2, 4, 4, dtype=dtype, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        padded = (ReflectionPad2d(1)(x), reflect(x, (1, 1, 1, 1)))
    assert [each.dtype for each in padded] == [dtype, dtype]
    padded[0].sum().backward()
    assert x.grad is not None and x.grad.dtype == dtype


def test_a_residual_generator_in_bf16_keeps_no_float32_maps() -> None:
    net = build_generator("resnet_6blocks", 3, 3, ngf=4, norm="instance", dropout=0)
    kept: list[torch.Tensor] = []
    keep = torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t)
    with keep, torch.autocast("cpu", dtype=torch.bfloat16):
        net(torch.randn(1, 3, 32, 32))
    weights = {each.data_ptr() for each in net.parameters()}
    maps = [each for each in kept if each.ndim == 4 and each.data_ptr() not in weights and each.shape[0] == 1]
    widths = {each.shape[1] for each in maps}
    assert {4, 8, 16} <= widths
    assert {each.dtype for each in maps if each.shape[1] > 3} == {torch.bfloat16}
    assert all(type(layer) is not nn.ReflectionPad2d for layer in net.modules())

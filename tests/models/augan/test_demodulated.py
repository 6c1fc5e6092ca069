"""The demodulated convolution: the published outputs and gradients, and a plain convolution with unit filters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.augan.networks import DemodulatedConv2d
from models.networks.init import init_weights
from tests.golden_rules import fill_value, load_golden, uniform_input

GOLDEN, ARRAYS = load_golden("augan/golden")
NAMES = [name for name in GOLDEN["nets"] if name.startswith("demod_")]


@pytest.mark.parametrize("name", NAMES)
def test_equals_the_published_one(name: str) -> None:
    entry = GOLDEN["nets"][name]
    c = dict(entry["ctor"])
    conv = DemodulatedConv2d(c.pop("in_channel"), c.pop("out_channel"), c.pop("kernel_size"), **{"bias": False, **c})
    # The published weights have an axis of 1 in front.
    conv.load_state_dict({key: torch.from_numpy(fill_value(key, tuple(shape))) for key, shape, _ in entry["keys"]})
    assert conv.state_dict()["weight"].ndim == 4
    x = uniform_input(entry["input_shape"]).requires_grad_()
    y = conv(x)
    (y * uniform_input(tuple(y.shape), seed=4321)).sum().backward()
    assert x.grad is not None and conv.weight.grad is not None
    assert np.abs(y.detach().numpy() - ARRAYS[f"{name}/out"]).max() <= 1e-5
    assert np.abs(x.grad.numpy() - ARRAYS[f"{name}/grad_input"]).max() <= 1e-5
    wanted = ARRAYS[f"{name}/grad_weight"][0]
    assert np.abs(conv.weight.grad.numpy() - wanted).max() <= 1e-4 * np.abs(wanted).max()


@pytest.mark.parametrize("batch", [1, 3])
def test_is_a_convolution_with_filters_of_length_1(batch: int) -> None:
    conv = DemodulatedConv2d(3, 5, 3, padding=1)
    init_weights(conv, "normal", 7.0)
    assert conv.weight.std() > 4 and conv.bias is not None
    with torch.no_grad():
        conv.bias.copy_(torch.arange(5.0))
        x = uniform_input([batch, 3, 6, 6])
        unit = conv.weight / conv.weight.flatten(1).norm(dim=1)[:, None, None, None]
        torch.testing.assert_close(conv(x), F.conv2d(x, unit, conv.bias, padding=1), rtol=0, atol=1e-5)
        conv.weight.zero_()
        torch.testing.assert_close(conv(x)[0, :, 0, 0], torch.arange(5.0))


def test_other_shapes_are_refused() -> None:
    with pytest.raises(RuntimeError, match="size mismatch"):
        DemodulatedConv2d(3, 5, 3).load_state_dict({"weight": torch.zeros(1, 5, 3, 5, 5), "bias": torch.zeros(5)})

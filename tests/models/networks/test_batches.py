"""Several batches in one pass of a network: only where every image is treated alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.networks.batches import in_one_batch
from models.networks.factory import build_discriminator, build_generator


def images(count: int, size: int = 64, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def passes(net: nn.Module, *batches: Tensor) -> tuple[list[int], list[Any]]:
    """Sizes of the batches that the network got, and what came out."""
    seen: list[int] = []
    handle = net.register_forward_hook(lambda net, inputs, output: seen.append(len(inputs[0])))
    found = in_one_batch(net, *batches)
    handle.remove()
    return seen, found


@pytest.mark.parametrize(
    "net",
    [
        build_generator("resnet_6blocks", 3, 3, ngf=4, norm="instance", dropout=0),
        build_generator("unet_128", 3, 3, ngf=4, norm="none", dropout=0),
        build_discriminator("basic", 3, ndf=4, norm="instance"),
        build_discriminator("pixel", 3, ndf=4, norm="instance"),
        build_discriminator("ms2", 3, ndf=4, norm="instance", n_layers_D=2),
        build_discriminator("ms2", 3, ndf=4, norm="instance", n_layers_D=2, features=True),
    ],
    ids=lambda net: type(net).__name__,
)
def test_one_pass_gives_what_several_do(net: nn.Module) -> None:
    size = 128 if type(net).__name__ == "UNetGenerator" else 64
    a, b = images(1, size), images(2, size, seed=1)
    seen, found = passes(net, a, b)
    assert seen == [3]
    torch.testing.assert_close(found, [net(a), net(b)], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "net",
    [
        build_generator("resnet_6blocks", 3, 3, ngf=4, norm="batch", dropout=0),
        build_generator("resnet_6blocks", 3, 3, ngf=4, norm="instance", dropout=0.5),
        build_discriminator("basic", 3, ndf=4, norm="batch"),
        build_discriminator("basic", 3, ndf=4, norm="instance", norm_D="batch"),
        build_discriminator("ms2", 3, ndf=4, norm="batch"),
        nn.Conv2d(3, 1, 3),
    ],
)
def test_a_network_whose_images_meet_or_that_draws_gets_them_apart(net: nn.Module) -> None:
    assert passes(net, images(1), images(1, seed=1))[0] == [1, 1]


def test_images_of_two_sizes_stay_apart() -> None:
    net = build_discriminator("basic", 3, ndf=4, norm="instance")
    seen, found = passes(net, images(1), images(1, 96))
    assert seen == [1, 1] and [each.shape[-1] for each in found] == [6, 10]


def test_nhwc_images_stay_apart() -> None:
    net = build_discriminator("basic", 3, ndf=4, norm="instance")
    a, b = (images(1, seed=seed).contiguous(memory_format=torch.channels_last) for seed in range(2))
    assert passes(net, a, b)[0] == [1, 1]

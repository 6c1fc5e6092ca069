"""The frozen VGG: keys and taps of the published network, torchvision's layers, and what frozen means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.vgg import cfgs, make_layers

from models.networks.vgg import VGGFeatures, convolution_places
from tests.golden_rules import fill, load_golden, structure, uniform_input

GOLDEN, ARRAYS = load_golden("dlim/golden_vgg")
RELUS = {"vgg16": (1, 6, 11, 18, 25), "vgg19": (1, 6, 11, 20, 29)}
"""relu1_1 ... relu5_1 in torchvision's ``features``."""


def torchvision_features(name: str) -> nn.Sequential:
    return make_layers(cfgs[{"vgg16": "D", "vgg19": "E"}[name]], batch_norm=False)


def test_structure_and_taps_are_the_published_ones() -> None:
    net = VGGFeatures()
    assert structure(net) == GOLDEN["structure"]["keys"]
    assert sum(p.numel() for p in net.parameters()) == GOLDEN["structure"]["num_params"] == 12_944_960
    assert not any(p.requires_grad for p in net.parameters())
    fill(net)
    with torch.no_grad():
        taps = net(uniform_input((2, 3, 64, 64)))
    for number, tap in enumerate(taps, start=1):
        want = GOLDEN["values"][f"slice{number}_x"]
        assert list(tap.shape) == want["shape"]
        difference = np.abs(tap.flatten().numpy()[:: want["stride"]] - ARRAYS[f"slice{number}_x"])
        assert difference.max() <= 1e-4 * want["absmax"]


@pytest.mark.parametrize("name", RELUS)
def test_layers_are_those_of_torchvision(name: str) -> None:
    """The same random weights in torchvision's layers give the same five activations."""
    with torch.device("meta"):
        whole = torchvision_features(name)
    places = [place for place, layer in enumerate(whole) if isinstance(layer, nn.Conv2d)]
    assert list(convolution_places(name)) == places
    net = VGGFeatures(name)
    net.draw_weights(0)
    features = whole[: RELUS[name][-1] + 1].to_empty(device="cpu")
    features.load_state_dict({key.split(".", 1)[1]: value for key, value in net.state_dict().items()})
    x, expected = uniform_input((1, 3, 32, 32)), []
    with torch.no_grad():
        for place, layer in enumerate(features):
            layer.inplace = False
            x = layer(x)
            expected += [x] if place in RELUS[name] else []
        for ours, theirs in zip(net(uniform_input((1, 3, 32, 32))), expected, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_it_is_as_deep_as_its_last_tap_and_keeps_their_order() -> None:
    net = VGGFeatures("vgg16", (3, 1))
    assert [key for key in net.state_dict() if key.endswith("weight")] == [
        f"slice{place}.weight" for place in ("1.0", "2.2", "2.5", "3.7", "3.10")
    ]
    net.draw_weights(0)
    assert [tap.shape[1] for tap in net(torch.zeros(1, 3, 8, 8))] == [256, 64]


@pytest.mark.parametrize("deepest", [1, 3, 5])
def test_the_smallest_image(deepest: int) -> None:
    net = VGGFeatures("vgg19", (deepest,))
    net.draw_weights(0)
    assert net.min_size == 2 ** (deepest - 1)
    assert net(torch.zeros(1, 3, net.min_size, net.min_size))[0].shape[2:] == (1, 1)
    if deepest > 1:
        with pytest.raises(RuntimeError, match="too small"):
            net(torch.zeros(1, 3, net.min_size - 1, net.min_size))


def test_nothing_can_put_it_into_training_mode() -> None:
    around = nn.Sequential(VGGFeatures("vgg19", (1, 2)))
    around.train()
    assert around.training and not any(module.training for module in around[0].modules())


def test_random_weights_depend_on_the_seed_alone() -> None:
    """N(0, 2 / fan-in) and no biases; nothing is taken from torch's own generator."""
    before = torch.get_rng_state()
    deep, shallow, other = VGGFeatures(), VGGFeatures("vgg19", (2,)), VGGFeatures("vgg19", (2,))
    for net, seed in ((deep, 7), (shallow, 7), (other, 8)):
        net.draw_weights(seed)
    assert torch.equal(torch.get_rng_state(), before)
    for key, value in shallow.state_dict().items():
        assert torch.equal(value, deep.state_dict()[key])
        assert key.endswith("bias") or not torch.equal(value, other.state_dict()[key])
    last = deep.state_dict()["slice5.28.weight"]
    assert float(last.std()) == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    assert not deep.state_dict()["slice5.28.bias"].any()


@pytest.mark.parametrize(("taps", "shown"), [((), ""), ((0, 1), "0,1"), ((6,), "6"), ((2, 2), "2,2")])
def test_bad_taps_are_refused(taps: tuple[int, ...], shown: str) -> None:
    with pytest.raises(ValueError, match=rf"--vgg_layers {shown}: name some of 1,2,3,4,5"):
        VGGFeatures("vgg19", taps)


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"--vgg vgg18.*did you mean 'vgg1"):
        VGGFeatures("vgg18")

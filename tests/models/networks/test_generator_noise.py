"""Noise in feature maps and in weights: where it is, how large it is, what learns from it, and what it leaves alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from models.networks.factory import build_generator
from models.networks.generator_noise import FeatureNoise, WeightNoise, add_feature_noise, drawn_noise, switch_noise
from models.networks.init import init_weights

NETS = {"unet_128": 128, "resnet_6blocks": 32}


def build(netG, norm="batch"):
    torch.manual_seed(0)
    net = build_generator(netG, 3, 3, ngf=4, norm=norm, dropout=0.0)
    init_weights(net)
    return net


def image(netG, n=1):
    return torch.randn(n, 3, NETS[netG], NETS[netG], generator=torch.Generator().manual_seed(1))


def test_one_map_for_all_channels_times_the_strength_of_each():
    layer = FeatureNoise(3, 0.1)
    layer.strength.data = torch.tensor([0.0, 0.5, -2.0]).reshape(1, 3, 1, 1)
    x = torch.randn(2, 3, 40, 40)
    added = layer(x) - x
    assert torch.equal(added[:, 0], torch.zeros(2, 40, 40))
    torch.testing.assert_close(added[:, 2], -4 * added[:, 1])
    torch.testing.assert_close(added[:, 1:2], 0.5 * layer.drawn)
    assert layer.drawn.shape == (2, 1, 40, 40) and not torch.equal(*layer.drawn)
    assert float(layer.drawn.mean()) == pytest.approx(0, abs=0.06)  # 3200 numbers: 3 / sqrt(3200)
    assert float(layer.drawn.std()) == pytest.approx(1, abs=0.05)


def test_feature_noise_is_silent_in_evaluation_mode_and_keeps_half_precision():
    layer, x = FeatureNoise(3, 0.1), torch.randn(1, 3, 4, 4)
    assert layer(x.bfloat16()).dtype == torch.bfloat16
    assert layer.eval()(x) is x


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize(("netG", "count"), [("unet_128", 6), ("resnet_6blocks", 2)])
def test_every_upward_convolution_but_the_one_of_the_image_gets_noise(netG, count, norm):
    plain, net = build(netG, norm), add_feature_noise(build(netG, norm), 0.1)
    added = net.state_dict().keys() - plain.state_dict().keys()
    assert len(added) == count and all(key.endswith(".noise.strength") for key in added)
    assert {
        key: value for key, value in net.state_dict().items() if key not in added
    }.keys() == plain.state_dict().keys()
    before = {key: net.state_dict()[key].clone() for key in added}
    init_weights(net, "xavier")
    assert all(torch.equal(net.state_dict()[key], before[key]) and float(before[key].mean()) > 0.09 for key in added)


def test_feature_noise_stands_between_norm_and_activation():
    """Of strength 0 it changes nothing; of strength 1 the ReLU behind it sees a standard deviation of sqrt(2)."""
    netG = "resnet_6blocks"
    plain, net = build(netG), add_feature_noise(build(netG), 0.0)
    assert torch.equal(net(image(netG)), plain(image(netG)))
    norm = next(module for module in net.modules() if hasattr(module, "noise"))
    norm.noise.strength.data.fill_(1.0)
    norm.weight.data.fill_(1.0)
    seen = []
    layers = list(net.model)
    layers[layers.index(norm) + 1].register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].detach().clone())
    )
    net(image(netG))
    assert float(seen[0].std()) == pytest.approx(2**0.5, rel=0.1)


def test_a_copy_has_noise_of_its_own():
    net = add_feature_noise(build("resnet_6blocks"), 0.1)
    other = copy.deepcopy(net)
    net(image("resnet_6blocks"))
    assert drawn_noise(net).shape == (1, 16 * 16 + 32 * 32)
    assert drawn_noise(other).numel() == 0
    other(image("resnet_6blocks"))
    assert drawn_noise(other).numel() == drawn_noise(net).numel()


def test_batch_norm_of_several_processes_gets_noise_too():
    net = nn.SyncBatchNorm.convert_sync_batchnorm(build("unet_128"))
    norms = [module for module in add_feature_noise(net, 0.1).modules() if hasattr(module, "noise")]
    assert len(norms) == 6 and all(isinstance(norm, nn.SyncBatchNorm) for norm in norms)


def test_a_network_without_such_a_decoder_is_refused():
    with pytest.raises(ValueError, match=r"--noise feature: Sequential has no decoder"):
        add_feature_noise(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Tanh()), 0.1)
    with pytest.raises(ValueError, match=r"--noise_layers decoder: Sequential has none"):
        WeightNoise(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Tanh()), 0.1, "decoder")


def test_noise_is_switched_apart_from_the_batch_norm():
    net = add_feature_noise(build_generator("resnet_6blocks", 3, 3, ngf=4, norm="batch", dropout=0.5), 0.1)
    switch_noise(net.eval(), True)
    on = {type(module) for module in net.modules() if module.training}
    assert on == {nn.Dropout, FeatureNoise}
    switch_noise(net.train(), False)
    assert {type(module) for module in net.modules() if not module.training} == on


@pytest.mark.parametrize("netG", NETS)
def test_layers_of_weight_noise(netG):
    net = build(netG)
    convs = {name for name, module in net.named_modules() if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))}
    up = {name for name in convs if isinstance(net.get_submodule(name), nn.ConvTranspose2d)}
    ends = {"unet_128": {"model.model.0", "model.model.3"}, "resnet_6blocks": {"model.1", "model.23"}}[netG]
    chosen = {
        layers: {name.removesuffix(".weight") for name in WeightNoise(net, 0.1, layers).names}
        for layers in ("decoder", "all", "inner")
    }
    assert chosen["all"] == convs and ends < convs and chosen["inner"] == convs - ends
    assert chosen["decoder"] == (up if netG == "unet_128" else up | {"model.23"})


def test_weights_in_use_are_those_stored_times_one_plus_sigma_eps():
    net = nn.Sequential(nn.Conv2d(1, 2000, 1, bias=False))
    stored = net[0].weight.detach().clone()
    noisy = WeightNoise(net, 0.05, "all")
    torch.manual_seed(0)
    used = noisy(torch.ones(1, 1, 1, 1)).detach().reshape(-1)  # one input of 1: the output is W'
    eps = (used / stored.reshape(-1) - 1) / 0.05
    assert float(eps.mean()) == pytest.approx(0, abs=0.07) and float(eps.std()) == pytest.approx(1, abs=0.05)
    assert not torch.equal(noisy(torch.ones(1, 1, 1, 1)).reshape(-1), used), "every call has a draw of its own"
    both = noisy(torch.ones(2, 1, 1, 1))
    assert torch.equal(both[0], both[1]), "a batch shares it"
    assert torch.equal(net[0].weight, stored)


def test_the_gradient_of_the_noisy_weights_goes_straight_to_the_stored_ones():
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh())
    x = torch.randn(1, 2, 5, 5)
    torch.manual_seed(7)
    WeightNoise(net, 0.5, "all")(x).square().sum().backward()
    other = copy.deepcopy(net)
    torch.manual_seed(7)
    other[0].weight.data *= 1 + 0.5 * torch.randn(net[0].weight.shape)
    other.zero_grad()
    other(x).square().sum().backward()
    torch.testing.assert_close(net[0].weight.grad, other[0].weight.grad)
    torch.testing.assert_close(net[0].bias.grad, other[0].bias.grad)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_weight_noise_under_autocast_draws_the_same(norm):
    net = build("resnet_6blocks", norm)
    noisy = WeightNoise(net, 0.05, "all")
    found = []
    for enabled in (False, True):
        torch.manual_seed(3)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append(noisy(image("resnet_6blocks")).float())
    plain = net(image("resnet_6blocks")).detach()
    assert float((found[0] - found[1]).abs().mean()) < 0.3 * float((found[0] - plain).abs().mean())

"""Every network by name: sizes, dropout, training at the smallest size, half precision, and messages."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.networks.factory import (
    GENERATOR_NAMES,
    build_discriminator,
    build_generator,
    check_image_size,
)
from models.networks.names import NORMS
from models.networks.patchgan import PatchDiscriminator
from models.networks.unet import UNetGenerator
from tests.golden_rules import uniform_input

MULTIPLES = {"unet_256": 256, "unet_128": 128, "resnet_9blocks": 4, "resnet_6blocks": 4}
SMALLEST = {"unet_256": 256, "unet_128": 128, "resnet_9blocks": 8, "resnet_6blocks": 8}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("netG", GENERATOR_NAMES)
def test_generator_keeps_a_size_that_is_not_square(netG: str, norm: str) -> None:
    net = build_generator(netG, 2, 5, ngf=4, norm=norm).eval()
    height, width = (SMALLEST[netG], 2 * SMALLEST[netG]) if "unet" in netG else (8, 20)
    check_image_size(net, height, width)
    with torch.no_grad():
        y = net(uniform_input([1, 2, height, width]))
    assert y.shape == (1, 5, height, width)
    assert y.abs().max() < 1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("netG", GENERATOR_NAMES)
def test_generator_trains_at_its_smallest_size_with_one_image(netG: str, norm: str) -> None:
    net = build_generator(netG, 3, 3, ngf=4, norm=norm)
    size = SMALLEST[netG]
    check_image_size(net, size, size)
    assert net.size_multiple == MULTIPLES[netG]
    x = uniform_input([1, 3, size, size])
    before = x.clone()
    net(x).square().mean().backward()
    assert torch.equal(x, before)
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    with pytest.raises(ValueError, match=f"^--crop_size {size - 1}: .* {size}"):
        check_image_size(net, size - 1, size - 1)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("netD", ["basic", "n_layers", "pixel"])
def test_discriminator_trains_at_its_smallest_size_with_one_image(netD: str, norm: str) -> None:
    net = build_discriminator(netD, 6, ndf=4, n_layers_D=2, norm=norm)
    size = net.min_size
    check_image_size(net, size, size)
    y = net(uniform_input([1, 6, size, size]))
    assert y.shape == ((1, 1, size, size) if netD == "pixel" else (1, 1, 1, 1))
    y.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize(("n_layers_D", "smallest"), [(1, 6), (2, 12), (3, 24), (4, 48), (5, 96)])
def test_smallest_size_of_a_patchgan(n_layers_D: int, smallest: int) -> None:
    net = PatchDiscriminator(1, ndf=1, n_layers_D=n_layers_D, norm="none")
    assert net.min_size == smallest
    assert net(torch.zeros(1, 1, smallest, smallest + 2**n_layers_D)).shape == (1, 1, 1, 2)
    with pytest.raises(RuntimeError):
        net(torch.zeros(1, 1, smallest - 1, smallest))
    with pytest.raises(ValueError, match=f"--crop_size {smallest - 1}.*at least {smallest}"):
        check_image_size(net, smallest - 1, smallest - 1)


@pytest.mark.parametrize(("netD", "shape"), [("basic", (30, 30)), ("pixel", (256, 256))])
def test_n_layers_speaks_to_n_layers_only(netD: str, shape: tuple[int, int]) -> None:
    net = build_discriminator(netD, 3, ndf=2, n_layers_D=5).eval()
    assert net(torch.zeros(1, 3, 256, 256)).shape[2:] == shape


@pytest.mark.parametrize(
    ("netG", "height", "width", "words"),
    [
        ("unet_256", 300, 300, ["multiple of 256", "height 300: nearest are 256 and 512"]),
        ("unet_256", 256, 700, ["--crop_size 700x256", "width 700: nearest are 512 and 768"]),
        ("unet_256", 100, 256, ["height 100: nearest are 256 and 512"]),
        ("unet_128", 0, 128, ["height 0: nearest are 128 and 256"]),
        ("resnet_9blocks", 254, 258, ["multiple of 4", "height 254: nearest are 252 and 256", "256 and 260"]),
        ("resnet_6blocks", 4, 4, ["multiple of 4 and at least 8", "nearest are 8 and 12"]),
    ],
)
def test_size_messages(netG: str, height: int, width: int, words: list[str]) -> None:
    with torch.device("meta"):
        net = build_generator(netG, 3, 3)
    with pytest.raises(ValueError) as caught:
        check_image_size(net, height, width)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"^--load_size"):
        check_image_size(net, height, width, flag="--load_size")


def test_a_network_without_rules_takes_any_size() -> None:
    check_image_size(nn.Identity(), 1, 7)


@pytest.mark.parametrize(
    ("netG", "count"), [("unet_256", 3), ("unet_128", 2), ("resnet_9blocks", 9), ("resnet_6blocks", 6)]
)
def test_dropout_is_a_probability(netG: str, count: int) -> None:
    def rates(net: nn.Module) -> list[float]:
        return [module.p for module in net.modules() if isinstance(module, nn.Dropout)]

    with torch.device("meta"):
        assert rates(build_generator(netG, 3, 3, dropout=0.3)) == [0.3] * count
        assert rates(build_generator(netG, 3, 3, dropout=0.0)) == []


def test_dropout_moves_the_keys_of_the_residual_blocks_only() -> None:
    with torch.device("meta"):
        plain, dropped = (build_generator("resnet_6blocks", 3, 3, dropout=p).state_dict() for p in (0.0, 0.5))
        unet_plain, unet_dropped = (build_generator("unet_128", 3, 3, dropout=p).state_dict() for p in (0.0, 0.5))
    assert "model.10.conv_block.5.weight" in plain and "model.10.conv_block.6.weight" in dropped
    assert list(unet_plain) == list(unet_dropped)


def test_without_norm_only_the_last_layer_of_a_unet_has_a_bias() -> None:
    # two levels, ngf 1: conv 3->1, 1->2 and back 2->1, (1+1)->3, all 4x4
    net = UNetGenerator(3, 3, num_downs=2, ngf=1, norm="none", dropout=0.0)
    assert sum(p.numel() for p in net.parameters()) == 16 * (3 * 1 + 1 * 2 + 2 * 1 + 2 * 3) + 3
    assert [key for key in net.state_dict() if "bias" in key] == ["model.model.3.bias"]


def test_the_skip_of_a_unet_is_the_rectified_tensor() -> None:
    # Two levels of one channel whose weights are 1 everywhere but in the innermost doubling, which is 0: the last
    # doubling then sees only the skip, through its own ReLU. For an input of -1 the skip is leaky(-16) = -3.2, ReLU
    # makes that 0 and the output tanh(bias); for +1 it is 16 and every corner pixel of the output adds it.
    net = UNetGenerator(1, 1, num_downs=2, ngf=1, norm="none", dropout=0.0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(1)
        net.model.model[1].model[3].weight.zero_()
        net.model.model[3].bias.fill_(0.25)
    seen: list[torch.Tensor] = []
    net.model.model[1].register_forward_hook(lambda *args: seen.append(args[2]))
    y = net(-torch.ones(1, 1, 4, 4))
    # a 4x4 window with padding 1 over a 4x4 image of -1 covers 9 pixels at every one of the 2x2 positions
    assert torch.allclose(seen[0][:, 0], torch.full((1, 2, 2), -9 * 0.2))
    assert torch.allclose(y, torch.full_like(y, 0.25).tanh())
    net(torch.ones(1, 1, 4, 4))
    assert torch.allclose(seen[1][:, 0], torch.full((1, 2, 2), 9.0))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("netG", ["unet_128", "resnet_6blocks"])
def test_bf16_autocast_is_near_float32(netG: str, norm: str) -> None:
    torch.manual_seed(0)
    net = build_generator(netG, 3, 3, ngf=8, norm=norm, dropout=0.0)
    x = uniform_input([2, 3, 128, 128])
    want = net(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = net(x)
    got.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert (got.float() - want).abs().mean() < 0.05 * want.std()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: build_generator("unet256", 3, 3), "--netG 'unet256': did you mean 'unet_256'"),
        (lambda: build_generator("resnet_9block", 3, 3), "--netG 'resnet_9block': did you mean 'resnet_9blocks'"),
        (lambda: build_generator("unet_128", 3, 3, norm="bach"), "--norm 'bach': did you mean 'batch'"),
        (lambda: build_generator("unet_128", 3, 3, dropout=1.0), "dropout 1.0: expected"),
        (lambda: build_discriminator("bassic", 3), "--netD 'bassic': did you mean 'basic'"),
        (lambda: build_discriminator("pixel", 3, norm="group"), "--norm 'group'.*batch, instance, none"),
        (lambda: build_discriminator("n_layers", 3, n_layers_D=0), "--n_layers_D 0"),
    ],
)
def test_messages(build, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_messages_list_the_choices() -> None:
    with pytest.raises(ValueError, match="choose one of resnet_9blocks, resnet_6blocks, unet_256, unet_128"):
        build_generator("x", 3, 3)
    with pytest.raises(ValueError, match="choose one of basic, n_layers, pixel"):
        build_discriminator("x", 3)

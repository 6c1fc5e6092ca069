"""Which generator a state_dict is of; the networks themselves are compared with published ones elsewhere."""

from __future__ import annotations

import pytest

from models.networks.factory import build_discriminator, build_generator
from models.networks.recognise import recognise_generator


def shapes_of(net):
    return {key: tuple(value.shape) for key, value in net.state_dict().items()}


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("netG", ["unet_128", "unet_256", "resnet_6blocks", "resnet_9blocks"])
def test_every_published_generator(netG, norm, dropout):
    found = recognise_generator(shapes_of(build_generator(netG, 4, 2, ngf=6, norm=norm, dropout=dropout)))
    if netG.startswith("resnet"):
        assert found.pop("no_dropout") == (dropout == 0)
    assert found == {"netG": netG, "ngf": 6, "norm": norm, "input_nc": 4, "output_nc": 2}


@pytest.mark.parametrize("netG", ["unet_128", "resnet_6blocks"])
def test_weights_of_the_first_versions(netG):
    """DataParallel put ``module.`` in front, and instance norm had statistics before torch 0.4."""
    shapes = shapes_of(build_generator(netG, 3, 3, ngf=4, norm="instance", dropout=0.0))
    after = "model.2" if netG.startswith("resnet") else "model.model.1.model.2"
    old = {f"module.{key}": shape for key, shape in shapes.items()}
    old |= {f"module.{after}.running_mean": (4,), f"module.{after}.running_var": (4,)}
    found = recognise_generator(old)
    assert (found["netG"], found["norm"]) == (netG, "instance")


def test_other_networks_are_not_recognised():
    assert recognise_generator({}) == {}
    assert recognise_generator(shapes_of(build_discriminator("basic", 6))) == {}
    assert recognise_generator({"model.1.weight": (8, 3, 7, 7), "model.10.conv_block.1.weight": (32, 32, 3, 3)}) == {}
    assert recognise_generator({"model.model.0.weight": (8,), "model.model.3.weight": (16,)}) == {}

"""The discriminators of AU-GAN's authors; their numbers are in tests/models/augan/test_official.py."""

from __future__ import annotations

import pytest
import torch

from models.networks.factory import build_discriminator


def test_two_discriminators_give_two_maps_each() -> None:
    net = build_discriminator("augan_official", 3, ndf=4)
    with torch.no_grad():
        maps = net(torch.zeros(2, 3, 96, 64))
    assert [tuple(each.shape) for each in maps] == [(2, 1, 6, 4), (2, 1, 3, 2)] * 2
    widths = [net.judges[0].first[stage][0].out_channels for stage in range(4)]
    assert widths == [2, 4, 8, 16]


def test_images_at_its_smallest_size_work_and_smaller_ones_do_not() -> None:
    net = build_discriminator("augan_official", 3, ndf=2)
    assert len(net(torch.rand(1, 3, net.min_size, net.min_size))) == 4
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        net(torch.rand(1, 3, net.min_size - 2, net.min_size - 2))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"ndf": 5}, "--ndf 5: --netD augan_official shares it among 2 discriminators; give 6"),
        ({"features": True}, "it has no features to match"),
        ({"norm_D": "batch"}, "always has instance norm"),
    ],
)
def test_what_it_does_not_have_is_refused(shape, message) -> None:
    with pytest.raises(ValueError, match=message):
        build_discriminator("augan_official", 3, **shape)

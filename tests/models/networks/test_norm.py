from __future__ import annotations

import pytest
import torch
from torch import nn

from models.networks.norm import InstanceNorm2d, skip_cancelled_biases


def net(*layers: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(*layers)
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    return made


def test_biases_before_instance_norm_are_left_out_and_nothing_else_changes():
    def layers():
        return (
            nn.Conv2d(2, 3, 3),
            nn.InstanceNorm2d(3),
            nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1),
            nn.InstanceNorm2d(4),
            nn.Conv2d(4, 2, 1),
        )

    plain, skipped = net(*layers()), skip_cancelled_biases(net(*layers()))
    assert list(plain.state_dict()) == list(skipped.state_dict())
    x = torch.randn(2, 2, 9, 7)
    torch.testing.assert_close(plain(x), skipped(x), rtol=1e-5, atol=1e-5)
    skipped(x).square().sum().backward()
    assert not skipped[0].bias.grad.any() and not skipped[2].bias.grad.any()
    assert skipped[0].weight.grad.any() and skipped[4].bias.grad.any()


def test_a_bias_that_counts_is_kept():
    made = skip_cancelled_biases(
        net(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1), nn.ReLU(), nn.InstanceNorm2d(2))
    )
    assert [type(layer) for layer in made[::2]] == [nn.Conv2d, nn.Conv2d, nn.InstanceNorm2d]
    statistics = skip_cancelled_biases(net(nn.Conv2d(1, 2, 1), nn.InstanceNorm2d(2, track_running_stats=True)))
    assert type(statistics[0]) is nn.Conv2d  # in eval mode the running mean does not follow the bias


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("images", [1, 2])
def test_instance_norm_keeps_the_layout_of_one_image(images: int, affine: bool) -> None:
    ours, plain = InstanceNorm2d(6, affine=affine), nn.InstanceNorm2d(6, affine=affine)
    x = torch.randn(images, 6, 5, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    laid_out = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    y, z = plain(x), ours(laid_out)
    torch.testing.assert_close(z, y)
    y.square().mul(y).sum().backward()
    z.square().mul(z).sum().backward()
    torch.testing.assert_close(laid_out.grad, x.grad)
    assert torch.equal(ours(x), y)
    if images == 1:
        assert z.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("images", [1, 2])
def test_a_rectification_in_place_after_instance_norm_copies_nothing(images: int) -> None:
    x = torch.randn(images, 3, 4, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    y = InstanceNorm2d(3)(x)
    right = nn.InstanceNorm2d(3)(x)
    assert torch.equal(y, right) and not y._is_view()
    nn.ReLU(inplace=True)(y).square().sum().backward()
    found, x.grad = x.grad, None
    torch.relu(right).square().sum().backward()
    assert torch.equal(found, x.grad) and type(y.grad_fn).__name__ == "ReluBackward0"


def test_instance_norm_of_one_pixel_is_refused_in_both_layouts() -> None:
    x = torch.zeros(1, 6, 2, 1)[:, :, ::2]
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        InstanceNorm2d(6)(x)

"""The perceptual loss against the published numbers and closed forms."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.functional import normalize

from models.losses.perceptual import PerceptualLoss
from models.networks.vgg import VGGFeatures
from tests.golden_rules import fill, load_golden, uniform_input

GOLDEN, ARRAYS = load_golden("dlim/golden_vgg")
SHAPE = (2, 3, 64, 64)


def shallow(**settings: bool) -> PerceptualLoss:
    vgg = VGGFeatures("vgg19", (1, 2))
    vgg.draw_weights(3)
    return PerceptualLoss(vgg, **settings)


def images(channels: int = 3) -> tuple[Tensor, Tensor]:
    return uniform_input((2, channels, 16, 16)), uniform_input((2, channels, 16, 16), seed=4321)


@pytest.fixture(scope="module")
def vgg() -> VGGFeatures:
    net = VGGFeatures()
    fill(net)
    return net


def test_loss_is_the_published_one(vgg: VGGFeatures) -> None:
    loss = PerceptualLoss(vgg, normalise=False)
    assert list(loss.weights) == GOLDEN["weights"] == [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1]
    found = loss(uniform_input(SHAPE), uniform_input(SHAPE, seed=4321))
    assert found.dtype == torch.float32 and found.shape == ()
    assert found.item() == pytest.approx(GOLDEN["loss"], rel=1e-5)


def test_gradient_is_the_published_one(vgg: VGGFeatures) -> None:
    """In float64, which all processors round alike here.

    In float32 the rounding of one processor puts an activation, or the difference of two, on the other side of zero
    than that of another does, and ReLU, max pooling or L1 then send its gradient elsewhere: off by 1.2 % of the largest
    value with AVX2 or SSE, with a loss right to 5e-7. In float64 the published numbers, which are float32, are off by
    5e-7 on all of them. The weights of any one layer times 1.001 make 8e-4 or more.
    """
    loss = PerceptualLoss(copy.deepcopy(vgg), normalise=False).double()
    x = uniform_input(SHAPE).double().requires_grad_()
    loss(x, uniform_input(SHAPE, seed=4321).double()).backward()
    want = GOLDEN["values"]["grad_x"]
    assert x.grad is not None and list(x.grad.shape) == want["shape"]
    difference = np.abs(x.grad.flatten().numpy()[:: want["stride"]] - ARRAYS["grad_x"])
    assert difference.max() <= 1e-5 * want["absmax"]


def test_every_tap_alone_is_its_published_L1(vgg: VGGFeatures) -> None:
    with torch.no_grad():
        for tap in range(5):
            weights = [float(tap == other) for other in range(5)]
            found = PerceptualLoss(vgg, weights, normalise=False)(uniform_input(SHAPE), uniform_input(SHAPE, seed=4321))
            assert found.item() == pytest.approx(GOLDEN["values"][f"l1_slice{tap + 1}"], rel=1e-5)


def test_the_layers_chosen_keep_their_published_weights() -> None:
    vgg = VGGFeatures("vgg19", (4, 2))
    assert PerceptualLoss(vgg).weights == (1 / 4, 1 / 16) and PerceptualLoss(vgg, (2, 0)).weights == (2, 0)


def test_imagenet_normalisation_is_that_of_torchvision() -> None:
    x, y = images()
    scaled = [normalize((side + 1) / 2, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]) for side in (x, y)]
    expected = shallow(normalise=False)(*scaled)
    torch.testing.assert_close(shallow()(x, y), expected)
    assert not torch.isclose(shallow(normalise=False)(x, y), expected, rtol=0.1)


def test_a_grey_image_is_the_colour_image_with_three_equal_channels() -> None:
    x, y = images(1)
    assert torch.equal(shallow()(x, y), shallow()(x.repeat(1, 3, 1, 1), y.repeat(1, 3, 1, 1)))


def test_other_numbers_of_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="--output_nc 4: a perceptual loss compares images of 1 or 3 channels"):
        PerceptualLoss(VGGFeatures("vgg16", (1,)), channels=4)


def test_only_the_generated_image_gets_a_gradient() -> None:
    x, y = (image.requires_grad_() for image in images())
    loss = shallow()
    loss(x, y).backward()
    assert x.grad is not None and x.grad.abs().sum() > 0 and y.grad is None
    assert all(parameter.grad is None for parameter in loss.parameters())
    assert loss(x, x).item() == 0


def test_autocast_changes_nothing() -> None:
    """bfloat16's rounding would decide many signs of the L1 where the images are near each other."""
    x, y = images()
    loss, found = shallow(), []
    for enabled in (False, True):
        near = (x + 0.01 * y).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            value = loss(near, x)
        value.backward()
        assert near.grad is not None
        found.append((value.detach(), near.grad))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


def test_half_precision_images_are_compared_in_float32() -> None:
    x, y = images()
    assert torch.equal(shallow()(x.bfloat16(), y), shallow()(x.bfloat16().float(), y))


def test_the_loss_is_the_weighted_sum_of_mean_differences() -> None:
    x, y = images()
    loss = shallow(normalise=False)
    (x1, x2), (y1, y2) = loss.vgg(x), loss.vgg(y)
    torch.testing.assert_close(loss(x, y), F.l1_loss(x1, y1) / 32 + F.l1_loss(x2, y2) / 16)


@pytest.mark.parametrize("weights", [(1,), (1, 2, 3), (1, -1), (0, 0)])
def test_bad_weights_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"--vgg_layer_weights [-\d,]+: .*--vgg_layers 1,2"):
        PerceptualLoss(VGGFeatures("vgg19", (1, 2)), weights)

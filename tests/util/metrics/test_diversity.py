"""How different draws are: known pictures by hand, and what cannot be compared."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision

from tests.measuring import CPU, draw
from util.metrics.distances import Lpips
from util.metrics.diversity import diversity
from util.metrics.images import MadeImages
from util.metrics.paired import as_batch


def grey(value, size=8):
    return np.full((size, size, 3), value, np.uint8)


def draws(*sets):
    return [MadeImages(f"draw {number}", images) for number, images in enumerate(sets, start=1)]


def measured(*sets, **settings):
    return diversity(draws(*sets), ["diversity"], progress=False, **settings)["diversity"]


def test_mean_over_pairs_of_draws_then_over_images():
    """Image a: 10, 40, 100 are 30, 90 and 60 apart, mean 60; image b: always the same."""
    found = measured({"a": grey(10), "b": grey(7)}, {"b": grey(7), "a": grey(40)}, {"a": grey(100), "b": grey(7)})
    assert found.value == pytest.approx(30 / 255) and found.std == pytest.approx(30 / 255)
    assert (found.protocol["draws"], found.protocol["values"]) == (3, "0..1")


def test_a_part_of_the_image_counts_by_its_size():
    other = grey(50)
    other[:4, :, 1] = 80  # half of one of three channels by 30
    assert measured({"a": grey(50)}, {"a": other}).value == pytest.approx(30 / 2 / 3 / 255)


def test_missing_pixels_do_not_count():
    """51 apart wherever both are there; a quarter of the rows is missing in one of them."""
    first, second = grey(50).astype(float), grey(101).astype(float)
    second[:2] = np.nan
    assert measured({"a": first}, {"a": second}).value == pytest.approx(0.2)


def test_other_draws_are_another_protocol():
    first, other = (measured({"a": grey(1)}, {"a": grey(value)}) for value in (2, 3))
    assert first.protocol["drawn"] != other.protocol["drawn"]


def test_lpips_between_the_draws(tmp_path):
    file = tmp_path / "squeeze.pth"
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1(weights=None).features.state_dict(), file)
    lpips = Lpips("squeeze", CPU, str(file))
    images = [draw("boxes", seed, 32) for seed in range(3)]
    found = diversity(draws(*({"a": image} for image in images)), ["diversity_lpips"], lpips=lpips, progress=False)[
        "diversity_lpips"
    ]
    a, b, c = (as_batch(image) for image in images)
    assert found.value == pytest.approx((lpips(a, b) + lpips(a, c) + lpips(b, c)) / 3) and found.value > 0
    assert found.protocol["lpips_net"] == "squeeze" and "values" not in found.protocol
    with pytest.raises(ValueError, match="a has 8 pixels; diversity_lpips needs 32"):
        diversity(draws({"a": grey(1)}, {"a": grey(2)}), ["diversity_lpips"], lpips=lpips, progress=False)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ([{"a": grey(1)}], r"no several draws.*test\.py --name RUN --num_samples 4"),
        ([{"a": grey(1), "b": grey(1)}, {"a": grey(1)}], "draw 2: of b not every draw is there"),
        ([{"a": grey(1)}, {"a": grey(1, 9)}], "the draws of a have different sizes"),
    ],
)
def test_what_cannot_be_compared(sets, message):
    with pytest.raises(ValueError, match=message):
        measured(*sets)

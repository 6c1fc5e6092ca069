"""Crops around objects: the published ones, and what happens at borders."""

from __future__ import annotations

import pytest
import torch

from models.augan.losses import crop_side, crop_square, instance_crops, mean_over_images
from tests.golden_rules import load_golden, uniform_input

CASE = load_golden("augan/golden")[0]["misc"]["instance_crop"]


def test_crops_equal_the_published_ones() -> None:
    images = uniform_input(CASE["image_shape"], CASE["image_seed"])
    boxes = torch.tensor(CASE["bboxes"])
    assert max(crop_side(box, 64, 96) for box in boxes) == CASE["crop_size"]
    crops = [crop_square(image, box, CASE["crop_size"]).double() for image, box in zip(images, boxes)]
    assert [crop.sum().item() for crop in crops] == pytest.approx(CASE["per_image_sum"], rel=1e-6)
    assert sum(crop.abs().sum().item() for crop in crops) == pytest.approx(CASE["out"]["abs_sum"], rel=1e-6)


@pytest.mark.parametrize(
    ("box", "size", "side"),
    [
        ([0.0, 0.0, 5.0, 9.0], (64, 96), 32),  # at least 32
        ([0.0, 0.0, 90.0, 9.0], (64, 96), 64),  # at most the image
        ([0.0, 0.0, 5.0, 9.0], (24, 96), 24),
        ([1.0, 3.0, 41.6, 9.0], (64, 96), 41),
    ],
)
def test_side(box: list[float], size: tuple[int, int], side: int) -> None:
    assert crop_side(torch.tensor(box), *size) == side
    image = torch.arange(float(size[0] * size[1])).view(1, *size)
    assert crop_square(image, torch.tensor(box), side).shape == (1, side, side)


def test_crops_are_centred_and_moved_inside() -> None:
    image = torch.arange(100.0).view(1, 10, 10)
    assert crop_square(image, torch.tensor([4.0, 2.0, 6.0, 4.0]), 2)[0].tolist() == [[24, 25], [34, 35]]
    assert crop_square(image, torch.tensor([9.0, 9.0, 10.0, 10.0]), 3)[0, -1].tolist() == [97, 98, 99]
    assert crop_square(image, torch.tensor([0.0, 0.0, 1.0, 1.0]), 3)[0, 0].tolist() == [0, 1, 2]


def test_images_without_a_box_have_no_crop_and_count_in_the_mean() -> None:
    images = uniform_input([3, 2, 40, 40])
    boxes = [torch.zeros(0, 4), torch.tensor([[0.0, 0.0, 9.0, 9.0], [1.0, 1.0, 40.0, 40.0]]), torch.zeros(0, 4)]
    (crop,) = instance_crops(images, boxes)
    assert torch.equal(crop, images[1:2, :, :32, :32])
    cpu = torch.device("cpu")
    assert mean_over_images([torch.tensor(6.0)], 3, cpu).item() == 2
    nothing = mean_over_images([], 3, cpu)
    nothing.backward()
    assert nothing.item() == 0

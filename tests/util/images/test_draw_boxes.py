"""Frames lie on the border pixels of their boxes, and nowhere else."""

from __future__ import annotations

import torch

from util.images.draw import draw_boxes


def test_a_frame_is_the_border_of_its_box() -> None:
    images = torch.zeros(2, 3, 6, 8)
    found = draw_boxes(images, [torch.tensor([[2.0, 1.0, 6.0, 4.0]]), torch.zeros(0, 4)])
    red = torch.zeros(6, 8)
    red[1, 2:6] = red[3, 2:6] = red[1:4, 2] = red[1:4, 5] = 1
    assert torch.equal(found[0, 0], red) and torch.equal(found[0, 1], -red) and torch.equal(found[0, 2], -red)
    assert torch.equal(found[1], images[1]) and torch.equal(images, torch.zeros(2, 3, 6, 8))


def test_boxes_beyond_the_image_are_cut() -> None:
    found = draw_boxes(torch.zeros(1, 1, 4, 4), [torch.tensor([[-3.0, -3.0, 9.0, 9.0]])])
    assert found[0, 0].sum() == 12 and found[0, 0, 1:3, 1:3].sum() == 0

"""Boxes drawn into images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

FRAME = (1.0, -1.0, -1.0)  # red; the first of these for images of one channel: white


def draw_boxes(images: Tensor, boxes: Sequence[Tensor]) -> Tensor:
    """Copies of the images with a frame, one pixel wide, around every box.

    Args:
        images: ``[N, C, H, W]`` in ``[-1, 1]``.
        boxes: for each image ``[k, 4]``: x0, y0, x1, y1 in pixels, x1 and y1 just outside.

    Returns:
        float32 of the same shape. The pixels of a frame lie inside the box; boxes reach no further than the image.
    """
    drawn = images.detach().float().clone()
    height, width = drawn.shape[-2:]
    colour = torch.tensor([FRAME[channel % 3] for channel in range(drawn.shape[1])], device=drawn.device)[:, None]
    for image, of_image in zip(drawn, boxes, strict=True):
        for x0, y0, x1, y1 in of_image.round().int().tolist():
            left, top = min(max(x0, 0), width - 1), min(max(y0, 0), height - 1)
            right, bottom = max(min(x1, width) - 1, left), max(min(y1, height) - 1, top)
            for row in (top, bottom):
                image[:, row, left : right + 1] = colour
            for column in (left, right):
                image[:, top : bottom + 1, column] = colour
    return drawn

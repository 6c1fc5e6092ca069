"""What scaling, crop and flip do to boxes: float64 ``[k, 4]``, rows (x0, y0, x1, y1) in pixels, y downwards."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.transforms import Placement, placement_of
from options.base_options import DataOptions

Boxes = NDArray[Any]
Size = tuple[int, int]  # width, height


def scale_boxes(boxes: Boxes, before: Size, after: Size) -> Boxes:
    """The boxes of a picture that is scaled from one size to another, in whole pixels as published.

    Both sides have a factor of their own; a half pixel goes to the even number. Boxes that become empty are dropped.
    """
    factors = np.array([new / old for new, old in zip(after, before)] * 2)
    return clip_boxes(np.rint(boxes * factors), after)


def clip_boxes(boxes: Boxes, size: Size) -> Boxes:
    """The parts of the boxes inside ``(0, 0)`` to ``size``; what has no area there is dropped."""
    cut = np.clip(boxes, 0, np.array([*size, *size]))
    return cut[has_area(cut)]


def has_area(boxes: Boxes) -> NDArray[np.bool_]:
    """Which of the boxes are wider and higher than nothing."""
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def draw_placement_around(rng: random.Random, size: Size, boxes: Boxes, options: DataOptions) -> Placement:
    """``draw_placement`` for a picture with boxes: the crop holds all of the first box where it can.

    In a direction in which the box is larger than the crop, or without boxes, the corner is anywhere. Three draws: x,
    y, flip; used or not.

    Args:
        rng: of the sample.
        size: of the picture after scaling.
        boxes: after scaling.
        options: ``crop_size`` and ``no_flip`` are used.
    """
    first = boxes[0] if len(boxes) else (0, 0, size[0], size[1])
    x, y = (
        rng.randint(*_crop_bounds(length, options.crop_size, first[axis], first[axis + 2]))
        for axis, length in enumerate(size)
    )
    return placement_of(x, y, rng.random() > 0.5, *size, options)


def _crop_bounds(length: int, crop: int, begin: float, end: float) -> tuple[int, int]:
    """First and last place where a crop can begin that holds all from ``begin`` to ``end``; any place if there is none.

    Args:
        length: of the picture.
        crop: length of the crop.
        begin: where the box begins.
        end: where the box ends.
    """
    last = max(0, length - crop)
    low, high = max(0, int(end) - crop), min(last, int(begin))
    return (low, high) if low <= high else (0, last)


def place_boxes(boxes: Boxes, size: Size, placement: Placement, options: DataOptions) -> Boxes:
    """The boxes in a tensor that ``transforms.finish`` makes with the same placement.

    A box outside the crop is dropped, one at its edge is cut; a flip mirrors at the middle of the tensor.

    Args:
        boxes: after scaling.
        size: of the picture after scaling.
        placement: crop and flip of the sample.
        options: ``preprocess`` and ``crop_size`` are used.
    """
    if "crop" in options.preprocess:
        boxes = boxes - np.array([placement.x, placement.y] * 2)
        size = (options.crop_size, options.crop_size)
    boxes = clip_boxes(boxes, size)
    if placement.flip:
        boxes = np.stack([size[0] - boxes[:, 2], boxes[:, 1], size[0] - boxes[:, 0], boxes[:, 3]], axis=1)
    return boxes

"""Boxes through scaling, crop and flip: by hand, and against the pixels of a picture with the same placement."""

import random

import numpy as np
import pytest

from data.coco import clip_boxes, draw_placement_around, place_boxes, scale_boxes
from data.transforms import Placement, Prepared, finish
from options.base_options import DataOptions

CROP = DataOptions(preprocess="crop", crop_size=20)


def test_scaling_has_a_factor_for_each_side_and_whole_pixels() -> None:
    # 100x50 to 30x25: factors 0.3 and 0.5; 0.3 * 15 = 4.5 and 0.5 * 5 = 2.5 go to the even number
    boxes = np.array([[10, 10, 50, 20], [15, 5, 40, 9]])
    assert scale_boxes(boxes, (100, 50), (30, 25)).tolist() == [[3, 5, 15, 10], [4, 2, 12, 4]]
    assert scale_boxes(np.array([[10, 10, 11, 20]]), (100, 50), (30, 25)).tolist() == []  # 3 to 3: nothing is left


def test_clip_cuts_and_drops() -> None:
    boxes = np.array([[-5, 2, 5, 12], [10, 0, 15, 5], [3, 3, 3, 8], [8, 8, 30, 30]])
    assert clip_boxes(boxes, (10, 10)).tolist() == [[0, 2, 5, 10], [8, 8, 10, 10]]  # one only touches the edge


@pytest.mark.parametrize(
    ("flip", "expected"),
    [
        # the crop is x 10 to 30, y 5 to 25: the first box is inside, the second outside, the third reaches over
        (False, [[2, 5, 12, 9], [15, 0, 20, 20]]),
        (True, [[8, 5, 18, 9], [0, 0, 5, 20]]),  # mirrored: x0 = 20 - x1, x1 = 20 - x0
    ],
)
def test_a_box_that_the_crop_drops_stays_dropped(flip: bool, expected: list[list[int]]) -> None:
    boxes = np.array([[12, 10, 22, 14], [31, 10, 39, 14], [25, 0, 40, 40]])
    assert place_boxes(boxes, (40, 40), Placement(10, 5, flip), CROP).tolist() == expected
    outside = np.array([[31.0, 10.0, 39.0, 14.0]])
    assert place_boxes(outside, (40, 40), Placement(10, 5, flip), CROP).shape == (0, 4)


def test_without_a_crop_only_the_flip_counts() -> None:
    boxes = np.array([[2, 3, 12, 30]])
    options = DataOptions(preprocess="scale_width", crop_size=20)
    assert place_boxes(boxes, (40, 50), Placement(7, 7, True), options).tolist() == [[28, 3, 38, 30]]


@pytest.mark.parametrize("preprocess", ["crop", "none"])
def test_boxes_follow_the_pixels(preprocess: str) -> None:
    """A white rectangle in a black picture: what is white in the tensor is the box."""
    options = DataOptions(preprocess=preprocess, crop_size=20)
    rng = random.Random(0)
    for _ in range(40):
        x0, y0 = rng.randrange(40), rng.randrange(30)
        box = np.array([[x0, y0, rng.randint(x0 + 1, 41), rng.randint(y0 + 1, 31)]])
        pixels = np.zeros((32, 42, 3), np.uint8)
        pixels[box[0, 1] : box[0, 3], box[0, 0] : box[0, 2]] = 255
        placement = Placement(rng.randint(0, 22), rng.randint(0, 12), rng.random() < 0.5)
        white = finish(Prepared(pixels, "uint8"), placement, options)[0] > 0
        ys, xs = np.nonzero(white.numpy())
        expected = [[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]] if len(xs) else []
        assert place_boxes(box, (42, 32), placement, options).tolist() == expected


def test_the_crop_holds_the_first_box_where_it_can() -> None:
    boxes = np.array([[30.0, 3, 45, 10], [0, 0, 5, 5]])
    drawn = [draw_placement_around(random.Random(seed), (60, 40), boxes, CROP) for seed in range(200)]
    # x from 45 - 20 to 30; y from 0 (10 - 20 is below it) to 3
    assert {each.x for each in drawn} == set(range(25, 31)) and {each.y for each in drawn} == set(range(4))
    assert {each.flip for each in drawn} == {True, False}
    wide = np.array([[5.0, 30, 55, 40]])  # wider than the crop: any x, and the last y
    drawn = [draw_placement_around(random.Random(seed), (60, 40), wide, CROP) for seed in range(400)]
    assert {each.x for each in drawn} == set(range(41)) and {each.y for each in drawn} == {20}
    still = DataOptions(preprocess="crop", crop_size=20, no_flip=True)
    assert not any(draw_placement_around(random.Random(s), (60, 40), wide, still).flip for s in range(20))

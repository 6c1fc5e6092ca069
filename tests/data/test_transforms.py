"""Geometry and normalisation against the published results, and what goes beyond them."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from data.transforms import (
    Placement,
    draw_placement,
    final_size,
    finish,
    normalise,
    prepare,
    resize,
    scaled_size,
    to_channels,
)
from options.base_options import DataOptions
from util.images.io import Picture

GOLDEN = Path(__file__).parent.parent / "golden" / "atme_transforms"
SIDE = DataOptions().side("A")
CASES = json.loads((GOLDEN / "transforms.json").read_text())["cases"]


def golden_picture() -> Picture:
    drawn = (np.random.default_rng(9).uniform(0, 1, (10, 13, 3)) * 255).astype(np.uint8)
    return Picture(np.kron(drawn, np.ones((5, 5, 1), np.uint8)), "uint8")


@pytest.mark.parametrize("name", CASES)
def test_published_results(name: str) -> None:
    case = CASES[name]
    mode, colour = name.removeprefix("tf_").rsplit("_", 1)
    options = DataOptions(preprocess=mode, load_size=48, crop_size=32)
    prepared = prepare(
        golden_picture(), 3 if colour == "rgb" else 1, options, path="golden", flag="input_nc", side=SIDE
    )
    height, width = prepared.array.shape[:2]

    placement = draw_placement(random.Random(3), width, height, options)
    if "crop" in mode:  # else the published code draws a corner by the unscaled size, and does not use it
        assert [placement.x, placement.y] == case["params"]["crop_pos"]
        assert placement.flip == case["params"]["flip"]
    tensor = finish(prepared, Placement(placement.x, placement.y, case["params"]["flip"]), options)

    assert list(tensor.shape) == case["shape"]
    tolerance = 2 / 255 * 2  # two grey levels, in units of [-1, 1]: other versions of Pillow may round otherwise
    torch.testing.assert_close(tensor.flatten()[:6], torch.tensor(case["first"]), atol=tolerance, rtol=0)
    assert tensor.mean().item() == pytest.approx(case["mean"], abs=1e-3)
    assert tensor.std(unbiased=False).item() == pytest.approx(case["std"], abs=2e-3)
    if colour == "rgb":
        stored = torch.from_numpy(np.load(GOLDEN / "golden_misc.npz")[name])
        torch.testing.assert_close(tensor[:, ::2, ::2], stored, atol=tolerance, rtol=0)


def test_no_flip_takes_no_draw_away() -> None:
    plain, still = DataOptions(), DataOptions(no_flip=True)
    for seed in range(8):
        first = draw_placement(random.Random(seed), 300, 290, plain)
        second = draw_placement(random.Random(seed), 300, 290, still)
        assert (first.x, first.y) == (second.x, second.y)
        assert not second.flip
    assert any(draw_placement(random.Random(seed), 300, 290, plain).flip for seed in range(8))


def test_a_centred_crop_draws_as_the_others_do() -> None:
    centred, drawn = DataOptions(preprocess="shorter_and_center_crop"), DataOptions()
    for seed in range(4):
        first, second = random.Random(seed), random.Random(seed)
        placement = draw_placement(first, 286, 401, centred)
        assert (placement.x, placement.y) == (15, 72)  # (286 - 256) / 2, (401 - 256) / 2 cut
        assert placement.flip == draw_placement(second, 286, 401, drawn).flip
        assert first.random() == second.random()


@pytest.mark.parametrize(
    ("size", "mode", "load", "crop", "expected"),
    [
        # From the published size table where that does not stretch.
        ((1280, 720), "scale_height", 512, 512, (910, 512)),
        ((640, 260), "scale_height", 256, 256, (630, 256)),
        ((640, 260), "scale_height", 512, 512, (1260, 512)),
        ((1280, 720), "resize_and_crop", 286, 256, (286, 286)),
        ((1281, 721), "none", 286, 256, (1280, 720)),
        # The shorter side, whichever it is; 256 * 500 / 375 = 341.3.
        ((500, 375), "shorter_and_center_crop", 256, 256, (341, 256)),
        ((375, 500), "shorter_and_center_crop", 256, 128, (256, 341)),
        ((20, 20), "shorter_and_center_crop", 32, 32, (32, 32)),
        ((1280, 720), "resize_2to1", 256, 256, (512, 256)),  # AU-GAN's, whatever the shape
        ((100, 300), "resize_2to1", 64, 256, (128, 64)),
        # Where it stretches (to 512x512): the shape is kept.
        ((400, 800), "scale_height", 512, 512, (256, 512)),
        ((1280, 720), "scale_width", 512, 512, (512, 288)),
        # With a crop to follow: scaled up until 512x512 fits. 512 * 1280 / 720 = 910.2; 512 * 800 / 400 = 1024.
        ((1280, 720), "scale_width_and_crop", 512, 512, (910, 512)),
        ((400, 800), "scale_height_and_crop", 512, 512, (512, 1024)),
        ((2, 3), "none", 286, 256, (4, 4)),
    ],
)
def test_scaled_size(size: tuple[int, int], mode: str, load: int, crop: int, expected: tuple[int, int]) -> None:
    options = DataOptions(preprocess=mode, load_size=load, crop_size=crop)
    assert scaled_size(*size, options) == expected
    assert final_size(*size, options) == ((crop, crop) if "crop" in mode else expected)


def test_crop_larger_than_the_picture_is_refused() -> None:
    options = DataOptions(preprocess="crop", crop_size=64)
    with pytest.raises(ValueError, match=r"small\.png: 65x50 pixels are too few for --crop_size 64"):
        prepare(golden_picture(), 3, options, path="small.png", flag="input_nc", side=SIDE)


def test_channels() -> None:
    rgb = np.array([[[255, 0, 0], [10, 20, 30]]], dtype=np.uint8)
    # 0.299 * 255 = 76.2; 0.299 * 10 + 0.587 * 20 + 0.114 * 30 = 18.2
    grey = to_channels(rgb, 1, path="f", flag="input_nc", alpha="drop")
    assert grey.tolist() == [[[76], [18]]]
    deep = to_channels(rgb.astype(np.uint16) * 257, 1, path="f", flag="input_nc", alpha="drop")
    assert deep.tolist() == [[[19595], [4665]]]  # 257 * 76.245 and 257 * 18.15, rounded
    assert to_channels(grey, 3, path="f", flag="input_nc", alpha="drop")[0, 0].tolist() == [76, 76, 76]


@pytest.mark.parametrize(
    ("has", "wanted", "alpha", "words"),
    [
        (3, 4, "drop", "--alpha keep"),
        (4, 3, "keep", "--alpha drop or white"),
        (5, 3, "drop", "--output_nc 5"),
        (1, 2, "drop", "--alpha keep"),
    ],
)
def test_channels_that_do_not_fit(has: int, wanted: int, alpha: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"x.png: has {has} channels?, but --output_nc {wanted}") as error:
        to_channels(np.zeros((2, 2, has), np.uint8), wanted, path="x.png", flag="output_nc", alpha=alpha)
    assert words in str(error.value)


def test_16_bit_depth_survives_scaling() -> None:
    ramp = np.arange(0, 64 * 1001, 1001, dtype=np.uint16).reshape(1, 64, 1).repeat(8, axis=0)
    scaled = resize(ramp, (128, 8))
    assert scaled.dtype == np.uint16
    # Bicubic reproduces a ramp away from the border: twice the width, half the slope, samples at (x + 0.5) / 2 - 0.5.
    inside = np.arange(20, 100)
    np.testing.assert_allclose(scaled[4, inside, 0], ((inside + 0.5) / 2 - 0.5) * 1001, rtol=0, atol=0.51)


def test_scaling_of_many_channels_is_that_of_each() -> None:
    array = np.random.default_rng(0).integers(0, 256, (20, 24, 5), dtype=np.uint8)
    together = resize(array, (13, 11))
    rgb = resize(np.ascontiguousarray(array[:, :, 1:4]), (13, 11))
    assert together.shape == (11, 13, 5)
    np.testing.assert_array_equal(together[:, :, 1:4], rgb)


@pytest.mark.parametrize(
    ("dtype", "value_range", "values", "expected"),
    [
        (np.uint8, (), [0, 51, 255], [-1, -0.6, 1]),
        (np.uint16, (), [0, 13107, 65535], [-1, -0.6, 1]),
        (np.float32, (), [0, 0.2, 1], [-1, -0.6, 1]),
        (np.uint16, (0.0, 4095.0), [0, 819, 4095], [-1, -0.6, 1]),
        (np.float32, (-10.0, 10.0), [-10, -6, 10], [-1, -0.6, 1]),
    ],
)
def test_normalise(dtype: type, value_range: tuple[float, ...], values: list[float], expected: list[float]) -> None:
    array = np.array(values, dtype=dtype).reshape(1, 3, 1)
    tensor = normalise(array, value_range)
    assert tensor.dtype == torch.float32 and tensor.shape == (1, 1, 3)
    torch.testing.assert_close(tensor.flatten(), torch.tensor(expected, dtype=torch.float32))


def test_values_outside_the_range_are_refused() -> None:
    picture = Picture(np.array([[[0.0], [1.5]]], dtype=np.float32), "float32")
    with pytest.raises(
        ValueError, match=r"f\.tif: values from 0 to 1\.5 .*give --value_range_A LOW,HIGH .*--clip_range"
    ):
        prepare(picture, 1, DataOptions(preprocess="none"), path="f.tif", flag="input_nc", side=SIDE)
    options = DataOptions(preprocess="none", value_range=(0.0, 1.0))
    for name in "AB":
        with pytest.raises(ValueError, match=rf"--value_range_{name} 0,1"):
            picture = Picture(np.full((4, 4, 1), 9, np.uint8), "uint8")
            prepare(picture, 1, options, path="f.png", flag="input_nc", side=options.side(name))


def test_overshoot_of_scaling_stays_in_range() -> None:
    edges = np.zeros((8, 8, 1), np.float32)
    edges[:, 4:] = 1.0
    options = DataOptions(preprocess="resize_and_crop", load_size=32, crop_size=32)
    prepared = prepare(Picture(edges, "float32"), 1, options, path="f", flag="input_nc", side=SIDE)
    assert prepared.array.max() > 1  # bicubic overshoots, so the next line tests something
    tensor = finish(prepared, Placement(0, 0, False), options)
    assert tensor.min() == -1 and tensor.max() == 1


def test_signed_16_bit_needs_a_range_and_keeps_it() -> None:
    array = np.array([[-1024, 0], [1000, 3071]], np.int16)[:, :, None]
    options = DataOptions(preprocess="none", value_range=(-1024, 3071))
    with pytest.raises(ValueError, match=r"values from -1024 to 3071 .* the range 0 to 1 of int16 files"):
        prepare(Picture(array, "int16"), 1, DataOptions(preprocess="none"), path="f", flag="input_nc", side=SIDE)
    picture = Picture(np.tile(array, (2, 2, 1)), "int16")
    prepared = prepare(picture, 1, options, path="f", flag="input_nc", side=options.side("A"))
    assert prepared.array.dtype == np.int16
    tensor = normalise(array, (-1024, 3071))
    np.testing.assert_allclose(tensor[0], [[-1, 2048 / 4095 - 1], [4048 / 4095 - 1, 1]], atol=1e-6)


def test_signed_16_bit_is_scaled_and_made_grey_by_rounding() -> None:
    flat = np.full((8, 8, 3), -701, np.int16)
    assert (resize(flat, (5, 5)) == -701).all() and resize(flat, (5, 5)).dtype == np.int16
    colours = np.array([[[-1000, -500, -200]]], np.int16)  # -299 - 293.5 - 22.8
    assert to_channels(colours, 1, path="f", flag="input_nc", alpha="drop").tolist() == [[[-615]]]


def clipped(array: np.ndarray, value_range: tuple[float, float]) -> tuple[np.ndarray, float]:
    options = DataOptions(preprocess="none", value_range_A=value_range, clip_range=True)
    picture = Picture(array, array.dtype.name)
    prepared = prepare(picture, 1, options, path="f", flag="input_nc", side=options.side("A"))
    tensor = finish(prepared, Placement(0, 0, False), options)
    return tensor.numpy()[0], prepared.clipped


def test_a_window_clips_and_counts() -> None:
    """Soft tissue: -200 to 400 HU; 100 is its middle."""
    array = np.full((4, 4, 1), 100, np.int16)
    array[0, :2, 0] = (-1000, 1500)
    tensor, share = clipped(array, (-200, 400))
    np.testing.assert_allclose(tensor[0], [-1, 1, 0, 0], atol=1e-7)
    assert share == 2 / 16
    assert clipped(np.full((4, 4, 1), 100, np.int16), (-200, 400))[1] == 0


def test_a_window_beyond_the_type_of_the_file_overflows_nothing() -> None:
    tensor, share = clipped(np.full((4, 4, 1), 30000, np.int16), (40000, 50000))
    assert (tensor == -1).all() and share == 1
    tensor, share = clipped(np.full((4, 4, 1), 7, np.uint8), (7.5, 8.5))
    assert (tensor == -1).all() and share == 1


def test_nearest_keeps_the_colours_of_a_label_map() -> None:
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]], np.uint8)
    label = colours[np.random.default_rng(0).integers(0, 5, (128, 128))]
    for size in (143, 286, 64):
        scaled = resize(label, (size, size), "nearest")
        assert scaled.shape == (size, size, 3) and len(np.unique(scaled.reshape(-1, 3), axis=0)) == 5
    # Every pixel twice, and the centre of every block of 2.
    np.testing.assert_array_equal(resize(label, (256, 256), "nearest"), label.repeat(2, 0).repeat(2, 1))
    assert len(np.unique(resize(label, (143, 143)).reshape(-1, 3), axis=0)) > 100, "bicubic mixes them"


def test_bands_are_chosen_in_the_order_that_is_asked_for() -> None:
    array = np.arange(6, dtype=np.uint16)[None, None].repeat(4, 0).repeat(4, 1)
    options = DataOptions(preprocess="none", bands_A=(4, 3, 2))
    prepared = prepare(Picture(array, "uint16"), 3, options, path="f", flag="input_nc", side=options.side("A"))
    assert prepared.array[0, 0].tolist() == [3, 2, 1]
    with pytest.raises(ValueError, match=r"f\.tif: has 3 bands, but --bands_A 4,3,2 asks for more"):
        picture = Picture(array[:, :, :3], "uint16")
        prepare(picture, 3, options, path="f.tif", flag="input_nc", side=options.side("A"))


def test_each_side_has_its_own_range_and_BtoA_exchanges_the_domains() -> None:
    options = DataOptions(value_range=(0, 9), value_range_B=(20, 40))
    assert options.ranges() == {"A": (0, 9), "B": (20, 40)}
    turned = DataOptions(value_range=(0, 9), value_range_B=(20, 40), direction="BtoA")
    assert turned.ranges() == {"A": (20, 40), "B": (0, 9)} and turned.side("B").value_range == (20, 40)
    assert options.exchanged().side("A").value_range == (20, 40)

"""Each side has a range of its own: 8-bit colour beside degrees Celsius, CT beside MR (values by hand)."""

from __future__ import annotations

import numpy as np
import tifffile
from PIL import Image

from data import DATASETS
from options.base_options import DataOptions

SIZE = 8


def ramp(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, SIZE * SIZE).reshape(SIZE, SIZE)


def sample(root, **options):
    given = DataOptions(dataroot=str(root), preprocess="none", no_flip=True, **options)
    return DATASETS.get("aligned")(given, input_nc=1, output_nc=1)[0]


def test_colour_keeps_its_scale_beside_degrees(tmp_path):
    for side in "AB":
        (tmp_path / "train" / side).mkdir(parents=True)
    grey, celsius = np.rint(ramp(0, 255)).astype(np.uint8), ramp(20, 40).astype(np.float32)
    Image.fromarray(grey).save(tmp_path / "train" / "A" / "0.png")
    tifffile.imwrite(tmp_path / "train" / "B" / "0.tif", celsius)
    found = sample(tmp_path, value_range_B=(20.0, 40.0))
    np.testing.assert_allclose(found["A"][0].numpy(), grey / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(found["B"][0].numpy(), (celsius - 30) / 10, atol=1e-6)
    assert abs(float(found["B"].min()) + 1) < 1e-6 and abs(float(found["B"].max()) - 1) < 1e-6
    assert (found["A_format"], found["B_format"]) == ("uint8", "float32")


def test_ct_and_mr_both_use_all_of_the_scale(tmp_path):
    for side in "AB":
        (tmp_path / "train" / side).mkdir(parents=True)
    tifffile.imwrite(tmp_path / "train" / "A" / "0.tif", np.rint(ramp(-1024, 3071)).astype(np.int16))
    tifffile.imwrite(tmp_path / "train" / "B" / "0.tif", np.rint(ramp(0, 1275)).astype(np.uint16))
    found = sample(tmp_path, value_range_A=(-1024.0, 3071.0), value_range_B=(0.0, 1275.0))
    for side in "AB":
        assert (float(found[side].min()), float(found[side].max())) == (-1.0, 1.0)


def test_one_range_sets_both_and_a_side_may_have_another(tmp_path):
    options = DataOptions(value_range=(0.0, 4095.0), value_range_B=(-1.0, 1.0))
    assert options.side("A").value_range == (0.0, 4095.0) and options.side("B").value_range == (-1.0, 1.0)
    assert DataOptions(direction="BtoA", value_range_B=(20.0, 40.0)).ranges() == {"A": (20.0, 40.0), "B": ()}

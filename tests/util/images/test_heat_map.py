"""Attention maps are drawn as OpenCV draws them."""

from __future__ import annotations

import numpy as np
import torch

from tests.golden_rules import load_golden
from util.images.draw import as_bytes, draw_heat, jet_table

_, ARRAYS = load_golden("ugatit/golden_ugatit")
RENDER = {key.split("/")[1]: value for key, value in ARRAYS.items() if key.startswith("cam_render/")}
HEAT = torch.from_numpy(ARRAYS["gen_full_ch16_r2_s64/heatmap"])


def test_the_colours_are_those_of_opencv() -> None:
    assert np.array_equal(jet_table().numpy(), RENDER["jet_lut_bgr"][:, ::-1])


def test_a_map_is_stretched_to_bytes() -> None:
    assert np.array_equal(as_bytes(HEAT).numpy()[0, 0], RENDER["heat_u8"][..., 0])


def test_a_picture_is_the_published_one_but_for_one_level() -> None:
    """OpenCV interpolates with 11 bits, so that a level may be one off, and each channel by its slope, 4, or 5."""
    picture = ((draw_heat(HEAT, 64, 64)[0] + 1) * 127.5).round().permute(1, 2, 0).numpy()
    assert np.abs(picture - RENDER["jet_bgr_u8"][..., ::-1].astype(int)).max() <= 5
    exact = jet_table()[torch.from_numpy(RENDER["resized_u8"]).long()].numpy()
    assert np.array_equal(exact, RENDER["jet_bgr_u8"][..., ::-1])


def test_every_map_of_a_batch_is_stretched_by_itself_and_a_flat_one_is_dark_blue() -> None:
    heat = torch.stack([torch.zeros(1, 2, 2), torch.arange(4.0).view(1, 2, 2) - 7, torch.full((1, 2, 2), 5.0)])
    assert as_bytes(heat)[:, 0].flatten(1).tolist() == [[0] * 4, [0, 85, 170, 255], [0] * 4]
    dark = torch.tensor([0, 0, 128]).view(3, 1, 1) / 127.5 - 1
    picture = draw_heat(heat, 6, 4)
    assert picture.shape == (3, 3, 6, 4) and picture.dtype == torch.float32
    torch.testing.assert_close(picture[0], dark.expand(3, 6, 4))

"""Colours: the published conversion, known values, and what no screen shows."""

import numpy as np
import pytest
import torch

from tests.golden_rules import load_golden
from util.images.lab import join_colours, lab_to_rgb, rgb_to_lab, split_colours

GOLDEN, ARRAYS = load_golden("dlim/golden_lab")

KNOWN = {  # sRGB -> L*, a*, b* of Bruce Lindbloom's tables (D65), which round the matrix otherwise
    (0, 0, 0): (0.0, 0.0, 0.0),
    (255, 255, 255): (100.0, 0.0, 0.0),
    (255, 0, 0): (53.24, 80.09, 67.20),
    (0, 255, 0): (87.73, -86.18, 83.18),
    (0, 0, 255): (32.30, 79.19, -107.86),
    (119, 119, 119): (50.03, 0.0, 0.0),  # linear 0.18448; 116 * 0.18448 ** (1/3) - 16
}


def picture(pixels: np.ndarray) -> torch.Tensor:
    """uint8 ``[H, W, 3]`` as ``[3, H, W]`` in [-1, 1]."""
    return torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32)) / 127.5 - 1


def test_splitting_equals_the_golden_values() -> None:
    a, b = split_colours(picture(ARRAYS["rgb"]))
    assert (a.dtype, b.dtype) == (torch.float32, torch.float32)
    np.testing.assert_allclose(a.numpy().transpose(1, 2, 0), ARRAYS["L"], atol=2e-6)
    np.testing.assert_allclose(b.numpy().transpose(1, 2, 0), ARRAYS["ab"], atol=2e-6)


def test_joining_equals_the_golden_values() -> None:
    a, b = (torch.from_numpy(ARRAYS[name].transpose(2, 0, 1)) for name in ("L", "ab"))
    rgb = (join_colours(a, b) + 1) * 127.5
    np.testing.assert_allclose(rgb.numpy().transpose(1, 2, 0), ARRAYS["back"], atol=1e-3)


@pytest.mark.parametrize(("rgb", "lab"), KNOWN.items(), ids=str)
def test_known_colours(rgb: tuple[int, ...], lab: tuple[float, ...]) -> None:
    found = rgb_to_lab(np.array(rgb, np.float32)[:, None, None] / np.float32(255))
    assert found.ravel().tolist() == pytest.approx(lab, abs=0.02)


def test_every_sixth_of_all_8_bit_colours_comes_back() -> None:
    levels = np.append(np.arange(0, 255, 6), 255).astype(np.uint8)
    rgb = picture(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 44, 3))
    a, b = split_colours(rgb)
    assert float(a.abs().max()) <= 1 and float(b.abs().max()) <= 1
    back = join_colours(a[None], b[None])[0]  # any leading axes
    assert float((back - rgb).abs().max()) * 127.5 < 0.01


def test_what_no_screen_shows_is_cut() -> None:
    """By hand: ``f(Y) = (L + 16) / 116``, ``f(Z) = f(Y) - b / 200``; channels in order red, green, blue."""
    lab = torch.tensor([[50.0, 0.0, -110.0], [0.0, 0.0, 110.0], [100.0, 110.0, 0.0]])
    blue, dark, bright = lab_to_rgb(lab.T[:, :, None])[:, :, 0].T
    # X = .1751, Y = .1842, Z = 1.0888 * 1.1190 ** 3 = 1.5256: blue = .0556 X - .2040 Y + 1.0573 Z = 1.58, above 1;
    # red = 3.2405 X - 1.5372 Y - .4985 Z = -.476, below 0
    assert (float(blue[0]), float(blue[2])) == (0.0, 1.0)
    # f(Z) = -.412 counts as 0: Z = 1.0888 * (0 - 16/116) / 7.787 = -.0193, X = Y = 0; red = .0096, green = -.0008
    assert dark.tolist() == pytest.approx([1.055 * (0.4985 * 0.0193) ** (1 / 2.4) - 0.055, 0.0, 0.0], abs=1e-3)
    assert float(bright[0]) == 1.0 and float(bright.min()) >= 0.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_joining_computes_in_float32(dtype: torch.dtype) -> None:
    rgb = join_colours(torch.zeros(2, 1, 4, 4, dtype=dtype), torch.zeros(2, 2, 4, 4, dtype=dtype))
    assert rgb.dtype == torch.float32 and rgb.shape == (2, 3, 4, 4)
    torch.testing.assert_close(rgb, torch.full_like(rgb, 0.4663 * 2 - 1), atol=2e-3, rtol=0)  # L* 50 is grey 118.9

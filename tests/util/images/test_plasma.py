"""The plasma colours on their fixed scale."""

from __future__ import annotations

import pytest
import torch

from util.images.draw import draw_plasma


def test_colours_run_from_dark_blue_to_yellow() -> None:
    colours = draw_plasma(torch.tensor([0.0, 3.0, 9.0, 1 / 3, 1 / 6]).view(1, 1, 1, 5), top=3.0)
    assert colours.shape == (1, 3, 1, 5) and colours.dtype == torch.float32
    first, last, second = [0x0D, 0x08, 0x87], [0xF0, 0xF9, 0x21], [0x46, 0x03, 0x9F]
    between = [(a + b) / 2 for a, b in zip(first, second)]
    for found, want in zip((colours[0, :, 0].T + 1) * 127.5, (first, last, last, second, between)):
        assert found.tolist() == pytest.approx(want, abs=1e-3)

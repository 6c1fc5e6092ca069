"""The plasma colours, from dark blue over red to yellow, for maps of numbers that have a zero."""

from __future__ import annotations

import torch
from torch import Tensor

STOPS = (0x0D0887, 0x46039F, 0x7201A8, 0x9C179E, 0xBD3786, 0xD8576B, 0xED7953, 0xFB9F3A, 0xFDCA26, 0xF0F921)
"""sRGB at equal distances; between them the colours are interpolated."""


def draw_plasma(values: Tensor, top: float) -> Tensor:
    """Numbers as colours on a fixed scale, so that pictures of several images can be compared.

    Args:
        values: ``[N, 1, H, W]``; 0 becomes the first colour.
        top: becomes the last colour, as does what is larger.

    Returns:
        sRGB ``[N, 3, H, W]`` float32 in [-1, 1], on the values' device.
    """
    stops = torch.tensor([[stop >> 16, stop >> 8 & 255, stop & 255] for stop in STOPS], device=values.device) / 255
    place = (values[:, 0].float() / top).clamp(0, 1) * (len(STOPS) - 1)  # [N, H, W]
    below = place.floor().long().clamp(max=len(STOPS) - 2)
    share = (place - below)[..., None]
    colours = stops[below] * (1 - share) + stops[below + 1] * share  # [N, H, W, 3]
    return (colours.permute(0, 3, 1, 2) * 2 - 1).contiguous()

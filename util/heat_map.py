"""Heat maps as pictures: the JET colours, and how U-GAT-IT draws its attention with them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def jet_table() -> Tensor:
    """The JET colour map as 8-bit sRGB: uint8 ``[256, 3]``, from dark blue over green to dark red.

    Each channel is a trapezium of slope 4 in whole numbers, as OpenCV's table has it.
    """
    i = torch.arange(256)
    red = torch.where(i < 160, 4 * (i - 96) + 2, 4 * (255 - i) + 128)
    green = torch.where(i < 128, 4 * (i - 32), 4 * (223 - i))
    blue = torch.where(i < 64, 4 * i + 128, 254 - 4 * (i - 96))
    blue[159] = 1  # the one entry of OpenCV's table that is off the line
    red[:96], green[:32], blue[160:] = 0, 0, 0
    return torch.stack((red, green, blue), dim=1).clamp(0, 255).to(torch.uint8)


def as_bytes(heat: Tensor) -> Tensor:
    """Stretch every map to 0 ... 255: ``floor(255 (h - min h) / max(h - min h))``; a flat map becomes 0.

    Args:
        heat: ``[N, 1, h, w]``, any range.

    Returns:
        whole numbers as float32, of the same shape.
    """
    heat = heat.float()
    heat = heat - heat.amin(dim=(1, 2, 3), keepdim=True)
    top = heat.amax(dim=(1, 2, 3), keepdim=True)
    return (255 * (heat / torch.where(top > 0, top, 1))).floor()


def draw_heat(heat: Tensor, height: int, width: int) -> Tensor:
    """Attention maps as pictures: stretched to bytes, enlarged bilinearly, coloured with JET.

    Args:
        heat: ``[N, 1, h, w]``, any range; each map is stretched by itself, a flat one is all dark blue.
        height: of the pictures, in pixels.
        width: of the pictures, in pixels.

    Returns:
        sRGB ``[N, 3, height, width]`` float32 in [-1, 1], on the maps' device.
    """
    large = F.interpolate(as_bytes(heat), size=(height, width), mode="bilinear", align_corners=False)
    levels = (large + 0.5).floor().long()[:, 0]  # [N, height, width]
    colours = jet_table().to(heat.device)[levels]
    return (colours.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous()

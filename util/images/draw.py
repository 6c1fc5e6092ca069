"""Pictures made of numbers and of other pictures: sheets, grids, heat maps, colour scales, boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from util.images.io import to_display


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


def to_uint8_truncating(x: Tensor) -> NDArray[np.uint8]:
    """``floor((x + 1) / 2 * 255)``: the published way, which cuts where ``image_io.to_uint8`` rounds.

    Args:
        x: any shape and device, in [-1, 1]; what lies outside is clipped.

    Returns:
        an array of the same shape; only 1 itself becomes 255.
    """
    scaled = (x.detach().float().cpu().clamp(-1, 1) + 1) / 2 * 255
    return scaled.numpy().astype(np.uint8)


def tile(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One picture of many: row by row into a square of ``ceil(sqrt(N))`` cells a side.

    Each cell has one black pixel at its right and one below it, the last ones too; cells without an image are black.

    Args:
        images: ``[N, C, H, W]``, N at least 1.

    Returns:
        ``[side * (H + 1), side * (W + 1), C]``, as image files want it.

    Raises:
        ValueError: no images, or another shape.
    """
    if images.ndim != 4 or not len(images):
        raise ValueError(f"a grid is made of images [N, C, H, W] with N at least 1, not of {list(images.shape)}")
    count, channels, height, width = images.shape
    side = math.isqrt(count - 1) + 1
    cells = np.zeros((side * side, channels, height + 1, width + 1), np.uint8)
    cells[:count, :, :height, :width] = images
    rows = cells.reshape(side, side, channels, height + 1, width + 1)
    return np.ascontiguousarray(rows.transpose(0, 3, 1, 4, 2)).reshape(
        side * (height + 1), side * (width + 1), channels
    )


SMALLEST = 64  # pixels of a picture on the sheet; smaller ones are enlarged by a whole factor
_TEXT = 16
_GAP = 2


def column_sheet(samples: Tensor, rows: int, names: Sequence[str], *, smallest: int = SMALLEST) -> NDArray[np.uint8]:
    """Pictures in columns of one height, with a name below each column.

    Args:
        samples: ``[N, C, S, S]`` in [-1, 1], C 1 or 3, a column after the other.
        rows: pictures in a column.
        names: of the columns, or none at all.
        smallest: pixels; smaller pictures are enlarged by a whole factor.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    factor, width = _enlarged(samples, smallest)
    cell = width + _GAP
    height = rows * cell + _GAP + (_TEXT if names else 0)
    sheet = Image.new("RGB", (len(samples) // rows * cell + _GAP, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for place, sample in enumerate(samples):
        column, row = divmod(place, rows)
        sheet.paste(_picture(sample, factor), (_GAP + column * cell, _GAP + row * cell))
    for column, name in enumerate(names):
        left = _GAP + column * cell
        draw.text((left, height - _TEXT), fitted(name, cell - _GAP, font), fill="black", font=font)
    return np.asarray(sheet)


def captioned_grid(samples: Tensor, captions: Sequence[str], across: int = 0) -> NDArray[np.uint8]:
    """A grid, row by row, with a caption below each picture.

    Args:
        samples: ``[N, C, S, S]`` in [-1, 1], C 1 or 3.
        captions: one per picture.
        across: pictures in a row; 0 for as square a grid as possible.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    across = across or math.ceil(math.sqrt(len(samples)))
    factor, width = _enlarged(samples, SMALLEST)
    down = -(-len(samples) // across)
    sheet = Image.new("RGB", (across * (width + _GAP) + _GAP, down * (width + _TEXT + _GAP) + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for place, (sample, caption) in enumerate(zip(samples, captions, strict=True)):
        row, column = divmod(place, across)
        left, top = _GAP + column * (width + _GAP), _GAP + row * (width + _TEXT + _GAP)
        sheet.paste(_picture(sample, factor), (left, top))
        draw.text((left, top + width), fitted(caption, width, font), fill="black", font=font)
    return np.asarray(sheet)


def _enlarged(samples: Tensor, smallest: int) -> tuple[int, int]:
    """By which whole factor pictures are enlarged, and how wide they are then."""
    side = samples.shape[-1]
    factor = max(1, -(-smallest // side))
    return factor, side * factor


def _picture(sample: Tensor, factor: int) -> Image.Image:
    picture = Image.fromarray(to_display(sample))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def fitted(text: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """The text, cut where it is wider than this many pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "..") > width:
        text = text[:-1]
    return text + ".."


def picture_grid(images: Sequence[NDArray[Any]], ncols: int) -> NDArray[Any]:
    """Pictures ``[H, W, 1 or 3]`` uint8 of any sizes in rows of ``ncols``, on white: uint8 ``[H, W, 3]``."""
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    gap = 2
    rows = math.ceil(len(images) / ncols)
    grid = np.full((rows * (height + gap) - gap, ncols * (width + gap) - gap, 3), 255, dtype=np.uint8)
    for index, image in enumerate(images):
        top, left = (index // ncols) * (height + gap), (index % ncols) * (width + gap)
        pixels = _in_cell(image, width, height)
        grid[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return grid


def _in_cell(image: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """RGB, enlarged until it touches a side of its cell; its shape stays."""
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).convert("RGB")
    factor = min(width / picture.width, height / picture.height)
    size = round(picture.width * factor), round(picture.height * factor)
    return np.asarray(picture if size == picture.size else picture.resize(size, Image.Resampling.NEAREST))

"""Animations of ATME's maps through the epochs: D, W and dW side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from models.atme.map_files import FloatMaps, Floats, Grey, longest_run, published_increments, stretch

PANEL, PADDING, TOP, BOTTOM = 256, 10, 40, 50  # pixels: each map, the room between, above and below them
FRAME_MS = 200


def float_frames(maps: FloatMaps) -> list[Image.Image]:
    """Frames of the float maps on one scale through all epochs, so that sizes can be compared.

    D is sigmoid(logits), from 0 to 1, W from -1 to 1. dW = W_t - W_{t-1} is grey at 0, and black or white where its
    size reaches what 99.5 % of the values stay below. The epochs are those of the longest run without a gap; epoch 2
    has no frame, as W_1 comes from random numbers.
    """
    used = maps.part(longest_run(epoch for epoch in maps.epochs if epoch > 1))
    dW = np.diff(used.W, axis=0)
    if not len(dW):
        return []
    limit = float(np.quantile(np.abs(dW), 0.995)) or 1.0
    return [
        frame(to_grey(_sigmoid(logits), 0, 1), to_grey(W, -1, 1), to_grey(step, -limit, limit), epoch)
        for epoch, logits, W, step in zip(used.epochs[1:], used.logits[1:], used.W[1:], dW)
    ]


def published_frames(D: Mapping[int, Grey], W: Mapping[int, Grey]) -> list[Image.Image]:
    """Frames as the published notebook draws them, of every epoch that has both pictures.

    Args:
        D: epoch, ascending -> uint8 [h, w].
        W: epoch, ascending -> uint8 [H, W].
    """
    dW = published_increments(W)
    return [frame(published_D(D[epoch]), W[epoch], dW[epoch], epoch) for epoch in D if epoch in W]


def published_D(picture: Grey) -> Grey:
    """D as the notebook shows it: a picture of probabilities, stretched, through a second sigmoid, so in 161..220."""
    return (255 * (1 / (1 + np.exp(-stretch(picture))) + 1) / 2).astype(np.uint8)


def to_grey(values: Floats, low: float, high: float) -> Grey:
    """``low..high`` as 0..255, rounded; what is beyond is cut."""
    return np.clip(np.rint((values - low) / (high - low) * 255), 0, 255).astype(np.uint8)


def frame(D: Grey, W: Grey, dW: Grey, epoch: int) -> Image.Image:
    """Draw D, W and dW side by side on white, 808 x 346, with their names above and the epoch below."""
    canvas = Image.new("L", (3 * PANEL + 4 * PADDING, TOP + PANEL + BOTTOM), 255)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(20)
    for place, (title, values) in enumerate((("D", D), ("W", W), ("dW", dW))):
        left = PADDING + place * (PANEL + PADDING)
        factor = PANEL / max(values.shape)
        height, width = (max(1, round(side * factor)) for side in values.shape)
        small = Image.fromarray(values).resize((width, height), Image.Resampling.NEAREST)
        canvas.paste(small, (left + (PANEL - width) // 2, TOP + (PANEL - height) // 2))
        draw.text((left + PANEL / 2, TOP / 2), title, fill=0, font=font, anchor="mm")
    draw.text((canvas.width / 2, TOP + PANEL + BOTTOM / 2), f"Epoch {epoch}", fill=0, font=font, anchor="mm")
    return canvas


def save_gif(path: Path, frames: Sequence[Image.Image], *, loop: int = 0, duration: int = FRAME_MS) -> None:
    """Write an animation, of 5 frames a second unless it is said.

    Args:
        path: the file; a reader never sees a part of it.
        frames: at least one.
        loop: repetitions, 0 for endless.
        duration: of a frame in milliseconds.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    rest = list(frames[1:])
    frames[0].save(temporary, format="GIF", save_all=True, append_images=rest, duration=duration, loop=loop)
    os.replace(temporary, path)


def _sigmoid(logits: Floats) -> Floats:
    return 0.5 * (1 + np.tanh(0.5 * logits))

"""The kinds of image that a trained run takes in Python, and gives back: files, Pillow, NumPy, torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from models.translation import Ready, Translator
from util.images.io import Format, Picture
from util.images.labels import label_image
from util.wording import counted

IN_MEMORY = "the image"
"""Stands for the file name of an image from memory in messages."""
NOTHING = torch.empty(0)


@dataclass(frozen=True)
class Taken:
    """An image of any kind that was given to a run.

    Attributes:
        ready: the picture; None for a tensor.
        images: of a tensor ``[N, C, H, W]`` in [-1, 1]; of anything else nothing.
        give_back: makes of the translation what was given: of ``[H, W, C]`` as it is stored, or of a tensor.
    """

    ready: Ready | None
    images: Tensor
    give_back: Callable[[Any], Any]


def take(image: Any, translator: Translator) -> Taken:
    """An image as it is translated.

    Args:
        image: a path; a Pillow image; a NumPy array ``[H, W]`` or ``[H, W, C]`` of uint8, uint16, int16 or floats,
            with values as files of the run's source have them; or a tensor ``[C, H, W]`` or ``[N, C, H, W]`` in
            [-1, 1].
        translator: of the run.

    Raises:
        TypeError: another kind.
        ValueError: the image cannot be read, or does not fit the run.
    """
    if isinstance(image, Tensor):
        return _tensor(image, translator)
    if isinstance(image, (str, os.PathLike)):
        ready = translator.read(os.fspath(image))
        return Taken(ready, NOTHING, label_image if ready.stored.labels else _pillow_or_array)
    if isinstance(image, Image.Image):
        side = translator.data.domain(translator.source)
        array = _pixels(ImageOps.exif_transpose(image), translator.data.alpha, indices=bool(side.label_nc))
        ready = translator.ready(_picture(array, translator), IN_MEMORY)
        return Taken(ready, NOTHING, label_image if ready.stored.labels else _pillow)
    if isinstance(image, np.ndarray):
        if image.ndim not in (2, 3) or 0 in image.shape:
            raise ValueError(f"an array of shape {image.shape}: expected [H, W] or [H, W, C]")
        flat = image.ndim == 2
        array = image[:, :, None] if flat else image
        give_back = (lambda made: made[:, :, 0] if made.shape[2] == 1 else made) if flat else (lambda made: made)
        return Taken(translator.ready(_picture(array, translator), IN_MEMORY), NOTHING, give_back)
    raise TypeError(
        f"an image of type {type(image).__name__}: give a path, a Pillow image, a NumPy array, a torch tensor, or a "
        "list of them"
    )


def _tensor(image: Tensor, translator: Translator) -> Taken:
    channels = translator.generator.source.channels
    if image.ndim not in (3, 4) or image.shape[-3] != channels or 0 in image.shape or not image.is_floating_point():
        raise ValueError(
            f"a tensor of {image.dtype} {tuple(image.shape)}: expected floats in [-1, 1], [{channels}, H, W] or "
            f"[N, {channels}, H, W]"
        )

    def give_back(made: Tensor) -> Tensor:
        made = made.to(image.device, image.dtype, copy=True)
        return made if image.ndim == 4 else made[0]

    return Taken(None, image.detach().float().reshape(-1, *image.shape[-3:]), give_back)


def _picture(array: NDArray[Any], translator: Translator) -> Picture:
    """The numbers of an image in memory as a file of the same type would give them.

    Raises:
        ValueError: another type, or NaN without ``--nodata``.
    """
    if array.dtype.kind == "f" or array.dtype == np.bool_:
        array = array.astype(np.float32)
    kinds: dict[str, Format] = {"uint8": "uint8", "uint16": "uint16", "int16": "int16", "float32": "float32"}
    if array.dtype.name not in kinds:
        raise ValueError(f"an array of {array.dtype}: convert it to uint8, uint16, int16 or float32")
    side = translator.data.domain(translator.source)
    if array.dtype.kind == "f" and not side.nodata and not np.isfinite(array).all():
        raise ValueError("the image holds NaN or infinite values, and the run was trained without --nodata")
    alpha = translator.data.alpha == "keep" and array.shape[2] in (2, 4)
    return Picture(array, kinds[array.dtype.name], alpha)


def _pixels(image: Image.Image, alpha: str, *, indices: bool = False) -> NDArray[Any]:
    """``[H, W, C]`` of a Pillow image: opacity as ``--alpha`` says, palettes as colours or as their ``indices``."""
    if indices and image.mode == "P":
        return np.asarray(image)[:, :, None]
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)[:, :, None]
    if image.mode in ("I", "F"):
        return np.asarray(image).astype(np.float32)[:, :, None]
    has_alpha = image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info
    grey = image.mode in ("1", "L", "LA", "La")
    if has_alpha and alpha == "white":
        over = Image.new("RGBA", image.size, "white")
        over.alpha_composite(image.convert("RGBA"))
        image = over
    mode = ("L" if grey else "RGB") if not has_alpha or alpha != "keep" else ("LA" if grey else "RGBA")
    array = np.asarray(image if image.mode == mode else image.convert(mode))
    return array[:, :, None] if array.ndim == 2 else array


def _pillow(made: NDArray[Any]) -> Image.Image:
    """A Pillow image of ``[H, W, C]``.

    Raises:
        ValueError: Pillow has no such image.
    """
    found = _pillow_or_array(made)
    if not isinstance(found, Image.Image):
        raise ValueError(
            f"the translation has {counted(made.shape[2], 'channel')} of {made.dtype}, which no Pillow image has: give "
            "an array"
        )
    return found


def _pillow_or_array(made: NDArray[Any]) -> Image.Image | NDArray[Any]:
    """A Pillow image where Pillow can hold the numbers, else the array ``[H, W, C]``."""
    channels = made.shape[2]
    plain = np.ascontiguousarray(made[:, :, 0] if channels == 1 else made)
    if made.dtype == np.uint8 and channels <= 4:
        return Image.fromarray(plain)
    if channels == 1 and made.dtype in (np.uint16, np.float32):
        return Image.fromarray(plain)
    return made


def is_several(image: Any) -> bool:
    """Whether this is a list of images."""
    return isinstance(image, (list, tuple)) or (
        not isinstance(image, (str, Path, np.ndarray, Tensor, Image.Image)) and hasattr(image, "__next__")
    )

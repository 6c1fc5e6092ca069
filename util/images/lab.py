"""sRGB and CIE L*a*b* of a standard observer under D65, and the numbers in which colorization learns them.

IEC 61966-2-1, with channels in [0, 1]: ``linear = v / 12.92`` up to ``v = 0.04045``, else
``((v + 0.055) / 1.055) ** 2.4``; then ``(X, Y, Z) = XYZ_OF_RGB @ linear``. CIE 1976, with ``t = X/Xn, Y/Yn, Z/Zn``:
``f(t) = t ** (1/3)`` above 0.008856, else ``7.787 t + 16/116``; ``L* = 116 f(Y/Yn) - 16`` in 0..100,
``a* = 500 (f(X/Xn) - f(Y/Yn))``, ``b* = 200 (f(Y/Yn) - f(Z/Zn))``; for sRGB a* lies in -87..99, b* in -108..95.
Matrix, white and constants have the digits of scikit-image, with which the published model was trained.

Each direction is there once, where it is needed: numpy for the data set, whose numbers must not depend on the number
of threads, and torch for the model, on its device.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

XYZ_OF_RGB = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.95047, 1.0, 1.08883)
_RGB_OF_XYZ: list[list[float]] = np.linalg.inv(np.array(XYZ_OF_RGB)).tolist()
_KNEE, _SLOPE, _OFFSET = 0.008856, 7.787, 16 / 116

L_HALF, AB_SCALE = 50.0, 110.0
"""``A = L* / 50 - 1`` and ``B = (a*, b*) / 110``: both within [-1, 1]."""


def rgb_to_lab(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """``[3, ...]`` of sRGB in [0, 1] as L*, a*, b* of the same shape."""
    linear = np.where(rgb > 0.04045, ((rgb + np.float32(0.055)) / np.float32(1.055)) ** np.float32(2.4), rgb / 12.92)
    f = []
    for row, white in zip(XYZ_OF_RGB, WHITE):
        t = sum(channel * np.float32(factor / white) for channel, factor in zip(linear, row))
        f.append(np.where(t > _KNEE, np.cbrt(t), _SLOPE * t + _OFFSET))
    x, y, z = f
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)]).astype(np.float32)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """``[..., 3, H, W]`` of L*, a*, b* as sRGB in [0, 1] of the same shape.

    Most triples of L*, a*, b* are colours that no screen shows. As in scikit-image they are cut, not brought to the
    nearest colour: a negative ``f(Z/Zn)`` counts as 0, and each channel of sRGB is clipped, so that hue and lightness
    of such a colour change.
    """
    lightness, a, b = lab.unbind(-3)
    y = (lightness + 16) / 116
    f = (y + a / 500, y, (y - b / 200).clamp(min=0))
    knee = _KNEE ** (1 / 3)
    xyz = [white * torch.where(t > knee, t**3, (t - _OFFSET) / _SLOPE) for t, white in zip(f, WHITE)]
    # Sums, not a matrix product: that would be rounded to ten bits by --precision tf32.
    linear = torch.stack([xyz[0] * row[0] + xyz[1] * row[1] + xyz[2] * row[2] for row in _RGB_OF_XYZ], dim=-3)
    bent = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear > 0.0031308, bent, 12.92 * linear).clamp(0, 1)


def split_colours(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """A picture on the CPU, ``[3, H, W]`` of sRGB in [-1, 1], as ``A`` ``[1, H, W]`` and ``B`` ``[2, H, W]``, float32.

    ``A = L* / 50 - 1``, ``B = (a*, b*) / 110``.
    """
    lab = rgb_to_lab((rgb.numpy() + np.float32(1)) / np.float32(2))
    return torch.from_numpy(lab[:1] / np.float32(L_HALF) - 1), torch.from_numpy(lab[1:] / np.float32(AB_SCALE))


def join_colours(lightness: Tensor, colours: Tensor) -> Tensor:
    """Inverse of ``split_colours``: ``[..., 1, H, W]`` and ``[..., 2, H, W]`` as sRGB ``[..., 3, H, W]`` in [-1, 1]."""
    lab = torch.cat([(lightness.float() + 1) * L_HALF, colours.float() * AB_SCALE], dim=-3)
    return lab_to_rgb(lab) * 2 - 1

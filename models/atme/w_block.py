"""The small network W of ATME: the discriminator's map of an image becomes a map of the image's size.

``W_BLOCKS`` has the published one and what an ablation puts in its place, the names behind ``--atme_w``. All map
``(maps [N, 1, h, w], size (H, W))`` to ``[N, 1, H, W]`` in [-1, 1]; only the published one has parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.atme.unet import Block
from models.networks.fast_conv import Conv2d
from util.registry import unknown


class ResizeTo(nn.Module):
    """Bilinear resize (corners not aligned) to a fraction of a size.

    Args:
        divisor: what height and width are divided by, rounded up.
    """

    def __init__(self, divisor: int) -> None:
        super().__init__()
        self.divisor = divisor

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """``[N, C, h, w]`` -> ``[N, C, H/divisor, W/divisor]``."""
        # Not -(-side // divisor): ONNX divides towards zero, so that an exported network would round down.
        target = [(side + self.divisor - 1) // self.divisor for side in size]
        return F.interpolate(x, size=target, mode="bilinear", align_corners=False)


class WBlock(nn.Module):
    """Three blocks at a quarter, half and the whole of the image's size, then a 1x1 convolution and tanh.

    The published network resizes to 64, 128 and 256 whatever the image; for 256x256 images this is the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleList(
            [
                ResizeTo(4),
                Block(1, 32),
                ResizeTo(2),
                Block(32, 64),
                ResizeTo(1),
                Block(64, 32),
                Conv2d(32, 1, 1),
                nn.Tanh(),
            ]
        )

    def forward(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits ``[N, 1, h, w]`` and the image's ``(H, W)`` -> ``[N, 1, H, W]`` in (-1, 1)."""
        x = maps
        for layer in self.model:
            x = layer(x, size) if isinstance(layer, ResizeTo) else layer(x)
        return x


class BilinearW(nn.Module):
    """``2 * sigmoid(map) - 1``, resized bilinearly: what D thinks, from -1 (fake) to 1 (real), and nothing learned."""

    def forward(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits ``[N, 1, h, w]`` and the image's ``(H, W)`` -> ``[N, 1, H, W]`` in (-1, 1)."""
        return F.interpolate(_judgement(maps), size=size, mode="bilinear", align_corners=False)


class IdentityW(nn.Module):
    """``2 * sigmoid(map) - 1`` with its patches as they are: resized to the nearest, without interpolation."""

    def forward(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits ``[N, 1, h, w]`` and the image's ``(H, W)`` -> ``[N, 1, H, W]`` in (-1, 1)."""
        return F.interpolate(_judgement(maps), size=size, mode="nearest")


class NoW(nn.Module):
    """Zeros: the generator gets the clean image, and learns nothing of D's map."""

    def forward(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits ``[N, 1, h, w]`` and the image's ``(H, W)`` -> zeros ``[N, 1, H, W]``."""
        return maps.new_zeros(maps.shape[0], 1, *size)


class NoiseW(nn.Module):
    """Noise that knows nothing of D: each pixel from N(0, 0.5**2), clipped to [-1, 1], new at each call.

    It is drawn from torch's global generator of the maps' device, in eval mode too, as a map of D would be there.
    """

    STD = 0.5
    draws = True

    def forward(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps ``[N, 1, h, w]`` (only N counts) and the image's ``(H, W)`` -> ``[N, 1, H, W]`` in [-1, 1]."""
        noise = torch.randn(maps.shape[0], 1, *size, dtype=maps.dtype, device=maps.device)
        return noise.mul_(self.STD).clamp_(-1, 1)


def _judgement(maps: Tensor) -> Tensor:
    """``2 * sigmoid(x) - 1``, written so that it does not cancel for small x."""
    return torch.tanh(maps / 2)


W_BLOCKS: Mapping[str, Callable[[], nn.Module]] = {
    "block": WBlock,
    "bilinear": BilinearW,
    "identity": IdentityW,
    "none": NoW,
    "noise": NoiseW,
}

W_BLOCK_NAMES = tuple(W_BLOCKS)


def build_w_block(name: str) -> nn.Module:
    """The network W behind ``--atme_w``.

    Args:
        name: a name of ``W_BLOCKS``.

    Raises:
        ValueError: unknown name.
    """
    if name not in W_BLOCKS:
        raise unknown(f"--atme_w {name!r}", name, W_BLOCK_NAMES)
    return W_BLOCKS[name]()

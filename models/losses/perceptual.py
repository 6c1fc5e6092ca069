"""The distance of two images as a trained classifier sees them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.vgg import TAPS, VGGFeatures

TAP_WEIGHTS = dict(zip(TAPS, (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)))
"""Weight of relu1_1 ... relu5_1, as in pix2pixHD (Wang et al. 2018, arXiv:1711.11585, Eq. 8) and SPADE."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PerceptualLoss(nn.Module):
    """``sum over the taps k of w_k * mean |phi_k(x) - phi_k(y)|`` (Johnson et al. 2016, arXiv:1603.08155, with L1).

    phi_k is the k-th tap of a frozen VGG, the mean goes over images, channels and places, and no gradient flows into
    the target y.

    Args:
        vgg: the frozen network.
        weights: one for each of its taps; empty: ``TAP_WEIGHTS``.
        channels: of the images, 1 or 3; one becomes three.
        normalise: scale images from ``[-1, 1]`` to what the VGG was trained on, ``((x + 1) / 2 - mean) / std`` with
            ImageNet's; otherwise they go in as they are, as in pix2pixHD and SPADE.

    Attributes:
        min_size: smallest height and width of the images, in pixels.

    Raises:
        ValueError: other channels, weights that do not go with the taps, or a negative one.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, vgg: VGGFeatures, weights: Sequence[float] = (), *, channels: int = 3, normalise: bool = True
    ) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(f"--output_nc {channels}: a perceptual loss compares images of 1 or 3 channels")
        if weights and (len(weights) != len(vgg.taps) or min(weights) < 0 or not any(weights)):
            given, taps = (",".join(f"{number:g}" for number in numbers) for numbers in (weights, vgg.taps))
            raise ValueError(
                f"--vgg_layer_weights {given}: give one of at least 0 for each of --vgg_layers {taps}, not only zeros"
            )
        self.vgg, self.normalise, self.min_size = vgg, normalise, vgg.min_size
        self.weights = tuple(weights) or tuple(TAP_WEIGHTS[tap] for tap in vgg.taps)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss as a 0-dim tensor, float32 as the VGG is.

        Args:
            x: the generated images, ``[N, 3, H, W]`` or ``[N, 1, H, W]`` in ``[-1, 1]``.
            y: their targets, the same shape.
        """
        # Without autocast: rounding decides signs of the differences, of which L1's gradient is made. Of a blurred
        # photo (VGG16, 256 pixels) it was off by 29 % in bfloat16 and 15 % in float16, with a loss right to 0.03 %.
        with torch.autocast(x.device.type, enabled=False):
            with torch.no_grad():
                target = self.vgg(self._three_channels(y))
            seen = self.vgg(self._three_channels(x))
            terms = [w * F.l1_loss(ours, theirs) for w, ours, theirs in zip(self.weights, seen, target, strict=True)]
            return torch.stack(terms).sum()

    def _three_channels(self, x: Tensor) -> Tensor:
        x = x.to(self.mean.dtype).expand(-1, 3, -1, -1)  # as the weights are: float32, whatever autocast made
        return ((x + 1) / 2 - self.mean) / self.std if self.normalise else x

"""Penalties that keep a discriminator smooth."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from models.losses.gan import Prediction, final_maps
from util.registry import unknown

PENALTY_KINDS = ("mixed", "real", "fake")


def unpaired_gradient_penalty(
    netD: Callable[[Tensor], Prediction], real: Tensor, fake: Tensor, *, weight: float
) -> Tensor:
    """``gradient_penalty`` between a real image and an unpaired fake.

    Raises:
        ValueError: they differ in size, so that there is nothing between them.
    """
    if real.shape != fake.shape:
        sizes = " and ".join(f"{image.shape[-1]}x{image.shape[-2]}" for image in (real, fake))
        raise ValueError(
            f"--gan_mode wgangp: it mixes real and translated images, which are {sizes} here; "
            "use a --preprocess that ends in crop"
        )
    return gradient_penalty(netD, real, fake, weight=weight)


def gradient_penalty(
    netD: Callable[[Tensor], Prediction],
    real: Tensor,
    fake: Tensor,
    *,
    kind: str = "mixed",
    constant: float = 1.0,
    weight: float = 10.0,
    alpha: Tensor | None = None,
) -> Tensor:
    """Pull the norm of D's gradient towards ``constant`` (Gulrajani et al. 2017, arXiv:1704.00028, Eq. 3).

    ``weight * mean_n (|| dD(x_n)/dx_n + 1e-16 ||_2 - constant)^2``, the norm taken over all of sample n, and
    ``x = alpha * real + (1 - alpha) * fake``. Computed in float32 without autocast: the gradient of the gradient does
    not survive half precision.

    Args:
        netD: the discriminator. Of lists, the gradient of the sum of all final maps is taken.
        real: ``[N, C, H, W]``; for a conditional D already joined with the condition.
        fake: the same shape. No gradient flows back into ``real`` or ``fake``, only into D's weights.
        kind: where to measure: between the two (``mixed``), at the ``real`` or at the ``fake`` images.
        constant: the norm that costs nothing.
        weight: the paper's lambda.
        alpha: ``[N]`` in [0, 1], one per sample; drawn uniformly from torch's generator when left out.

    Returns:
        A 0-dim float32 tensor that can be differentiated.

    Raises:
        ValueError: unknown ``kind``.
    """
    if kind not in PENALTY_KINDS:
        raise unknown(f"kind of gradient penalty {kind!r}", kind, PENALTY_KINDS)
    with torch.autocast(real.device.type, enabled=False):
        real, fake = real.detach().float(), fake.detach().float()
        if kind == "mixed":
            if alpha is None:
                alpha = torch.rand(len(real), device=real.device)
            alpha = alpha.view(-1, *[1] * (real.dim() - 1))  # [N, 1, 1, 1]
            x = alpha * real + (1 - alpha) * fake
        else:
            x = real if kind == "real" else fake
        x.requires_grad_()
        logits = torch.stack([p.sum() for p in final_maps(netD(x))]).sum()
        (gradient,) = torch.autograd.grad(logits, x, create_graph=True)
        norms = (gradient.flatten(1) + 1e-16).norm(2, dim=1)  # [N]
        return weight * (norms - constant).square().mean()

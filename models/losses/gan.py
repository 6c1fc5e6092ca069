"""Adversarial objectives on raw discriminator outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models.networks.names import GAN_MODE_ALIASES, GAN_MODES
from util.registry import unknown

Prediction = Tensor | Sequence[Tensor] | Sequence[Sequence[Tensor]]
"""A map of logits; or one map a scale; or per scale a list of features whose last entry is the map."""


def canonical_gan_mode(name: str) -> str:
    """The main name behind a ``--gan_mode``.

    Raises:
        ValueError: neither a mode nor an alias.
    """
    mode = GAN_MODE_ALIASES.get(name, name)
    if mode not in GAN_MODES:
        raise unknown(f"--gan_mode {name!r}", name, (*GAN_MODES, *GAN_MODE_ALIASES))
    return mode


def final_maps(prediction: Prediction) -> list[Tensor]:
    """The logit map of every scale, finest first if the discriminator gives them so; features are left out.

    Raises:
        ValueError: an empty list.
    """
    if isinstance(prediction, Tensor):
        return [prediction]
    if not prediction or not all(isinstance(scale, Tensor) or scale for scale in prediction):
        raise ValueError("the discriminator gave an empty list of predictions")
    return [scale if isinstance(scale, Tensor) else scale[-1] for scale in prediction]


class GANLoss:
    """What a discriminator output is worth, for D and for G. With p the raw output (no sigmoid), averaged over it:

    ======== ======================== ======================== ==============
    mode     D on real                D on fake                G
    ======== ======================== ======================== ==============
    vanilla  softplus(-p)             softplus(p)              softplus(-p)
    lsgan    (p - 1)^2                p^2                      (p - 1)^2
    hinge    max(0, 1 - p)            max(0, 1 + p)            -p
    wgan(gp) -p                       p                        -p
    ======== ======================== ======================== ==============

    ``vanilla`` is the binary cross entropy with logits and targets exactly 1 and 0, with the generator's
    non-saturating form (Goodfellow et al. 2014); lsgan: Mao et al. 2017, arXiv:1611.04076; hinge: Lim and Ye 2017,
    arXiv:1705.02894; wgan: Arjovsky et al. 2017, arXiv:1701.07875. Neither wgan nor wgangp bounds the critic here:
    for ``wgangp`` the model adds ``penalties.gradient_penalty``.

    Args:
        mode: one of ``GAN_MODES`` or an alias.

    Raises:
        ValueError: unknown mode.
    """

    def __init__(self, mode: str) -> None:
        self.mode = canonical_gan_mode(mode)

    def __call__(self, prediction: Prediction, target_is_real: bool, for_discriminator: bool = True) -> Tensor:
        """The loss as a 0-dim float32 tensor, computed in float32 under autocast too.

        Args:
            prediction: raw outputs of D of any shape. Of a list, every scale counts the same whatever its size; of
                a list of lists, only the last entry of each inner list counts.
            target_is_real: what D is to say (``for_discriminator``), or what G wants it to say, always True.
            for_discriminator: False for the generator's loss; it matters for hinge alone.

        Raises:
            ValueError: a generator that wants its images judged fake, or an empty list.
        """
        if not for_discriminator and not target_is_real:
            raise ValueError("the generator's loss is for images that pass as real: target_is_real must be True")
        maps = [p.float() for p in final_maps(prediction)]
        scales = [self._per_element(p, target_is_real, for_discriminator).mean() for p in maps]
        return torch.stack(scales).mean()

    def _per_element(self, p: Tensor, target_is_real: bool, for_discriminator: bool) -> Tensor:
        towards_real = -p if target_is_real else p  # small where the target is met
        if self.mode == "vanilla":
            return F.softplus(towards_real)
        if self.mode == "lsgan":
            return (p - 1 if target_is_real else p).square()
        if self.mode == "hinge" and for_discriminator:
            return F.relu(1 + towards_real)
        return towards_real

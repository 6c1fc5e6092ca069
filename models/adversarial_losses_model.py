"""pix2pix with the adversarial losses as SPADE names them: original, ls, hinge, w."""

from __future__ import annotations

from dataclasses import dataclass

from models import MODELS
from models.pix2pix_model import Pix2PixModel, Pix2PixOptions
from options.schema import arg


@dataclass(frozen=True, kw_only=True)
class AdversarialLossesOptions(Pix2PixOptions):
    """Cross entropy; in the published code the default was a mode that its own loss refused."""

    gan_mode: str = "original"
    lambda_L1: float = arg(100.0, help="weight of the L1 term", aliases=("lambdaL1",))


@MODELS.register("adversarial_losses")
class AdversarialLossesModel(Pix2PixModel):
    """pix2pix with a choice of ``--gan_mode original|ls|hinge|w``, and wgangp; its L1 term is called G_L."""

    Options = AdversarialLossesOptions
    reconstruction_names: tuple[str, ...] = ("G_L",)

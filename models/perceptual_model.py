"""pix2pix that compares images by the features of a VGG in place of their pixels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from models import MODELS
from models.losses.perceptual import PerceptualLoss, load_vgg
from models.networks.vgg import TAPS, VGGFeatures
from models.pix2pix_model import Pix2PixModel, Pix2PixOptions
from options.schema import arg


@dataclass(frozen=True, kw_only=True)
class PerceptualOptions(Pix2PixOptions):
    """The published weight and taps, and no L1; the published code had no normalisation."""

    lambda_L1: float = 0.0
    lambda_perceptual: float = arg(10.0, minimum=0.0, aliases=("lambda_vgg",), help="its weight; 0 = no VGG at all")
    vgg: str = arg("vgg19", choices=("vgg19", "vgg16"), help="the frozen network whose features are compared")
    vgg_weights: str = arg("", metavar="FILE", help="its file, or random (default: torchvision's, downloaded once)")
    vgg_norm: str = arg("imagenet", choices=("imagenet", "none"), help="scaling of its input; none is as published")
    vgg_layers: tuple[int, ...] = arg(TAPS, help="which features to compare: 1 = relu1_1 ... 5 = relu5_1")
    vgg_layer_weights: tuple[float, ...] = arg((), help="their weights (default: of 1/32,1/16,1/8,1/4,1)")

    def terms(self) -> dict[str, float]:
        """As pix2pix, and the perceptual one."""
        return {**super().terms(), "lambda_perceptual": self.lambda_perceptual}


@MODELS.register("perceptual")
class PerceptualModel(Pix2PixModel):
    """pix2pix with a perceptual loss in place of L1 (Johnson et al. 2016, arXiv:1603.08155; five taps of VGG19)."""

    Options = PerceptualOptions
    options: PerceptualOptions
    criterion_VGG: PerceptualLoss | None = None  # only in training

    def setup_training(self, dataset_size: int) -> None:
        """What pix2pix builds, after the VGG: if its weights are missing, nothing else needs to be made."""
        o = self.options
        if o.lambda_perceptual:
            vgg = VGGFeatures(o.vgg, o.vgg_layers)
            load_vgg(vgg, o.vgg_weights, self.engine)
            loss = PerceptualLoss(vgg, o.vgg_layer_weights, channels=o.output_nc, normalise=o.vgg_norm == "imagenet")
            self.criterion_VGG = self.add_criterion(loss)
        self.reconstruction_names = ("G_perceptual",) * (o.lambda_perceptual > 0) + ("G_L1",) * (o.lambda_L1 > 0)
        super().setup_training(dataset_size)

    def reconstruction_losses(self) -> dict[str, Tensor]:
        """``G_perceptual`` and ``G_L1``, the weights included; what has the weight 0 is left out."""
        losses = {}
        if self.criterion_VGG:
            losses["G_perceptual"] = self.options.lambda_perceptual * self.criterion_VGG(self.fake_B, self.real_B)
        return {**losses, "G_L1": self.L1_loss()} if self.options.lambda_L1 else losses

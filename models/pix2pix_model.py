"""pix2pix: paired image-to-image translation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models import MODELS
from models.base_model import BaseModel, Step, pictures
from models.losses.feature_matching import feature_matching
from models.losses.penalties import gradient_penalty
from models.networks.batches import in_one_batch
from models.networks.inference import InferenceModule, OneImage, no_direction
from options.base_options import ModelOptions
from options.schema import OptionError, arg
from util.run.engine import Engine
from util.types import Losses, Visuals


@dataclass(frozen=True, kw_only=True)
class Pix2PixOptions(ModelOptions):
    """The published defaults: U-Net with batch norm, vanilla GAN, no history of fakes."""

    norm: str = "batch"
    netG: str = "unet_256"
    gan_mode: str = "vanilla"
    pool_size: int = 0
    lambda_GAN: float = arg(1.0, minimum=0.0, help="weight of the adversarial term; 0 = no discriminator at all")
    lambda_L1: float = arg(100.0, minimum=0.0, help="weight of the L1 term")
    lambda_feat: float = arg(
        0.0, minimum=0.0, help="weight of feature matching: L1 between D's layers on fake and real; 10 in pix2pixHD"
    )
    lambda_gp: float = arg(10.0, minimum=0.0, help="weight of the gradient penalty of --gan_mode wgangp")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not any(self.terms().values()):
            names = ", ".join(f"--{name} 0" for name in self.terms())
            raise OptionError(f"{names}: nothing is left to train by; give one of them a weight")
        if self.lambda_feat and not self.lambda_GAN:
            raise OptionError(f"--lambda_feat {self.lambda_feat:g}: --lambda_GAN 0 builds no discriminator to match")

    def terms(self) -> dict[str, float]:
        """The flags of the generator's terms that can stand alone, and their weights."""
        return {"lambda_GAN": self.lambda_GAN, "lambda_L1": self.lambda_L1}


@MODELS.register("pix2pix")
class Pix2PixModel(BaseModel):
    """Paired translation with a conditional GAN and L1 (Isola et al. 2017, arXiv:1611.07004), Eq. (4)."""

    Options = Pix2PixOptions
    dataset_mode: ClassVar[str] = "aligned"
    needs: ClassVar[tuple[str, ...]] = ("A", "B", "pairs")
    reconstruction_names: tuple[str, ...] = ("G_L1",)
    """What ``reconstruction_losses`` reports."""
    options: Pix2PixOptions

    def __init__(self, options: Pix2PixOptions, engine: Engine) -> None:
        super().__init__(options, engine)
        self.netG = self.add_network("G", self.build_G())
        self.real: dict[str, Tensor] = {}  # side -> [N, C, H, W]

    def build_G(self) -> nn.Module:
        """The generator."""
        return self.make_G(self.options.input_nc, self.options.output_nc)

    def build_D(self) -> nn.Module:
        """The discriminator, which judges pairs: the condition, then the image."""
        o = self.options
        return self.make_D(o.input_nc + o.output_nc, condition_nc=o.input_nc, features=o.lambda_feat > 0)

    def generator_parameters(self) -> Iterable[nn.Parameter]:
        """What the generator's optimizer owns."""
        return self.netG.parameters()

    def setup_training(self, dataset_size: int) -> None:
        """Build D, the losses, and two Adam optimizers. Without ``lambda_GAN`` there is no D."""
        o = self.options
        self.add_optimizer("G", self.generator_parameters(), lr=o.lr, betas=(o.beta1, 0.999))
        self.fake_pool = self.add_pool("fake_pool")
        self.loss_names = self.reconstruction_names
        if not o.lambda_GAN:
            return
        if "D" not in self.networks:
            self.netD = self.add_network("D", self.build_D())
        self.criterion_GAN = self.make_GAN_loss()
        feat, gp = o.lambda_feat > 0, self.criterion_GAN.mode == "wgangp"
        self.loss_names = ("G_GAN", *self.reconstruction_names, *["G_feat"] * feat, "D_real", "D_fake", *["D_gp"] * gp)
        self.add_optimizer("D", self.netD.parameters(), lr=o.lr, betas=(o.beta1, 0.999))

    @property
    def real_A(self) -> Tensor:
        """The condition, ``[N, input_nc, H, W]``."""
        return self.real["A"]

    @property
    def real_B(self) -> Tensor:
        """The target, ``[N, output_nc, H, W]``; a test may have none."""
        return self.real["B"]

    def forward(self) -> None:
        """``fake_B = G(real_A)``, ``[N, output_nc, H, W]``."""
        with self.engine.autocast():
            self.fake_B = self.generate(self.real_A)

    def generate(self, x: Tensor) -> Tensor:
        """What the generator makes of ``x``."""
        return self.netG(x)

    def generator_module(self, direction: str = "AtoB", *, maps: bool = True) -> InferenceModule:
        """``fake_B``; there is no way back."""
        if direction != "AtoB":
            raise no_direction(direction, type(self).__name__, "A to B")
        return self.inference(maps)

    def inference(self, maps: bool) -> InferenceModule:
        """The module of the only direction."""
        return OneImage(self.netG)

    def visuals(self) -> Visuals:
        """``real_A``, ``fake_B``, and ``real_B`` where the batch had it."""
        return pictures({"real_A": self.real_A, "fake_B": self.fake_B, "real_B": self.real.get("B")})

    def optimize_parameters(self) -> Losses:
        """D's step on the current fakes, then G's against the updated D. Losses: G_GAN, G_L1, D_real, D_fake."""
        self.prepare_step(self.forward)
        losses_D = self.update("D", self.discriminator_losses) if self.options.lambda_GAN else {}
        losses_G = self.update("G", self.generator_losses)
        return {**losses_G, **losses_D}

    def discriminator_losses(self) -> Step:
        """Half of ``D_fake + D_real``, two passes through D as published (batch norm sees them one by one).

        With ``wgangp`` half of ``D_fake + D_real + D_gp``: the paper's critic loss (Gulrajani et al. 2017), halved.
        """
        fake_AB = self.fake_pool.query(torch.cat([self.real_A, self.fake_B], 1).detach())
        real_AB = torch.cat([self.real_A, self.real_B], 1)
        of_fake, of_real = in_one_batch(self.netD, fake_AB, real_AB)
        D_fake, D_real = self.criterion_GAN(of_fake, False), self.criterion_GAN(of_real, True)
        losses = {"D_real": D_real, "D_fake": D_fake}
        if self.criterion_GAN.mode == "wgangp":
            losses["D_gp"] = gradient_penalty(self.netD, real_AB, fake_AB, weight=self.options.lambda_gp)
        return 0.5 * torch.stack(list(losses.values())).sum(), losses

    def generator_losses(self) -> Step:
        """``G_GAN``, the reconstruction terms, and ``G_feat``, the weights included."""
        losses: dict[str, Tensor] = {}
        if self.options.lambda_GAN:
            prediction = self.netD(torch.cat([self.real_A, self.fake_B], 1))
            losses["G_GAN"] = self.adversarial_loss(prediction)
        losses.update(self.reconstruction_losses())
        if self.options.lambda_feat:
            with torch.no_grad():
                target = self.netD(torch.cat([self.real_A, self.real_B], 1))
            losses["G_feat"] = self.options.lambda_feat * feature_matching(prediction, target)
        return torch.stack(list(losses.values())).sum(), losses

    def adversarial_loss(self, prediction: Any) -> Tensor:
        """``G_GAN``: what G pays for D's judgement of its image."""
        return self.options.lambda_GAN * self.criterion_GAN(prediction, True, for_discriminator=False)

    def reconstruction_losses(self) -> dict[str, Tensor]:
        """``G_L1 = lambda_L1 * mean |fake_B - real_B|``, the weight included, as published."""
        return {self.reconstruction_names[0]: self.L1_loss()}

    def L1_loss(self) -> Tensor:
        """``lambda_L1 * mean |fake_B - real_B|``, over the pixels that are not missing in B."""
        return self.options.lambda_L1 * self.masked_l1(self.fake_B.float(), self.real_B.float(), "B")

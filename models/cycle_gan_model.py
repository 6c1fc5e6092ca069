"""CycleGAN: unpaired image-to-image translation in both directions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from models import MODELS
from models.base_model import BaseModel, Step, pictures
from models.losses.penalties import unpaired_gradient_penalty
from models.networks.batches import in_one_batch
from models.networks.inference import InferenceModule, OneImage
from options.base_options import CycleOptions
from options.schema import arg
from util.run.engine import Engine
from util.types import CYCLE_VISUALS, Losses, Visual, Visuals


@dataclass(frozen=True, kw_only=True)
class CycleGANOptions(CycleOptions):
    """The published defaults: residual generators without dropout, instance norm, least squares, 50 earlier fakes."""

    no_dropout: bool = True
    lambda_gp: float = arg(10.0, minimum=0.0, help="weight of the gradient penalty of --gan_mode wgangp")


@MODELS.register("cycle_gan")
class CycleGANModel(BaseModel):
    """Unpaired translation by two generators that undo each other (Zhu et al. 2017, arXiv:1703.10593), Eq. (3).

    The published names: G_A makes images of B out of images of A, D_A judges images of B; G_B and D_B the reverse.
    """

    Options = CycleGANOptions
    dataset_mode: ClassVar[str] = "unaligned"
    visual_kinds: ClassVar[Mapping[str, Visual]] = {
        **CYCLE_VISUALS,
        "idt_A": Visual("idt", "B", "B"),  # G_A(real_B), named after the generator
        "idt_B": Visual("idt", "A", "A"),
    }
    options: CycleGANOptions

    def __init__(self, options: CycleGANOptions, engine: Engine) -> None:
        super().__init__(options, engine)
        self.netG_A = self.add_network("G_A", self.make_G(options.input_nc, options.output_nc))
        self.netG_B = self.add_network("G_B", self.make_G(options.output_nc, options.input_nc))
        self.real: dict[str, Tensor] = {}  # side -> images; a test may do without B, and then has one direction
        self.made: dict[str, Tensor] = {}  # fake_B, rec_A... of the last forward pass

    def setup_training(self, dataset_size: int) -> None:
        """Two discriminators, two histories of fakes, one Adam for both G and one for both D."""
        o = self.options
        self.netD_A = self.add_network("D_A", self.make_D(o.output_nc))
        self.netD_B = self.add_network("D_B", self.make_D(o.input_nc))
        self.criterion_GAN = self.make_GAN_loss()
        self.penalised = self.criterion_GAN.mode == "wgangp"
        identity = o.lambda_identity > 0
        self.loss_names = (
            *("D_A", "G_A", "cycle_A", *["idt_A"] * identity),
            *("D_B", "G_B", "cycle_B", *["idt_B"] * identity),
            *["D_gp_A", "D_gp_B"] * self.penalised,
        )
        self.fake_A_pool, self.fake_B_pool = self.add_pool("fake_A_pool"), self.add_pool("fake_B_pool")
        generators = itertools.chain(self.netG_A.parameters(), self.netG_B.parameters())
        self.add_optimizer("G", generators, lr=o.lr, betas=(o.beta1, 0.999))
        discriminators = itertools.chain(self.netD_A.parameters(), self.netD_B.parameters())
        self.add_optimizer("D", discriminators, lr=o.lr, betas=(o.beta1, 0.999))

    def forward(self) -> None:
        """``fake_B = G_A(real_A)``, ``rec_A = G_B(fake_B)``; ``fake_A = G_B(real_B)``, ``rec_B = G_A(fake_A)``."""
        self._translate(identity=False)

    def _translate(self, *, identity: bool) -> None:
        """``forward``; with ``identity`` also ``idt_A = G_A(real_B)`` and ``idt_B = G_B(real_A)``."""
        self.made = made = {}
        G, other = {"A": self.netG_A, "B": self.netG_B}, {"A": "B", "B": "A"}
        with self.engine.autocast():
            for side, real in self.real.items():
                back = other[side]
                also = [self.real[back]] if identity else []
                made[f"fake_{back}"], *same = in_one_batch(G[side], real, *also)
                made[f"rec_{side}"] = G[back](made[f"fake_{back}"])
                made |= {f"idt_{side}": image for image in same}

    def generator_module(self, direction: str = "AtoB", *, maps: bool = True) -> InferenceModule:
        """``fake_B`` of G_A, or ``fake_A`` of G_B."""
        return OneImage(self.netG_A) if direction == "AtoB" else OneImage(self.netG_B, "fake_A")

    def visuals(self) -> Visuals:
        """``real_A, fake_B, rec_A``, in training ``idt_B = G_B(real_A)``; then the same of the other direction."""
        images = {f"real_{side}": image for side, image in self.real.items()} | self.made
        order = ("real_A", "fake_B", "rec_A", "idt_B", "real_B", "fake_A", "rec_B", "idt_A")
        return pictures({name: images.get(name) for name in order})

    def optimize_parameters(self) -> Losses:
        """The step of both G against the present D, then that of both D on earlier fakes, as published."""
        losses = self.update_together({"G": self.generator_losses, "D": self.discriminator_losses})
        return {name: losses[name] for name in self.loss_names}

    def generator_losses(self) -> Step:
        """Adversarial, cycle and identity losses of both directions, the weights included, as published.

        The forward pass is made here, and not before: until the step of both G begins, their parameters are frozen
        from the last step of both D.
        """
        o = self.options
        self._translate(identity=o.lambda_identity > 0)
        real_A, real_B, made = self.real["A"], self.real["B"], self.made
        losses = {
            "G_A": self.criterion_GAN(self.netD_A(made["fake_B"]), True, for_discriminator=False),
            "G_B": self.criterion_GAN(self.netD_B(made["fake_A"]), True, for_discriminator=False),
            "cycle_A": o.lambda_A * self.masked_l1(made["rec_A"].float(), real_A, "A"),
            "cycle_B": o.lambda_B * self.masked_l1(made["rec_B"].float(), real_B, "B"),
        }
        if o.lambda_identity:  # G_A makes images of B, so that it should leave one as it is: the weight is lambda_B
            same_A, same_B = made["idt_A"].float(), made["idt_B"].float()
            losses["idt_A"] = o.lambda_identity * o.lambda_B * self.masked_l1(same_A, real_B, "B")
            losses["idt_B"] = o.lambda_identity * o.lambda_A * self.masked_l1(same_B, real_A, "A")
        return torch.stack(list(losses.values())).sum(), losses

    def discriminator_losses(self) -> Step:
        """``D_A`` on images of B and ``D_B`` on images of A, each half of real plus fake; with ``wgangp`` also half of
        the penalties ``D_gp_A`` and ``D_gp_B``."""
        sides = {
            "A": (self.netD_A, self.real["B"], self.fake_B_pool.query(self.made["fake_B"])),
            "B": (self.netD_B, self.real["A"], self.fake_A_pool.query(self.made["fake_A"])),
        }
        losses: dict[str, Tensor] = {}
        for side, (netD, real, fake) in sides.items():
            of_real, of_fake = in_one_batch(netD, real, fake)
            D_real, D_fake = self.criterion_GAN(of_real, True), self.criterion_GAN(of_fake, False)
            losses[f"D_{side}"] = 0.5 * (D_real + D_fake)
        loss = losses["D_A"] + losses["D_B"]
        if self.penalised:
            for side, (netD, real, fake) in sides.items():
                losses[f"D_gp_{side}"] = unpaired_gradient_penalty(netD, real, fake, weight=self.options.lambda_gp)
            loss = loss + 0.5 * (losses["D_gp_A"] + losses["D_gp_B"])
        return loss, losses

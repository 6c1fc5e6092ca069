"""CycleGAN: unpaired image-to-image translation in both directions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from models import MODELS
from models.base_model import BaseModel, Step
from models.losses.penalties import unpaired_gradient_penalty
from options.base_options import CycleOptions
from options.schema import arg
from util.images.pool import ImagePool
from util.run.engine import Engine
from util.types import Batch, Losses, Visuals


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
    visuals_of_B: ClassVar[tuple[str, ...]] = ("real_B", "fake_A", "rec_B", "idt_A")
    options: CycleGANOptions

    def __init__(self, options: CycleGANOptions, engine: Engine) -> None:
        super().__init__(options, engine)
        self.netG_A = self.add_network("G_A", self.make_G(options.input_nc, options.output_nc))
        self.netG_B = self.add_network("G_B", self.make_G(options.output_nc, options.input_nc))
        self.real_A = self.fake_B = self.rec_A = self.idt_B = torch.empty(0)
        self.real_B = self.fake_A = self.rec_B = self.idt_A = torch.empty(0)

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
        self.fake_A_pool = ImagePool(o.pool_size, self.engine.rng("fake_A_pool"))
        self.fake_B_pool = ImagePool(o.pool_size, self.engine.rng("fake_B_pool"))
        generators = itertools.chain(self.netG_A.parameters(), self.netG_B.parameters())
        self.add_optimizer("G", generators, lr=o.lr, betas=(o.beta1, 0.999))
        discriminators = itertools.chain(self.netD_A.parameters(), self.netD_B.parameters())
        self.add_optimizer("D", discriminators, lr=o.lr, betas=(o.beta1, 0.999))

    def set_input(self, batch: Batch) -> None:
        """Take ``A`` ``[N, input_nc, H, W]`` and ``B`` ``[N, output_nc, H', W']``; a test may do without B.

        Raises:
            ValueError: a network cannot work at the size of A or of B.
        """
        if "B" not in batch:
            (self.real_A,) = self.take(batch, "A")
            self.real_B = torch.empty(0)
            return
        self.real_A, self.real_B = self.take(batch, "A", "B")

    def forward(self) -> None:
        """``fake_B = G_A(real_A)``, ``rec_A = G_B(fake_B)``; ``fake_A = G_B(real_B)``, ``rec_B = G_A(fake_A)``."""
        with self.engine.autocast():
            self.fake_B = self.netG_A(self.real_A)
            self.rec_A = self.netG_B(self.fake_B)
            if self.real_B.numel():
                self.fake_A = self.netG_B(self.real_B)
                self.rec_B = self.netG_A(self.fake_A)

    def visuals(self) -> Visuals:
        """``real_A, fake_B, rec_A``, in training ``idt_B = G_B(real_A)``; then the same of the other direction."""
        images = {"real_A": self.real_A, "fake_B": self.fake_B, "rec_A": self.rec_A, "idt_B": self.idt_B}
        if self.real_B.numel():
            images |= {"real_B": self.real_B, "fake_A": self.fake_A, "rec_B": self.rec_B, "idt_A": self.idt_A}
        return {name: image.detach().float() for name, image in images.items() if image.numel()}

    def optimize_parameters(self) -> Losses:
        """The step of both G against the present D, then that of both D on earlier fakes, as published."""
        losses = {**self.update("G", self.generator_losses), **self.update("D", self.discriminator_losses)}
        return {name: losses[name] for name in self.loss_names}

    def generator_losses(self) -> Step:
        """Adversarial, cycle and identity losses of both directions, the weights included, as published.

        The forward pass is made here, and not before: until the step of both G begins, their parameters are frozen
        from the last step of both D.
        """
        o = self.options
        self.forward()
        losses = {
            "G_A": self.criterion_GAN(self.netD_A(self.fake_B), True, for_discriminator=False),
            "G_B": self.criterion_GAN(self.netD_B(self.fake_A), True, for_discriminator=False),
            "cycle_A": o.lambda_A * F.l1_loss(self.rec_A.float(), self.real_A),
            "cycle_B": o.lambda_B * F.l1_loss(self.rec_B.float(), self.real_B),
        }
        if o.lambda_identity:  # G_A makes images of B, so that it shall leave one as it is: the weight is lambda_B
            self.idt_A, self.idt_B = self.netG_A(self.real_B), self.netG_B(self.real_A)
            losses["idt_A"] = o.lambda_identity * o.lambda_B * F.l1_loss(self.idt_A.float(), self.real_B)
            losses["idt_B"] = o.lambda_identity * o.lambda_A * F.l1_loss(self.idt_B.float(), self.real_A)
        return torch.stack(list(losses.values())).sum(), losses

    def discriminator_losses(self) -> Step:
        """``D_A`` on images of B and ``D_B`` on images of A, each half of real plus fake; with ``wgangp`` also half of
        the penalties ``D_gp_A`` and ``D_gp_B``."""
        sides = {
            "A": (self.netD_A, self.real_B, self.fake_B_pool.query(self.fake_B)),
            "B": (self.netD_B, self.real_A, self.fake_A_pool.query(self.fake_A)),
        }
        losses: dict[str, Tensor] = {}
        for side, (netD, real, fake) in sides.items():
            D_real = self.criterion_GAN(netD(real), True)
            D_fake = self.criterion_GAN(netD(fake), False)
            losses[f"D_{side}"] = 0.5 * (D_real + D_fake)
        loss = losses["D_A"] + losses["D_B"]
        if self.penalised:
            for side, (netD, real, fake) in sides.items():
                losses[f"D_gp_{side}"] = unpaired_gradient_penalty(netD, real, fake, weight=self.options.lambda_gp)
            loss = loss + 0.5 * (losses["D_gp_A"] + losses["D_gp_B"])
        return loss, losses

    def extra_state(self) -> dict[str, Any]:
        """The histories of fakes of every process."""
        pools = {"fake_A_pool": self.fake_A_pool, "fake_B_pool": self.fake_B_pool}
        return {name: self.engine.gather(pool.state()) for name, pool in pools.items()}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore the histories of fakes."""
        rank = self.engine.world.rank
        for name, pool in (("fake_A_pool", self.fake_A_pool), ("fake_B_pool", self.fake_B_pool)):
            if rank < len(state[name]):  # with more processes than before, the new ones start with an empty history
                pool.load_state(state[name][rank])

"""U-GAT-IT: unpaired image-to-image translation with attention and adaptive layer-instance normalisation."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import MODELS
from models.base_model import BaseModel, Step
from models.networks.inference import InferenceModule, no_direction
from models.networks.norm import float_or_wider
from models.ugatit.networks import (
    ILN,
    VARIANTS,
    AdaLIN,
    Attended,
    AttendedTranslation,
    CAMDiscriminator,
    UGATITGenerator,
)
from options.base_options import DataOptions, OneWayOptions
from options.schema import Given, OptionError, arg, tied
from util.images.draw import draw_heat
from util.run.engine import Engine
from util.types import CYCLE_VISUALS, Batch, Losses, Visual, Visuals

logger = logging.getLogger(__name__)

DIRECTIONS = (("A", "B"), ("B", "A"))  # source and target
SCALES = ("G", "L")  # global and local discriminators


@dataclass(frozen=True, kw_only=True)
class UGATITOptions(OneWayOptions):
    """The defaults of the published PyTorch code."""

    uses: ClassVar[tuple[str, ...]] = (
        *(
            "input_nc",
            "output_nc",
            "ngf",
            "ndf",
            "init_type",
            "init_gain",
            "gan_mode",
            "lr",
            "beta1",
            "accum_grad",
            "ema_decay",
            "use_raw",
        ),
    )

    init_type: str = "default"
    lr: float = 0.0001
    ugatit_variant: str = arg(
        "pytorch",
        choices=tuple(VARIANTS),
        help="networks of the published code in PyTorch, of that in TensorFlow, or of the port UGATIT-Paddle",
    )
    light: bool = arg(False, help="light generators: the mean of the features decides gamma and beta, not each of them")
    img_size: int = arg(0, minimum=0, help="size that full generators are built for (default: --crop_size)")
    mlp_pool: int = arg(
        0, minimum=0, help="generators between light and full: features averaged to K x K; 0 = as --light says"
    )
    mlp_bias: bool = arg(
        False, help="biases in the MLP of gamma and beta, so that they survive a dead ReLU; not published"
    )
    ch: int = arg(0, minimum=0, help="width of all networks, instead of --ngf and --ndf")
    n_res: int = arg(4, minimum=1, help="residual blocks of the encoder, and as many of the decoder")
    n_layers_global: int = arg(7, minimum=3, help="layers of the global discriminators")
    n_layers_local: int = arg(5, minimum=3, help="layers of the local discriminators")
    adv_weight: float = arg(1.0, minimum=0.0, help="weight of the adversarial losses")
    cycle_weight: float = arg(10.0, minimum=0.0, help="weight of the cycle losses")
    identity_weight: float = arg(10.0, minimum=0.0, help="weight of the identity losses")
    cam_weight: float = arg(1000.0, minimum=0.0, help="weight of the generators' domain classification")
    weight_decay: float = arg(0.0001, minimum=0.0, help="L2 on all weights, inside Adam's gradient")
    decay_flag: bool = arg(True, help="False: constant learning rate, whatever --lr_policy says")
    activation_checkpointing: bool = arg(
        False, help="less memory: generators compute their activations again in backward; the same numbers"
    )
    show_D_heat: bool = arg(False, help="show the discriminators' attention to the fakes too, in training")
    ugatit_strip: bool = arg(False, help="show the published column of 7 pictures too: strip_A2B, strip_B2A")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gan_mode not in ("lsgan", "ls"):
            raise OptionError(f"--gan_mode {self.gan_mode}: U-GAT-IT is trained with least squares; leave it out")
        if not (self.adv_weight or self.cycle_weight or self.identity_weight or self.cam_weight):
            raise OptionError(
                "--adv_weight 0, --cycle_weight 0, --identity_weight 0 and --cam_weight 0: nothing is left to train by"
            )
        if self.mlp_bias and VARIANTS[self.ugatit_variant].bias:
            raise OptionError(
                f"--mlp_bias with --ugatit_variant {self.ugatit_variant}, whose MLP has biases: leave --mlp_bias out"
            )
        if self.light and self.mlp_pool > 1:
            raise OptionError(f"--mlp_pool {self.mlp_pool} with --light, which is --mlp_pool 1: give one of them")
        if self.input_nc != self.output_nc and (self.identity_weight or self.cam_weight):
            raise OptionError(
                f"--input_nc {self.input_nc} with --output_nc {self.output_nc}: identity and domain classification put "
                "images of a domain into the other's generator; give --identity_weight 0 --cam_weight 0"
            )
        if self.ugatit_strip and not {self.input_nc, self.output_nc} <= {1, 3}:
            raise OptionError("--ugatit_strip: it puts images and attention together, for 1 and 3 channels only")
        if self.ugatit_strip and self.test_direction != "both":
            raise OptionError(
                f"--test_direction {self.test_direction}: a strip needs both generators; give --ugatit_strip False"
            )

    @classmethod
    def derive(cls, values: Mapping[str, Any], given: Given) -> Mapping[str, Any]:
        """``--img_size`` is ``--crop_size``; images are scaled to 30 pixels more, as published; ``--decay_flag False``
        keeps the learning rate."""
        values = tied(values, given, "img_size", "crop_size")
        values = values if values["decay_flag"] else {**values, "lr_policy": "constant"}
        return values if "load_size" in given else {**values, "load_size": values["crop_size"] + 30}

    @property
    def pool(self) -> int:
        """Features are averaged to ``pool x pool`` before the MLP; 0: they are not."""
        return self.mlp_pool or int(self.light)


@MODELS.register("ugatit")
class UGATITModel(BaseModel):
    """Unpaired translation with attention and AdaLIN (Kim et al. 2020, arXiv:1907.10830), Eqs. (2) to (5).

    G_A2B makes images of B out of images of A. D_GA and D_LA judge images of A, globally and locally: the letter is
    the domain that is judged, other than in CycleGAN.
    """

    Options = UGATITOptions
    dataset_mode: ClassVar[str] = "unaligned"
    visual_kinds: ClassVar[Mapping[str, Visual]] = {
        **CYCLE_VISUALS,
        **{f"idt_{side}": Visual("idt", side, side) for side in "AB"},
        **{f"heat_{name}_{side}": Visual("about", "", side) for name in ("idt", "rec") for side in "AB"},
        **{f"heat_fake_{target}": Visual("about", "", source) for source, target in DIRECTIONS},
        **{f"heat_D_{s}{target}": Visual("about", "", source) for s in SCALES for source, target in DIRECTIONS},
        **{f"strip_{source}2{target}": Visual("about", "", source) for source, target in DIRECTIONS},
    }
    options: UGATITOptions

    def __init__(self, options: UGATITOptions, engine: Engine) -> None:
        super().__init__(options, engine)
        self.channels = {"A": options.input_nc, "B": options.output_nc}
        self.img_size = options.img_size or int(DataOptions.crop_size)
        self.directions = [
            (source, target)
            for source, target in DIRECTIONS
            if options.test_direction in ("both", f"{source}to{target}")
        ]
        for source, target in self.directions:
            self.add_network(f"G_{source}2{target}", self._make_generator(source, target))
        self.real: dict[str, Tensor] = {}  # side -> images
        self.images: dict[str, Tensor] = {}  # fake_B, rec_A, idt_A... -> images
        self.heats: dict[str, Tensor] = {}  # the same names, and those of discriminators -> [N, 1, h, w]
        self._made: dict[str, Attended] = {}  # with their graph, during a step
        self._warned = False

    def _make_generator(self, source: str, target: str) -> nn.Module:
        o = self.options
        return UGATITGenerator(
            *(self.channels[source], self.channels[target]),
            ngf=o.ch or o.ngf,
            n_res=o.n_res,
            pool=o.pool,
            img_size=self.img_size,
            mlp_bias=o.mlp_bias,
            variant=VARIANTS[o.ugatit_variant],
            checkpointing=o.activation_checkpointing,
        )

    # -- training ------------------------------------------------------------------------------------------------

    def setup_training(self, dataset_size: int) -> None:
        """Four discriminators, one Adam for both generators, one for all discriminators.

        Raises:
            ValueError: ``--test_direction`` leaves out a generator.
        """
        o = self.options
        if o.test_direction != "both":
            raise ValueError(f"--test_direction {o.test_direction}: it is for test.py; training needs both generators")
        generators = list(self.networks.values())
        for scale, n_layers in zip(SCALES, (o.n_layers_global, o.n_layers_local)):
            for side in "AB":
                net = CAMDiscriminator(
                    self.channels[side], ndf=o.ch or o.ndf, n_layers=n_layers, variant=VARIANTS[o.ugatit_variant]
                )
                self.add_network(f"D_{scale}{side}", net)
        discriminators = [net for name, net in self.networks.items() if name.startswith("D_")]
        settings = {"lr": o.lr, "betas": (o.beta1, 0.999), "weight_decay": o.weight_decay}
        self.add_optimizer("G", (p for net in generators for p in net.parameters()), **settings)
        self.add_optimizer("D", (p for net in discriminators for p in net.parameters()), **settings)
        present = {"G_idt": o.identity_weight > 0, "G_cam": o.cam_weight > 0}
        names = ("D_A", "D_B", "G_adv", "G_cycle", "G_idt", "G_cam")
        self.loss_names = tuple(name for name in names if present.get(name, True))
        self._tell_memory()

    def _tell_memory(self) -> None:
        """What the networks cost before the first activation: weights, gradients and two moments of Adam."""
        total = sum(p.numel() * p.element_size() for net in self.networks.values() for p in net.parameters())
        each = sum(p.numel() for p in self.networks["G_A2B"].parameters()) / 1e6
        pool, size = self.options.pool, self.img_size
        kind = "light" if pool == 1 else f"--mlp_pool {pool}" if pool else f"full ({size}x{size} pixels)"
        logger.info(
            "%s generators have %.1f million parameters each: weights, gradients and Adam's moments of all networks "
            "take %.2f GB, activations not counted; --dry_run measures a step",
            *(kind, each, 4 * total / 1e9),
        )

    def optimize_parameters(self) -> Losses:
        """D's step, then G's against the updated D, then rho is put back into [0, 1].

        The fakes are made once and serve both steps, as the generators do not change between them.
        """
        self.prepare_step(self._make_fakes)
        losses = {**self.update("D", self.discriminator_losses), **self.update("G", self.generator_losses)}
        self._clip_rho()
        for _ in self.turns():
            self._keep(self._made)
            self._made = {}
        return {name: losses[name] for name in self.loss_names}

    def _make_fakes(self) -> None:
        with self.engine.autocast():
            self._made = {f"fake_{t}": self.networks[f"G_{s}2{t}"](self.real[s]) for s, t in DIRECTIONS}

    def discriminator_losses(self) -> Step:
        """``D_A``, ``D_B``: least squares of patch and domain logits, global and local, real and fake, not halved."""
        losses: dict[str, Tensor] = {}
        for side in "AB":
            fake = self._made[f"fake_{side}"].out.detach()
            terms = []
            for scale in SCALES:  # the order matters: every pass of D takes a step of its power iteration
                netD = self.networks[f"D_{scale}{side}"]
                assert isinstance(netD, CAMDiscriminator)
                of_real, of_fake = netD.judge(self.real[side], fake)
                terms += [*_squares(of_real, 1), *_squares(of_fake, 0)]
            losses[f"D_{side}"] = self.options.adv_weight * torch.stack(terms).sum()
        return losses["D_A"] + losses["D_B"], losses

    def generator_losses(self) -> Step:
        """``G_adv``, ``G_cycle``, ``G_idt``, ``G_cam``: sums over both directions, the weights included."""
        o, made = self.options, self._made
        adversarial: list[Tensor] = []
        for side in "AB":
            for scale in SCALES:
                judged = self.networks[f"D_{scale}{side}"](made[f"fake_{side}"].out)
                adversarial += _squares(judged, 1)
                self.heats[f"D_{scale}{side}"] = judged.heat.detach()
        losses = {"G_adv": o.adv_weight * torch.stack(adversarial).sum()}
        for source, target in DIRECTIONS:
            back = self.networks[f"G_{target}2{source}"]
            made[f"rec_{source}"] = back(made[f"fake_{target}"].out)
            if o.identity_weight or o.cam_weight:
                made[f"idt_{source}"] = back(self.real[source])
        losses["G_cycle"] = o.cycle_weight * self._distance("rec")
        if o.identity_weight:
            losses["G_idt"] = o.identity_weight * self._distance("idt")
        if o.cam_weight:  # a generator's logit says whether its input comes from its source domain
            logits = [(made[f"fake_{side}"].cam_logit, 1.0) for side in "AB"]
            logits += [(made[f"idt_{side}"].cam_logit, 0.0) for side in "AB"]
            terms = [F.binary_cross_entropy_with_logits(x, torch.full_like(x, truth)) for x, truth in logits]
            losses["G_cam"] = o.cam_weight * torch.stack(terms).sum()
        return torch.stack(list(losses.values())).sum(), losses

    def _distance(self, kind: str) -> Tensor:
        """Mean absolute difference of ``rec`` or ``idt`` and the real images, summed over both sides."""
        a, b = (
            self.masked_l1(float_or_wider(self._made[f"{kind}_{side}"].out), self.real[side], side) for side in "AB"
        )
        return a + b

    @torch.no_grad()
    def _clip_rho(self) -> None:
        for norm in self._norms():
            norm.rho.clamp_(0, 1)

    def _norms(self) -> Iterator[AdaLIN | ILN]:
        for net in self.networks.values():
            yield from (norm for norm in net.modules() if isinstance(norm, (AdaLIN, ILN)))

    def diagnostics(self) -> dict[str, float]:
        """Mean rho of AdaLIN and of the decoder's last two norms: 1 is instance, 0 is layer normalisation."""
        found = {}
        for key, kind in (("rho_mean", AdaLIN), ("rho_mean_ILN", ILN)):
            values = [norm.rho.detach().flatten() for norm in self._norms() if isinstance(norm, kind)]
            found[key] = float(torch.cat(values).mean())
        return found

    # -- both ----------------------------------------------------------------------------------------------------

    def check_size(self, height: int, width: int, *, what: str = "--crop_size") -> None:
        """As for every model; full generators work at one size only, and discriminators have a smallest one.

        Raises:
            ValueError: naming the flag that decides and the limit.
        """
        size = f"{width}x{height}"
        if not self.options.pool and (height, width) != (self.img_size, self.img_size):
            raise ValueError(
                f"{what} {size}: the full generator was built for {self.img_size}x{self.img_size} pixels "
                f"(--img_size {self.img_size}) and works at no other size; give such images, or train with --light"
            )
        smallest = {name: net.min_size for name, net in self.networks.items() if isinstance(net, CAMDiscriminator)}
        for name, flag in (("D_GA", "n_layers_global"), ("D_LA", "n_layers_local")):
            if min(height, width) < smallest.get(name, 0):
                raise ValueError(
                    f"{what} {size}: with --{flag} {getattr(self.options, flag)} training needs at least "
                    f"{smallest[name]} pixels a side; use larger images or fewer layers"
                )
        super().check_size(height, width, what=what)

    def set_input(self, batch: Batch) -> None:
        """Take ``A`` ``[N, input_nc, H, W]`` and ``B`` ``[N, output_nc, H', W']``; a test may have A alone.

        With ``--test_direction`` of one direction there is one folder, and its images are the source.

        Raises:
            ValueError: a network cannot work on these images, or there are two folders for one direction.
        """
        self.images, self.heats = {}, {}
        self.real = self.take(batch)

    def forward(self) -> None:
        """Fakes and, with both generators, reconstructions; with ``--ugatit_strip`` identities too."""
        made: dict[str, Attended] = {}
        strip = self.options.ugatit_strip
        with self.engine.autocast():
            for source, target in self.directions:
                if source not in self.real:
                    continue
                fake = made[f"fake_{target}"] = self.networks[f"G_{source}2{target}"](self.real[source])
                back = self.networks.get(f"G_{target}2{source}")
                if back is not None:
                    made[f"rec_{source}"] = back(fake.out)
                    if strip and self.channels["A"] == self.channels["B"]:
                        made[f"idt_{source}"] = back(self.real[source])
        self._keep(made)
        if not strip:
            for side in "AB":
                self.heats.pop(f"rec_{side}", None)

    def generator_module(self, direction: str = "AtoB", *, maps: bool = True) -> InferenceModule:
        """The translation, and the attention that made it ``[N, 1, H/4, W/4]``.

        Raises:
            ValueError: ``--test_direction`` has left out this generator.
        """
        source, target = direction[0], direction[-1]
        if (source, target) not in self.directions:
            raise no_direction(direction, f"--test_direction {self.options.test_direction}", "that direction")
        heat = [f"heat_fake_{target}"] if maps else []
        return AttendedTranslation(self.networks[f"G_{source}2{target}"], f"fake_{target}", *heat)

    def _keep(self, made: Mapping[str, Attended]) -> None:
        """Keep pictures and small attention maps, and nothing of the graph."""
        self.images = {name: each.out.detach() for name, each in made.items()}
        self.heats |= {name: each.heat.detach() for name, each in made.items()}

    def visuals(self) -> Visuals:
        """For both directions, the published rows: the real image; then identity, fake and reconstruction, each after
        the attention that made it, ``heat_idt_A``, ``heat_fake_B``, ``heat_rec_A``.

        Tests leave out the identity and the attention of the reconstruction unless there is ``--ugatit_strip``.
        """
        found: Visuals = {}
        for source, target in DIRECTIONS:
            if source not in self.real:
                continue
            rows = {f"real_{source}": self.real[source].detach().float()}
            for name in (f"idt_{source}", f"fake_{target}", f"rec_{source}"):
                if name in self.heats:
                    rows[f"heat_{name}"] = self._draw(name, source)
                if name in self.images:
                    rows[name] = self.images[name].float()
            found |= rows
            if self.options.show_D_heat:
                judges = [f"D_{scale}{target}" for scale in SCALES if f"D_{scale}{target}" in self.heats]
                found |= {f"heat_{name}": self._draw(name, source) for name in judges}
            if self.options.ugatit_strip:
                found[f"strip_{source}2{target}"] = _strip(rows.values())
        return found

    def _draw(self, name: str, source: str) -> Tensor:
        heat = self.heats[name]
        if not self._warned and not name.startswith("D_") and bool((heat == 0).all(dim=(1, 2, 3)).any()):
            self._warned = True
            logger.warning(
                "warning: the attention that made %s is all zero, so that its generator makes one plain image of "
                "everything; if that stays so, start again with another --seed or a lower --lr",
                name,
            )
        return draw_heat(heat, *self.real[source].shape[-2:])


def _squares(judged: Attended, truth: float) -> list[Tensor]:
    """Mean squared distance of patch logits and of domain logits from the truth."""
    logits = (float_or_wider(judged.out), judged.cam_logit)
    return [F.mse_loss(x, torch.full_like(x, truth)) for x in logits]


def _strip(rows: Iterable[Tensor]) -> Tensor:
    """Pictures one below the other, grey ones as colour."""
    return torch.cat([row.expand(-1, 3, -1, -1) for row in rows], dim=2)

"""AU-GAN and ForkGAN: translation between adverse and normal weather or light."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models import MODELS
from models.augan.losses import (
    OTHER,
    Judged,
    domain_loss,
    instance_crops,
    judged_images,
    mean_feature_distance,
    mean_over_images,
    uncertain_l1,
)
from models.augan.networks import (
    PADDINGS,
    UPSAMPLES,
    DomainClassifier,
    Fork,
    ForkedTranslation,
    PaperGenerator,
    PortGenerator,
    pad_to_multiple,
)
from models.base_model import BaseModel, Step
from models.losses.gan import Prediction, final_maps
from models.losses.masked import masked_l1
from models.losses.penalties import unpaired_gradient_penalty
from models.networks.batches import in_one_batch
from models.networks.factory import build_discriminator
from models.networks.inference import InferenceModule, no_direction
from options.base_options import CycleOptions, OneWayOptions
from options.schema import Given, OptionError, arg
from util.images.draw import draw_boxes, draw_plasma
from util.run.engine import Engine
from util.types import CYCLE_VISUALS, Batch, Losses, Visual, Visuals

_PORT: Mapping[str, Any] = {
    "n_discriminators": 3,
    "ms_reduce": "sum",
    "lambda_perc": 20.0,
    "lambda_dc": 1.0,
    "lambda_GAN_rec": 1.0,
    "adam_eps": 1e-4,
    "dilation": 2,
    "upsample": "bilinear",
}
PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    "paper": {
        "n_discriminators": 1,
        "ms_reduce": "mean",
        "lambda_perc": 1.0,
        "lambda_dc": 0.0,
        "lambda_GAN_rec": 0.0,
        "adam_eps": 1e-8,
        "dilation": 1,
        "upsample": "transposed",
    },
    "port": _PORT,
    "fork_gan": _PORT,
}
"""Variant -> its value of every option that has no default of its own."""


def _published(variant: str, norm: str) -> dict[str, Any]:
    values = {**PUBLISHED[variant]}
    return values | {"upsample": "bilinear"} if norm == "none" else values


BLOCKS = {"resnet_9blocks": 9, "resnet_6blocks": 6}


@dataclass(frozen=True, kw_only=True)
class AUGANOptions(CycleOptions, OneWayOptions):
    """The published defaults; see ``docs/augan.md`` for those that depend on the variant."""

    no_dropout: bool = True
    augan_variant: str = arg(
        "paper",
        choices=tuple(PUBLISHED),
        help="paper: the authors' method; port: its PyTorch version; fork_gan: the port without T-net and uncertainty",
    )
    lambda_rec: float = arg(10.0, minimum=0.0, help="weight of the reconstructions' L1")
    lambda_identity: float = 0.0
    lambda_perc: float = arg(
        None, minimum=0.0, help="weight of feature matching before and after translation (default: paper 1, port 20)"
    )
    lambda_dc: float = arg(
        None, minimum=0.0, help="weight of the domain classifier; 0 = none (default: paper 0, port 1)"
    )
    lambda_conf: float = arg(1.0, minimum=0.0, help="weight of the uncertainty term")
    lambda_GAN_rec: float = arg(
        None,
        minimum=0.0,
        help="weight of reconstructions' and refinements' adversarial terms (default: paper 0, port 1)",
    )
    lambda_gp: float = arg(10.0, minimum=0.0, help="weight of the gradient penalty of --gan_mode wgangp")
    no_uncertainty: bool = arg(False, help="no uncertainty head; the plain cycle loss for A")
    n_discriminators: int = arg(
        None,
        minimum=1,
        maximum=3,
        help="discriminators per domain: 1, 3 for translation, reconstruction, refinement (default: paper 1, port 3)",
    )
    ms_reduce: str = arg(
        None,
        choices=("sum", "mean"),
        help="how the adversarial loss joins the scales of --netD (default: paper mean, port sum)",
    )
    dilation: int = arg(
        None,
        minimum=1,
        maximum=16,
        help="dilation of the convolutions in the residual blocks (default: paper 1, port 2)",
    )
    upsample: str = arg(
        None,
        choices=UPSAMPLES,
        help="upsampling in the decoders (default: paper transposed, bilinear with --norm none; port bilinear)",
    )
    feature_noise: float = arg(
        0.02, minimum=0.0, help="standard deviation of the noise in the reconstruction, in training only"
    )
    adam_eps: float = arg(None, minimum=1e-16, help="epsilon of Adam (default: paper 1e-8, port 1e-4)")
    instance_level: bool = arg(
        False, help="adversarial losses on the objects as well; needs --dataset_mode unaligned_coco"
    )
    lambda_inst: float = arg(1.0, minimum=0.0, help="weight of the losses on objects, with --instance_level")
    save_uncertainty: bool = arg(
        False, help="of test.py: also save the uncertainty of A -> B, as conf_A.npy and in colours"
    )
    augan_padding: str = arg(
        "torch",
        choices=PADDINGS,
        help="how generators of --augan_variant paper halve and double: tensorflow is that of the authors' weights",
    )
    lambda_adv: float = arg(
        1.0, minimum=0.0, help="weight of the translations' adversarial terms (2 in the authors' TensorFlow code)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.netG not in BLOCKS:
            raise OptionError(f"--netG {self.netG}: augan has resnet_9blocks and resnet_6blocks")
        if self.n_discriminators == 2:
            raise OptionError("--n_discriminators 2: give 1 or 3")
        if self.n_discriminators == 3 and not self.lambda_GAN_rec:
            raise OptionError(
                f"--n_discriminators 3: with --augan_variant {self.augan_variant} reconstructions are not judged; give "
                "--lambda_GAN_rec 1 as well"
            )
        if self.upsample == "transposed" and (self.augan_variant != "paper" or self.norm == "none"):
            raise OptionError(
                f"--upsample transposed: not with --augan_variant {self.augan_variant} --norm {self.norm}; use bilinear"
            )
        if self.augan_padding == "tensorflow" and (
            self.augan_variant != "paper" or self.norm == "none" or self.upsample != "transposed"
        ):
            raise OptionError(
                "--augan_padding tensorflow: the authors' generators only, which are --augan_variant paper --upsample "
                "transposed with a --norm"
            )
        if self.augan_variant == "paper" and self.uncertain and not self.lambda_conf:
            raise OptionError("--lambda_conf 0: it would leave A without a cycle loss; give --no_uncertainty")
        if self.save_uncertainty and (not self.uncertain or self.test_direction == "BtoA"):
            raise OptionError(
                "--save_uncertainty: only the translation from A to B of a run with uncertainty has one; give "
                "--save_uncertainty False"
            )
        if self.augan_variant == "port" and self.uncertain and self.lambda_conf and self.input_nc != self.output_nc:
            raise OptionError(
                f"--input_nc {self.input_nc} and --output_nc {self.output_nc}: the uncertainty of --augan_variant port "
                "compares an image with its translation; give --no_uncertainty, or --augan_variant paper"
            )

    @classmethod
    def derive(cls, values: Mapping[str, Any], given: Given) -> Mapping[str, Any]:
        """The variant decides what nobody chose; values that a file has from another variant were not chosen either."""
        variant, norm = str(values["augan_variant"]), str(values["norm"])
        own = _published(variant, norm)
        before = _published(given.in_files("augan_variant", variant), given.in_files("norm", norm))
        taken = {
            name: value
            for name, value in own.items()
            if values[name] is None or (values[name] == before[name] and name not in given.flags)
        }
        return {**values, **taken}

    @property
    def also_needs(self) -> dict[str, str]:
        """The boxes of ``--instance_level``."""
        return {"A_boxes": "--instance_level"} if self.instance_level else {}

    @property
    def uncertain(self) -> bool:
        """Whether G_A has the head that gives the uncertainty."""
        return self.augan_variant != "fork_gan" and not self.no_uncertainty

    @property
    def conf_is_cycle(self) -> bool:
        """Whether the uncertainty weighs the cycle of A, as in the paper."""
        return self.augan_variant == "paper" and self.uncertain

    def generator(self, input_nc: int, output_nc: int, *, adverse: bool) -> PaperGenerator | PortGenerator:
        """A generator of this variant.

        Args:
            input_nc: channels of the images that it translates.
            output_nc: channels of the translations.
            adverse: it translates from the adverse domain A, and has T-net and uncertainty where the variant has them.
        """
        shape: dict[str, Any] = {
            "ngf": self.ngf,
            "norm": self.norm,
            "dropout": 0.0 if self.no_dropout else self.dropout,
            "transfer": adverse and self.augan_variant != "fork_gan",
            "uncertainty": adverse and self.uncertain,
            "dilation": self.dilation,
        }
        blocks = BLOCKS[self.netG]
        if self.augan_variant == "paper":
            shape |= {"upsample": self.upsample, "padding": self.augan_padding}
            return PaperGenerator(input_nc, output_nc, num_blocks=blocks // 2, **shape)
        return PortGenerator(input_nc, output_nc, num_blocks=blocks, **shape)


INST = "_inst"  # ending of what belongs to the instance level


def loss_names(o: AUGANOptions, judged: Mapping[str, Sequence[Judged]], *, penalised: bool) -> tuple[str, ...]:
    """What a step reports, in the published order: side by side, what concerns both sides, and then the objects.

    Args:
        o: the model's options.
        judged: of ``judged_images``.
        penalised: with gradient penalties.
    """
    every = [each for images in judged.values() for each in images]
    names: list[str] = []
    for level in ("", INST) if o.instance_level else ("",):
        for side in OTHER:
            judges = [judge for judge in judged if judge.endswith(side)]
            names += [judge + level for judge in judges]
            names += [f"{judge}_gp" for judge in judges if penalised and not level]
            names += [each.loss + level for each in every if each.loss.startswith(f"G_{side}")]
            names += [f"cycle_{side}{level}"] if level or side == "B" or not o.conf_is_cycle else []
            names += [f"idt_{side}"] if o.lambda_identity and not level else []
            names += [f"{side}_rec{level}"]
        if not level:
            classified = o.lambda_dc > 0
            names += ["G_DC"] if classified else []
            names += ["Perc"] if o.lambda_perc else []
            names += ["DC"] if classified else []
            names += ["Conf"] if o.uncertain and o.lambda_conf else []
    return tuple(names)


MULTIPLE = 4  # of both sides of an image, for every generator
MOST_UNCERTAIN = 3.0  # s is log(10 |e|) at its best, log 20 = 3.0 for the largest error that there is


@MODELS.register("augan", "au_gan")
class AUGANModel(BaseModel):
    """Unpaired translation of adverse images (A: night, rain) to normal ones (B), and back, with uncertainty.

    "Adverse Weather Image Translation with Asymmetric and Uncertainty-aware GAN" (Kwak et al. 2021, BMVC); with
    ``--augan_variant fork_gan`` "ForkGAN: Seeing into the Rainy Night" (Zheng et al. 2020, ECCV).

    Each generator has an encoder, a decoder that translates and one that reconstructs. G_A, from adverse to normal,
    has T-net between encoder and translation, and tells how uncertain it is of every pixel.
    """

    Options = AUGANOptions
    dataset_mode: ClassVar[str] = "unaligned"
    visual_kinds: ClassVar[Mapping[str, Visual]] = {
        **CYCLE_VISUALS,
        **{f"rec_fake_{other}": Visual("fake", other, side) for side, other in OTHER.items()},
        **{f"fake_{side}_": Visual("rec", side, side) for side in OTHER},
        "idt_A": Visual("idt", "B", "B"),  # G_A(real_B), named after the generator
        "idt_B": Visual("idt", "A", "A"),
        **{f"boxes_{side}": Visual("about", "", side) for side in OTHER},
        "conf_A": Visual("about", "", "A"),
    }
    options: AUGANOptions

    def __init__(self, options: AUGANOptions, engine: Engine) -> None:
        super().__init__(options, engine)
        self.channels = {"A": options.input_nc, "B": options.output_nc}
        for side, other in OTHER.items():
            if options.test_direction in ("both", f"{side}to{other}"):
                net = options.generator(self.channels[side], self.channels[other], adverse=side == "A")
                self.add_network(f"G_{side}", net)
        self.real: dict[str, Tensor] = {}  # side -> images
        self.boxes: dict[str, Sequence[Tensor]] = {}  # side -> [k, 4] of each image
        self.forks: dict[str, Fork] = {}  # real or fake image that was put in -> what came out: A, B, fake_A, fake_B
        self.images: dict[str, Tensor] = {}  # published name -> images

    # -- training ------------------------------------------------------------------------------------------------

    def setup_training(self, dataset_size: int) -> None:
        """The discriminators, the domain classifier, histories of fakes; one Adam for both G, one for all others, and
        one for those of the instance level.

        Raises:
            ValueError: ``--test_direction`` leaves out a generator.
        """
        o = self.options
        if o.test_direction != "both":
            raise ValueError(f"--test_direction {o.test_direction}: it is for test.py; training needs both generators")
        generators = list(self.networks.values())
        self.criterion_GAN = self.make_GAN_loss()
        self.penalised = self.criterion_GAN.mode == "wgangp"
        self.judged = judged_images(o.n_discriminators, o.lambda_GAN_rec, o.lambda_adv)
        self.levels = ("", INST) if o.instance_level else ("",)
        for judge, images in self.judged.items():
            channels = self.channels[images[0].domain]
            self.add_network(judge, self.make_D(channels))
            if o.instance_level:  # always the PatchGAN, as published
                patch = build_discriminator("basic", channels, norm_D=o.norm_D, ndf=o.ndf, norm=o.norm)
                self.add_network(judge + INST, patch)
        if o.lambda_dc:
            self.add_network("DC", DomainClassifier(4 * o.ngf))
        names = [each.image + level for level in self.levels for images in self.judged.values() for each in images]
        for name in names:
            self.add_pool(f"{name}_pool")
        self._add_optimizer("G", generators)
        judges = {name: net for name, net in self.networks.items() if name.startswith("D")}
        self._add_optimizer("D", [net for name, net in judges.items() if not name.endswith(INST)])
        if o.instance_level:
            self._add_optimizer("D_inst", [net for name, net in judges.items() if name.endswith(INST)])
        self.loss_names = loss_names(o, self.judged, penalised=self.penalised)

    def _add_optimizer(self, name: str, nets: Sequence[nn.Module]) -> None:
        o, owned = self.options, (p for net in nets for p in net.parameters())
        self.add_optimizer(name, owned, lr=o.lr, betas=(o.beta1, 0.999), eps=o.adam_eps)

    def optimize_parameters(self) -> Losses:
        """The step of both G; that of the discriminators and the classifier, on earlier fakes and on the encodings made
        before it; and that of the objects' discriminators, where any process has an object."""
        closures = {"G": self.generator_losses, "D": self.discriminator_losses}
        with_boxes = [self._has_boxes for _ in self.turns()]
        if self.options.instance_level and any(self.engine.gather(any(with_boxes))):
            closures["D_inst"] = self.instance_discriminator_losses
        losses = self.update_together(closures)
        nothing = torch.zeros((), device=self.engine.device)
        return {name: losses.get(name, nothing) for name in self.loss_names}

    @property
    def _has_boxes(self) -> bool:
        return any(len(each) for boxes in self.boxes.values() for each in boxes)

    def generator_losses(self) -> Step:
        """Every term of both generators, the weights included; see ``docs/augan.md``.

        The forward pass is made here, and not before: until the step of both G begins, their parameters are frozen
        from the last step of the discriminators.
        """
        o = self.options
        self.forward()
        images, forks, losses = self.images, self.forks, {}
        for judge, judged in self.judged.items():
            for each in judged:
                prediction = self.networks[judge](images[each.image])
                losses[each.loss] = each.weight * self._gan(prediction, True, for_discriminator=False)
        for side, weight in (("A", o.lambda_A), ("B", o.lambda_B)):
            if side == "B" or not o.conf_is_cycle:
                losses[f"cycle_{side}"] = weight * self._l1(f"fake_{side}_", side)
            losses[f"{side}_rec"] = o.lambda_rec * self._l1(f"rec_{side}", side)
        if o.uncertain and o.lambda_conf:
            losses["Conf"] = o.lambda_conf * self._uncertainty_loss()
        if o.lambda_identity:  # G_A makes images of B, so that it should leave one as it is: the weight is lambda_B
            for side, weight in (("A", o.lambda_B), ("B", o.lambda_A)):
                same = self.networks[f"G_{side}"](self.real[OTHER[side]], rec=False, conf=False)
                images[f"idt_{side}"] = same.fake
                losses[f"idt_{side}"] = weight * o.lambda_identity * self._l1(f"idt_{side}", OTHER[side])
        if o.lambda_dc:  # both domains should be encoded alike
            judged_B = [domain_loss(self.networks["DC"](forks[name].enc), True) for name in ("A", "fake_A")]
            judged_A = [domain_loss(self.networks["DC"](forks[name].enc), False) for name in ("B", "fake_B")]
            losses["G_DC"] = o.lambda_dc * torch.stack(judged_A + judged_B).mean()
        if o.lambda_perc:
            there = mean_feature_distance(forks["A"].feat, forks["fake_B"].enc)
            back = mean_feature_distance(forks["B"].feat, forks["fake_A"].enc)
            losses["Perc"] = o.lambda_perc * (there + back)
        if o.instance_level:
            losses |= self._instance_generator_losses()
        return torch.stack(list(losses.values())).sum(), losses

    def _gan(self, prediction: Prediction, is_real: bool, *, for_discriminator: bool = True) -> Tensor:
        """The adversarial loss: the mean or the sum over the scales."""
        loss = self.criterion_GAN(prediction, is_real, for_discriminator)
        return loss * len(final_maps(prediction)) if self.options.ms_reduce == "sum" else loss

    def _l1(self, image: str, side: str) -> Tensor:
        """Mean absolute difference of a made image and the real one of a side."""
        return self.masked_l1(self.images[image].float(), self.real[side], side)

    def _uncertainty_loss(self) -> Tensor:
        """Of the cycle A -> B -> A; in the port of the translations themselves, and without uncertainty for B."""
        A, conf, there = self.real["A"], self.forks["A"].conf, (self.masks.get("A"), self.present("A"))
        if self.options.conf_is_cycle:
            return uncertain_l1(A, self.images["fake_A_"], conf, *there)
        return uncertain_l1(A, self.images["fake_B"], conf, *there) + self._l1("fake_A", "B")

    def discriminator_losses(self) -> Step:
        """Each discriminator's half of real plus fake, the mean over what it judges; with ``wgangp`` also half of the
        penalties; and the domain classifier's loss ``DC``."""
        losses: dict[str, Tensor] = {}
        for judge, judged in self.judged.items():
            netD, real = self.networks[judge], self.real[judged[0].domain]
            fakes = [self.pools[f"{each.image}_pool"].query(self.images[each.image]) for each in judged]
            of_real, *of_fakes = in_one_batch(netD, real, *fakes)
            on_fakes = torch.stack([self._gan(each, False) for each in of_fakes]).mean()
            losses[judge] = 0.5 * (self._gan(of_real, True) + on_fakes)
            if self.penalised:
                penalties = [
                    unpaired_gradient_penalty(netD, real, fake, weight=self.options.lambda_gp) for fake in fakes
                ]
                losses[f"{judge}_gp"] = 0.5 * torch.stack(penalties).mean()
        if "DC" in self.networks:
            truth = {"A": False, "fake_A": False, "B": True, "fake_B": True}
            netDC = self.networks["DC"]
            terms = [domain_loss(netDC(self.forks[name].enc.detach()), is_B) for name, is_B in truth.items()]
            losses["DC"] = torch.stack(terms).mean()
        return torch.stack(list(losses.values())).sum(), losses

    # -- objects -------------------------------------------------------------------------------------------------

    def _crops(self, image: Tensor, side: str) -> list[Tensor]:
        """Squares around the objects of a side's images, in those images or in others made of them."""
        return instance_crops(image, self.boxes[side])

    def _mean(self, losses: Sequence[Tensor]) -> Tensor:
        return mean_over_images(losses, self.batch_size, self.engine.device)

    def _instance_generator_losses(self) -> dict[str, Tensor]:
        """Adversarial, cycle and reconstruction terms of the objects: 0 for an image without one."""
        o, losses = self.options, {}
        for judge, judged in self.judged.items():
            netD = self.networks[judge + INST]
            for each in judged:
                crops = self._crops(self.images[each.image], each.source)
                terms = [self._gan(netD(crop), True, for_discriminator=False) for crop in crops]
                losses[each.loss + INST] = o.lambda_inst * each.weight * self._mean(terms)
        for side, weight in (("A", o.lambda_A), ("B", o.lambda_B)):
            real, mask = self._crops(self.real[side], side), self.masks.get(side)
            there: Sequence[Tensor | None] = [None] * len(real) if mask is None else self._crops(mask, side)
            for name, image, factor in (
                (f"cycle_{side}", f"fake_{side}_", weight),
                (f"{side}_rec", f"rec_{side}", o.lambda_rec),
            ):
                made = self._crops(self.images[image], side)
                terms = [masked_l1(x.float(), y, present) for x, y, present in zip(made, real, there)]
                losses[name + INST] = o.lambda_inst * factor * self._mean(terms)
        return losses

    def instance_discriminator_losses(self) -> Step:
        """As ``discriminator_losses``, on objects; without penalties."""
        losses: dict[str, Tensor] = {}
        for judge, judged in self.judged.items():
            netD, domain = self.networks[judge + INST], judged[0].domain
            on_real = self._mean([self._gan(netD(crop), True) for crop in self._crops(self.real[domain], domain)])
            on_fakes = []
            for each in judged:
                crops = self._crops(self.images[each.image], each.source)
                fakes = [self.pools[f"{each.image}{INST}_pool"].query(crop) for crop in crops]
                on_fakes.append(self._mean([self._gan(netD(fake), False) for fake in fakes]))
            losses[judge + INST] = 0.5 * (on_real + torch.stack(on_fakes).mean())
        return torch.stack(list(losses.values())).sum(), losses

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore the histories of fakes."""
        if "pools" in state:  # all histories in one entry: checkpoints of 2026-11 and earlier
            ranks = state["pools"]
            state = {**state, **{f"{name}_pool": [each[name] for each in ranks] for name in ranks[0]}}
        super().load_extra_state(state)

    # -- both ----------------------------------------------------------------------------------------------------

    @property
    def _trains(self) -> bool:
        return bool(self.optimizers)

    def check_size(self, height: int, width: int, *, what: str = "--crop_size") -> None:
        """As for every model; a test pads images to the multiple that the generators need.

        Raises:
            ValueError: a network cannot work at this size.
        """
        if not self._trains:
            height, width = (size + -size % MULTIPLE for size in (height, width))
        super().check_size(height, width, what=what)

    def set_input(self, batch: Batch) -> None:
        """Take ``A`` ``[N, input_nc, H, W]`` and ``B`` ``[N, output_nc, H', W']``; a test may have A alone.

        With ``--test_direction`` of one direction there is one folder, and its images are the source.

        Raises:
            ValueError: a network cannot work on these images, there are two folders for one direction, or no boxes for
                ``--instance_level``.
        """
        self.real = self.take(batch)
        if self._trains and self.options.instance_level:
            if not {"A_boxes", "B_boxes"} <= set(batch):
                raise ValueError("--instance_level: these data have no boxes; give --dataset_mode unaligned_coco")
            self.boxes = {side: batch[f"{side}_boxes"] for side in OTHER}

    def forward(self) -> None:
        """``fake_B``, ``rec_A`` from ``G_A(real_A)``, and in training ``fake_A_`` and, where it is judged,
        ``rec_fake_B`` from ``G_B(fake_B)``; then the same of the other side.

        The generators leave out the branches that nobody looks at. Noise is for training.
        """
        o, training = self.options, self._trains
        noise = o.feature_noise if training else 0.0
        refined = training and o.lambda_GAN_rec > 0
        self.forks, self.images = {}, {}
        with self.engine.autocast():
            for side, real in self.real.items():
                net, other = self.networks[f"G_{side}"], OTHER[side]
                wants_conf = o.save_uncertainty or (training and o.lambda_conf > 0)
                there = net(pad_to_multiple(real, MULTIPLE), conf=wants_conf, noise=noise)
                self.forks[side] = there
                self.images |= {f"fake_{other}": there.fake, f"rec_{side}": there.rec}
                if training:
                    again = self.networks[f"G_{other}"](there.fake, rec=refined, conf=False, noise=noise)
                    self.forks[f"fake_{other}"] = again
                    self.images |= {f"rec_fake_{other}": again.rec, f"fake_{side}_": again.fake}

    def generator_module(self, direction: str = "AtoB", *, maps: bool = True) -> InferenceModule:
        """The translation and, from A to B with uncertainty, ``conf_A`` ``[N, 1, H, W]``.

        Raises:
            ValueError: ``--test_direction`` has left out this generator.
        """
        side = direction[0]
        if f"G_{side}" not in self.networks:
            raise no_direction(direction, f"--test_direction {self.options.test_direction}", "that direction")
        with_conf = maps and side == "A" and self.options.uncertain
        return ForkedTranslation(self.networks[f"G_{side}"], f"fake_{OTHER[side]}", *["conf_A"] * with_conf)

    def visuals(self) -> Visuals:
        """``real_A, fake_B, rec_A``, in training also ``rec_fake_B, fake_A_, idt_B`` and, with ``--instance_level``,
        ``boxes_A``, the image with its boxes; the uncertainty ``conf_A`` in colours, from 0 to 3; then the same of the
        other side. In the size of the real image."""
        found: Visuals = {}
        for side, real in self.real.items():
            other = OTHER[side]
            found[f"real_{side}"] = real.detach().float()
            if side in self.boxes:
                found[f"boxes_{side}"] = draw_boxes(real, self.boxes[side])
            height, width = real.shape[-2:]
            for name in (f"fake_{other}", f"rec_{side}", f"rec_fake_{other}", f"fake_{side}_", f"idt_{other}"):
                if name in self.images and self.images[name].numel():
                    found[name] = self.images[name][..., :height, :width].detach().float()
            if side == "A" and (conf := self._uncertainty()) is not None:
                found["conf_A"] = draw_plasma(conf, MOST_UNCERTAIN)
        return found

    def extras(self) -> dict[str, NDArray[Any]]:
        """``conf_A``: the uncertainty s of A -> B, float32 ``[N, H, W, 1]``."""
        conf = self._uncertainty()
        return {} if conf is None else {"conf_A": conf.permute(0, 2, 3, 1).cpu().numpy()}

    def _uncertainty(self) -> Tensor | None:
        """s of A -> B, float32 ``[N, 1, H, W]`` in the size of the image; the mean over the port's channels."""
        conf = self.forks["A"].conf if "A" in self.forks else torch.empty(0)
        if not conf.numel():
            return None
        height, width = self.real["A"].shape[-2:]
        return conf[..., :height, :width].detach().float().mean(1, keepdim=True)

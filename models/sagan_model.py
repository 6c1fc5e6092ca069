"""SAGAN: images of a class from noise (Zhang et al. 2019)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models import MODELS
from models.averages import update_average
from models.base_model import BaseModel, Step, pictures
from models.micro_batches import parts_of
from models.networks.inference import InferenceModule
from models.sagan.augment import DIFF_AUGMENTS, diff_augment
from models.sagan.latent import LABEL_SAMPLING, draw_labels, numbered_latents
from models.sagan.networks import (
    ATTENTION_KINDS,
    ClassSamples,
    SAGANDiscriminator,
    SAGANGenerator,
    default_attention,
)
from models.sagan.norm_statistics import remove_start, standing_statistics
from models.sagan.sample_options import LatentOptions, SampleOptions
from models.sagan.sheets import COLUMNS, Columns, columns_for, sample_sheet
from models.sagan.spread import ClassMonitor, spread
from options.base_options import ModelOptions
from options.schema import Given, OptionError, OptionRecord, arg, tied
from util.registry import unknown
from util.run.engine import Engine
from util.types import SHEETS, Batch, Losses, Visual, Visuals
from util.wording import counted


@dataclass(frozen=True, kw_only=True)
class SAGANOptions(ModelOptions):
    """SAGAN's defaults: hinge loss, spectral norm in both networks, two learning rates."""

    option_defaults: ClassVar[Mapping[str, object]] = {
        "crop_size": 128,
        "batch_size": 32,
        "lr_policy": "constant",
        "n_epochs_decay": 0,
        "eval_metrics": ("kid", "fid", "is"),
    }
    uses: ClassVar[tuple[str, ...]] = (
        "input_nc",
        "output_nc",
        "ngf",
        "ndf",
        "gan_mode",
        "beta1",
        "accum_grad",
        "ema_decay",
        "use_raw",
    )
    in_tests: ClassVar[type[OptionRecord] | None] = SampleOptions

    gan_mode: str = arg("hinge", choices=("hinge", "vanilla", "lsgan", "original", "bce", "ls"), help="GAN objective")
    beta1: float = 0.0
    beta2: float = arg(0.999, minimum=0.0, maximum=0.999999, help="decay of the second moment of Adam")
    lr_G: float = arg(1e-4, minimum=0.0, aliases=("lrg",), help="learning rate of the generator")
    lr_D: float = arg(4e-4, minimum=0.0, aliases=("lrd",), help="learning rate of the discriminator")
    image_size: int = arg(
        0,
        minimum=0,
        aliases=("image-size",),
        help="width and height of the images: 32, 64, 128 or 256 (0: --crop_size); sets --crop_size and --load_size",
    )
    nz: int = arg(128, minimum=1, aliases=("latent",), help="length of the latent vector")
    maps: int = arg(0, minimum=0, help="width under its published name: 16 * ngf, for both networks; 0 = off")
    num_classes: int = arg(
        0,
        minimum=0,
        aliases=("n_classes", "n-classes"),
        help="number of classes; 0 = those of the data, 1 = no classes at all",
    )
    attn_res_G: int = arg(
        -1, minimum=-1, help="size in pixels of the generator's map with attention; 0 = none, -1 = 32 (16 for 32 px)"
    )
    attn_res_D: int = arg(
        -1,
        minimum=-1,
        help="size in pixels of the discriminator's map with attention; 0 = none, -1 = 32 (16 for 32 px)",
    )
    attn_kind: str = arg(
        "paper",
        choices=ATTENTION_KINDS,
        help="attention: of the paper, or pooled: keys and values max-pooled, as in the authors' own release",
    )
    no_sn: bool = arg(False, aliases=("not_sn", "not-sn"), help="no spectral norm in either network")
    no_sn_G: bool = arg(False, help="no spectral norm in the generator")
    no_sn_D: bool = arg(False, help="no spectral norm in the discriminator")
    n_critic: int = arg(1, minimum=1, aliases=("n-critic",), help="updates of D per update of G, each of new images")
    label_sampling: str = arg(
        "auto",
        choices=("auto", *LABEL_SAMPLING),
        help="classes of the fakes: uniform; distinct (the reference); balanced; auto: distinct if the classes suffice",
    )
    diffaug: tuple[str, ...] = arg(
        (),
        metavar="KIND,...",
        help="random changes to all that D sees, for small data sets: color,translation,cutout (Zhao et al. 2020)",
    )
    matching_aware: bool = arg(
        False, help="D also learns that real images do not fit other classes than their own (Reed et al. 2016, GAN-CLS)"
    )
    ema_decay: float = 0.9999
    ema_start: int = arg(
        1000, minimum=0, help="steps before the moving average starts; until then it equals the generator"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for kind in self.diffaug:
            if kind not in DIFF_AUGMENTS:
                raise OptionError(str(unknown(f"--diffaug {kind}", kind, DIFF_AUGMENTS)))
        if self.maps % 16:
            raise OptionError(f"--maps {self.maps}: a multiple of 16 is needed, e.g. {-(-self.maps // 16) * 16}")

    @classmethod
    def derive(cls, values: Mapping[str, Any], given: Given) -> Mapping[str, Any]:
        """``--image_size`` is ``--crop_size``; images are scaled to it, with no margin to crop. ``--input_nc`` and
        ``--output_nc`` are both the channels of the images: one follows the other.

        Raises:
            OptionError: the two are given and differ.
        """
        values = tied(values, given, "image_size", "crop_size")
        if {"input_nc", "output_nc"} <= given.flags.keys() and values["input_nc"] != values["output_nc"]:
            raise OptionError(
                f"--input_nc {values['input_nc']} and --output_nc {values['output_nc']}: both are the channels of the "
                "images of this model: give one of them"
            )
        channels = _image_channels(values, given)
        values = {**values, "input_nc": channels, "output_nc": channels}
        return values if "load_size" in given else {**values, "load_size": values["crop_size"]}

    @property
    def batches_per_step(self) -> int:
        """Batches of ``--batch_size`` images that a step takes: every update of D sees new ones."""
        return self.n_critic * self.accum_grad

    @property
    def sampled(self) -> str:
        """The network that samples come from."""
        return "G_ema" if self.ema_decay and not self.use_raw else "G"

    @property
    def width_G(self) -> int:
        """The generator's unit of width."""
        return self.maps // 16 or self.ngf

    @property
    def width_D(self) -> int:
        """The discriminator's unit of width."""
        return self.maps // 16 or self.ndf

    def for_classes(self, class_names: Sequence[str]) -> SAGANOptions:
        """The options with the number of classes of a data set.

        Raises:
            OptionError: ``--num_classes`` says fewer.
        """
        count = len(class_names)
        if not self.num_classes:
            return replace(self, num_classes=count)
        if 1 < self.num_classes < count:
            raise OptionError(
                f"--num_classes {self.num_classes}: the data have {counted(count, 'class', 'classes')}; give "
                f"--max_classes {self.num_classes} to use the first ones; of a new run leave the flag out, or give 1 "
                "for no classes"
            )
        return self


def _image_channels(values: Mapping[str, Any], given: Given) -> int:
    """What the strongest source says that names ``--input_nc`` or ``--output_nc``; a run's files say the first."""
    for source in (given.flags, given.config):
        for name in ("input_nc", "output_nc"):
            if name in source:
                return int(values[name])
    return int(values["input_nc"])


RealMicroBatch = tuple[Tensor, Tensor, Tensor, Tensor]
"""images ``[N, C, S, S]``, their labels ``[N]``, z ``[M, nz]`` and the labels ``[M]`` of the fakes."""
FakeMicroBatch = tuple[Tensor, Tensor]
"""z ``[M, nz]`` and the labels ``[M]``."""

STANDING_BATCH = 64
SHEET_SEED = 1_000_003  # of the fixed samples that a training shows


@MODELS.register("sagan")
class SAGANModel(BaseModel):
    """Images of a class from noise: SAGAN (Zhang et al. 2019, arXiv:1805.08318).

    A step is ``--n_critic`` updates of D and one of G:

        L_D = mean(max(0, 1 - D(x, y))) + mean(max(0, 1 + D(G(z, y'), y')))        Eq. (4)
        L_G = -mean(D(G(z, y'), y'))

    With ``--matching_aware`` D sees its real images x a second time, with wrong classes w (Reed et al. 2016,
    arXiv:1605.05396, Algorithm 1: the matching-aware discriminator):

        L_D = mean(max(0, 1 - D(x, y))) + 1/2 mean(max(0, 1 + D(G(z, y'), y'))) + 1/2 mean(max(0, 1 + D(x, w)))

    ``optimize_parameters`` only draws z and y'; the work is done by ``update_D`` and ``update_G``, which draw nothing
    unless ``--diffaug`` or ``--matching_aware`` is on.
    """

    Options = SAGANOptions
    options: SAGANOptions
    dataset_mode = "class_folder"
    needs = ("image", "label", "one_size")
    visual_kinds: ClassVar[Mapping[str, Visual]] = {
        "real": Visual("real", "A"),
        "fake": Visual("fake", "A"),
    }

    def __init__(self, options: SAGANOptions, engine: Engine) -> None:
        super().__init__(options, engine)
        if not options.num_classes:
            raise OptionError("--num_classes 0: without data the number of classes is unknown; give it, 1 for none")
        self.image_size = options.image_size or 128
        self._steps = self._epoch = 0
        self._trained: tuple[nn.Module, nn.Module] | None = None
        self._monitor = ClassMonitor()
        self.sampled = options.sampled
        self.add_network(self.sampled, self._generator())
        self.train(False)

    # -- inference -----------------------------------------------------------------------------------------------

    def set_input(self, batch: Batch) -> None:
        """Real images, of which a training step learns and whose classes inference draws."""
        self.images = self.take(batch, ("image",))["image"]
        self.labels = self.engine.to_device(self._known(batch))
        self._parts = parts_of(batch, self.options.batches_per_step, self.batch_size, self.engine.world.size)

    def micro_batches(self, batch: Batch) -> list[tuple[Batch, float]]:
        """The whole batch: ``optimize_parameters`` splits it, as every update of D has images of its own."""
        return [(batch, 1.0)]

    def forward(self) -> None:
        """An image of the class of every image of the input, from new noise."""
        self.fake = self.sample(torch.randn(self.batch_size, self.options.nz), self.labels)

    def sample(self, z: Tensor, y: Tensor) -> Tensor:
        """Images as a test shows them, by the averaged generator in test mode.

        Args:
            z: ``[N, nz]``, on any device.
            y: int64 ``[N]``, or float ``[N, num_classes]`` for mixtures of classes.

        Returns:
            ``[N, C, S, S]`` float32 in [-1, 1] on the model's device.
        """
        net = self.networks[self.sampled]
        training = net.training
        net.eval()
        try:
            with torch.no_grad(), self.engine.autocast():
                return net(self.engine.to_device(z), self.engine.to_device(y)).float()
        finally:
            net.train(training)

    def generator_module(self, direction: str = "AtoB", *, maps: bool = True) -> InferenceModule:
        """``fake`` from z and class, whatever the direction."""
        net = self.networks[self.sampled]
        assert isinstance(net, SAGANGenerator)
        return ClassSamples(net)

    def take_standing_statistics(self, batches: int, seed: int) -> None:
        """Replace batch norm's running statistics of what is sampled by the means over this many batches of samples
        (Brock et al. 2019, arXiv:1809.11096, appendix B)."""
        generator = torch.Generator().manual_seed(seed)
        net, nz, num_classes = self.networks[self.sampled], self.options.nz, self.options.num_classes
        with standing_statistics(net), torch.no_grad(), self.engine.autocast():
            for _ in range(batches):
                y = draw_labels(STANDING_BATCH, num_classes, "balanced", generator)
                net(*map(self.engine.to_device, (torch.randn(STANDING_BATCH, nz, generator=generator), y)))

    def weights_loaded(self, test: Any) -> None:
        """Take ``--standing_stats``, where the command has that flag."""
        if isinstance(test, LatentOptions) and test.standing_stats:
            self.take_standing_statistics(test.standing_stats, test.sample_seed)

    def visuals(self) -> Visuals:
        """``real`` and ``fake``."""
        return pictures({"real": self.images, "fake": self.fake})

    def extras(self) -> dict[str, NDArray[Any]]:
        """In training ``samples``: the same noise and classes all through it, one column per class, its name below."""
        if self._trained is None:
            return {}
        names = [self.class_name(number) for number in self.sheet_columns.classes]
        return {SHEETS[0]: sample_sheet(self._fixed_samples(self.sheet_columns), self.sheet_columns, names)}

    def train(self, mode: bool = True) -> None:
        """Training mode of G and D; what samples are taken from stays in test mode, also in a test without --eval."""
        for net in self._trained or ():
            net.train(mode)
        for net in self.networks.values():
            if net not in (self._trained or ()):
                net.eval()

    def check_size(self, height: int, width: int, *, what: str = "--crop_size") -> None:
        """Refuse images of another size than that which the networks are built for."""
        if (height, width) != (self.image_size, self.image_size):
            given = f"{width}x{height}" if height != width else f"{width}"
            raise OptionError(
                f"{what} {given}: --image_size {self.image_size} needs images of this size, square; with "
                "--preprocess shorter_and_center_crop or resize_and_crop they are"
            )

    @property
    def draws_at_test(self) -> bool:
        return True

    def averaged(self) -> tuple[str, ...]:
        """None: ``G_ema`` is a network of this model's own, which ``update_G`` averages from ``--ema_start`` on."""
        return ()

    # -- training ------------------------------------------------------------------------------------------------

    def setup_training(self, dataset_size: int) -> None:
        """Add D, and G beside its average; the fixed samples."""
        o = self.options
        G = self.networks[self.sampled]
        if self.sampled == "G_ema" or o.ema_decay:
            other = self.add_network("G" if self.sampled == "G_ema" else "G_ema", self._generator())
            other.load_state_dict(G.state_dict())
        D = self.add_network(
            "D",
            SAGANDiscriminator(
                image_size=self.image_size,
                ndf=o.width_D,
                num_classes=o.num_classes,
                image_nc=o.input_nc,
                attn_res=self._attention(o.attn_res_D),
                attn_kind=o.attn_kind,
                spectral=not (o.no_sn or o.no_sn_D),
            ),
        )
        self._trained = (self.networks["G"], D)
        betas = (o.beta1, o.beta2)
        self.add_optimizer("G", self.networks["G"].parameters(), lr=o.lr_G, betas=betas)
        self.add_optimizer("D", D.parameters(), lr=o.lr_D, betas=betas)
        self.criterion_GAN = self.make_GAN_loss()
        if o.matching_aware and o.num_classes == 1:
            raise OptionError("--matching_aware: there are no classes that D could tell apart; leave it out")
        self.loss_names = ("G", "D_real", "D_fake", *(["D_wrong"] if o.matching_aware else []))
        self.sheet_columns: Columns = columns_for(o.num_classes)
        self.train()

    def begin_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def optimize_parameters(self) -> Losses:
        """Draw noise and classes, and train: ``--n_critic`` times D, each on its own part of the images, then G.

        The batch is split into ``accum_grad * n_critic`` micro-batches; an incomplete one at the end of an epoch into
        as many as it fills, with fewer updates of D.
        """
        o = self.options
        pieces = list(zip(self.images.tensor_split(self._parts), self.labels.tensor_split(self._parts)))
        found: list[Losses] = []
        sizes: list[int] = []
        for first in range(0, self._parts, o.accum_grad):
            mine = pieces[first : first + o.accum_grad]
            sizes = [len(images) for images, _ in mine]
            found.append(self.update_D([(images, labels, *self._draw(len(images))) for images, labels in mine]))
        losses = {name: torch.stack([each[name] for each in found]).mean() for name in found[0]}
        losses |= self.update_G([self._draw(size) for size in sizes])
        self._monitor.add_real(self.images, self.labels)
        return {name: losses[name] for name in self.loss_names}

    def update_D(self, micro_batches: Sequence[RealMicroBatch]) -> Losses:
        """One update of D. The gradients of the micro-batches are averaged by their number of images.

        G runs in train mode without gradients; D sees the real images first, then the fakes.

        Returns:
            ``D_real`` and ``D_fake``; D's loss is their sum. With ``--matching_aware`` also ``D_wrong``, and the loss
            is the first plus the mean of the other two.
        """
        G, D = self.networks["G"], self.networks["D"]

        def step(images: Tensor, labels: Tensor, z: Tensor, fake_labels: Tensor) -> Step:
            with torch.no_grad():
                fake = G(z, fake_labels)
            if not self.options.matching_aware:
                D_real = self.criterion_GAN(D(self._augmented(images), labels), True)
                D_fake = self.criterion_GAN(D(self._augmented(fake), fake_labels), False)
                return D_real + D_fake, {"D_real": D_real, "D_fake": D_fake}
            # One pass for both classes of an image: they differ in the projection alone.
            right, wrong = D(self._augmented(images), torch.stack([labels, self._wrong(labels)], 1)).unbind(1)
            D_real, D_wrong = self.criterion_GAN(right, True), self.criterion_GAN(wrong, False)
            D_fake = self.criterion_GAN(D(self._augmented(fake), fake_labels), False)
            return D_real + (D_fake + D_wrong) / 2, {"D_real": D_real, "D_fake": D_fake, "D_wrong": D_wrong}

        return self._update("D", step, micro_batches)

    def update_G(self, micro_batches: Sequence[FakeMicroBatch]) -> Losses:
        """One update of G, as ``update_D``, and of its average, which has G's statistics without their start.

        Returns:
            ``G``.
        """
        G, D, o = self.networks["G"], self.networks["D"], self.options

        def step(z: Tensor, fake_labels: Tensor) -> Step:
            fake = G(z, fake_labels)
            self.fake = fake.detach().float()
            loss = self.criterion_GAN(D(self._augmented(fake), fake_labels), True, for_discriminator=False)
            return loss, {"G": loss}

        losses = self._update("G", step, micro_batches)
        self._steps += 1
        if o.ema_decay:
            update_average(self.networks["G_ema"], G, o.ema_decay if self._steps > o.ema_start else 0.0)
            remove_start(self.networks["G_ema"])
        return losses

    def extra_state(self) -> dict[str, Any]:
        return {"steps": self._steps, "monitor": self._monitor.state(), "attention": self._places()}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what ``extra_state`` returned.

        Raises:
            OptionError: attention in another place, where layers would fit and mean something else.
        """
        kept, now = state.get("attention", self._places()), self._places()
        if kept != now:
            said = [" ".join(f"--attn_res_{key} {place}" for key, place in each.items()) for each in (now, kept)]
            raise OptionError(f"{said[0]}: the checkpoint was trained with {said[1]}; give these, or start a new run")
        self._steps = int(state["steps"])
        self._monitor.load_state(state["monitor"])

    # -- what a training shows -----------------------------------------------------------------------------------

    def diagnostics(self) -> dict[str, float]:
        """How far the samples of a class differ, against real images; the strength of attention.

        Warns of classes whose samples have become nearly equal. Of many classes every epoch looks at some others.
        """
        columns = columns_for(self.options.num_classes, first=self._epoch * COLUMNS)
        gammas = {
            f"attn_gamma_{key}": float(self.networks[key].get_parameter("attn.gamma").detach())
            for key in self._with_attention()
        }
        by_class = columns.by_class(self._fixed_samples(columns))
        spreads = {number: spread(images) for number, images in by_class.items()}
        self._monitor.update(spreads, {number: self.class_name(number) for number in spreads})
        values = list(spreads.values())
        found = {"spread_min": min(values), "spread_mean": sum(values) / len(values), "spread_real": self._monitor.real}
        return {**gammas, **found}

    def class_name(self, number: int) -> str:
        """Name of a class; its number where there are no names."""
        if self.options.num_classes == 1:
            return "all"
        return self.class_names[number] if number < len(self.class_names) else str(number)

    def _fixed_samples(self, columns: Columns) -> Tensor:
        """``[N, C, S, S]`` in the order of the columns, a column after the other."""
        z, labels = numbered_latents(SHEET_SEED, columns.numbers(), self.options.nz), columns.labels()
        parts = [self.sample(*each).cpu() for each in zip(z.split(columns.rows), labels.split(columns.rows))]
        return torch.cat(parts)

    def _with_attention(self) -> list[str]:
        return [key for key in "GD" if hasattr(self.networks[key], "attn")]

    # -- parts ---------------------------------------------------------------------------------------------------

    def _generator(self) -> SAGANGenerator:
        o = self.options
        return SAGANGenerator(
            image_size=self.image_size,
            ngf=o.width_G,
            nz=o.nz,
            num_classes=o.num_classes,
            image_nc=o.input_nc,
            attn_res=self._attention(o.attn_res_G),
            attn_kind=o.attn_kind,
            spectral=not (o.no_sn or o.no_sn_G),
        )

    def _places(self) -> dict[str, int]:
        """Sizes of the maps with attention, of both networks."""
        return {"G": self._attention(self.options.attn_res_G), "D": self._attention(self.options.attn_res_D)}

    def _attention(self, asked: int) -> int:
        """Size of the map with attention; -1 asks for the usual place."""
        return default_attention(self.image_size) if asked < 0 else asked

    def _known(self, batch: Batch) -> Tensor:
        """The labels of a batch; of a model without classes, all 0.

        Raises:
            ValueError: there are none, or one is beyond ``--num_classes``.
        """
        count = self.options.num_classes
        if "label" not in batch:
            raise ValueError("--dataset_mode: these data have no labels; use --dataset_mode class_folder")
        labels: Tensor = batch["label"]
        if count == 1:
            return torch.zeros_like(labels)
        if labels.device.type == "cpu" and not 0 <= int(labels.min()) <= int(labels.max()) < count:
            raise ValueError(f"--num_classes {count}: the data have labels from {labels.min()} to {labels.max()}")
        return labels

    def _augmented(self, images: Tensor) -> Tensor:
        """What D sees of them."""
        return diff_augment(images, self.options.diffaug)

    def _draw(self, count: int) -> FakeMicroBatch:
        """z and classes for this many fakes, from torch's generator on the CPU: the same numbers on every device."""
        o = self.options
        how = o.label_sampling
        if how == "auto":
            how = "distinct" if count <= o.num_classes else "uniform"
        z, labels = torch.randn(count, o.nz), draw_labels(count, o.num_classes, how, torch.default_generator)
        return self.engine.to_device(z), self.engine.to_device(labels)

    def _wrong(self, labels: Tensor) -> Tensor:
        """Of every label any other one, all equally likely: int64 ``[N]``."""
        count = self.options.num_classes
        return (labels + torch.randint(1, count, (len(labels),)).to(labels.device)) % count

    def _update(self, name: str, step: Callable[..., Step], micro_batches: Sequence[tuple[Tensor, ...]]) -> Losses:
        if not micro_batches:
            raise ValueError(f"update_{name}: no micro-batches; give a list of at least one")
        total = sum(len(each[0]) for each in micro_batches)
        weights = [len(each[0]) / total for each in micro_batches]
        closures = [functools.partial(step, *map(self.engine.to_device, each)) for each in micro_batches]
        return self.update(name, *closures, weights=weights)

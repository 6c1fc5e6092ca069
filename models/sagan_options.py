"""Options of SAGAN: its networks, its training, and what a test draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from models.networks.diff_augment import DIFF_AUGMENTS
from options.base_options import ModelOptions
from options.schema import OptionError, arg
from util.latent import LABEL_SAMPLING
from util.suggest import unknown


@dataclass(frozen=True, kw_only=True)
class SAGANOptions(ModelOptions):
    """SAGAN's defaults: hinge loss, spectral norm in both networks, two learning rates."""

    gan_mode: str = arg("hinge", choices=("hinge", "vanilla", "lsgan", "original", "bce", "ls"), help="GAN objective")
    beta1: float = 0.0
    beta2: float = arg(0.999, minimum=0.0, maximum=0.999999, help="second moment decay of Adam")
    lr_G: float = arg(1e-4, minimum=0.0, aliases=("lrg",), help="learning rate of the generator")
    lr_D: float = arg(4e-4, minimum=0.0, aliases=("lrd",), help="learning rate of the discriminator")
    image_size: int = arg(
        0,
        minimum=0,
        aliases=("image-size",),
        help="width and height of the images: 32, 64, 128 or 256 (0: --crop_size); sets --crop_size and --load_size",
    )
    nz: int = arg(128, minimum=1, aliases=("latent",), help="length of the latent vector")
    maps: int = arg(0, minimum=0, help="published name of the width, 16 * ngf; sets --ngf and --ndf; 0 = off")
    num_classes: int = arg(
        0, minimum=0, aliases=("n_classes", "n-classes"), help="classes; 0 = those of the data, 1 = no classes at all"
    )
    attn_res_G: int = arg(
        -1, minimum=-1, help="size in pixels of the generator's map with attention; 0 = none, -1 = 32 (16 for 32 px)"
    )
    attn_res_D: int = arg(-1, minimum=-1, help="the same of the discriminator")
    attn_kind: str = arg(
        "paper", choices=("paper", "pooled"), help="pooled: keys and values max-pooled, of the authors' own release"
    )
    no_sn: bool = arg(False, aliases=("not_sn", "not-sn"), help="no spectral norm at all")
    no_sn_G: bool = arg(False, help="none in the generator")
    no_sn_D: bool = arg(False, help="none in the discriminator")
    n_critic: int = arg(1, minimum=1, aliases=("n-critic",), help="updates of D, each of new images, to one of G")
    accum_grad: int = arg(
        1,
        minimum=1,
        aliases=("accum-grad",),
        help="micro-batches of --batch_size images whose gradients are averaged for one update (the reference: 2)",
    )
    label_sampling: str = arg(
        "auto",
        choices=("auto", *LABEL_SAMPLING),
        help="classes of the fakes: uniform; distinct (the reference); balanced; auto: distinct if the classes suffice",
    )
    diffaug: tuple[str, ...] = arg(
        (),
        metavar="KIND,...",
        help="what D sees is changed at random, for small data sets: color,translation,cutout (Zhao et al. 2020)",
    )
    ema_decay: float = arg(
        0.9999, minimum=0.0, maximum=0.9999999, help="moving average of the generator, used for samples; 0 = off"
    )
    ema_start: int = arg(1000, minimum=0, help="steps before it starts; until then it is the generator itself")
    use_raw: bool = arg(False, help="sample with the generator itself instead of its moving average")

    def __post_init__(self) -> None:
        super().__post_init__()
        for kind in self.diffaug:
            if kind not in DIFF_AUGMENTS:
                raise OptionError(str(unknown(f"--diffaug {kind}", kind, DIFF_AUGMENTS)))
        if self.maps % 16:
            raise OptionError(f"--maps {self.maps}: a multiple of 16 is needed, e.g. {-(-self.maps // 16) * 16}")

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
                f"--num_classes {self.num_classes}: the data have {count} classes; give --max_classes "
                f"{self.num_classes} to use the first ones; of a new run leave the flag out, or give 1 for no classes"
            )
        return self


@dataclass(frozen=True, kw_only=True)
class LatentOptions:
    """Which latent vectors are drawn, and by what network statistics they become images."""

    truncation: float = arg(
        math.inf,
        minimum=1e-6,
        aliases=("truncation_threshold", "truncation-threshold"),
        help="latent values stay between -t and t: nicer and more alike with a small t; inf = as in training",
    )
    sample_seed: int = arg(0, minimum=0, maximum=2**63 - 1, help="of the latent vectors and random classes")
    standing_stats: int = arg(
        0, minimum=0, help="recompute batch norm's statistics over so many batches of samples first; 0 = as trained"
    )


@dataclass(frozen=True, kw_only=True)
class SampleOptions(LatentOptions):
    """What a test draws; there are no input images."""

    class_id: tuple[int, ...] = arg((), aliases=("class-id",), help="classes to draw, e.g. 3,7 (default: random ones)")
    class_name: tuple[str, ...] = arg((), aliases=("class-name",), help="the same by name, e.g. cat,dog")
    generate_all: bool = arg(False, aliases=("all_classes", "generate-all"), help="draw every class")
    num_images: int = arg(
        36, minimum=1, aliases=("n_samples",), help="images: of every class that was named, otherwise in all"
    )

    def __post_init__(self) -> None:
        ways = {
            "--class_id": bool(self.class_id),
            "--class_name": bool(self.class_name),
            "--generate_all": self.generate_all,
        }
        if sum(ways.values()) > 1:
            raise OptionError(f"{' and '.join(flag for flag, given in ways.items() if given)} together: give one")
        if wrong := [number for number in self.class_id if number < -1]:
            raise OptionError(f"--class_id {wrong[0]}: classes count from 0; -1 alone is random classes")
        if -1 in self.class_id and len(self.class_id) > 1:
            raise OptionError("--class_id -1 is random classes and stands alone")

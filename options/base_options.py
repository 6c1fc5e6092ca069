"""Options of both phases: the run, the engine, the data, the model."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import ClassVar

from models.networks.names import (
    DISCRIMINATORS,
    GAN_MODE_ALIASES,
    GAN_MODES,
    GENERATORS,
    INIT_TYPES,
    NORMS,
    NORMS_D,
    listed,
)
from options.schema import OptionError, OptionRecord, SameAs, arg

GRADIENT_COMPRESSIONS = ("none", "bf16")
RESAMPLES = ("bicubic", "nearest")
_OF_A_SIDE = ("value_range", "unit", "bands", "resample", "label_nc", "nodata")
"""Flags that each side has one of."""
PREPROCESS = (
    "resize_and_crop",
    "crop",
    "scale_width",
    "scale_width_and_crop",
    "scale_height",
    "scale_height_and_crop",
    "shorter_and_center_crop",
    "resize_2to1",
    "none",
)


@dataclass(frozen=True, kw_only=True)
class RunOptions(OptionRecord):
    """Which run, which model, which data set."""

    name: str = arg(
        "experiment_name",
        of="machine",
        finds_results=True,
        help="name of the run: its folder in --checkpoints_dir and --results_dir",
    )
    model: str = arg("pix2pix", help="which model; see the list at the end of --help")
    dataset_mode: str = arg("", help="which kind of data set (default: the model's own)")
    checkpoints_dir: str = arg("./checkpoints", of="machine", finds_results=True, help="folder of all runs")
    suffix: str = arg(
        "",
        of="start",
        finds_results=True,
        help="appended to --name as _suffix; {model}, {netG}, {load_size}... are filled in",
    )
    epoch: str = arg(
        "latest",
        of="start",
        finds_results=True,
        help="which checkpoint to load: latest, the number of an epoch, or best_<metric>",
    )
    load_iter: int = arg(
        0, minimum=0, of="start", finds_results=True, help="load checkpoint iter_<N> instead of --epoch; 0 = off"
    )
    config: str = arg(
        "", of="start", metavar="FILE.json", help="read options from such a file as train_opt.json; flags win"
    )
    verbose: bool = arg(False, of="start", help="print the networks, and a traceback with every error")
    local_rank: int | None = arg(
        None,
        minimum=0,
        aliases=("local-rank",),
        of="machine",
        help="passed by python -m torch.distributed.launch; LOCAL_RANK in the environment decides",
        advanced=True,
    )

    def __post_init__(self) -> None:
        if not re.fullmatch(r"latest|\d+|iter_\d+|best_\w+", self.epoch):
            raise OptionError(f"--epoch {self.epoch}: give latest, the number of an epoch, or best_<metric>")
        if not self.checkpoints_dir.strip():
            raise OptionError("--checkpoints_dir is empty: name a folder, e.g. ./checkpoints")


@dataclass(frozen=True, kw_only=True)
class EngineOptions(OptionRecord):
    """Where and how exactly to compute."""

    gpu_ids: str = arg(
        "", of="start", help="GPUs: 0, or 0,1,2 (one process each); -1 = CPU (default: the first GPU, else CPU)"
    )
    seed: int = arg(
        0, minimum=0, maximum=2**63 - 1, help="seed of all randomness: initialisation, order, augmentation, dropout"
    )
    deterministic: bool = arg(
        False, help="deterministic algorithms; two runs write equal files (a kernel that cannot warns)"
    )
    precision: str = arg(
        "fp32",
        choices=("fp32", "tf32", "bf16", "fp16", "auto"),
        help="arithmetic of the networks; auto measures whether bf16 is faster than fp32 here, a run keeps its answer",
    )
    channels_last: bool = arg(False, help="NHWC memory layout; pays with bf16/fp16 and norm batch")
    compile: bool = arg(False, in_test=False, help="torch.compile the networks")
    gradient_compression: str = arg(
        "none",
        choices=GRADIENT_COMPRESSIONS,
        in_test="none",
        help="type in which several processes exchange their gradients: none as they are, bf16 rounded, in half the "
        "bytes; for slow links",
    )


def is_number(text: str) -> bool:
    """Whether Python reads it as a number, NaN included."""
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class SideOptions:
    """How the files of one side are read and written.

    Attributes:
        name: ``A`` or ``B``.
        value_range: values that become -1 and 1; empty for the full scale.
        clip: values beyond the range are clipped instead of refused.
        unit: of the values, for metrics.
        bands: of the files to use, counted from 1; empty for all.
        resample: ``bicubic`` or ``nearest``.
        label_nc: labels of its index maps, each of which becomes a channel; 0 if they are no index maps.
        nodata: what stands for missing pixels: ``nan``, a number, or ``file`` for what the file says; empty for none.
    """

    name: str
    value_range: tuple[float, ...] = ()
    clip: bool = False
    unit: str = ""
    bands: tuple[int, ...] = ()
    resample: str = "bicubic"
    label_nc: int = 0
    nodata: str = ""


@dataclass(frozen=True, kw_only=True)
class DataOptions(OptionRecord):
    """What is read, and how it is prepared."""

    dataroot: str = arg("", of="machine", help="folder of the data set (with phase subfolders)")
    phase: str = arg(
        "train", in_test="test", in_original=False, finds_results=True, help="subfolder to use: train, val, test, ..."
    )
    direction: str = arg("AtoB", choices=("AtoB", "BtoA"), help="which side is the input: AtoB translates A to B")
    serial_batches: bool = arg(False, in_test=True, help="take images in order instead of shuffled")
    num_threads: int | None = arg(
        None,
        minimum=0,
        of="machine",
        in_test=0,
        help="worker processes that read images; 0 = none (default: 4, and none with --cache ram or disk)",
    )
    batch_size: int = arg(
        1,
        minimum=1,
        aliases=("batch-size",),
        of="samples",
        in_test=1,
        help="images per step, over all processes together",
    )
    load_size: int = arg(
        286, minimum=1, maximum=16384, in_test=SameAs("crop_size"), help="size that images are scaled to (pixels)"
    )
    crop_size: int = arg(256, minimum=1, maximum=16384, help="size of the square cut out of the scaled image (pixels)")
    max_dataset_size: float = arg(
        float("inf"), minimum=1, in_test=float("inf"), help="use at most this many images, the first in natural order"
    )
    preprocess: str = arg(
        "resize_and_crop",
        choices=PREPROCESS,
        help="scaling and cropping at load time; resize_2to1: twice as wide as --load_size, whatever the shape",
    )
    no_flip: bool = arg(False, in_test=True, help="no random left-right flips")
    alpha: str = arg("drop", choices=("drop", "white", "keep"), help="transparency: ignore it, put on white, keep")
    value_range: tuple[float, ...] = arg(
        (),
        metavar="LOW,HIGH",
        help="values in the files of both sides that become -1 and 1 (default: full scale of 8 and 16 bit, else 0,1)",
    )
    value_range_A: tuple[float, ...] = arg(
        (), metavar="LOW,HIGH", help="values in the files of side A that become -1 and 1 (default: --value_range)"
    )
    value_range_B: tuple[float, ...] = arg(
        (), metavar="LOW,HIGH", help="values in the files of side B that become -1 and 1 (default: --value_range)"
    )
    clip_range: bool = arg(
        False, help="clip values outside the ranges instead of refusing them; the start reports the share of each side"
    )
    unit_A: str = arg("", help="unit of the values of side A, e.g. HU or K, in which L1 is reported as well")
    unit_B: str = arg("", help="unit of the values of side B, e.g. HU or K, in which L1 is reported as well")
    bands_A: tuple[int, ...] = arg((), metavar="4,3,2", help="bands of side A to use, in this order, counted from 1")
    bands_B: tuple[int, ...] = arg((), metavar="4,3,2", help="bands of side B to use, in this order, counted from 1")
    resample_A: str = arg(
        "bicubic", choices=RESAMPLES, help="how side A is scaled; nearest keeps the colours of a label map"
    )
    resample_B: str = arg(
        "bicubic", choices=RESAMPLES, help="how side B is scaled; nearest keeps the colours of a label map"
    )
    label_nc_A: int = arg(
        0, minimum=0, help="labels 0 to N-1 of side A's index maps, each of which becomes a channel; 0 = off"
    )
    label_nc_B: int = arg(
        0, minimum=0, help="labels 0 to N-1 of side B's index maps, each of which becomes a channel; 0 = off"
    )
    nodata_A: str = arg(
        "", metavar="nan|VALUE|file", help="what stands for missing pixels of side A; file: what its TIFF says"
    )
    nodata_B: str = arg(
        "", metavar="nan|VALUE|file", help="what stands for missing pixels of side B; file: what its TIFF says"
    )
    transform_on_device: bool = arg(
        False,
        of="machine",
        in_test=False,
        help="flip images and scale them to [-1, 1] on the model's device, not in the workers; equal numbers",
    )
    cache: str = arg(
        "none",
        choices=("none", "ram", "disk"),
        of="machine",
        in_test="none",
        help="keep decoded, resized images in memory, or in files that all runs share",
    )
    cache_dir: str = arg(
        "",
        metavar="DIR",
        of="machine",
        help="folder of --cache disk (default: image-translation-gans/pixels in the user's cache folder)",
    )

    def __post_init__(self) -> None:
        folders = PurePath(self.phase).parts
        if not folders or ".." in folders or PurePath(self.phase).is_absolute():
            raise OptionError(f"--phase {self.phase!r}: give the name of a folder inside --dataroot, e.g. train")
        if math.isfinite(self.max_dataset_size) and not float(self.max_dataset_size).is_integer():
            raise OptionError(f"--max_dataset_size {self.max_dataset_size}: expected a whole number")
        for flag in ("value_range", "value_range_A", "value_range_B"):
            given = getattr(self, flag)
            if given and (len(given) != 2 or given[0] >= given[1]):
                shown = ",".join(f"{value:g}" for value in given)
                raise OptionError(f"--{flag} {shown}: give two rising numbers, e.g. 0,4095")
        for flag in ("bands_A", "bands_B"):
            if min(getattr(self, flag), default=1) < 1:
                shown = ",".join(map(str, getattr(self, flag)))
                raise OptionError(f"--{flag} {shown}: bands are counted from 1, e.g. 4,3,2")
        for side in "AB":
            nodata, label_nc = getattr(self, f"nodata_{side}"), getattr(self, f"label_nc_{side}")
            if nodata not in ("", "nan", "file") and not is_number(nodata):
                raise OptionError(f"--nodata_{side} {nodata}: give nan, a number such as -9999, or file")
            if label_nc > 256:
                raise OptionError(f"--label_nc_{side} {label_nc}: at most 256 labels, as each becomes a channel")
            if label_nc and (nodata or getattr(self, f"value_range_{side}")):
                other = "nodata" if nodata else "value_range"
                raise OptionError(
                    f"--label_nc_{side} {label_nc}: labels have no --{other}_{side}; leave one of them out"
                )
        if self.preprocess.endswith("_crop") and self.load_size < self.crop_size:
            raise OptionError(
                f"--load_size {self.load_size} is smaller than --crop_size {self.crop_size}: raise it or lower the crop"
            )

    def side(self, name: str) -> SideOptions:
        """How the files of side ``A`` or ``B`` are read; single and class data are side A."""
        A = name == "A"
        own = self.value_range_A if A else self.value_range_B
        return SideOptions(
            name=name,
            value_range=own or self.value_range,
            clip=self.clip_range,
            unit=self.unit_A if A else self.unit_B,
            bands=self.bands_A if A else self.bands_B,
            resample=self.resample_A if A else self.resample_B,
            label_nc=self.label_nc_A if A else self.label_nc_B,
            nodata=self.nodata_A if A else self.nodata_B,
        )

    def domain(self, name: str) -> SideOptions:
        """How domain ``A``, the model's input, or ``B`` is read: with ``--direction BtoA`` the other side's files."""
        return self.side(name if self.direction == "AtoB" else {"A": "B", "B": "A"}[name])

    def ranges(self) -> dict[str, tuple[float, ...]]:
        """Domain -> values that -1 and 1 stand for; empty for the full scale."""
        return {name: self.domain(name).value_range for name in "AB"}

    def labels(self) -> dict[str, int]:
        """Domain -> labels of its index maps; 0 for pictures."""
        return {name: self.domain(name).label_nc for name in "AB"}

    def exchanged(self) -> DataOptions:
        """The same options with those of A and B exchanged: the images of B are read from one folder."""
        pairs = [(f"{name}_A", f"{name}_B") for name in _OF_A_SIDE]
        return replace(self, **{a: getattr(self, b) for pair in pairs for a, b in (pair, pair[::-1])})

    @property
    def size_flags(self) -> str:
        """What decides the size of the images that a model gets, for messages."""
        if "crop" in self.preprocess:
            return "--crop_size"
        return f"--preprocess {self.preprocess}" + (
            "" if self.preprocess == "none" else f" --load_size {self.load_size}"
        )


@dataclass(frozen=True, kw_only=True)
class ModelOptions(OptionRecord):
    """What the models share: networks, initialisation, optimizer.

    Class attributes that a model's own record may set:
        option_defaults: defaults of options of other owners that it changes, e.g. ``{"crop_size": 128}``.
        uses: options of this record that the model reads; a warning names others that are given. Empty: all of
            them.
        in_tests: record of options that only tests of the model have.
    """

    option_defaults: ClassVar[Mapping[str, object]] = {}
    uses: ClassVar[tuple[str, ...]] = ()
    in_tests: ClassVar[type[OptionRecord] | None] = None

    input_nc: int = arg(3, minimum=1, help="channels of the input image")
    output_nc: int = arg(3, minimum=1, help="channels of the output image")
    ngf: int = arg(64, minimum=1, help="width of the generator's first layer")
    ndf: int = arg(64, minimum=1, help="width of the discriminator's first layer")
    netG: str = arg("resnet_9blocks", help=f"generator: {listed(GENERATORS)}")
    netD: str = arg("basic", help=f"discriminator: {listed(DISCRIMINATORS)}")
    n_layers_D: int = arg(
        3, minimum=1, help="layers of --netD n_layers, and per scale of multiscale, pix2pixhd and sesam"
    )
    num_D: int = arg(2, minimum=1, help="scales of --netD multiscale, pix2pixhd, sesame and sesam")
    norm: str = arg("instance", choices=NORMS, help="normalisation layers of the networks")
    norm_D: str = arg(
        "",
        choices=NORMS_D,
        help="normalisation of the discriminator (default: --norm; of --netD sesame: spectralinstance)",
    )
    no_dropout: bool = arg(False, help="generator without dropout layers")
    dropout: float = arg(
        0.5,
        minimum=0.0,
        maximum=0.999,
        aliases=("dropout_rate", "dropout_value"),
        help="probability in the generator's dropout layers",
    )
    init_type: str = arg(
        "normal", choices=INIT_TYPES, help="initialisation of the weights; the word default: torch's own"
    )
    init_gain: float = arg(0.02, help="standard deviation or gain of --init_type")
    gan_mode: str = arg(
        "lsgan",
        choices=(*GAN_MODES, *GAN_MODE_ALIASES),
        help="GAN objective (original = bce = vanilla, ls = lsgan, w = wgan)",
    )
    pool_size: int = arg(50, minimum=0, help="earlier fakes kept for the discriminator; 0 = none")
    lr: float = arg(0.0002, minimum=0.0, help="learning rate of Adam")
    beta1: float = arg(0.5, minimum=0.0, maximum=0.999999, help="decay of the first moment of Adam")
    accum_grad: int = arg(
        1,
        minimum=1,
        aliases=("accum-grad",),
        help="micro-batches of --batch_size images whose gradients are averaged for one update (SAGAN's reference: 2)",
    )
    ema_decay: float = arg(
        0.0,
        minimum=0.0,
        maximum=0.9999999,
        help="decay of the moving average of the generators' weights, which tests use, e.g. 0.999; 0 = no average",
    )
    use_raw: bool = arg(False, help="test with the generators themselves instead of their moving averages")

    def __post_init__(self) -> None:
        if self.no_dropout and self.dropout != ModelOptions.dropout:
            raise OptionError(
                f"--dropout {self.dropout:g}: there are no dropout layers (--no_dropout); give --no_dropout False"
            )

    @property
    def data_channels(self) -> tuple[int, int]:
        """Channels that a test's images are read with: of the input, of the target."""
        return self.input_nc, self.output_nc

    @property
    def also_needs(self) -> dict[str, str]:
        """What training reads from a batch beside the model's ``needs``: key -> the flag that asks for it."""
        return {}

    @property
    def batches_per_step(self) -> int:
        """How many batches of ``--batch_size`` images a training step takes."""
        return self.accum_grad

    def for_classes(self, class_names: Sequence[str]) -> ModelOptions:
        """The same options, completed by what a data set says of its classes."""
        return self


@dataclass(frozen=True, kw_only=True)
class OneWayOptions(ModelOptions):
    """For models of two directions that can test one of them, with one folder and one generator."""

    test_direction: str = arg(
        "both", choices=("both", "AtoB", "BtoA"), help="directions to test; one: --dataset_mode single, one generator"
    )

    @property
    def data_channels(self) -> tuple[int, int]:
        """Of B to A alone, the images of B are the input."""
        return (self.output_nc, self.input_nc) if self.test_direction == "BtoA" else (self.input_nc, self.output_nc)


@dataclass(frozen=True, kw_only=True)
class CycleOptions(ModelOptions):
    """The weights of the losses that unpaired models share, with the published defaults of CycleGAN."""

    lambda_A: float = arg(10.0, minimum=0.0, help="weight of the cycle A -> B -> A")
    lambda_B: float = arg(10.0, minimum=0.0, help="weight of the cycle B -> A -> B")
    lambda_identity: float = arg(
        0.5, minimum=0.0, help="weight of the identity loss, as a factor on the cycle's; 0 = off"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lambda_identity and self.input_nc != self.output_nc:
            raise OptionError(
                f"--lambda_identity {self.lambda_identity:g}: it puts images of a domain into the other's generator, "
                f"but --input_nc is {self.input_nc} and --output_nc {self.output_nc}; give --lambda_identity 0"
            )

"""Options of AU-GAN and what its variants make of those that are not given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.networks.augan import UPSAMPLES, PaperGenerator, PortGenerator
from options.base_options import CycleOptions, OneWayOptions
from options.schema import OptionError, arg

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
"""Variant -> its value of every option that is None unless given."""

BLOCKS = {"resnet_9blocks": 9, "resnet_6blocks": 6}


@dataclass(frozen=True, kw_only=True)
class AUGANOptions(CycleOptions, OneWayOptions):
    """The published defaults; see ``docs/augan.md`` for those that depend on the variant."""

    no_dropout: bool = True
    augan_variant: str = arg(
        "paper",
        choices=tuple(PUBLISHED),
        help="paper: the authors' method; port: its PyTorch version; fork_gan: that without T-net and uncertainty",
    )
    lambda_rec: float = arg(10.0, minimum=0.0, help="weight of the reconstructions' L1")
    lambda_identity: float = 0.0
    lambda_perc: float | None = arg(
        None, minimum=0.0, help="weight of feature matching before and after translation (default: paper 1, port 20)"
    )
    lambda_dc: float | None = arg(
        None, minimum=0.0, help="weight of the domain classifier; 0 = none (default: paper 0, port 1)"
    )
    lambda_conf: float = arg(1.0, minimum=0.0, help="weight of the uncertainty term")
    lambda_GAN_rec: float | None = arg(
        None,
        minimum=0.0,
        help="weight of reconstructions' and refinements' adversarial terms (default: paper 0, port 1)",
    )
    lambda_gp: float = arg(10.0, minimum=0.0, help="weight of the gradient penalty of --gan_mode wgangp")
    no_uncertainty: bool = arg(False, help="no uncertainty head; the plain cycle loss for A")
    n_discriminators: int | None = arg(
        None,
        minimum=1,
        maximum=3,
        help="for each domain: 1, or 3 for translation, reconstruction and refinement (default: paper 1, port 3)",
    )
    ms_reduce: str | None = arg(
        None, choices=("sum", "mean"), help="adversarial loss over the scales of --netD (default: paper mean, port sum)"
    )
    dilation: int | None = arg(
        None, minimum=1, maximum=16, help="of the residual blocks' convolutions (default: paper 1, port 2)"
    )
    upsample: str | None = arg(
        None,
        choices=UPSAMPLES,
        help="in the decoders (default: paper transposed, bilinear with --norm none; port bilinear)",
    )
    feature_noise: float = arg(0.02, minimum=0.0, help="deviation of the noise in the reconstruction, in training only")
    adam_eps: float | None = arg(None, minimum=1e-16, help="epsilon of Adam (default: paper 1e-8, port 1e-4)")
    instance_level: bool = arg(False, help="losses on the objects too; needs --dataset_mode unaligned_coco")
    lambda_inst: float = arg(1.0, minimum=0.0, help="weight of these")
    save_uncertainty: bool = arg(False, help="test.py: also the uncertainty of A -> B, as conf_A.npy and in colours")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.netG not in BLOCKS:
            raise OptionError(f"--netG {self.netG}: augan has resnet_9blocks and resnet_6blocks")
        if self.n_discriminators == 2:
            raise OptionError("--n_discriminators 2: give 1 or 3")
        if self.n_discriminators == 3 and not self.chosen("lambda_GAN_rec"):
            raise OptionError(
                f"--n_discriminators 3: with --augan_variant {self.augan_variant} reconstructions are not judged; give "
                "--lambda_GAN_rec 1 as well"
            )
        if self.upsample == "transposed" and (self.augan_variant != "paper" or self.norm == "none"):
            raise OptionError(
                f"--upsample transposed: not with --augan_variant {self.augan_variant} --norm {self.norm}; use bilinear"
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

    @property
    def uncertain(self) -> bool:
        """Whether G_A has the head that gives the uncertainty."""
        return self.augan_variant != "fork_gan" and not self.no_uncertainty

    @property
    def conf_is_cycle(self) -> bool:
        """Whether the uncertainty weighs the cycle of A, as in the paper."""
        return self.augan_variant == "paper" and self.uncertain

    def chosen(self, name: str) -> Any:
        """The value of an option, or its variant's where it was not given."""
        value = getattr(self, name)
        if value is not None:
            return value
        return "bilinear" if name == "upsample" and self.norm == "none" else PUBLISHED[self.augan_variant][name]

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
            "dilation": self.chosen("dilation"),
        }
        blocks = BLOCKS[self.netG]
        if self.augan_variant == "paper":
            upsample = self.chosen("upsample")
            return PaperGenerator(input_nc, output_nc, num_blocks=blocks // 2, upsample=upsample, **shape)
        return PortGenerator(input_nc, output_nc, num_blocks=blocks, **shape)

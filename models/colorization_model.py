"""Colorization: pix2pix from the lightness of a photo to its colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from models import MODELS
from models.pix2pix_model import Pix2PixModel, Pix2PixOptions
from options.base_options import ModelOptions
from options.schema import OptionError
from util.images.lab import join_colours
from util.types import Visuals


@dataclass(frozen=True, kw_only=True)
class ColorizationOptions(Pix2PixOptions):
    """pix2pix from one channel, L*, to two, a* and b*."""

    input_nc: int = 1
    output_nc: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        for flag, value, needed in (("input_nc", self.input_nc, 1), ("output_nc", self.output_nc, 2)):
            if value != needed:
                raise OptionError(
                    f"--{flag} {value}: --model colorization maps L* (1 channel) to a* and b* (2); leave the flag out"
                )


@MODELS.register("colorization")
class ColorizationModel(Pix2PixModel):
    """pix2pix that colours photos (Isola et al. 2017, arXiv:1611.07004, Sec. 4), in CIE L*a*b*."""

    Options = ColorizationOptions
    dataset_mode: ClassVar[str] = "colorization"
    options: ColorizationOptions

    def visuals(self) -> Visuals:
        """``real_A`` (the lightness, grey), ``real_B_rgb`` where the batch had colours, ``fake_B_rgb``: sRGB."""
        colours = {"real_B_rgb": self.real_B, "fake_B_rgb": self.fake_B}
        A = self.real_A.detach().float()
        shown = {"real_A": A} if A.numel() else {}
        return shown | {name: join_colours(A, ab.detach()) for name, ab in colours.items() if ab.numel()}

    @classmethod
    def check_sides(cls, sample: Mapping[str, Any], who: str, dataset_mode: str, options: ModelOptions) -> None:
        """Refuse photos without colours as well; raises as the parent's."""
        if "B" not in sample and dataset_mode == cls.dataset_mode:
            raise ValueError(f"{who}: the photos of --dataroot are grey; it needs photos in colour to compare with")
        super().check_sides(sample, who, dataset_mode, options)

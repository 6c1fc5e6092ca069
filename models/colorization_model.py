"""Colorization: pix2pix from the lightness of a photo to its colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from models import MODELS
from models.networks.inference import InferenceModule
from models.pix2pix_model import Pix2PixModel, Pix2PixOptions
from options.schema import OptionError
from util.images.lab import join_colours
from util.types import Visual, Visuals


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


class Colorizer(InferenceModule):
    """The colours that a generator gives to a lightness, as sRGB."""

    of_lightness: ClassVar[bool] = True

    def __init__(self, net: nn.Module) -> None:
        super().__init__("fake_B_rgb")
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """``[N, 1, H, W]``, L* / 50 - 1, -> ``[N, 3, H, W]`` of sRGB in [-1, 1]."""
        return (join_colours(image, self.net(image)),)


@MODELS.register("colorization")
class ColorizationModel(Pix2PixModel):
    """pix2pix that colours photos (Isola et al. 2017, arXiv:1611.07004, Sec. 4), in CIE L*a*b*."""

    Options = ColorizationOptions
    dataset_mode: ClassVar[str] = "colorization"
    options: ColorizationOptions

    visual_kinds: ClassVar[Mapping[str, Visual]] = {
        "real_A": Visual("real", "A"),
        "real_B_rgb": Visual("real", "B", colours=True),
        "fake_B_rgb": Visual("fake", "B", colours=True),
    }

    def inference(self, maps: bool) -> InferenceModule:
        """``fake_B_rgb``."""
        return Colorizer(self.netG)

    def visuals(self) -> Visuals:
        """``real_A`` (the lightness, grey), ``real_B_rgb`` where the batch had colours, ``fake_B_rgb``: sRGB."""
        A, real_B = self.real_A.float(), self.real.get("B")
        colours = {"real_B_rgb": real_B, "fake_B_rgb": self.fake_B}
        shown = {name: join_colours(A, ab.detach()) for name, ab in colours.items() if ab is not None}
        return {"real_A": A, **shown}

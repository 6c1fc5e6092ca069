"""One-sided inference with a trained generator, for test.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from models import MODELS
from models.base_model import BaseModel, pictures
from models.networks.factory import GENERATOR_NAMES
from options.base_options import ModelOptions
from options.schema import arg
from util.registry import unknown
from util.run.engine import Engine
from util.types import Visual, Visuals


@dataclass(frozen=True, kw_only=True)
class TestOptions(ModelOptions):
    """Published defaults: the residual generator of CycleGAN, unless the run's own options are at hand."""

    model_suffix: str = arg(
        "", help="load <epoch>_net_G<suffix>.pth: of a run of cycle_gan, _A translates A to B and _B translates B to A"
    )


@MODELS.register("test")
class TestModel(BaseModel):
    """One generator on a folder of inputs, without targets; for test.py only.

    ``input_nc`` and ``output_nc`` are those of this generator; ``_B`` of a run has the run's, exchanged.
    """

    Options = TestOptions
    dataset_mode: ClassVar[str] = "single"
    needs: ClassVar[tuple[str, ...]] = ("A",)
    visual_kinds: ClassVar[Mapping[str, Visual]] = {"real": Visual("real", "A"), "fake": Visual("fake", "B")}

    def __init__(self, options: TestOptions, engine: Engine) -> None:
        super().__init__(options, engine)
        if options.netG not in GENERATOR_NAMES:
            raise unknown(
                f"--netG {options.netG} (a run of another model: leave out --model test and give "
                "--dataset_mode single)",
                options.netG,
                GENERATOR_NAMES,
            )
        self.netG = self.add_network("G" + options.model_suffix, self.make_G(options.input_nc, options.output_nc))

    def forward(self) -> None:
        """``fake = G(real)``."""
        with self.engine.autocast():
            self.fake = self.netG(self.real["A"])

    def visuals(self) -> Visuals:
        """``real`` and ``fake``."""
        return pictures({"real": self.real["A"], "fake": self.fake})

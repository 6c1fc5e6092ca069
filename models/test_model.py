"""One-sided inference with a trained generator, for test.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from models import MODELS
from models.base_model import BaseModel, pictures
from models.networks.factory import GENERATOR_NAMES
from models.networks.inference import InferenceModule, OneImage, no_direction
from models.networks.recognise import recognise_generator
from options.base_options import ModelOptions
from options.schema import Given, arg
from util.registry import unknown
from util.run.checkpoint import read_network
from util.run.engine import Engine
from util.types import Visual, Visuals


@dataclass(frozen=True, kw_only=True)
class TestOptions(ModelOptions):
    """Published defaults: the residual generator of CycleGAN, unless the run's own options are at hand."""

    model_suffix: str = arg(
        "", help="load <epoch>_net_G<suffix>.pth: of a run of cycle_gan, _A translates A to B and _B translates B to A"
    )

    @classmethod
    def derive(cls, values: Mapping[str, Any], given: Given) -> Mapping[str, Any]:
        """The generator from B to A of another model's run takes what the run puts out: channels, ranges
        and bands of the sides are exchanged."""
        if not values["model_suffix"].endswith("_B") or given.saved.get("model", "test") == "test":
            return values
        names = {"input_nc": "output_nc", "output_nc": "input_nc"}
        taken = {name: given.saved.get(other, getattr(ModelOptions, other)) for name, other in names.items()}
        for name in (each.removesuffix("_A") for each in values if each.endswith("_A") and f"{each[:-1]}B" in values):
            taken |= {f"{name}_{side}": values[f"{name}_{other}"] for side, other in ("AB", "BA")}
        said = given.config.keys() | given.flags.keys()
        return {**values, **{name: value for name, value in taken.items() if name not in said}}


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

    @staticmethod
    def options_of_weights(folder: Path, tag: str) -> dict[str, Any]:
        """The options of a run of the original code that has none, as far as its generators tell them.

        One generator is a run of this model, two are one of cycle_gan.

        Args:
            folder: of the run.
            tag: of the checkpoint, e.g. ``latest``.

        Raises:
            ValueError: the file of a generator is damaged.
        """
        suffixes = [each for each in ("", "_A", "_B") if (folder / f"{tag}_net_G{each}.pth").is_file()]
        if not suffixes:
            return {}
        state = read_network(folder / f"{tag}_net_G{suffixes[0]}.pth")
        found = recognise_generator({key: tuple(value.shape) for key, value in state.items()})
        if suffixes == ["_A", "_B"]:
            return {**found, "model": "cycle_gan"}
        return {**found, "model": "test", "model_suffix": suffixes[0]}

    def forward(self) -> None:
        """``fake = G(real)``."""
        with self.engine.autocast():
            self.fake = self.netG(self.real["A"])

    def generator_module(self, direction: str = "AtoB", *, maps: bool = True) -> InferenceModule:
        """``fake``, of the generator that ``--model_suffix`` names."""
        if direction != "AtoB":
            raise no_direction(direction, "--model test", "by the generator that --model_suffix names")
        return OneImage(self.netG, "fake")

    def visuals(self) -> Visuals:
        """``real`` and ``fake``."""
        return pictures({"real": self.real["A"], "fake": self.fake})

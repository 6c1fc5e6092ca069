"""The generator of a trained run: its module, and what a caller must know to feed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

from torch import nn

from models.base_model import BaseModel
from models.networks.inference import InferenceModule, no_direction
from options.base_options import OneWayOptions
from options.parse import Options
from util.images.io import Format
from util.run.sides import SideFormat, exchanged


class OpenedRun(Protocol):
    """What is needed of a ``TrainedRun``."""

    @property
    def options(self) -> Options: ...

    @property
    def model(self) -> BaseModel: ...

    @property
    def sides(self) -> Mapping[str, SideFormat]: ...


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What a generator takes and gives, whether it is opened or in an exported file.

    Attributes:
        inputs: ``("image",)`` or ``("z", "label")``.
        outputs: the translation first, such as ``fake_B``, in [-1, 1]; then maps.
        source: how files of the input's domain store values.
        target: the same of the translation.
        multiple: height and width must be multiples of it.
        minimum: the smallest height and width.
        fixed_size: the only (height, width) that works; None where there are many.
        whole_picture: why a tile comes out differently than the same part of the whole image; empty if it does not.
        of_lightness: the input is L* of a photo, ``L* / 50 - 1``, and the translation sRGB.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source: SideFormat
    target: SideFormat
    multiple: int = 1
    minimum: int = 1
    fixed_size: tuple[int, int] | None = None
    whole_picture: str = ""
    of_lightness: bool = False

    def signature(self) -> dict[str, Any]:
        """These attributes alone, as arguments for another kind of ``Signature``."""
        return {each.name: getattr(self, each.name) for each in fields(Signature)}


@dataclass(frozen=True, kw_only=True)
class Generator(Signature):
    """A generator that can be called.

    Attributes:
        module: images ``[N, C, H, W]`` float32 in [-1, 1] -> tuple of tensors named by ``outputs``; of a model that
            draws from noise ``(z [N, nz], label [N] int64)`` -> the same.
    """

    module: nn.Module


def generator_of(run: OpenedRun, direction: str = "", *, maps: bool = True) -> Generator:
    """The generator of a run, as it is now: in train or test mode, with or without dropout.

    Args:
        run: see ``models.trained.load``.
        direction: ``AtoB`` or ``BtoA``, between the sides that the training's ``--direction`` speaks of; empty for the
            run's own.
        maps: with the outputs beside the translation.

    Raises:
        ValueError: the run has no generator of this direction.
    """
    forward = is_forward(run.options, direction)
    try:
        module = run.model.generator_module("AtoB" if forward else "BtoA", maps=maps)
    except ValueError as error:
        if not direction or direction == own_direction(run.options):
            raise
        who = f"run {run.options.run.name!r} of --model {run.options.run.model}"
        raise no_direction(direction, who, own_direction(run.options)) from error
    source, target = ("A", "B") if forward else ("B", "A")
    if "image" not in module.inputs:
        target = source  # noise: the domain is that of the images
    return Generator(
        module=module,
        inputs=module.inputs,
        outputs=module.outputs,
        source=_side(run, module, source, is_source=True),
        target=_side(run, module, target, is_source=False),
        multiple=module.multiple(),
        minimum=module.minimum(),
        fixed_size=module.fixed_size(),
        whole_picture=module.whole_picture(),
        of_lightness=module.of_lightness,
    )


def own_direction(options: Options) -> str:
    """The direction that a run translates in unless another is asked for: ``AtoB`` or ``BtoA``."""
    direction = options.data.direction
    model = options.model
    if isinstance(model, OneWayOptions) and model.test_direction == "BtoA":
        return _turned(direction)
    return direction


def is_forward(options: Options, direction: str = "") -> bool:
    """Whether this direction of the data's sides is A to B of the model, whose A is its input.

    Raises:
        ValueError: another word than ``AtoB`` or ``BtoA``.
    """
    if direction not in ("", "AtoB", "BtoA"):
        raise ValueError(f"--direction {direction}: give AtoB or BtoA")
    return (direction or own_direction(options)) == options.data.direction


def _turned(direction: str) -> str:
    return "BtoA" if direction == "AtoB" else "AtoB"


def _side(run: OpenedRun, module: InferenceModule, name: str, *, is_source: bool) -> SideFormat:
    """How domain A or B of the model stores values: as the training noted, else 8 bit."""
    if module.of_lightness:
        return SideFormat("float32", (0.0, 100.0), 1, "L*") if is_source else SideFormat("uint8", channels=3)
    options = run.options
    back = str(options.values.get("model_suffix", "")).endswith("_B")
    known = (exchanged(run.sides) if back else run.sides).get(name)
    format: Format = known.format if known else "uint8"
    channels = {"A": options.model.input_nc, "B": options.model.output_nc}[name]
    own = options.data.domain(name)
    return SideFormat(format, tuple(own.value_range), channels, own.unit, own.label_nc)

"""Every model's inference as one module: what test.py shows is what it returns."""

from __future__ import annotations

import pytest
import torch

from data import DATASETS
from models import MODELS
from models.base_model import BaseModel, draws_from_noise
from models.generators import generator_of
from models.trained import TrainedRun
from options.parse import parse_test
from tests.conftest import SIZE, trainable_args
from util.run.engine import Engine
from util.run.sides import SideFormat

TRANSLATORS = [name for name in MODELS.names() if not draws_from_noise(MODELS.get(name))]
TWO_WAYS = {"cycle_gan", "ugatit", "augan", "atme_unpaired"}


def opened(name: str, workdir, *argv: str, sides=None) -> TrainedRun:
    """A run of a small, untrained model."""
    parsed = parse_test(["--model", name, *_in_test(trainable_args(name)), *argv], MODELS, DATASETS)
    torch.manual_seed(0)
    model = MODELS.get(name)(parsed.model, Engine())
    return TrainedRun(parsed, model, workdir, sides or {})


def _in_test(words: list[str]) -> list[str]:
    """Without the flag that only train.py has."""
    place = words.index("--display_id")
    return words[:place] + words[place + 2 :]


def images_of(run: TrainedRun, direction: str, count: int = 1) -> torch.Tensor:
    channels = generator_of(run, direction).source.channels
    return torch.rand(count, channels, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize("name", TRANSLATORS)
def test_the_module_gives_what_forward_shows(name, direction, workdir):
    run = opened(name, workdir)
    if direction == "BtoA" and name not in TWO_WAYS:
        with pytest.raises(ValueError, match=r"--direction BtoA: .* only"):
            generator_of(run, direction)
        return
    generator = generator_of(run, direction)
    x = images_of(run, direction)
    other = {"A": "B", "B": "A"}[direction[0]]
    batch = {direction[0]: x, other: x} if name in TWO_WAYS else {"A": x}
    batch |= {f"{side}_paths": ["x.png"] for side in "AB"}
    with torch.no_grad():
        torch.manual_seed(3)
        run.model.set_input(batch)
        run.model.train(direction == "AtoB")  # of the way back others draw first: without dropout
        run.model.forward()
        shown = run.model.visuals()
        torch.manual_seed(3)
        made = dict(zip(generator.outputs, generator.module(x), strict=True))
    first = generator.outputs[0]
    tolerance = 2e-2 if name == "atme_unpaired" and direction == "BtoA" else 0.0  # its map is drawn, +- 0.001
    torch.testing.assert_close(made[first], shown[first], rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", TRANSLATORS)
def test_smallest_and_next_size_work_and_come_back(name, workdir):
    run = opened(name, workdir)
    generator = generator_of(run)
    height, width = generator.fixed_size or (generator.minimum, generator.minimum + generator.multiple)
    x = torch.zeros(1, generator.source.channels, height, width)
    with torch.no_grad():
        made = generator.module(x)
    assert made[0].shape == (1, generator.target.channels, height, width)
    assert len(made) == len(generator.outputs)


def test_directions_are_those_of_the_files(workdir):
    """CycleGAN trained with --direction BtoA: G_A makes images of the files' side A out of those of B."""
    sides = {"A": SideFormat("uint16"), "B": SideFormat("int16")}
    words = ["--direction", "BtoA", "--input_nc", "1", "--output_nc", "2", "--lambda_identity", "0"]
    words += ["--value_range_A", "0,10", "--value_range_B=-5,5"]
    run = opened("cycle_gan", workdir, *words, sides=sides)
    own, other = generator_of(run), generator_of(run, "AtoB")
    assert own.module.net is run.model.netG_A and generator_of(run, "BtoA").module.net is run.model.netG_A
    assert (own.source.channels, own.target.channels) == (1, 2)
    assert (own.source.value_range, own.source.format) == ((-5.0, 5.0), "uint16")
    assert other.module.net is run.model.netG_B and other.outputs == ("fake_A",)
    assert (other.source.value_range, other.target.value_range) == ((0.0, 10.0), (-5.0, 5.0))
    with pytest.raises(ValueError, match="--direction AtoC: give AtoB or BtoA"):
        generator_of(run, "AtoC")


def test_what_depends_on_the_whole_picture_is_said(workdir):
    batch = ["--norm", "batch", "--netG", "unet_128"]
    assert "batch norm" in generator_of(opened("pix2pix", workdir, *batch)).whole_picture
    run = opened("pix2pix", workdir, *batch)
    run.model.train(False)
    assert generator_of(run).whole_picture == ""
    assert "instance norm" in generator_of(opened("cycle_gan", workdir)).whole_picture
    assert "attention" in generator_of(opened("ugatit", workdir)).whole_picture
    assert "attention" in generator_of(opened("atme", workdir)).whole_picture


def test_ugatit_full_has_one_size(workdir):
    assert generator_of(opened("ugatit", workdir)).fixed_size == (SIZE, SIZE)
    light = generator_of(opened("ugatit", workdir, "--light"))
    assert (light.fixed_size, light.multiple, light.minimum) == (None, 4, 8)


def test_sagan_makes_images_from_noise_and_class(workdir):
    run = opened("sagan", workdir)
    generator = generator_of(run)
    assert generator.inputs == ("z", "label")
    z, label = torch.randn(2, 8), torch.tensor([0, 2])
    with torch.no_grad():
        made = generator.module(z, label)[0]
    torch.testing.assert_close(made, run.model.sample(z, label), rtol=0, atol=0)


def test_a_model_that_does_not_say_how_it_translates():
    class Silent(BaseModel):
        def forward(self) -> None: ...

        def visuals(self):
            return {}

    with pytest.raises(ValueError, match="Silent does not translate images"):
        Silent(BaseModel.Options(), Engine()).generator_module()


def test_two_passes_of_atme_are_in_the_module(workdir):
    run = opened("atme", workdir, "--test_map", "two_pass")
    x = images_of(run, "AtoB")
    with torch.no_grad():
        run.model.set_input({"A": x, "A_paths": ["x.png"]})
        run.model.forward()
        made = generator_of(run).module(x)
    torch.testing.assert_close(made[0], run.model.fake_B, rtol=0, atol=1e-6)

"""``--accum_grad``: a step of several micro-batches is the step of their whole batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import train
from models import MODELS
from models.base_model import can_train
from models.micro_batches import Turns, parts_of, split
from models.networks.spectral import SpectralConv2d, SpectralLinear
from tests.conftest import SIZE, trainable_args, without_draws
from tests.models.test_models import make_batch
from util.run.engine import Engine

EQUAL = {"pix2pix": 0.02, "cycle_gan": 0.02, "atme": 0.02, "atme_unpaired": 0.02, "ugatit": 0.001, "augan": 0.02}
EQUAL |= {"colorization": 0.02, "perceptual": 0.02, "adversarial_losses": 0.02, "stochastic": 0.02}
"""Model -> learning rate of plain descent."""
SPECTRAL = (SpectralConv2d, SpectralLinear)


def build(name, *words, images=12):
    argv = ["--model", name, *trainable_args(name), *without_draws(name), *words]
    model = train.build_model(argv, dataset_size=images)
    model.check_size(SIZE, SIZE)
    model.train()
    for net in model.networks.values():
        net.to(torch.get_default_dtype())
    spectral = [m for net in model.networks.values() for m in net.modules() if isinstance(m, SPECTRAL)]
    if spectral:
        with torch.no_grad():  # closer to their singular values
            for net in model.networks.values():
                _ = [net(torch.ones(1, 3, SIZE, SIZE)) for _ in range(5)]
    for module in spectral:
        module.eval()  # every pass would be a step of power iteration: k micro-batches take k
    return model


def test_every_model_is_here():
    """But for sagan, whose n_critic updates have micro-batches of their own (test_sagan.py)."""
    assert {*EQUAL, "sagan"} == {name for name in MODELS.names() if can_train(MODELS.get(name))}


def batch_of(name, first, size=4):
    """All of a global batch of ``size`` images, where a complete one has 4."""
    return {**make_batch(name, size, seed=first, first=first), "global_size": size, "full_size": 4, "share": 1.0}


def with_gaps(batch):
    """A quarter of the first image's target is missing, and nothing of the others'."""
    mask = torch.ones(len(batch["B"]), 1, SIZE, SIZE)
    mask[0, :, : SIZE // 2, : SIZE // 2] = 0
    return {**batch, "B_mask": mask}


def weights(model) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value.clone()
        for name, net in model.networks.items()
        for key, value in net.state_dict().items()
        if value.is_floating_point()
    }


@pytest.fixture()
def doubles():
    """Rounding of float32, which grows from layer to layer, does not hide anything."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", EQUAL)
def test_a_step_of_micro_batches_equals_that_of_the_whole_batch(name, doubles, monkeypatch):
    """By plain descent: Adam would turn rounding into steps as large as any other."""
    monkeypatch.setattr(Engine, "adam", lambda self, each, *, lr, **settings: torch.optim.SGD(each, EQUAL[name]))
    words = ["--norm", "instance", "--pool_size", "3"] if name != "ugatit" else []
    whole, parted = build(name, *words), build(name, *words, "--accum_grad", "3")
    before = weights(whole)
    sizes = []
    set_input = parted.set_input
    parted.set_input = lambda batch: (sizes.append(len(batch["A"])), set_input(batch))
    batch = with_gaps(batch_of(name, 0))
    expected, found = whole.train_on(batch), parted.train_on(batch)
    assert sizes == [1, 1, 2]
    for key, value in expected.items():  # losses and pictures are float32
        torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-5, check_dtype=False)
    shown, all_shown = parted.visuals(), whole.visuals()
    assert list(shown) == list(all_shown)
    for key, images in shown.items():
        torch.testing.assert_close(images, all_shown[key][: len(images)], rtol=1e-5, atol=1e-5)
    moved, other = weights(whole), weights(parted)
    assert max(float((moved[key] - before[key]).abs().max()) for key in before) > 1e-4
    for key, value in moved.items():
        torch.testing.assert_close(other[key], value, rtol=1e-9, atol=1e-12, msg=lambda text, key=key: key + text)
    if name == "atme":
        assert parted.memory is not None and whole.memory is not None
        torch.testing.assert_close(parted.memory.maps, whole.memory.maps, rtol=1e-5, atol=1e-6)
    if name == "cycle_gan":
        images, others = ([each.state()["images"] for each in m.pools.values()] for m in (whole, parted))
        assert [len(each) for each in images] == [3, 3]
        torch.testing.assert_close(others, images, rtol=1e-9, atol=1e-12)


def test_the_discriminator_judges_the_fakes_that_the_generator_is_trained_by():
    """With dropout: both steps make the fakes of a micro-batch from the same random numbers."""
    argv = ["--model", "pix2pix", *trainable_args("pix2pix"), "--accum_grad", "2", "--norm", "none"]
    model = train.build_model(argv, dataset_size=4)
    model.train()
    seen = []
    model.netD.register_forward_pre_hook(lambda net, args: seen.append(args[0].detach().clone()))
    torch.manual_seed(0)
    model.train_on(batch_of("pix2pix", 0))
    both_D, other_both_D, fake_G, other_fake_G = seen
    fake_D, other_fake_D = both_D[: len(fake_G)], other_both_D[: len(other_fake_G)]  # the real ones come after them
    assert torch.equal(fake_D, fake_G) and torch.equal(other_fake_D, other_fake_G)
    assert not torch.equal(fake_D[0, 3:], fake_D[1, 3:])


def test_one_micro_batch_has_a_graph_at_a_time():
    model = build("pix2pix", "--accum_grad", "4", "--norm", "instance")
    graphs = []
    losses = model.generator_losses

    def generator_losses():
        graphs.append(sum(part.values[0].get("fake_B", torch.zeros(1)).requires_grad for part in model._turns._parts))
        return losses()

    model.generator_losses = generator_losses
    model.train_on(batch_of("pix2pix", 0))
    assert graphs == [0, 0, 0, 0] and not model.fake_B.requires_grad and model.fake_B.shape[0] == 1


@pytest.mark.parametrize(
    ("size", "processes", "parts"),
    [(8, 1, 4), (7, 1, 4), (6, 1, 3), (5, 1, 3), (3, 1, 2), (1, 1, 1), (8, 2, 4), (3, 2, 1), (1, 2, 1)],
)
def test_an_incomplete_batch_makes_as_many_micro_batches_as_it_fills(size, processes, parts):
    batch = {"global_size": size, "full_size": 8}
    assert parts_of(batch, 4, -(-size // processes), processes) == parts
    assert parts_of({}, 4, size, 1) == min(4, size)


def test_a_batch_is_split_by_images():
    images = torch.arange(5.0)[:, None, None, None]
    batch = {"A": images, "A_paths": list("abcde"), "index": torch.arange(5), "global_size": 10, "share": 0.5}
    (first, w1), (second, w2) = split(batch, 2)
    assert (w1, w2) == (0.4, 0.6)
    assert first["A_paths"] == ["a", "b"] and second["A_paths"] == ["c", "d", "e"]
    assert first["index"].tolist() == [0, 1] and second["A"].flatten().tolist() == [2, 3, 4]
    assert (first["global_size"], second["global_size"], first["share"]) == (4.0, 6.0, 0.5)


class Model(nn.Module):
    """Holds a batch in an attribute, a tuple and a number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.size, self.kept = 2, ()

    def batch_holders(self):
        return {}

    def set_input(self, batch):
        self.images, self.size = batch["A"], len(batch["A"])


def test_a_turn_brings_back_what_the_last_one_left():
    model = Model()
    batch = {"A": torch.tensor([1.0, 2.0, 3.0])}
    turns = Turns(model, batch, split(batch, 2), torch.device("cpu"))
    for _ in turns:
        model.kept = (model.images * model.weight, model.size)
    found = []
    for _ in turns:
        found.append((model.kept[0].tolist(), model.kept[0].requires_grad, model.kept[1], model.size))
    assert found == [([1.0], False, 1, 1), ([2.0, 3.0], False, 2, 2)]
    turns.back_to_first()
    assert model.size == 1 and model.weight.requires_grad

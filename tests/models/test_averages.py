"""``--ema_decay``: averaged copies of the generators, saved, resumed, and used by tests."""

from __future__ import annotations

import pytest
import torch

import train
from models import MODELS
from models.averages import decay_after, update_average
from models.base_model import can_train
from models.trained import load
from tests.conftest import data_of, trainable_args
from tests.models.test_micro_batches import batch_of
from tests.models.test_models import build, make_batch
from tests.runs import arguments, files, train_in
from util.run.inference import Snapshot

NAMES = {
    "pix2pix": {"G_ema"},
    "cycle_gan": {"G_A_ema", "G_B_ema"},
    "atme": {"G_ema", "W_ema"},
    "atme_unpaired": {"G_A_ema", "G_B_ema", "W_A_ema", "W_B_ema"},
    "ugatit": {"G_A2B_ema", "G_B2A_ema"},
    "augan": {"G_A_ema", "G_B_ema"},
    "stochastic": {"G_ema"},
    "colorization": {"G_ema"},
    "perceptual": {"G_ema"},
    "adversarial_losses": {"G_ema"},
}


def test_every_model_is_here():
    """But for sagan, whose average begins later (--ema_start) and is tested in test_sagan.py."""
    assert {*NAMES, "sagan"} == {name for name in MODELS.names() if can_train(MODELS.get(name))}


@pytest.mark.parametrize("name", NAMES)
def test_every_generator_has_an_average(name):
    model = build(name, "--ema_decay", "0.9")
    assert set(model.averages) == NAMES[name] == set(model.saved_networks) - set(model.networks)
    for key, average in model.averages.items():
        source = model.networks[key.removesuffix("_ema")].state_dict()
        assert all(torch.equal(value, source[part]) for part, value in average.state_dict().items())
        assert not any(parameter.requires_grad for parameter in average.parameters())
        assert model.weights_of(key.removesuffix("_ema")) == key
    assert build(name).averages == {} and build(name).weights_of("G_A") == "G_A"


@pytest.mark.parametrize("name", NAMES)
def test_every_average_follows_a_step_of_micro_batches(name):
    model = build(name, "--ema_decay", "0.9", "--accum_grad", "2", "--batch_size", "2")
    before = {key: [p.clone() for p in average.parameters()] for key, average in model.averages.items()}
    model.train_on(batch_of(name, 0))
    model.update_averages(1)
    for key, average in model.averages.items():
        source = model.networks[key.removesuffix("_ema")].parameters()
        for old, now, mean in zip(before[key], source, average.parameters(), strict=True):
            torch.testing.assert_close(mean, 2 / 11 * old + 9 / 11 * now)
        assert any(not torch.equal(old, mean) for old, mean in zip(before[key], average.parameters()))


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.999])
def test_an_update_is_the_linear_interpolation_of_each_tensor(decay):
    torch.manual_seed(0)
    average, source = (torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.BatchNorm2d(5)) for _ in range(2))
    source(torch.rand(2, 3, 8, 8))  # moves the running statistics
    before = [each.detach().clone() for each in average.parameters()]
    update_average(average, source, decay)
    for old, new, mean in zip(before, source.parameters(), average.parameters(), strict=True):
        assert torch.equal(mean, torch.lerp(old, new, 1 - decay))
        torch.testing.assert_close(mean, (decay * old.double() + (1 - decay) * new.double()).float())
    assert all(torch.equal(a, b) for a, b in zip(average.buffers(), source.buffers(), strict=True))
    assert int(average[1].num_batches_tracked) == 1


def test_the_decay_begins_small():
    assert [decay_after(steps, 0.9) for steps in (1, 2, 80, 81)] == [2 / 11, 3 / 12, 0.9, 0.9]
    assert decay_after(1, 0.1) == 0.1


def test_an_average_follows_the_steps():
    model, plain = build("pix2pix", "--ema_decay", "0.9"), build("pix2pix")
    at = "model.1.weight"
    expected = model.netG.state_dict()[at].clone()
    for steps, decay in ((1, 2 / 11), (2, 3 / 12)):
        for each in (model, plain):
            torch.manual_seed(steps)
            each.train_on(make_batch("pix2pix"))
        assert torch.equal(model.netG.state_dict()[at], plain.netG.state_dict()[at])  # the training is the same
        model.update_averages(steps)
        expected = decay * expected + (1 - decay) * model.netG.state_dict()[at]
        torch.testing.assert_close(model.averages["G_ema"].state_dict()[at], expected)


def test_averages_are_saved_resumed_and_tested(dataroot, workdir):
    words = ["--ema_decay", "0.9", "--norm", "instance", "--accum_grad", "2", "--no_html", "--save_epoch_freq", "9"]
    train_in(workdir, arguments(dataroot, *words, "--n_iters", "3", "--n_iters_decay", "2", name="whole"))
    train_in(workdir, arguments(dataroot, *words, "--n_iters", "2", name="parted"))  # in the middle of an epoch
    go_on = ["--n_iters", "3", "--n_iters_decay", "2", "--continue_train"]
    train_in(workdir, arguments(dataroot, *words, *go_on, name="parted"))
    whole, parted = (files(workdir / "checkpoints" / name) for name in ("whole", "parted"))
    assert {"latest_net_G.pth", "latest_net_G_ema.pth", "latest_net_D.pth"} < set(whole)
    for name in ("latest_net_G.pth", "latest_net_G_ema.pth", "latest_net_D.pth"):
        assert whole[name] == parted[name]
    state = torch.load(workdir / "checkpoints" / "parted" / "latest_state.pth", weights_only=True)
    assert state["progress"]["steps"] == 5 and state["progress"]["total_iters"] == 2 + 2 + 1 + 2 + 2

    def weight(*flags):
        return load("parted", flags=flags).model.networks["G"].state_dict()["model.1.weight"]

    saved = {
        name: torch.load(workdir / "checkpoints" / "parted" / f"latest_net_{name}.pth", weights_only=True)
        for name in ("G", "G_ema")
    }
    assert torch.equal(weight(), saved["G_ema"]["model.1.weight"])
    assert torch.equal(weight("--use_raw"), saved["G"]["model.1.weight"])
    assert not torch.equal(weight(), weight("--use_raw"))


def test_an_average_may_begin_later(dataroot, workdir, said):
    words = arguments(dataroot, "--no_html", "--n_iters", "1")
    train_in(workdir, words)
    train_in(workdir, [*words, "--n_iters", "2", "--continue_train", "--ema_decay", "0.9"])
    assert "latest has no G_ema: the average starts from G" in said()


def test_an_evaluation_measures_the_averages(dataroot, workdir, monkeypatch):
    """An average of nothing but zeros makes grey images, whatever the generator makes."""
    monkeypatch.setattr("models.base_model.update_average", lambda average, source, decay: zero(average))
    words = ["--ema_decay", "0.9", "--n_iters", "1", "--eval_freq", "1", "--eval_metrics", "l1", "--eval_phase", "test"]
    found = []
    monkeypatch.setattr(train.Session, "end_epoch", lambda self: found.append(evaluated(self)))
    train_in(
        workdir, ["--dataroot", str(data_of("pix2pix", dataroot)), "--name", "run", *trainable_args("pix2pix"), *words]
    )
    assert found == [{128}]


def zero(net):
    for parameter in net.parameters():
        parameter.zero_()


def evaluated(session):
    pictures = session.evaluation._pictures(Snapshot(session.model.saved_networks))
    return {int(value) for _, made in pictures for value in made["fake_B"].ravel()}

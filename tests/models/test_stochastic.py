"""The stochastic model: seeds decide its pictures, switches turn them, and without noise it is pix2pix."""

from __future__ import annotations

import pytest
import torch

from models import MODELS
from models.networks.generator_noise import NOISES, drawn_noise
from tests.models.test_models import build, make_batch, step
from util.run.checkpoint import Checkpointer
from util.run.engine import Engine

Stochastic = MODELS.get("stochastic")


def for_test(mode=True, **options):
    """A model as test.py has it: with running statistics, in training or evaluation mode."""
    torch.manual_seed(0)
    model = Stochastic(Stochastic.Options(netG="resnet_6blocks", ngf=4, **options), Engine())
    for module in model.netG.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    picture(model, 0)
    model.train(mode)
    return model


def picture(model, seed):
    model.set_input(make_batch("stochastic", size=1))
    torch.manual_seed(seed)
    with torch.inference_mode():
        model.forward()
    return model.fake_B.clone()


@pytest.mark.parametrize("mode", [True, False], ids=["published", "eval"])
@pytest.mark.parametrize("noise", NOISES)
def test_pictures_differ_by_the_seed_and_by_nothing_else(noise, mode):
    model = for_test(mode, noise=(noise,))
    assert model.draws_at_test
    first = picture(model, 1)
    assert torch.equal(picture(model, 1), first)
    assert float((picture(model, 2) - first).abs().mean()) > 1e-3


@pytest.mark.parametrize("mode", [True, False], ids=["published", "eval"])
@pytest.mark.parametrize("noise", NOISES)
def test_without_test_noise_there_is_one_answer(noise, mode):
    model = for_test(mode, noise=(noise, "dropout"), test_noise=False)
    assert not model.draws_at_test
    assert torch.equal(picture(model, 1), picture(model, 2))


def test_eval_changes_the_batch_norm_and_not_the_noise():
    model = for_test(False)
    by_kind = {type(module): module.training for module in model.netG.modules()}
    assert by_kind[torch.nn.Dropout] and not by_kind[torch.nn.BatchNorm2d]


@pytest.mark.parametrize("noise", NOISES)
def test_a_training_draws_whatever_a_test_shall_do(noise):
    losses = []
    for seed in (0, 1):
        model = build("stochastic", "--noise", noise, "--test_noise", "False")
        model.train()
        model.set_input(make_batch("stochastic"))
        torch.manual_seed(seed)
        losses.append(float(model.optimize_parameters()["G_L1"]))
    assert losses[0] != losses[1]


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        ({}, {0.5}),
        ({"dropout": 0.9}, {0.9}),
        ({"noise": ("feature",)}, set()),
        ({"noise": ("weight",), "no_dropout": True}, set()),
        ({"noise": ("weight", "dropout"), "dropout": 0.2}, {0.2}),
    ],
)
def test_rates_of_dropout(options, rates):
    model = Stochastic(Stochastic.Options(netG="resnet_6blocks", ngf=4, **options), Engine())
    assert {module.p for module in model.netG.modules() if isinstance(module, torch.nn.Dropout)} == rates


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"no_dropout": True}, r"^--no_dropout: .*--noise feature.*--test_noise False$"),
        ({"noise": ("weight", "dropout"), "dropout": 0.0}, "^--dropout 0: .*--test_noise False$"),
        ({"noise": ("feature",), "dropout": 0.9}, "^--dropout 0.9: .*--noise feature,dropout$"),
        ({"noise": ("features",)}, "^unknown --noise 'features'.*did you mean 'feature'"),
        ({"noise": ()}, "^unknown --noise ''.*weight"),
    ],
)
def test_what_contradicts_itself_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Stochastic.Options(**options)


def test_with_dropout_it_is_the_published_pix2pix():
    """The published model differs from pix2pix in that --no_dropout has no effect, and in nothing else."""
    ours, theirs = (step(build(name), make_batch(name)) for name in ("stochastic", "pix2pix"))
    assert {key: float(value) for key, value in ours.items()} == {key: float(value) for key, value in theirs.items()}


def test_weight_noise_leaves_the_stored_weights_and_keys_to_the_optimizer():
    model = build("stochastic", "--noise", "weight", "--noise_layers", "all")
    assert model.netG.state_dict().keys() == build("pix2pix", "--no_dropout").netG.state_dict().keys()
    before = {key: value.clone() for key, value in model.netG.named_parameters()}
    model.set_input(make_batch("stochastic"))
    model.forward()
    assert all(torch.equal(value, before[key]) for key, value in model.netG.named_parameters())


def test_a_checkpoint_of_pix2pix_can_be_gone_on_with(tmp_path):
    plain, model = build("pix2pix", "--no_dropout"), build("stochastic", "--noise", "feature", "--seed", "3")
    torch.save(plain.netG.state_dict(), tmp_path / "latest_net_G.pth")
    Checkpointer(tmp_path).load_network("latest", "G", model.netG)
    state = model.netG.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in plain.netG.state_dict().items())
    extra = [value for key, value in state.items() if key.endswith("noise.strength")]
    assert len(extra) == 2 and all(torch.equal(value, torch.full_like(value, 0.1)) for value in extra)
    torch.save(state, tmp_path / "latest_net_G.pth")
    with pytest.raises(ValueError, match=r"it has .*noise\.strength"):
        Checkpointer(tmp_path).load_network("latest", "G", plain.netG)


class FixedAnswer(torch.nn.Module):
    """A generator that always makes the same picture."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer


def test_diversity_is_the_distance_of_images_over_that_of_their_noise():
    """Two images: 0.3 and 1.5 apart. As the distance of draws counts 1 for dropout; tau 0.4 bounds the second."""
    model = build("stochastic", "--lambda_div", "5", "--div_tau", "0.4")
    model.fake_B = torch.zeros(2, 3, 4, 4)
    other = torch.stack([torch.full((3, 4, 4), 0.3), torch.full((3, 4, 4), -1.5)])
    model.noise.net = FixedAnswer(other)
    assert float(model.noise.diversity(other, model.fake_B, tau=0.4)) == pytest.approx((0.3 + 0.4) / 2)
    model.real = {"A": other, "B": model.fake_B}
    assert float(model.reconstruction_losses()["G_div"]) == pytest.approx(-5 * 0.35)


def test_diversity_of_feature_noise_counts_the_distance_of_all_its_numbers():
    model = build("stochastic", "--noise", "feature", "--lambda_div", "1", "--div_tau", "9")
    model.set_input(make_batch("stochastic"))
    with torch.no_grad():
        model.forward()
        first, noise = model.fake_B, drawn_noise(model.netG)
        torch.manual_seed(4)
        found = float(model.noise.diversity(model.real_A, first, tau=9.0))
        torch.manual_seed(4)
        other = model.generate(model.real_A)
    distance = (drawn_noise(model.netG) - noise).abs().mean(1)
    assert float(distance.mean()) == pytest.approx(2 / torch.pi**0.5, rel=0.05)  # E|n1 - n2| of N(0, 1)
    assert found == pytest.approx(float(((other - first).abs().mean((1, 2, 3)) / distance).mean()), rel=1e-5)


def test_the_diversity_term_is_reported_and_drives_the_draws_apart():
    batch = make_batch("stochastic")
    flags = ("--noise", "feature", "--lambda_L1", "0.000001", "--lambda_GAN", "0", "--lr", "0.01")
    apart = []
    for weight in ("0", "10"):
        model = build("stochastic", *flags, "--lambda_div", weight)
        losses = [step(model, batch) for _ in range(5)]
        assert tuple(losses[0]) == model.loss_names == (("G_L1", "G_div") if weight == "10" else ("G_L1",))
        with torch.no_grad():
            model.forward()
            apart.append(float(model.noise.diversity(model.real_A, model.fake_B, tau=0.5)))
    assert apart[1] > 1.5 * apart[0] and float(losses[-1]["G_div"]) < float(losses[0]["G_div"]) < 0

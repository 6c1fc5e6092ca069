"""What every registered model must do. A new model is tested here the moment it registers."""

from __future__ import annotations

import copy
import math

import pytest
import torch

import test as test_program
import train
from models import MODELS
from models.base_model import can_train, draws_from_noise
from models.losses.gan import GAN_MODES
from tests.conftest import SIZE, data_of, trainable_args, without_draws
from util.run.state import load_training_state, training_state

TRAINABLE = [name for name in MODELS.names() if can_train(MODELS.get(name))]
TRANSLATORS = [name for name in TRAINABLE if not draws_from_noise(MODELS.get(name))]
"""Those whose tests read images."""


def build(name: str, *argv: str):
    return train.build_model(["--model", name, *trainable_args(name), *argv], dataset_size=4)


def make_batch(name: str, size: int = 2, seed: int = 0, first: int = 0) -> dict:
    """Random images as a loader gives them, numbered from ``first``."""
    generator = torch.Generator().manual_seed(seed)
    options = MODELS.get(name).Options()
    batch = {}
    for side, channels in (("A", options.input_nc), ("B", options.output_nc)):
        batch[side] = torch.rand(size, channels, SIZE, SIZE, generator=generator) * 2 - 1
        batch[f"{side}_paths"] = [f"{side}{number}.png" for number in range(first, first + size)]
    if "image" in MODELS.get(name).needs:
        batch |= {"image": batch["A"], "label": torch.arange(size) % 3, "path": batch["A_paths"]}
    return {**batch, "index": torch.arange(first, first + size)}


def step(model, batch):
    torch.manual_seed(0)
    model.set_input(batch)
    return model.optimize_parameters()


def test_the_tests_below_cover_models_that_train():
    assert "pix2pix" in TRAINABLE and "test" not in TRAINABLE


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_step_gives_finite_losses_and_changes_every_network(name):
    model = build(name)
    before = copy.deepcopy({key: net.state_dict() for key, net in model.networks.items()})
    losses = step(model, make_batch(name))
    step(model, make_batch(name))  # what lies behind a gate that starts at 0 moves in the second step
    assert losses and all(value.ndim == 0 and not value.requires_grad for value in losses.values())
    assert all(math.isfinite(float(value)) for value in losses.values())
    assert model.loss_names == tuple(losses)
    for key, net in model.networks.items():
        trained = {
            id(p) for optimizer in model.optimizers.values() for g in optimizer.param_groups for p in g["params"]
        }
        for name_of, parameter in net.named_parameters():
            if id(parameter) in trained and parameter.ndim > 1:  # a bias before a norm may not move
                assert not torch.equal(parameter, before[key][name_of]), f"{key}.{name_of} did not change"


@pytest.mark.parametrize("name", TRAINABLE)
def test_visuals_are_images(name):
    model = build(name)
    step(model, make_batch(name))
    for label, image in model.visuals().items():
        assert image.dtype == torch.float32 and not image.requires_grad, label
        assert image.shape[0] == 2 and image.shape[1] in (1, 3) and image.shape[2:] == (SIZE, SIZE), label
        assert float(image.abs().max()) <= 1.0, label


@pytest.mark.parametrize("name", TRAINABLE)
def test_the_same_seed_gives_the_same_model_and_step(name):
    runs = [step(build(name), make_batch(name)) for _ in range(2)]
    assert {key: float(value) for key, value in runs[0].items()} == {
        key: float(value) for key, value in runs[1].items()
    }
    first, other = (next(iter(build(name, "--seed", seed).networks.values())) for seed in "01")
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters()))


@pytest.mark.parametrize("name", TRAINABLE)
def test_training_state_restores_the_next_step(name, tmp_path):
    model = build(name)
    step(model, make_batch(name))
    torch.save(training_state(model), tmp_path / "state.pth")
    other = build(name, "--seed", "5")
    for key, net in model.networks.items():
        other.networks[key].load_state_dict(net.state_dict())
    load_training_state(other, torch.load(tmp_path / "state.pth", weights_only=True))
    batch = make_batch(name, seed=1)
    assert {k: float(v) for k, v in step(model, batch).items()} == {k: float(v) for k, v in step(other, batch).items()}
    for key, net in model.networks.items():
        for a, b in zip(net.state_dict().values(), other.networks[key].state_dict().values()):
            assert torch.equal(a, b)


@pytest.mark.parametrize("name", TRAINABLE)
def test_bf16_stays_near_fp32(name):
    exact = step(build(name), make_batch(name))
    rough = step(build(name, "--precision", "bf16"), make_batch(name))
    for key, value in exact.items():
        assert rough[key].dtype == torch.float32
        assert float(rough[key]) == pytest.approx(float(value), rel=0.05, abs=0.05), key


@pytest.mark.parametrize("name", TRAINABLE)
def test_channels_last_computes_the_same(name):
    calm = without_draws(name)
    exact, other = (step(build(name, *calm, *argv), make_batch(name)) for argv in ((), ("--channels_last",)))
    for key, value in exact.items():
        assert float(other[key]) == pytest.approx(float(value), rel=1e-4), key


@pytest.mark.parametrize("name", TRAINABLE)
def test_inference_builds_only_what_it_needs(name, workdir, dataroot):
    argv = [
        "--model",
        name,
        *trainable_args(name),
        "--name",
        "run",
        "--n_epochs",
        "1",
        "--n_epochs_decay",
        "0",
        "--no_html",
    ]
    assert train.main([*argv, "--dataroot", str(data_of(name, dataroot)), "--max_dataset_size", "3"]) == 0
    full, bare = build(name).networks, MODELS.get(name)(build(name).options, train_engine())
    assert set(bare.networks) < set(full) and not bare.optimizers
    for file in (workdir / "checkpoints" / "run").glob("*_net_*.pth"):
        if file.stem.split("_net_")[1] not in bare.networks:
            file.unlink()
    for file in (workdir / "checkpoints" / "run").glob("*_state.pth"):
        file.unlink()
    assert test_program.main(["--name", "run", "--gpu_ids", "-1"]) == 0


def train_engine():
    from util.run.engine import Engine

    return Engine()


def test_freezing_is_the_business_of_update():
    model = build("pix2pix")
    step(model, make_batch("pix2pix"))
    networks = [parameter for net in model.networks.values() for parameter in net.parameters()]
    assert all(parameter.grad is None for parameter in networks), "they take no memory in the next forward pass"
    assert all(not parameter.requires_grad for parameter in model.networks["D"].parameters()), "the last step was G's"


@pytest.mark.parametrize("mode", GAN_MODES)
def test_every_objective_trains_pix2pix(mode):
    losses = step(build("pix2pix", "--gan_mode", mode, "--norm", "instance"), make_batch("pix2pix"))
    names = ["G_GAN", "G_L1", "D_real", "D_fake"] + (["D_gp"] if mode == "wgangp" else [])
    assert list(losses) == names == list(build("pix2pix", "--gan_mode", mode).loss_names)
    assert all(math.isfinite(float(value)) for value in losses.values())


def test_a_step_of_pix2pix_is_the_published_arithmetic():
    """D first on detached fakes with 0.5 * (fake + real), then G against the updated D with GAN + 100 * L1."""
    batch = make_batch("pix2pix")
    args = ("--no_dropout", "--norm", "instance", "--lr", "0.01")
    model, plain = build("pix2pix", *args), build("pix2pix", *args)
    losses = step(model, batch)
    G, D, A, B = plain.networks["G"], plain.networks["D"], batch["A"], batch["B"]
    bce, ones = torch.nn.functional.binary_cross_entropy_with_logits, torch.ones_like
    adam = {"lr": 0.01, "betas": (0.5, 0.999)}
    optimizer_G = torch.optim.Adam(G.parameters(), **adam)
    optimizer_D = torch.optim.Adam(D.parameters(), **adam)
    fake = G(A)
    p_fake, p_real = D(torch.cat([A, fake.detach()], 1)), D(torch.cat([A, B], 1))
    d_fake, d_real = bce(p_fake, 0 * p_fake), bce(p_real, ones(p_real))
    optimizer_D.zero_grad()
    (0.5 * (d_fake + d_real)).backward()
    optimizer_D.step()
    p = D(torch.cat([A, fake], 1))
    g_gan, g_l1 = bce(p, ones(p)), 100 * (fake - B).abs().mean()
    optimizer_G.zero_grad()
    (g_gan + g_l1).backward()
    optimizer_G.step()
    expected = {"G_GAN": g_gan, "G_L1": g_l1, "D_real": d_real, "D_fake": d_fake}
    assert {key: float(value) for key, value in losses.items()} == pytest.approx(
        {key: float(value.detach()) for key, value in expected.items()}, rel=1e-5
    )
    for key, net in model.networks.items():
        for a, b in zip(net.parameters(), plain.networks[key].parameters()):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_a_penalty_cannot_be_compiled():
    with pytest.raises(ValueError, match=r"--gan_mode wgangp.*--compile"):
        build("pix2pix", "--gan_mode", "wgangp", "--compile")


def test_the_history_of_fakes_is_used_and_saved():
    model = build("pix2pix", "--pool_size", "3")
    for seed in range(3):
        step(model, make_batch("pix2pix", seed=seed))
    state = model.extra_state()["fake_pool"]
    assert state != build("pix2pix", "--pool_size", "3").extra_state()["fake_pool"]


def test_a_state_of_other_layers_is_refused():
    model, wider = build("pix2pix"), build("pix2pix", "--ngf", "6")
    for each in (model, wider):
        step(each, make_batch("pix2pix"))
    before = training_state(model)
    with pytest.raises(ValueError, match=r"the state of optimizer G belongs to another network"):
        load_training_state(model, training_state(wider))
    load_training_state(model, before)


def test_a_state_of_another_model_is_refused():
    model = build("pix2pix")
    with pytest.raises(ValueError, match="--model"):
        load_training_state(model, {"optimizers": {"X": {}}, "scaler": {}, "extra": {}})


def test_a_size_that_the_network_cannot_do_is_refused_with_the_multiple():
    model = build("pix2pix", "--netG", "unet_128", "--crop_size", "30")
    with pytest.raises(ValueError, match="multiple of 128"):
        model.set_input(make_batch("pix2pix"))


def test_the_test_model_cannot_be_trained():
    with pytest.raises(ValueError, match=r"test\.py only"):
        build("test")


def test_a_saved_checkpoint_has_exactly_the_references_keys(tmp_path):
    """The published defaults of pix2pix, written by our code: names, shapes and order of the reference's state_dict."""
    from tests.golden_rules import load_golden
    from util.run.checkpoint import FORMAT, Checkpointer

    index, _ = load_golden("atme/golden_pix2pix")
    model = train.build_model(["--model", "pix2pix", "--gpu_ids", "-1"], dataset_size=1)
    Checkpointer(tmp_path).save(["latest"], model.networks, {"format": FORMAT})
    for name, golden in (("G", "unet_256_batch"), ("D", "D_basic_batch")):
        saved = torch.load(tmp_path / f"latest_net_{name}.pth", weights_only=True)
        entries = [[key, list(value.shape)] for key, value in saved.items()]
        assert entries == [[key, list(shape)] for key, shape, _ in index["networks"][golden]["state_dict"]]

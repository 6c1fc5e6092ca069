"""A step of SAGAN as the reference program takes it: losses, order of effects, and Adam's settings."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import train
from models.sagan_model import SAGANModel
from tests.sagan_golden import CLASSES, INDEX, LATENT, WIDTH, fill, golden_inputs

X = golden_inputs()


@pytest.fixture(scope="module")
def model() -> SAGANModel:
    words = f"--model sagan --image_size 128 --ngf {WIDTH} --ndf {WIDTH} --nz {LATENT} --num_classes {CLASSES}"
    made = train.build_model([*words.split(), "--gpu_ids", "-1"], dataset_size=2)
    assert isinstance(made, SAGANModel)
    return made


def test_losses_of_an_update(model: SAGANModel) -> None:
    networks = {key: model.networks[key] for key in "GD"}
    fill(networks)
    losses = model.update_D([(X["x_real"], X["y_real"], X["z"], X["y_fake"])])
    assert (losses["D_real"] + losses["D_fake"]).item() == pytest.approx(INDEX["loss_dis"], rel=1e-4)
    real = (1 - torch.tensor(INDEX["p_real_in_loss_dis"])).relu().mean()
    assert losses["D_real"].item() == pytest.approx(real.item(), rel=1e-4)
    fill(networks)
    losses = model.update_G([(X["z"], X["y_fake"])])
    assert losses["G"].item() == pytest.approx(INDEX["loss_gen"], rel=1e-4)


def test_adam_with_the_published_settings(model: SAGANModel) -> None:
    """But for gradients near eps, which the reference does not scale by the bias correction."""
    golden = INDEX["adam"]
    settings = {key: model.optimizers["D"].defaults[key] for key in ("lr", "betas", "eps", "weight_decay")}
    theta = nn.Parameter(torch.tensor(golden["start"]))
    optimizer = type(model.optimizers["D"])([theta], **settings)
    for number, after in enumerate(golden["after"], start=1):
        theta.grad = torch.tensor([0.1, -1e-8, 1e-3, 2.0]) * number
        optimizer.step()
        found = theta.tolist()
        assert [found[0], *found[2:]] == pytest.approx([after[0], *after[2:]], abs=1e-6)
    assert model.optimizers["G"].defaults["lr"] == 1e-4 and model.optimizers["G"].defaults["betas"] == (0.0, 0.999)

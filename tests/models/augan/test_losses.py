"""AU-GAN's terms against the published values and gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from models.augan.losses import domain_loss, mean_feature_distance, uncertain_l1
from models.losses.gan import GANLoss
from tests.golden_rules import load_golden, uniform_input

GOLDEN, ARRAYS = load_golden("augan/golden")
LOSSES = GOLDEN["losses"]
MAPS = [
    3 * uniform_input(shape, seed) for shape, seed in (((2, 1, 10, 10), 11), ((2, 1, 4, 4), 12), ((2, 1, 1, 1), 13))
]
X, Y = (uniform_input((2, 3, 16, 16), seed) for seed in (17, 18))


@pytest.mark.parametrize(("kind", "shape", "seed"), [("conf3", (2, 3, 16, 16), 19), ("conf1", (2, 1, 16, 16), 20)])
def test_uncertainty_equals_the_published_one(kind: str, shape: tuple[int, ...], seed: int) -> None:
    y, s = Y.clone().requires_grad_(), (uniform_input(shape, seed) + 1).requires_grad_()
    loss = uncertain_l1(X, y, s)
    loss.backward()
    assert y.grad is not None and s.grad is not None
    assert loss.item() == pytest.approx(LOSSES[f"confidence_{kind}"], rel=1e-6)
    for found, name in ((y.grad, "grad_fake"), (s.grad, "grad_conf")):
        want = ARRAYS[f"loss_confidence_{kind}/{name}"]
        assert np.abs(found.numpy() - want).max() <= 1e-5 * np.abs(want).max()


def test_uncertainty_of_the_authors_code() -> None:
    s = uniform_input((2, 1, 16, 16), 20) + 1
    assert uncertain_l1(X, Y, s).item() == pytest.approx(LOSSES["tf_conf_gauss"], rel=1e-6)


def test_least_uncertainty_loss_is_at_the_logarithm_of_the_error() -> None:
    error = 0.7
    s = torch.full((1, 1, 1, 1), math.log(10 * error), requires_grad=True)
    uncertain_l1(torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), error), s).backward()
    assert s.grad is not None and s.grad.item() == pytest.approx(0, abs=1e-6)


def test_features_and_domains() -> None:
    u, v = (uniform_input((2, 32, 16, 16), seed) for seed in (15, 16))
    assert mean_feature_distance(u, v).item() == pytest.approx(LOSSES["perceptual"], rel=1e-6)
    assert mean_feature_distance(u, v).item() == pytest.approx(LOSSES["tf_percep_one_term"], rel=1e-6)
    logits = 3 * uniform_input((2, 7), 14)
    assert domain_loss(logits, False).item() == pytest.approx(LOSSES["cls_A"], rel=1e-6)
    assert domain_loss(logits, True).item() == pytest.approx(LOSSES["cls_B"], rel=1e-6)


@pytest.mark.parametrize("truth", [True, False])
def test_scales_are_averaged_by_the_authors_and_summed_in_the_port(truth: bool) -> None:
    for mode in ("lsgan", "vanilla"):
        assert GANLoss(mode)(MAPS[0], truth).item() == pytest.approx(LOSSES[f"gan_{mode}_single_{truth}"], rel=1e-6)
        assert 3 * GANLoss(mode)(MAPS, truth).item() == pytest.approx(LOSSES[f"gan_{mode}_list_{truth}"], rel=1e-6)
    assert GANLoss("lsgan")(MAPS, truth).item() == pytest.approx(LOSSES[f"tf_lsgan_list_{truth}"], rel=1e-6)
    assert GANLoss("wgangp")(MAPS[0], truth).item() == pytest.approx(LOSSES[f"gan_wgangp_single_{truth}"], rel=1e-6)

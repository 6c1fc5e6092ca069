"""GAN objectives against the published values and against the formulas by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.losses.gan import GAN_MODE_ALIASES, GAN_MODES, GANLoss, canonical_gan_mode
from tests.golden_rules import load_golden

ATME = load_golden("atme/golden_pix2pix")[0]["misc"]["gan_loss"]["values"]
DLIM = load_golden("dlim/golden_inherited")[0]["gan_losses"]
FORMS = ("single", "list_of_lists", "list_of_tensors", "list_with_features")
# name of the golden value -> (target_is_real, for_discriminator)
CALLS = {
    "D_real": (True, True),
    "D_fake": (False, True),
    "G": (True, False),
    "real": (True, True),
    "fake": (False, True),
}


def predictions(form: Any) -> tuple[Any, list[Tensor]]:
    """The prediction in the golden form, and its tensors in order, as leaves."""
    if isinstance(form[-1], int):
        shape, seed = form
        values = (np.random.default_rng(seed).standard_normal(shape) * 2).astype("float32")
        leaf = torch.from_numpy(values).requires_grad_()
        return leaf, [leaf]
    parts = [predictions(part) for part in form]
    return [part[0] for part in parts], [leaf for part in parts for leaf in part[1]]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("golden", [name for name in DLIM if name.startswith(("spade_", "pix2pix_"))])
def test_values_and_gradients(golden: str, form: str) -> None:
    loss = GANLoss(golden.split("_")[1])
    for call, want in DLIM[golden][form].items():
        target_is_real, for_discriminator = CALLS[call]
        prediction, leaves = predictions(DLIM["predictions"][form])
        value = loss(prediction, target_is_real, for_discriminator)
        assert value.shape == () and value.dtype == torch.float32
        assert value.item() == pytest.approx(want["value"], abs=1e-6)
        value.backward()
        for leaf, total, absolute in zip(leaves, want["grad_sum"], want["grad_abs_sum"], strict=True):
            if total is None:  # features take no part
                assert leaf.grad is None
                continue
            assert leaf.grad is not None
            assert leaf.grad.sum().item() == pytest.approx(total, abs=1e-5)
            assert leaf.grad.abs().sum().item() == pytest.approx(absolute, abs=1e-5)


@pytest.mark.parametrize("mode", ATME)
def test_published_pix2pix_values(mode: str) -> None:
    p = torch.from_numpy(np.random.default_rng(77).uniform(-1, 1, (2, 1, 5, 5)).astype("float32") * 3)
    assert GANLoss(mode)(p, True).item() == pytest.approx(ATME[mode]["real"], abs=1e-6)
    assert GANLoss(mode)(p, False).item() == pytest.approx(ATME[mode]["fake"], abs=1e-6)


def test_by_hand() -> None:
    p = torch.tensor([2.0, -3.0])
    assert GANLoss("hinge")(p, True).item() == 2.0  # (0 + 4) / 2
    assert GANLoss("hinge")(p, False).item() == 1.5  # (3 + 0) / 2
    assert GANLoss("hinge")(p, True, for_discriminator=False).item() == 0.5  # -(2 - 3) / 2
    assert GANLoss("lsgan")(p, True).item() == 8.5  # (1 + 16) / 2
    assert GANLoss("lsgan")(p, False).item() == 6.5  # (4 + 9) / 2
    assert GANLoss("wgan")(p, True).item() == 0.5
    assert GANLoss("vanilla")(torch.zeros(4), True).item() == pytest.approx(0.6931472)  # log 2


def test_vanilla_is_finite_for_extreme_logits() -> None:
    p = torch.tensor([1e4, -1e4], requires_grad=True)
    loss = GANLoss("vanilla")(p, True)
    assert loss.item() == 5e3
    loss.backward()
    assert p.grad is not None and p.grad.tolist() == [0.0, -0.5]


def test_scales_count_the_same_whatever_their_size() -> None:
    loss = GANLoss("wgan")([torch.full((1, 1, 8, 8), 2.0), torch.full((1, 1, 2, 2), 4.0)], False)
    assert loss.item() == 3.0


@pytest.mark.parametrize("mode", GAN_MODES)
def test_float32_for_half_precision_predictions(mode: str) -> None:
    p = torch.linspace(-3, 3, 101).to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = GANLoss(mode)([p], True)
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(GANLoss(mode)(p.float(), True).item(), abs=1e-6)


def test_names() -> None:
    assert [canonical_gan_mode(mode) for mode in GAN_MODES] == ["vanilla", "lsgan", "hinge", "wgan", "wgangp"]
    assert GAN_MODE_ALIASES == {"original": "vanilla", "bce": "vanilla", "ls": "lsgan", "w": "wgan"}
    assert GANLoss("w").mode == "wgan" and GANLoss("original").mode == "vanilla"
    with pytest.raises(ValueError, match=r"--gan_mode 'hing': did you mean 'hinge'.*original"):
        GANLoss("hing")


def test_misuse() -> None:
    with pytest.raises(ValueError, match="target_is_real"):
        GANLoss("hinge")(torch.zeros(1), False, for_discriminator=False)
    for empty in ([], [[]]):
        with pytest.raises(ValueError, match="empty list"):
            GANLoss("lsgan")(empty, True)

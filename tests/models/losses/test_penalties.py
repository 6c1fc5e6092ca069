"""The gradient penalty against published values and a linear critic, whose gradient is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.losses.penalties import gradient_penalty
from models.networks.factory import build_discriminator
from tests.golden_rules import fill, load_golden, uniform_input

ATME = load_golden("atme/golden_pix2pix")[0]["misc"]["gradient_penalty"]["values"]
DLIM = load_golden("dlim/golden_inherited")[0]["gan_losses"]["gradient_penalty"]


def published_setup(real_seed: int, fake_seed: int) -> tuple[torch.nn.Module, Tensor, Tensor]:
    net = fill(build_discriminator("basic", 6, ndf=16, norm="instance"))
    return net, uniform_input([2, 6, 64, 64], real_seed), uniform_input([2, 6, 64, 64], fake_seed)


@pytest.mark.parametrize("kind", ["real", "fake"])
def test_published_values(kind: str) -> None:
    assert gradient_penalty(*published_setup(5, 6), kind=kind).item() == pytest.approx(ATME[kind], rel=1e-4)
    assert gradient_penalty(*published_setup(1234, 4321), kind=kind).item() == pytest.approx(DLIM[kind], rel=1e-4)


def test_published_mixed_value() -> None:
    setup = published_setup(5, 6)
    torch.manual_seed(0)
    drawn = gradient_penalty(*setup)
    assert drawn.item() == pytest.approx(ATME["mixed_manual_seed_0"], rel=1e-4)
    torch.manual_seed(0)
    given = gradient_penalty(*setup, alpha=torch.rand(2, 1))
    assert torch.equal(given, drawn)


def test_linear_critic() -> None:
    # D(x) = sum(w * x) with |w| = 0.5 * sqrt(12): the penalty is 10 * (sqrt(3) - 1)^2 at every image, and its
    # gradient is 20 * (sqrt(3) - 1) * w / |w|, so 20 * (sqrt(3) - 1) / sqrt(12) in each of the 12 weights
    w = torch.full((3, 2, 2), 0.5, requires_grad=True)
    real, fake = torch.ones(4, 3, 2, 2), torch.zeros(4, 3, 2, 2)
    penalty = gradient_penalty(lambda x: (w * x).sum((1, 2, 3)), real, fake)
    assert penalty.shape == () and penalty.item() == pytest.approx(10 * (3**0.5 - 1) ** 2)
    penalty.backward()
    assert w.grad is not None
    assert torch.allclose(w.grad, torch.full_like(w, 20 * (3**0.5 - 1) / 12**0.5))


def test_alpha_belongs_to_the_sample() -> None:
    seen: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.square().sum((1, 2, 3)) / 2  # gradient x

    real, fake = torch.ones(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)
    penalty = gradient_penalty(critic, real, fake, alpha=torch.tensor([0.25, 1.0]), weight=2.0, constant=0.0)
    assert seen[0][:, 0, 0, 0].tolist() == [0.25, 1.0]
    # norms are alpha * |ones(4)| = 0.5 and 2: 2 * (0.25 + 4) / 2
    assert penalty.item() == pytest.approx(4.25)


@pytest.mark.parametrize("kind", ["mixed", "real", "fake"])
def test_no_gradient_flows_into_the_images(kind: str) -> None:
    w = torch.ones((), requires_grad=True)
    real, fake = torch.rand(2, 1, 2, 2, requires_grad=True), torch.rand(2, 1, 2, 2, requires_grad=True)
    gradient_penalty(lambda x: w * x.square(), real, fake, kind=kind).backward()
    assert w.grad is not None and real.grad is None and fake.grad is None


def test_lists_of_maps_are_summed() -> None:
    x = torch.rand(2, 1, 3, 3)
    critic = gradient_penalty(lambda x: [[x.exp(), 2 * x], x], x, x, constant=0.0, weight=1.0)
    assert critic.item() == pytest.approx(9 * 3**2)  # gradient 2 + 1 in each of 9 pixels; the features do not count


def test_constant_critic_is_finite() -> None:
    w = torch.zeros((), requires_grad=True)
    penalty = gradient_penalty(lambda x: w * x, torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    assert penalty.item() == pytest.approx(10)
    penalty.backward()
    assert w.grad is not None and w.grad.isfinite()


def test_float32_under_autocast() -> None:
    net, real, fake = published_setup(5, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        penalty = gradient_penalty(net, real, fake, kind="fake")
    assert penalty.dtype == torch.float32
    assert penalty.item() == pytest.approx(ATME["fake"], rel=1e-4)


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match="'mixd': did you mean 'mixed'"):
        gradient_penalty(lambda x: x, torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1), kind="mixd")

"""Learning-rate schedules against the published tables, the closed forms and torch's own schedulers."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau, StepLR

from tests.golden_rules import load_golden
from util.run.schedule import Plateau, lr_factor, lr_factor_by_iters

LR = 2e-4
PUBLISHED = load_golden("atme/golden_pix2pix")[0]["misc"]["lr_used_in_each_epoch"]
SHORT = load_golden("dlim/golden_inherited")[0]["schedulers"]
CASES: dict[str, dict[str, Any]] = {
    "linear_100_100": {"policy": "linear", "n_epochs": 100, "n_epochs_decay": 100},
    "linear_5_3": {"policy": "linear", "n_epochs": 5, "n_epochs_decay": 3},
    "linear_5_3_resumed_epoch_count_6": {"policy": "linear", "n_epochs": 5, "n_epochs_decay": 3, "epoch_count": 6},
    "linear_1_2": {"policy": "linear", "n_epochs": 1, "n_epochs_decay": 2},
    "step_10_10_decay4": {"policy": "step", "n_epochs": 10, "n_epochs_decay": 10, "lr_decay_iters": 4},
    "cosine_10_10": {"policy": "cosine", "n_epochs": 10, "n_epochs_decay": 10},
}


def factors(policy: str, n_epochs: int, n_epochs_decay: int, **options: Any) -> list[float]:
    """The factor of every trained epoch."""
    epochs = range(options.get("epoch_count", 1), n_epochs + n_epochs_decay + 1)
    lengths = {"n_epochs": n_epochs, "n_epochs_decay": n_epochs_decay}
    return [lr_factor(policy, epoch=epoch, **lengths, **options) for epoch in epochs]


@pytest.mark.parametrize("case", CASES)
def test_reference_equals_the_published_table(case: str) -> None:
    got = [LR * factor for factor in factors(**CASES[case], sched_compat="reference")]
    assert got == pytest.approx(PUBLISHED[case], rel=1e-9, abs=1e-17)


def test_every_published_table_is_tested() -> None:
    assert set(PUBLISHED) == {*CASES, "plateau_10_10_metric_always_0"}


@pytest.mark.parametrize("policy", ["linear", "step", "cosine"])
def test_reference_equals_the_short_tables(policy: str) -> None:
    got = factors(policy, 4, 4, lr_decay_iters=3, sched_compat="reference")
    assert [LR * factor for factor in got] == pytest.approx(SHORT[policy], rel=1e-9, abs=1e-17)


def test_linear() -> None:
    assert factors("linear", 3, 4) == pytest.approx([1, 1, 1, 0.8, 0.6, 0.4, 0.2])
    assert factors("linear", 0, 1) == [0.5]
    assert factors("linear", 2, 0) == [1, 1]


def test_step() -> None:
    assert factors("step", 3, 4, lr_decay_iters=3) == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01])
    assert factors("step", 2, 2, lr_decay_iters=1, gamma=0.5) == [1, 0.5, 0.25, 0.125]


def test_cosine() -> None:
    assert factors("cosine", 2, 2) == pytest.approx([1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2])


def test_constant() -> None:
    assert factors("constant", 2, 2) == factors("constant", 2, 2, sched_compat="reference") == [1, 1, 1, 1]


@pytest.mark.parametrize("policy", ["step", "cosine"])
def test_equals_torch_stepped_at_the_end_of_an_epoch(policy: str) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    scheduler: Any = StepLR(optimizer, 4, 0.1) if policy == "step" else CosineAnnealingLR(optimizer, 12)
    want = []
    for _ in range(12):
        want.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    got = [LR * factor for factor in factors(policy, 5, 7, lr_decay_iters=4)]
    assert got == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("lengths", [(1, 0), (0, 1), (0, 7), (5, 3), (100, 100), (10, 1000)])
@pytest.mark.parametrize("policy", ["linear", "step", "cosine", "constant"])
def test_starts_at_the_nominal_rate_never_rises_never_is_zero(policy: str, lengths: tuple[int, int]) -> None:
    got = factors(policy, *lengths, lr_decay_iters=50)
    assert got[0] == (1 if policy != "linear" or lengths[0] else 1 - 1 / (lengths[1] + 1))
    assert all(after <= before for before, after in pairwise(got))
    assert got[-1] > 0


@pytest.mark.parametrize("policy", ["linear", "step", "cosine", "constant"])
def test_iterations_have_the_same_form(policy: str) -> None:
    by_iters = [
        lr_factor_by_iters(policy, iteration=done, n_iters=4, n_iters_decay=5, lr_decay_iters=2) for done in range(9)
    ]
    assert by_iters == factors(policy, 4, 5, lr_decay_iters=2)


@pytest.mark.parametrize("policy", ["linear", "cosine"])
def test_a_very_long_run_never_reaches_zero(policy: str) -> None:
    last = lr_factor_by_iters(policy, iteration=10**9 - 1, n_iters=0, n_iters_decay=10**9, lr_decay_iters=1)
    want = 1 / (10**9 + 1) if policy == "linear" else (math.pi / 2e9) ** 2
    assert last == pytest.approx(want, rel=1e-6, abs=0)


@pytest.mark.parametrize("policy", ["linear", "step", "cosine", "constant"])
@pytest.mark.parametrize("sched_compat", ["correct", "reference"])
def test_past_the_end_the_last_factor_stays(policy: str, sched_compat: str) -> None:
    options = {"n_epochs": 4, "n_epochs_decay": 3, "lr_decay_iters": 2, "sched_compat": sched_compat}
    assert lr_factor(policy, epoch=50, **options) == lr_factor(policy, epoch=7, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "linaer"}, "--lr_policy 'linaer': did you mean 'linear'"),
        ({"policy": "linaer", "sched_compat": "reference"}, "--lr_policy 'linaer'"),
        ({"policy": "plateau"}, "--lr_policy plateau"),
        ({"policy": "linear", "sched_compat": "old"}, "--sched_compat 'old'.*correct, reference"),
        ({"policy": "linear", "epoch": 0}, "epoch 0"),
        ({"policy": "step", "lr_decay_iters": 0}, "--lr_decay_iters 0"),
        ({"policy": "step", "lr_decay_iters": 1}, "--lr_decay_iters 1: .*vanishes"),
    ],
)
def test_messages(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        lr_factor(**{"epoch": 1, "n_epochs": 100, "n_epochs_decay": 100, **options})
    assert "\n" not in str(caught.value)


def test_messages_by_iterations() -> None:
    with pytest.raises(ValueError, match="iteration -1"):
        lr_factor_by_iters("linear", iteration=-1, n_iters=1, n_iters_decay=1, lr_decay_iters=1)
    with pytest.raises(ValueError, match=r"--lr_decay_iters 50: .*vanishes"):
        lr_factor_by_iters("step", iteration=0, n_iters=100_000, n_iters_decay=0, lr_decay_iters=50)


def test_plateau_of_a_constant_metric_equals_the_published_table() -> None:
    plateau = Plateau()
    got = [LR * plateau.update(0.0) for _ in range(20)]
    assert got == pytest.approx(PUBLISHED["plateau_10_10_metric_always_0"])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("options", [{}, {"factor": 0.5, "threshold": 0.1, "patience": 0}, {"patience": 2}])
def test_plateau_equals_torch(seed: int, options: dict[str, Any]) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    want = ReduceLROnPlateau(optimizer, mode="min", **{"factor": 0.2, "threshold": 0.01, "patience": 5, **options})
    plateau, rng = Plateau(**options), random.Random(seed)
    lowered = set()
    for epoch in range(200):
        metric = 0.4 + math.exp(-epoch / 40) + rng.uniform(-0.3, 0.3)  # above 0: there torch's rule is ours
        want.step(metric)
        assert plateau.update(metric) == optimizer.param_groups[0]["lr"] == plateau.current
        lowered.add(plateau.current)
    assert len(lowered) > 3 and min(lowered) > 0


def test_a_slightly_worse_negative_value_is_not_better() -> None:
    plateau = Plateau(patience=0, threshold=0.1)
    assert plateau.update(-1.0) == 1.0
    assert plateau.update(-0.95) == 0.2  # torch: better, because it is below -1.0 * (1 - 0.1)
    assert plateau.update(-1.2) == 0.2  # better by more than a tenth: nothing is lowered


def test_plateau_resumes() -> None:
    rng = random.Random(0)
    plateau, resumed = Plateau(patience=1), Plateau(patience=1)
    for _ in range(7):
        plateau.update(rng.random())
    state = plateau.state()
    assert all(type(value) in (int, float) for value in state.values())
    resumed.load_state(state)
    for _ in range(30):
        value = rng.random()
        assert plateau.update(value) == resumed.update(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_plateau_refuses_a_metric_that_is_not_finite(value: float) -> None:
    plateau = Plateau()
    plateau.update(1.0)
    before = plateau.state()
    with pytest.raises(ValueError, match="--lr_policy plateau"):
        plateau.update(value)
    assert plateau.state() == before

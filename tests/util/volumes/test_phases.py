"""No patient is in two phases, whatever the names, shares and earlier calls."""

from __future__ import annotations

import random

import pytest

from util.volumes.phases import split_patients


@pytest.mark.parametrize("seed", range(20))
def test_patients_keep_their_phase_when_others_come(seed: int) -> None:
    rng = random.Random(seed)
    names = [f"p{rng.randrange(10**6)}" for _ in range(rng.randrange(1, 60))]
    shares = {"val": rng.choice([0, 0.1, 0.3]), "test": rng.choice([0, 0.2, 0.5])}
    first = split_patients(names[: len(names) // 2 + 1], shares, known={}, seed=seed)
    again = split_patients(reversed(names[: len(names) // 2 + 1]), shares, known={}, seed=seed)
    later = split_patients(names, shares, known=first, seed=seed)
    assert first == again
    assert set(later) == set(names)
    assert all(later[name] == phase for name, phase in first.items())
    assert "train" in later.values()


def test_shares_are_kept_and_the_seed_matters() -> None:
    names = [f"p{number}" for number in range(2000)]
    found = split_patients(names, {"val": 0.1, "test": 0.2}, known={})
    counts = {phase: list(found.values()).count(phase) for phase in ("train", "val", "test")}
    assert abs(counts["val"] - 200) < 60  # 4 standard deviations
    assert abs(counts["test"] - 400) < 72
    assert found != split_patients(names, {"val": 0.1, "test": 0.2}, known={}, seed=1)


@pytest.mark.parametrize("seed", range(10))
def test_few_patients_fill_every_phase_before_a_second_comes(seed: int) -> None:
    shares = {"val": 0.1, "test": 0.1}
    assert list(split_patients(["a"], shares, known={}, seed=seed).values()) == ["train"]
    assert sorted(split_patients(["a", "b"], shares, known={}, seed=seed).values()) == ["train", "val"]
    assert sorted(split_patients(["a", "b", "c"], shares, known={}, seed=seed).values()) == ["test", "train", "val"]


@pytest.mark.parametrize("shares", [{"val": 0.5, "test": 0.5}, {"val": -0.1, "test": 0.2}])
def test_shares_that_leave_nothing_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="--val_fraction and --test_fraction"):
        split_patients(["a"], shares, known={})

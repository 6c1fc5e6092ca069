"""Latent vectors keep their bound and their distribution; labels come as asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from models.sagan.latent import draw_labels, resample_truncated, truncated_normal
from tests.golden_rules import load_golden

_, ARRAYS = load_golden("sagan/golden_sagan")


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("threshold", [0.5, math.inf])
def test_the_published_loop(threshold: float) -> None:
    z = resample_truncated(np.random.RandomState(0), (2, 16), threshold)
    want = ARRAYS[f"resample_seed0_{'inf' if math.isinf(threshold) else 'thr0.5'}"]
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, want, rtol=0, atol=1e-6)


def test_the_published_loop_gives_up_after_a_hundred_draws() -> None:
    """Below 1e-9 nothing is ever drawn: the first draw stays, and the stream is 101 draws further."""
    rng, same = np.random.RandomState(3), np.random.RandomState(3)
    z = resample_truncated(rng, (2, 3), 1e-9)
    draws = [same.standard_normal((2, 3)) for _ in range(101)]
    np.testing.assert_array_equal(z, draws[0].astype(np.float32))
    assert rng.standard_normal() == same.standard_normal()


@pytest.mark.parametrize("threshold", [0.001, 0.5, 1.0, 2.0, 12.0])
def test_every_value_keeps_the_bound(threshold: float) -> None:
    z = truncated_normal((400, 1000), threshold, stream())
    assert z.dtype == torch.float32 and z.abs().max() < threshold


@pytest.mark.parametrize("threshold", [0.1, 0.5, 12.0])
def test_the_bound_is_kept_by_the_outermost_draws(monkeypatch, threshold: float) -> None:
    outermost = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    monkeypatch.setattr(torch, "rand", lambda *args, **kwargs: outermost)
    low, high = truncated_normal((2,), threshold, stream())
    assert -np.float32(threshold) < low < -0.65 * threshold and 0.65 * threshold < high < np.float32(threshold)


@pytest.mark.parametrize("threshold", [0.3, 1.0, 2.0, 9.0])
def test_truncated_values_have_the_distribution_of_a_cut_normal(threshold: float) -> None:
    """Largest distance of the empirical to the exact distribution: 1.95 / sqrt(n) is exceeded once in a thousand."""
    n = 100_000
    z = truncated_normal((n,), threshold, stream(1)).double().sort().values
    exact = 0.5 * (1 + torch.erf(z / math.sqrt(2)) / math.erf(threshold / math.sqrt(2)))
    assert (exact - (torch.arange(n) + 0.5) / n).abs().max() < 1.95 / math.sqrt(n)


def test_without_a_bound_it_is_the_plain_normal() -> None:
    assert torch.equal(truncated_normal((3, 5), math.inf, stream(2)), torch.randn(3, 5, generator=stream(2)))


@pytest.mark.parametrize("threshold", [0.0, -1.0, math.nan])
def test_a_bound_that_leaves_nothing_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="--truncation"):
        truncated_normal((1,), threshold, stream())
    with pytest.raises(ValueError, match="--truncation"):
        resample_truncated(np.random.RandomState(0), (1,), threshold)


def test_uniform_labels_are_independent_of_each_other() -> None:
    labels = draw_labels(6000, 3, "uniform", stream())
    counts = torch.bincount(labels, minlength=3)
    assert labels.dtype == torch.int64 and len(counts) == 3
    assert all(1800 < count < 2200 for count in counts) and len(set(counts.tolist())) > 1
    repeats = (labels[1:] == labels[:-1]).float().mean()
    assert repeats.item() == pytest.approx(1 / 3, abs=0.03)


def test_distinct_labels_never_repeat() -> None:
    drawn = [draw_labels(4, 5, "distinct", stream(seed)).tolist() for seed in range(30)]
    assert all(len(set(labels)) == 4 for labels in drawn)
    assert {label for labels in drawn for label in labels} == set(range(5)) and len({*map(tuple, drawn)}) > 20
    assert sorted(draw_labels(5, 5, "distinct", stream()).tolist()) == list(range(5))
    with pytest.raises(ValueError, match=r"--label_sampling distinct: .* 5 classes for a --batch_size of 6"):
        draw_labels(6, 5, "distinct", stream())


@pytest.mark.parametrize(("n", "num_classes"), [(8, 4), (10, 4), (3, 7), (5, 1), (1, 1)])
def test_balanced_labels_differ_by_one_at_most(n: int, num_classes: int) -> None:
    drawn = torch.stack([draw_labels(n, num_classes, "balanced", stream(seed)) for seed in range(40)])
    assert drawn.shape == (40, n)
    for labels in drawn:
        counts = torch.bincount(labels, minlength=num_classes)
        assert counts.max() - counts.min() <= 1 and len(counts) == num_classes
    if num_classes > 1:  # neither the classes that come once more nor the order are fixed
        assert set(drawn.flatten().tolist()) == set(range(num_classes))
        assert all(len(set(place.tolist())) > 1 for place in drawn.T)


def test_labels_of_an_unknown_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="uniform, distinct or balanced"):
        draw_labels(2, 3, "fair", stream())

"""KID, FID, IS and precision/recall of small sets of features, by closed forms; what is refused, clamped and told."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from util.metrics import fidelity as f
from util.metrics.images import MadeImages


def spread(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def normal(count, width=4, *, mean=0.0, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) + mean


def by_definition(x, y):
    """Unbiased MMD^2 with the kernel (x.y / C + 1)^3: mean over i != j within the sides, over all i, j between them."""
    x, y = x.double().numpy(), y.double().numpy()
    n, m, width = len(x), len(y), x.shape[1]
    kernel = lambda a, b: (a @ b / width + 1) ** 3  # noqa: E731
    within = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within += sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within - 2 * sum(kernel(a, b) for a in x for b in y) / (n * m)


def test_kid_of_whole_sets_is_the_definition():
    x, y = normal(5), normal(5, mean=0.5, seed=1)
    found = f.kid(x, y, subset_size=5, subsets=3, seed=0)
    assert found.value == pytest.approx(by_definition(x, y), rel=1e-5)
    assert found.std == pytest.approx(0, abs=1e-6)
    assert found.notes == ("every subset is the whole set, so the spread says nothing",)


def test_kid_of_subsets_is_their_mean_and_population_spread():
    """Two of two, x and y: every subset is known, and so is the value of each."""
    x, y = spread([1.0], [3.0], [5.0]), spread([2.0], [4.0])
    values = {round(by_definition(x[list(pair)], y), 4) for pair in ((0, 1), (0, 2), (1, 2))}
    found = [f.kid(x, y, subset_size=2, subsets=1, seed=seed) for seed in range(12)]
    assert {round(each.value, 4) for each in found} == values and len(values) == 3
    rng = np.random.RandomState(7)
    draws = [(x[rng.choice(3, 2, replace=False)], y[rng.choice(2, 2, replace=False)]) for _ in range(20)]
    several = f.kid(x, y, subset_size=2, subsets=20, seed=7)
    expected = [by_definition(*draw) for draw in draws]
    assert several.value == pytest.approx(np.mean(expected)) and several.std == pytest.approx(np.std(expected))


def test_kid_may_be_negative():
    x = normal(6)
    assert f.kid(x, x.clone(), subset_size=6, subsets=1, seed=0).value < 0


def test_kid_depends_on_the_seed_alone():
    x, y = normal(9), normal(9, seed=1)
    found = [f.kid(x, y, subset_size=4, subsets=5, seed=seed).value for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


def test_kid_subset_is_at_most_the_smaller_side():
    found = f.kid(normal(9), normal(7, seed=1), subset_size=50, subsets=4, seed=3)
    assert found.notes == ("the subset size is 7 instead of 50: a side has no more images",)
    assert found.protocol["subset_size"] == 7 and found.protocol["subsets"] == 4 and found.protocol["seed"] == 3
    assert found.value == f.kid(normal(9), normal(7, seed=1), subset_size=7, subsets=4, seed=3).value
    assert found.std > 0
    whole = f.kid(normal(7), normal(7, seed=1), subset_size=50, subsets=4, seed=3)
    assert len(whole.notes) == 2


def test_kid_says_how_it_was_made():
    found = f.kid(normal(9), normal(9, seed=1), subset_size=5, subsets=2, seed=3)
    assert found.notes == () and found.protocol["kernel"] == "polynomial, degree 3, gamma 1/4, coef0 1"


@pytest.mark.parametrize("metric", [lambda a, b: f.kid(a, b, subset_size=5, subsets=2, seed=0), f.fid])
@pytest.mark.parametrize(("left", "right"), [(1, 5), (5, 1), (1, 1)])
def test_one_image_is_too_few(metric, left, right):
    with pytest.raises(ValueError, match=f"needs two images on each side; there are {left} and {right}"):
        metric(normal(left), normal(right))


def test_mean_kid_is_the_mean_of_two():
    fake, target, source = normal(6), normal(7, mean=1.0, seed=1), normal(5, mean=-2.0, seed=2)
    settings = {"subset_size": 6, "subsets": 4, "seed": 5}
    near, far = f.kid(fake, target, **settings), f.kid(fake, source, **settings)
    found = f.mean_kid(fake, target, source, **settings)
    assert found.value == (near.value + far.value) / 2 and found.std == (near.std + far.std) / 2
    assert far.value > 2 * near.value  # else the mean proves nothing
    assert found.protocol["subset_size"] == [6, 5]
    assert found.protocol["parts"] == {"to_target": [near.value, near.std], "to_source": [far.value, far.std]}
    assert any("not comparable with a KID" in note for note in found.notes)
    assert any("5 instead of 6" in note for note in found.notes), "what is said of a part must not get lost"


def test_fid_of_two_gaussians():
    """|m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2)); of diagonal S the last term is the sum of (s1 - s2)^2."""
    corners = spread([1, 1], [1, -1], [-1, 1], [-1, -1])  # covariance 4/3 of the identity
    moved = corners * torch.tensor([3.0, 0.5]) + torch.tensor([2.0, -1.0])
    distances = (3 - 1) ** 2 * 4 / 3 + (0.5 - 1) ** 2 * 4 / 3
    assert f.fid(corners, moved).value == pytest.approx(5 + distances, rel=1e-6)
    assert f.fid(corners, corners).value == pytest.approx(0, abs=1e-5)
    assert f.fid(corners, moved).std is None


@pytest.mark.parametrize(("left", "right", "noted"), [(2048, 2048, False), (2047, 2048, True), (3000, 50, True)])
def test_fid_of_few_images_is_noted(left, right, noted):
    notes = f.fid(normal(left), normal(right, seed=1)).notes
    assert bool(notes) == noted
    if noted:
        assert str(left) in notes[0] and str(right) in notes[0] and "biased" in notes[0]


def test_inception_score_of_certain_and_even_classes():
    """Every image is surely of its own class: exp(mean KL) is the number of classes. All alike: 1."""
    certain = torch.eye(4).repeat(3, 1) * 100
    assert f.inception_score(certain, splits=1, seed=0).value == pytest.approx(4, rel=1e-6)
    assert f.inception_score(torch.ones(12, 4), splits=1, seed=0).value == pytest.approx(1, rel=1e-9)


def test_inception_score_is_split_after_shuffling():
    sorted_by_class = torch.eye(2).repeat_interleave(10, 0) * 100  # unshuffled halves would have one class each
    found = f.inception_score(sorted_by_class, splits=2, seed=4)
    assert 1.5 < found.value <= 2 and found.protocol == {"splits": 2, "seed": 4}
    assert found.value != f.inception_score(sorted_by_class, splits=2, seed=6).value


@pytest.mark.parametrize(
    ("images", "splits", "used"), [(20, 10, 10), (19, 10, 9), (5, 10, 2), (1, 10, 1), (600, 10, 10)]
)
def test_inception_score_has_two_images_a_split(images, splits, used):
    found = f.inception_score(normal(images), splits=splits, seed=0)
    assert found.protocol["splits"] == used
    assert any(f"over {used} instead of {splits}" in note for note in found.notes) == (used < splits)
    assert any("50,000" in note for note in found.notes) == (images < 500)
    assert math.isfinite(found.value) and found.std is not None


def test_precision_and_recall_by_hand():
    """The radius of a point is the distance to its third neighbour. On a line: reals 0 1 2 3 4, radii 3 2 2 2 3.

    Fakes 4.5, 5, 5.5, 6, 100 (radii 1.5, 1, 1, 1.5, 95): the first four lie within 3 of the real 4, the last does not.
    Reals 3 and 4 lie within 1.5 of the fake 4.5 (3 on the edge), and none within 95 of 100.
    """
    real = spread([0], [1], [2], [3], [4])
    fake = spread([4.5], [5], [5.5], [6], [100])
    found = f.precision_recall(fake, real)
    assert found["precision"].value == pytest.approx(4 / 5)
    assert found["recall"].value == pytest.approx(2 / 5)
    assert found["f_score"].value == pytest.approx(2 * 0.8 * 0.4 / 1.2)
    assert all(each.std is None and each.protocol == {"neighbours": 3} for each in found.values())


@pytest.mark.parametrize(("left", "right"), [(3, 9), (9, 3)])
def test_precision_needs_more_images_than_neighbours(left, right):
    with pytest.raises(ValueError, match=f"need 4 images on each side; there are {left} and {right}"):
        f.precision_recall(normal(left), normal(right))
    assert f.precision_recall(normal(4), normal(4, seed=1))["recall"].value >= 0


def test_intra_class_is_the_mean_over_classes():
    generator = torch.Generator().manual_seed(0)
    fake, real = (torch.randn(12, 4, generator=generator) for _ in range(2))
    ours, theirs = ["b", "a"] * 6, ["a"] * 5 + ["b"] * 7
    found = f.intra_class(f.fid, fake, real, (ours, theirs))
    parts = {"a": f.fid(fake[1::2], real[:5]).value, "b": f.fid(fake[::2], real[5:]).value}
    assert found.protocol["classes"] == parts
    assert found.value == pytest.approx(sum(parts.values()) / 2)
    assert found.std == pytest.approx(abs(parts["a"] - parts["b"]) / 2)


def test_intra_class_names_what_is_missing():
    rows = torch.zeros(4, 2)
    with pytest.raises(ValueError, match="without a partner: c "):
        f.intra_class(f.fid, rows, rows, (["a", "a", "b", "b"], ["a", "a", "b", "c"]))
    with pytest.raises(ValueError, match="class b: FID needs two images"):
        f.intra_class(f.fid, rows, rows, (["a", "a", "a", "b"], ["a", "a", "b", "b"]))


def test_classes_are_folders_without_the_label_before_the_name():
    def images(*names: str) -> MadeImages:
        return MadeImages("drawn", dict.fromkeys(names, np.zeros((2, 2, 3), np.uint8)))

    assert images("0003_cat/1", "0004_dog/1").classes == images("cat/7", "dog/8").classes == ["cat", "dog"]
    assert images("0003_cat/1", "0004_cat/1").classes == ["0003_cat", "0004_cat"]  # two classes of one name
    assert images("0003/1").classes == ["0003"]
    with pytest.raises(ValueError, match="folders by class; 1 of drawn is not"):
        _ = images("1").classes

"""KID, FID, IS and precision/recall of two sets of features, by torch-fidelity's functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor
from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc

from util.metrics.measurement import Number
from util.wording import counted

KID_DEGREE = 3
NEIGHBOURS = 3
FID_IMAGES = 2048  # features of Inception: with fewer images their covariance has no full rank
IS_IMAGES = 500


def kid(fake: Tensor, real: Tensor, *, subset_size: int, subsets: int, seed: int) -> Number:
    """Kernel distance (Binkowski et al. 2018, arXiv:1801.01401), Eq. (4): unbiased MMD^2, cubic polynomial kernel.

    Args:
        fake: ``[n, C]``.
        real: ``[m, C]``.
        subset_size: images in a subset; at most the smaller side is used.
        subsets: how many are drawn, without replacement within one.
        seed: of the draws.

    Returns:
        mean and population standard deviation over the subsets, not scaled by 100. Slightly negative is possible.

    Raises:
        ValueError: a side has fewer than two images.
    """
    smallest = min(len(fake), len(real))
    if smallest < 2:
        raise ValueError(f"KID needs two images on each side; there are {len(fake)} and {len(real)}")
    size = min(subset_size, smallest)
    found = metric_kid.kid_features_to_metric(
        fake,
        real,
        kid_subsets=subsets,
        kid_subset_size=size,
        kid_kernel_poly_degree=KID_DEGREE,
        rng_seed=seed,
        verbose=False,
    )
    notes = []
    if size < subset_size:
        notes.append(f"the subset size is {size} instead of {subset_size}: a side has no more images")
    if size == len(fake) == len(real):
        notes.append("every subset is the whole set, so the spread says nothing")
    protocol = {
        "subset_size": size,
        "subsets": subsets,
        "kernel": f"polynomial, degree {KID_DEGREE}, gamma 1/{fake.shape[1]}, coef0 1",
        "estimator": "unbiased MMD^2; std over the subsets",
        "seed": seed,
    }
    return Number(found[metric_kid.KEY_METRIC_KID_MEAN], found[metric_kid.KEY_METRIC_KID_STD], protocol, tuple(notes))


def mean_kid(fake: Tensor, target: Tensor, source: Tensor, *, subset_size: int, subsets: int, seed: int) -> Number:
    """The mean of KID(fake, target) and KID(fake, source), which U-GAT-IT's authors most likely report.

    It is no KID: near 10 (x100) where the KID to the target is near 2. Arguments as for ``kid``.
    """
    to_target = kid(fake, target, subset_size=subset_size, subsets=subsets, seed=seed)
    to_source = kid(fake, source, subset_size=subset_size, subsets=subsets, seed=seed)
    assert to_target.std is not None and to_source.std is not None
    protocol = {
        **to_target.protocol,
        "subset_size": [to_target.protocol["subset_size"], to_source.protocol["subset_size"]],
        "parts": {
            "to_target": [to_target.value, to_target.std],
            "to_source": [to_source.value, to_source.std],
        },
        "mean": "of the two distances; the std is the mean of the two",
    }
    notes = ("the mean of the distances to target and source: not comparable with a KID",)
    return Number(
        (to_target.value + to_source.value) / 2,
        (to_target.std + to_source.std) / 2,
        protocol,
        tuple(dict.fromkeys((*notes, *to_target.notes, *to_source.notes))),
    )


def fid(fake: Tensor, real: Tensor) -> Number:
    """Frechet distance of two Gaussians (Heusel et al. 2017, arXiv:1706.08500), Eq. (6), ``[n, C]`` and ``[m, C]``.

    Raises:
        ValueError: a side has fewer than two images.
    """
    smallest = min(len(fake), len(real))
    if smallest < 2:
        raise ValueError(f"FID needs two images on each side; there are {len(fake)} and {len(real)}")
    statistics = [metric_fid.fid_features_to_statistics(side) for side in (fake, real)]
    found = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    notes = []
    if smallest < FID_IMAGES:
        notes.append(
            f"FID of fewer than {FID_IMAGES} images ({len(fake)} and {len(real)}) is biased upwards; compare it only "
            "at equal counts, or use KID"
        )
    return Number(found[metric_fid.KEY_METRIC_FID], None, {"estimator": "biased, by sample covariance"}, tuple(notes))


def intra_class(
    measure: Callable[[Tensor, Tensor], Number],
    fake: Tensor,
    real: Tensor,
    classes: Sequence[Sequence[str]],
) -> Number:
    """The mean over the classes of a distance between the fakes of a class and its real images.

    It sees classes that are confused or have collapsed, which the distance of the whole sets may not.

    Args:
        measure: ``kid`` or ``fid`` with its settings.
        fake: ``[n, C]``.
        real: ``[m, C]``.
        classes: of every fake, and of every real image.

    Returns:
        mean and population standard deviation over the classes; their values are in the protocol.

    Raises:
        ValueError: the sides have other classes, or one has too few images.
    """
    ours, theirs = (list(side) for side in classes)
    if {*ours} != {*theirs}:
        alone = sorted({*ours} ^ {*theirs})
        raise ValueError(
            f"intra-class metrics need the same classes on both sides; without a partner: {', '.join(alone[:3])} "
            f"({len({*ours})} and {len({*theirs})} classes): draw every class, and name the real folders alike"
        )
    found: dict[str, float] = {}
    notes: dict[str, None] = {}
    for name in sorted({*ours}):
        rows = [[place for place, each in enumerate(side) if each == name] for side in (ours, theirs)]
        try:
            number = measure(fake[rows[0]], real[rows[1]])
        except ValueError as error:
            raise ValueError(f"class {name}: {error}") from None
        found[name] = number.value
        notes |= dict.fromkeys(number.notes)
    values = list(found.values())
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    protocol = {"classes": found, "estimator": "mean over the classes; std over them"}
    return Number(mean, spread, protocol, tuple(notes))


def intra_kid(
    fake: Tensor, real: Tensor, classes: Sequence[Sequence[str]], *, subset_size: int, subsets: int, seed: int
) -> Number:
    """``intra_class`` of ``kid``."""
    measure = partial(kid, subset_size=subset_size, subsets=subsets, seed=seed)
    return intra_class(measure, fake, real, classes)


def intra_fid(fake: Tensor, real: Tensor, classes: Sequence[Sequence[str]]) -> Number:
    """``intra_class`` of ``fid``."""
    return intra_class(fid, fake, real, classes)


def inception_score(logits: Tensor, *, splits: int, seed: int) -> Number:
    """Inception score (Salimans et al. 2016, arXiv:1606.03498): exp of the mean KL, over splits of shuffled images.

    Args:
        logits: ``[n, classes]`` of the generated images.
        splits: parts of the set; fewer where that would leave fewer than two images in one.
        seed: of the shuffling.
    """
    used = max(1, min(splits, len(logits) // 2))
    found = metric_isc.isc_features_to_metric(logits, splits=used, shuffle=True, rng_seed=seed)
    notes = []
    if used < splits:
        notes.append(f"IS over {used} instead of {splits} splits, of {counted(len(logits), 'image')}")
    if len(logits) < IS_IMAGES:
        notes.append(f"IS of {counted(len(logits), 'image')} is weak: it grows with their number (published: 50,000)")
    protocol = {"splits": used, "seed": seed}
    return Number(found[metric_isc.KEY_METRIC_ISC_MEAN], found[metric_isc.KEY_METRIC_ISC_STD], protocol, tuple(notes))


def precision_recall(fake: Tensor, real: Tensor) -> dict[str, Number]:
    """Improved precision and recall (Kynkaanniemi et al. 2019, arXiv:1904.06991), and the harmonic mean of the two.

    Raises:
        ValueError: a side has no more images than the neighbourhood needs.
    """
    smallest = min(len(fake), len(real))
    if smallest <= NEIGHBOURS:
        raise ValueError(
            f"precision and recall need {NEIGHBOURS + 1} images on each side; there are {len(fake)} and {len(real)}"
        )
    found = metric_prc.prc_features_to_metric(fake, real, prc_neighborhood=NEIGHBOURS, verbose=False)
    keys = {
        "precision": metric_prc.KEY_METRIC_PRECISION,
        "recall": metric_prc.KEY_METRIC_RECALL,
        "f_score": metric_prc.KEY_METRIC_F_SCORE,
    }
    return {name: Number(found[key], None, {"neighbours": NEIGHBOURS}) for name, key in keys.items()}

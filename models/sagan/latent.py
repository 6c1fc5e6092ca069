"""What a class-conditional generator starts from: latent vectors, truncated or not, and class labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

LABEL_SAMPLING = ("uniform", "distinct", "balanced")
RESAMPLE_ROUNDS = 100


def truncated_normal(shape: tuple[int, ...], threshold: float, generator: Generator) -> Tensor:
    """Standard normal numbers whose absolute value is below ``threshold``, by the inverse of the distribution.

    With ``z = sqrt(2) erfinv(p)`` and p uniform in ``(-erf(t / sqrt 2), erf(t / sqrt 2))`` every number costs one
    draw whatever the threshold. The truncation trick: Brock et al. 2019, arXiv:1809.11096, section 3.1.

    Args:
        shape: of the result.
        threshold: above 0; ``inf`` gives plain normal numbers.
        generator: decides the numbers, and the device.

    Returns:
        float32 on the generator's device.

    Raises:
        ValueError: a threshold that is not above 0.
    """
    _check(threshold)
    device = generator.device
    if math.isinf(threshold):
        return torch.randn(shape, generator=generator, device=device)
    edge = math.erf(threshold / math.sqrt(2))
    p = (2 * torch.rand(shape, generator=generator, device=device, dtype=torch.float64) - 1) * edge
    # float32 may round up to the bound, and at its ends the inverse is infinite where erf(t / sqrt 2) rounds to 1.
    below = float(np.nextafter(np.float32(threshold), np.float32(0)))
    return (math.sqrt(2) * torch.erfinv(p)).float().clamp(-below, below)


def resample_truncated(rng: np.random.RandomState, shape: tuple[int, ...], threshold: float) -> NDArray[np.float32]:
    """Truncation as the published program does it, to repeat its draws; ``truncated_normal`` is the better way.

    A first normal draw of the whole shape is kept for emergencies. Then, until every position is settled and at most
    100 times, the whole shape is drawn again and each open position takes its new value if that is small enough. So
    ``inf`` gives the second draw; and what is still open at the end keeps the first one, which is not truncated.

    Args:
        rng: of the legacy generator, ``numpy.random.RandomState(seed)``.
        shape: of the result.
        threshold: exclusive bound of the absolute value, above 0.

    Raises:
        ValueError: a threshold that is not above 0.
    """
    _check(threshold)
    values = rng.standard_normal(shape)
    is_open = np.ones(shape, bool)
    for _ in range(RESAMPLE_ROUNDS):
        if not is_open.any():
            break
        fresh = rng.standard_normal(shape)
        taken = is_open & (np.abs(fresh) < threshold)
        values[taken] = fresh[taken]
        is_open &= ~taken
    return values.astype(np.float32)


def numbered_latents(seed: int, numbers: Sequence[tuple[int, int]], nz: int, *, truncation: float = math.inf) -> Tensor:
    """Latent vectors that depend on the seed, the class and the number of the sample alone, not on their company.

    Args:
        seed: of all of them.
        numbers: class and number of each.
        nz: length.
        truncation: see ``truncated_normal``.

    Returns:
        float32 ``[len(numbers), nz]`` on the CPU.
    """
    rows = []
    for pair in numbers:
        words = np.random.SeedSequence([seed, *pair]).generate_state(2, np.uint32)
        generator = Generator().manual_seed(int(words[0]) << 31 ^ int(words[1]))
        rows.append(truncated_normal((nz,), truncation, generator))
    return torch.stack(rows)


def draw_labels(n: int, num_classes: int, how: str, generator: Generator) -> Tensor:
    """Random class labels for n images.

    Args:
        n: how many.
        num_classes: labels are ``0 .. num_classes - 1``.
        how: ``uniform``: each by itself; ``distinct``: no class twice, as the published program; ``balanced``: each
            class as often as the others, or once more, in random order.
        generator: decides the labels, and the device.

    Returns:
        int64 ``[n]`` on the generator's device.

    Raises:
        ValueError: distinct labels for more images than there are classes, or an unknown ``how``.
    """
    device = generator.device
    if how == "uniform":
        return torch.randint(num_classes, (n,), generator=generator, device=device)
    if how == "distinct":
        if n > num_classes:
            raise ValueError(
                f"--label_sampling distinct: there are {num_classes} classes for a --batch_size of {n}; "
                "lower --batch_size, or give --label_sampling balanced or uniform"
            )
        return torch.randperm(num_classes, generator=generator, device=device)[:n]
    if how == "balanced":
        rounds, rest = divmod(n, num_classes)
        once_more = torch.randperm(num_classes, generator=generator, device=device)[:rest]
        labels = torch.cat([torch.arange(num_classes, device=device).repeat(rounds), once_more])
        return labels[torch.randperm(n, generator=generator, device=device)]
    raise ValueError(f"--label_sampling {how}: give {', '.join(LABEL_SAMPLING[:-1])} or {LABEL_SAMPLING[-1]}")


def labels_between(classes: tuple[int, int], place: float, num_classes: int, count: int) -> Tensor:
    """What a generator takes for a place between two classes.

    Returns:
        float32 ``[count, num_classes]``, the weights ``1 - a`` and ``a``; at the ends, which are plain classes, the
        labels, int64 ``[count]``: then not even the rounding differs from that of a plain sample.
    """
    first, last = classes
    if first == last or place in (0.0, 1.0):
        return torch.full((count,), last if place == 1.0 else first)
    weights = torch.zeros(num_classes)
    weights[first], weights[last] = 1 - place, place
    return weights.expand(count, -1)


def _check(threshold: float) -> None:
    if not threshold > 0:
        raise ValueError(f"--truncation {threshold:g}: give a number above 0, or inf for none")

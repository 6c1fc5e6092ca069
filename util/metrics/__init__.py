"""Numbers that say how good generated images are, each with the protocol it was measured by.

A metric is one entry of ``METRICS`` and the function that it names. KID, FID, IS and precision/recall are
torch-fidelity's, on the features of a named extractor; PSNR, L1 and LPIPS are torchmetrics'; diversity compares the
draws of an image with each other. Importing this package needs the standard library only: ``options`` lists the names.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from util.registry import unknown

EXTRACTORS = ("inception", "efficientnet_lite0")
LPIPS_NETS = ("alex", "vgg", "squeeze")


@dataclass(frozen=True)
class Metric:
    """A metric: how it is shown, what it compares, and the function that measures it.

    Attributes:
        title: heading of its column.
        higher_is_better: the direction of better.
        by: what it compares: ``features`` (of an extractor, whose name becomes part of the metric's), ``pairs`` (a fake
            and its own target), ``draws`` (several fakes of one input).
        measure: ``module:function``, imported when the metric is measured.
            By features, its arguments are the values of ``of`` in that order and ``settings`` by keyword; it returns a
            ``util.metrics.measurement.Number``, or a dict of several by their short names, and is then called once.
            By pairs and draws, its arguments are two images, float32 ``[1, 3, H, W]`` in 0..255, and the ``network``
            where there is one; it returns a float. The mean over all pairs is stored.
        of: by features only: ``fake``, ``real``, ``source`` (float32 ``[n, C]``), ``logits`` (of the fakes,
            ``[n, classes]``), ``classes`` (the class names of the fakes and of the real images).
        settings: by features only: keyword of the function -> option that gives its value.
        network: ``lpips``: it compares by the network of ``--lpips_net``, whose name becomes part of the metric's.
        smallest: by pairs and draws only: pixels that the shorter side of an image must have.
        protocol: by pairs and draws only: what is stored beside the number, JSON values.
        scale: what the number is multiplied by where it is shown.
        decimals: how many of them are shown.
    """

    title: str
    higher_is_better: bool
    by: str
    measure: str
    of: tuple[str, ...] = ("fake", "real")
    settings: Mapping[str, str] = field(default_factory=dict)
    network: str = ""
    smallest: int = 0
    protocol: Mapping[str, Any] = field(default_factory=dict)
    scale: float = 1.0
    decimals: int = 4

    @property
    def needs_real(self) -> bool:
        """Whether it compares with real images."""
        return self.by == "pairs" or (self.by == "features" and "real" in self.of)

    @property
    def of_labels(self) -> bool:
        """Whether it says something of label maps: by features those in colours do; a difference of labels is none."""
        return self.by == "features"

    @property
    def needs_classes(self) -> bool:
        """Whether it compares class by class."""
        return self.by == "features" and "classes" in self.of

    @property
    def needs_source(self) -> bool:
        """Whether it compares with images of the source domain."""
        return self.by == "features" and "source" in self.of

    def function(self) -> Callable[..., Any]:
        """The function behind ``measure``, imported now."""
        module, _, name = self.measure.partition(":")
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return found


_FIDELITY, _DISTANCES = "util.metrics.fidelity", "util.metrics.distances"
_KID = {"subset_size": "kid_subset_size", "subsets": "kid_subsets", "seed": "metric_seed"}
_IS = {"splits": "is_splits", "seed": "metric_seed"}
_BY_CLASS = ("fake", "real", "classes")

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
SSIM_K1, SSIM_K2 = 0.01, 0.03
_SSIM = {
    "data_range": 255,
    "window": f"Gaussian, {SSIM_WINDOW} pixels, sigma {SSIM_SIGMA}, inside the image",
    "k1": SSIM_K1,
    "k2": SSIM_K2,
}
NOT_OF_LABELS = (
    "the images are label maps, whose numbers are names: pixel accuracy and mean IoU are those of "
    "scripts/segmentation_score.py"
)
LPIPS_SMALLEST = 32  # pixels; below, the deepest layer of the backbone has no output
_LPIPS: dict[str, Any] = {"network": "lpips", "smallest": LPIPS_SMALLEST}

METRICS: dict[str, Metric] = {
    "kid": Metric("KID x100", False, "features", f"{_FIDELITY}:kid", settings=_KID, scale=100.0, decimals=2),
    "mean_kid": Metric(
        "mean KID (target, source) x100",
        False,
        "features",
        f"{_FIDELITY}:mean_kid",
        of=("fake", "real", "source"),
        settings=_KID,
        scale=100.0,
        decimals=2,
    ),
    "fid": Metric("FID", False, "features", f"{_FIDELITY}:fid", decimals=2),
    "is": Metric("IS", True, "features", f"{_FIDELITY}:inception_score", of=("logits",), settings=_IS, decimals=3),
    "precision": Metric("precision", True, "features", f"{_FIDELITY}:precision_recall", decimals=3),
    "recall": Metric("recall", True, "features", f"{_FIDELITY}:precision_recall", decimals=3),
    "f_score": Metric("F-score", True, "features", f"{_FIDELITY}:precision_recall", decimals=3),
    "intra_kid": Metric(
        "intra-class KID x100",
        False,
        "features",
        f"{_FIDELITY}:intra_kid",
        of=_BY_CLASS,
        settings=_KID,
        scale=100.0,
        decimals=2,
    ),
    "intra_fid": Metric("intra-class FID", False, "features", f"{_FIDELITY}:intra_fid", of=_BY_CLASS, decimals=2),
    "psnr": Metric("PSNR", True, "pairs", f"{_DISTANCES}:psnr", protocol={"data_range": 255}, decimals=2),
    "ssim": Metric("SSIM", True, "pairs", f"{_DISTANCES}:ssim", smallest=SSIM_WINDOW, protocol=_SSIM),
    "l1": Metric("L1", False, "pairs", f"{_DISTANCES}:l1", protocol={"values": "0..1"}),
    "lpips": Metric("LPIPS", False, "pairs", f"{_DISTANCES}:lpips", **_LPIPS),
    "diversity": Metric("diversity", True, "draws", f"{_DISTANCES}:l1", protocol={"values": "0..1"}),
    "diversity_lpips": Metric("diversity-LPIPS", True, "draws", f"{_DISTANCES}:lpips", **_LPIPS),
}
"""Every metric by its short name."""

GROUPS = {"prc": ("precision", "recall", "f_score")}
"""What ``--metrics`` accepts besides, and which numbers that gives."""


def expand(names: Sequence[str], flag: str = "--metrics") -> tuple[str, ...]:
    """Short names of metrics, groups resolved, each once, in the order given.

    Raises:
        ValueError: an unknown name, or none at all; the message has the closest match.
    """
    found: list[str] = []
    for name in names:
        if name not in METRICS and name not in GROUPS:
            raise unknown(f"{flag} {name}", name, [*METRICS, *GROUPS])
        found += GROUPS.get(name, (name,))
    if not found:
        there = ", ".join([*METRICS, *GROUPS])
        raise ValueError(f"{flag} is empty: name metrics, e.g. {flag} kid,psnr; there are {there}")
    return tuple(dict.fromkeys(found))


def listing(wanted: Callable[[Metric], bool]) -> str:
    """For help texts: the short names of the metrics that ``wanted`` picks; the name of a group stands for its members.

    >>> listing(lambda metric: metric.by == "pairs")
    'psnr, ssim, l1, lpips'
    """
    group_of = {name: group for group, members in GROUPS.items() for name in members}
    names = (group_of.get(name, name) for name, metric in METRICS.items() if wanted(metric))
    return ", ".join(dict.fromkeys(names))


def fixed(value: float, decimals: int) -> str:
    """A number as it is printed; what rounds to zero has no sign.

    >>> fixed(-0.001, 2)
    '0.00'
    """
    shown = f"{value:.{decimals}f}"
    return shown.removeprefix("-") if float(shown) == 0 else shown


def needs_real(names: Sequence[str]) -> bool:
    """Whether one of these short names compares with real images."""
    return any(METRICS[name].needs_real for name in names)


def needs_source(names: Sequence[str]) -> bool:
    """Whether one of these compares with images of the source domain; an unknown name does not."""
    return any(METRICS[name].needs_source for name in names if name in METRICS)


def full_name(short: str, *, extractor: str, lpips_net: str) -> str:
    """The name under which a number is stored: that of its extractor or network belongs to it.

    >>> full_name("kid", extractor="inception", lpips_net="alex")
    'kid_inception'
    """
    metric = METRICS[short]
    if metric.by == "features":
        return f"{short}_{extractor}"
    return f"{short}_{lpips_net}" if metric.network else short

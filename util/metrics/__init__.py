"""Numbers that say how good generated images are, each with the protocol it was measured by.

KID, FID, IS and precision/recall are torch-fidelity's, on the features of a named extractor; PSNR, L1 and LPIPS are
torchmetrics'; diversity compares the draws of an image with each other. Importing this package needs the standard
library only: ``options`` lists the names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from util.registry import unknown

EXTRACTORS = ("inception", "efficientnet_lite0")
LPIPS_NETS = ("alex", "vgg", "squeeze")


@dataclass(frozen=True)
class Metric:
    """What is known of a metric before it is measured.

    Attributes:
        title: heading of its column.
        higher_is_better: the direction of better.
        by: ``features`` (of an extractor, which becomes part of the name), ``pairs`` (of a fake and its own target),
            ``draws`` (of several fakes of one input).
        needs_real: whether it compares with real images.
        scale: what the number is multiplied by where it is shown.
        decimals: how many of them are shown.
        needs_classes: whether it compares class by class.
    """

    title: str
    higher_is_better: bool
    by: str
    scale: float = 1.0
    decimals: int = 4
    needs_real: bool = True
    needs_classes: bool = False


METRICS: dict[str, Metric] = {
    "kid": Metric("KID x100", False, "features", scale=100.0, decimals=2),
    "mean_kid": Metric("mean KID (target, source) x100", False, "features", scale=100.0, decimals=2),
    "fid": Metric("FID", False, "features", decimals=2),
    "is": Metric("IS", True, "features", decimals=3, needs_real=False),
    "precision": Metric("precision", True, "features", decimals=3),
    "recall": Metric("recall", True, "features", decimals=3),
    "f_score": Metric("F-score", True, "features", decimals=3),
    "intra_kid": Metric("intra-class KID x100", False, "features", scale=100.0, decimals=2, needs_classes=True),
    "intra_fid": Metric("intra-class FID", False, "features", decimals=2, needs_classes=True),
    "psnr": Metric("PSNR", True, "pairs", decimals=2),
    "ssim": Metric("SSIM", True, "pairs"),
    "l1": Metric("L1", False, "pairs"),
    "lpips": Metric("LPIPS", False, "pairs"),
    "diversity": Metric("diversity", True, "draws", needs_real=False),
    "diversity_lpips": Metric("diversity-LPIPS", True, "draws", needs_real=False),
}
"""Every number there is, by its short name."""

LPIPS_METRICS = ("lpips", "diversity_lpips")
"""Those that need the network of LPIPS, which becomes part of the name."""

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
        raise ValueError(f"{flag} is empty: name metrics, e.g. {flag} kid,psnr; there are {', '.join(METRICS)}, prc")
    return tuple(dict.fromkeys(found))


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


def full_name(short: str, *, extractor: str, lpips_net: str) -> str:
    """The name under which a number is stored: that of its extractor belongs to it.

    >>> full_name("kid", extractor="inception", lpips_net="alex")
    'kid_inception'
    """
    if METRICS[short].by == "features":
        return f"{short}_{extractor}"
    return f"{short}_{lpips_net}" if short in LPIPS_METRICS else short

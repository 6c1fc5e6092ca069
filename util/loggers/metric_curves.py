"""How the loggers show what was measured on held-out images: titles, numbers, curves."""

from __future__ import annotations

from collections.abc import Mapping

from util.loggers.curve import Curve
from util.metrics import METRICS, fixed
from util.metrics.measurement import title
from util.types import EpochRecord


def short_name(full_name: str) -> str | None:
    """The key of ``METRICS`` that a stored name begins with, the longest one; None for a name of no known metric.

    >>> short_name("mean_kid_inception")
    'mean_kid'
    """
    known = [key for key in METRICS if full_name == key or full_name.startswith(f"{key}_")]
    return max(known, key=len, default=None)


def metric_title(full_name: str) -> str:
    """Heading of a metric, with its scale: ``KID x100``; the name itself for one that is not known here."""
    short = short_name(full_name)
    return full_name if short is None else title(full_name, short)


def scaled(full_name: str, value: float) -> float:
    """A value in the metric's own units, as the number that stands under ``metric_title``."""
    short = short_name(full_name)
    return value if short is None else value * METRICS[short].scale


def metrics_line(record: EpochRecord) -> str:
    """What an epoch measured, in one line: ``epoch 5: KID x100 12.34, PSNR 21.40``."""
    return f"epoch {record.epoch}: " + ", ".join(_shown(record.metrics))


def _shown(metrics: Mapping[str, float]) -> list[str]:
    texts = []
    for name, value in metrics.items():
        short = short_name(name)
        decimals = 4 if short is None else METRICS[short].decimals
        texts.append(f"{metric_title(name)} {fixed(scaled(name, value), decimals)}")
    return texts


class MetricCurves:
    """One curve a metric over the images seen, in the order in which the metrics first came.

    Attributes:
        curves: full name -> curve of the values as they are shown (``scaled``).
    """

    def __init__(self, capacity: int = 200) -> None:
        self.capacity = capacity
        self.curves: dict[str, Curve] = {}

    def add(self, record: EpochRecord) -> None:
        for name, value in record.metrics.items():
            if name not in self.curves:
                self.curves[name] = Curve(self.capacity)
            self.curves[name].add(record.total_iters, scaled(name, value))

"""Loss curves of bounded size, whatever the length of the run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from util.types import ScalarRecord


@dataclass
class Bucket:
    """Neighbouring values of a curve: the place of the last one, their number, sum and extremes."""

    x: float
    count: int
    total: float
    low: float
    high: float

    @property
    def mean(self) -> float:
        return self.total / self.count

    def absorb(self, other: Bucket) -> None:
        self.x = other.x
        self.count += other.count
        self.total += other.total
        self.low = min(self.low, other.low)
        self.high = max(self.high, other.high)


class Curve:
    """A curve that keeps at most ``capacity`` buckets: full, it merges its neighbours two by two.

    Until then every bucket is one value. Extremes survive merging. The result depends only on the values and their
    order, so a resumed run that is fed its old values first draws what the uninterrupted one draws.
    """

    def __init__(self, capacity: int = 200) -> None:
        if capacity < 2:
            raise ValueError(f"a curve needs a capacity of at least 2, got {capacity}")
        self.capacity = capacity
        self.buckets: list[Bucket] = []
        self._per_bucket = 1  # values that a bucket takes before the next one begins

    def add(self, x: float, y: float) -> None:
        """Add the value ``y`` at ``x``. Values that are no finite number are left out: they have no place to draw."""
        if not math.isfinite(y):
            return
        value = Bucket(x, 1, y, y, y)
        if self.buckets and self.buckets[-1].count < self._per_bucket:
            self.buckets[-1].absorb(value)
            return
        if len(self.buckets) == self.capacity:
            self._halve()
            if self.buckets[-1].count < self._per_bucket:
                self.buckets[-1].absorb(value)
                return
        self.buckets.append(value)

    def _halve(self) -> None:
        self._per_bucket *= 2
        for left, right in zip(self.buckets[::2], self.buckets[1::2]):
            left.absorb(right)
        self.buckets = self.buckets[::2]


class LossCurves:
    """One curve a loss over the images seen, in the order in which the losses first came."""

    def __init__(self, capacity: int = 200) -> None:
        self.capacity = capacity
        self.curves: dict[str, Curve] = {}

    def add(self, record: ScalarRecord) -> None:
        for name, value in record.losses.items():
            if name not in self.curves:
                self.curves[name] = Curve(self.capacity)
            self.curves[name].add(record.total_iters, value)

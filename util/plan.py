"""How long a run trains, and at which rate, from the options and the progress alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from util.metrics import METRICS
from util.progress import Progress
from util.schedule import Plateau, lr_factor, lr_factor_by_iters
from util.suggest import unknown


@dataclass
class Plan:
    """A run of ``n_epochs + n_epochs_decay`` epochs, or of ``n_iters + n_iters_decay`` steps where these are given.

    Attributes:
        steps_per_epoch: batches in an epoch, the last partial one included.
    """

    steps_per_epoch: int
    n_epochs: int = 100
    n_epochs_decay: int = 100
    n_iters: int = 0
    n_iters_decay: int = 0
    lr_policy: str = "linear"
    lr_decay_iters: int = 50
    epoch_count: int = 1
    sched_compat: str = "correct"
    plateau_metric: str = ""
    plateau: Plateau = field(default_factory=Plateau)

    def __post_init__(self) -> None:
        self.factor(Progress(epoch=self.epoch_count))  # raises for a rate that would vanish, before anything is made

    @property
    def by_steps(self) -> bool:
        """Whether the run is bounded by steps."""
        return self.n_iters + self.n_iters_decay > 0

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        if self.by_steps:
            return self.n_iters + self.n_iters_decay
        return max(0, self.n_epochs + self.n_epochs_decay - self.epoch_count + 1) * self.steps_per_epoch

    @property
    def last_epoch(self) -> int:
        """Number of the last epoch."""
        if self.by_steps:
            return self.epoch_count - 1 + math.ceil(self.total_steps / self.steps_per_epoch)
        return self.n_epochs + self.n_epochs_decay

    def finished(self, progress: Progress) -> bool:
        """Whether nothing is left to train."""
        return progress.steps >= self.total_steps if self.by_steps else progress.epoch > self.last_epoch

    def factor(self, progress: Progress) -> float:
        """What the initial learning rate is multiplied by for the next step."""
        if self.lr_policy == "plateau":
            return self.plateau.current
        if self.by_steps:
            return lr_factor_by_iters(
                self.lr_policy,
                iteration=progress.steps,
                n_iters=self.n_iters,
                n_iters_decay=self.n_iters_decay,
                lr_decay_iters=self.lr_decay_iters,
            )
        return lr_factor(
            self.lr_policy,
            epoch=progress.epoch,
            n_epochs=self.n_epochs,
            n_epochs_decay=self.n_epochs_decay,
            lr_decay_iters=self.lr_decay_iters,
            sched_compat=self.sched_compat,
            epoch_count=self.epoch_count,
        )

    def check_metric(self, names: Iterable[str]) -> None:
        """Refuse a ``--plateau_metric`` that is neither a loss of the model nor measured.

        Raises:
            ValueError: with the names there are.
        """
        names = tuple(names)
        if self.lr_policy == "plateau" and self.plateau_metric not in names:
            raise unknown(f"--plateau_metric {self.plateau_metric}", self.plateau_metric, names)

    def end_epoch(self, means: Mapping[str, float]) -> None:
        """Tell the plateau policy the epoch's means and metrics (by short name), where its metric is among them."""
        if self.lr_policy != "plateau" or self.plateau_metric not in means:
            return
        value, metric = means[self.plateau_metric], METRICS.get(self.plateau_metric)
        if metric is None:
            self.plateau.update(value)
        elif math.isfinite(value):  # an infinite PSNR is no progress that could be compared
            self.plateau.update(-value if metric.higher_is_better else value)

    def state(self) -> dict[str, Any]:
        """What the plateau policy has seen, and of which metric; nothing else is remembered."""
        return {**self.plateau.state(), "metric": self.plateau_metric}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore ``state``; of another metric, only the rate that it led to."""
        same = state.get("metric", self.plateau_metric) == self.plateau_metric
        kept = state if same else {**Plateau().state(), "current": state["current"]}
        self.plateau.load_state({key: float(kept[key]) for key in ("best", "bad", "current")})

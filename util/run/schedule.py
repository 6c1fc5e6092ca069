"""How long a run trains and at which rate: schedules as pure functions of progress, so that a resumed run needs no
scheduler state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from util.metrics import METRICS
from util.registry import unknown
from util.run import LR_POLICIES, SCHED_COMPATS
from util.run.progress import Progress

VANISHED = 1e-30  # a step schedule that would fall below this trains nothing any more


def lr_factor(
    policy: str,
    *,
    epoch: int,
    n_epochs: int,
    n_epochs_decay: int,
    lr_decay_iters: int = 50,
    sched_compat: str = "correct",
    gamma: float = 0.1,
    epoch_count: int = 1,
) -> float:
    """The factor in force during an epoch. With e the epoch, n = ``n_epochs`` and d = ``n_epochs_decay``:

    - linear: ``1 - max(0, e - n) / (d + 1)``: nominal for n epochs, ``1 / (d + 1)`` in the last one;
    - step: ``gamma ** ((e - 1) // lr_decay_iters)``;
    - cosine: ``(1 + cos(pi * (e - 1) / (n + d))) / 2``: over the whole run, above 0 in the last epoch;
    - constant: 1.

    ``sched_compat="reference"`` gives the published numbers, where the schedule is stepped before the first epoch:
    linear decays one epoch early and trains the last epoch at rate 0; step and cosine count from ``epoch_count``, so
    they start over on resume; cosine reaches 0 at epoch n and rises again.

    Args:
        policy: ``linear``, ``step``, ``cosine`` or ``constant``; ``plateau`` follows a metric, see ``Plateau``.
        epoch: from 1; past the last epoch the last factor stays.
        n_epochs: epochs at the nominal rate (linear).
        n_epochs_decay: epochs that follow.
        lr_decay_iters: length of a step in epochs, despite its published name.
        sched_compat: ``correct`` or ``reference``.
        gamma: factor of a step.
        epoch_count: first epoch of this run; matters for ``reference`` only.

    Raises:
        ValueError: unknown ``policy`` or ``sched_compat``, ``plateau``, ``epoch`` below 1, or a step schedule whose
            rate vanishes before the end.
    """
    if sched_compat not in SCHED_COMPATS:
        raise unknown(f"--sched_compat {sched_compat!r}", sched_compat, SCHED_COMPATS)
    if epoch < 1:
        raise ValueError(f"epoch {epoch}: epochs count from 1")
    if sched_compat == "correct":
        return _factor(policy, epoch - 1, n_epochs, n_epochs_decay, lr_decay_iters, gamma)
    _check_policy(policy)
    epoch = min(epoch, max(1, n_epochs + n_epochs_decay))
    steps = epoch - epoch_count + 1
    if policy == "linear":
        return max(0.0, 1 - max(0, epoch + 1 - n_epochs) / (n_epochs_decay + 1))
    if policy == "step":
        return gamma ** (steps // _step_length(lr_decay_iters))
    if policy == "cosine":
        return (1 + math.cos(math.pi * steps / max(1, n_epochs))) / 2
    return 1.0


def lr_factor_by_iters(
    policy: str,
    *,
    iteration: int,
    n_iters: int,
    n_iters_decay: int,
    lr_decay_iters: int,
    gamma: float = 0.1,
) -> float:
    """The factor for the next step of a run that is bounded by iterations; never 0 in a trained iteration.

    The same closed forms as ``lr_factor`` with ``e - 1`` the completed steps and every length in iterations.

    Args:
        policy: ``linear``, ``step``, ``cosine`` or ``constant``.
        iteration: completed steps, from 0; past the end the last factor stays.
        n_iters: steps at the nominal rate (linear).
        n_iters_decay: steps that follow.
        lr_decay_iters: length of a step of the step schedule, in iterations.
        gamma: factor of a step.

    Raises:
        ValueError: unknown ``policy``, ``plateau``, negative ``iteration``, or a step schedule whose rate vanishes
            before the end.
    """
    if iteration < 0:
        raise ValueError(f"iteration {iteration}: completed steps count from 0")
    return _factor(policy, iteration, n_iters, n_iters_decay, lr_decay_iters, gamma)


def _factor(policy: str, done: int, nominal: int, decay: int, step_length: int, gamma: float) -> float:
    """The factor after ``done`` of ``nominal + decay`` units of progress."""
    _check_policy(policy)
    total = max(1, nominal + decay)
    done = min(done, total - 1)
    if policy == "linear":
        return 1 - max(0, done + 1 - nominal) / (decay + 1)
    if policy == "step":
        length = _step_length(step_length)
        if gamma ** ((total - 1) // length) < VANISHED:
            raise ValueError(
                f"--lr_decay_iters {length}: over {total} epochs or iterations the rate vanishes; "
                f"choose {total // 4 or 1} or so"
            )
        return gamma ** (done // length)
    if policy == "cosine":
        # (1 + cos(pi * done / total)) / 2, in the form that does not round to 0 near the end
        return math.sin(math.pi / 2 * (total - done) / total) ** 2
    return 1.0


def _check_policy(policy: str) -> None:
    if policy == "plateau":
        raise ValueError("--lr_policy plateau follows a metric, not progress alone: use Plateau")
    if policy not in LR_POLICIES:
        raise unknown(f"--lr_policy {policy!r}", policy, LR_POLICIES)


def _step_length(lr_decay_iters: int) -> int:
    if lr_decay_iters < 1:
        raise ValueError(f"--lr_decay_iters {lr_decay_iters}: expected at least 1")
    return lr_decay_iters


@dataclass
class Plateau:
    """Lower the rate when a metric stops falling; the rule of torch's ``ReduceLROnPlateau`` (min, relative threshold).

    A value counts as better when it is below ``best - threshold * |best|`` (for positive values torch's rule; torch's
    own would call a slightly worse negative value better); after more than ``patience`` values in a row that are not,
    the factor is multiplied by ``factor``. Reductions smaller than 1e-8 are not made, so the rate never becomes 0.

    Args:
        factor: what the rate is multiplied by.
        threshold: relative improvement that counts.
        patience: values without improvement that are borne.
    """

    factor: float = 0.2
    threshold: float = 0.01
    patience: int = 5

    def __post_init__(self) -> None:
        self._best, self._bad, self._current = math.inf, 0, 1.0

    @property
    def current(self) -> float:
        """The factor in force now."""
        return self._current

    def update(self, value: float) -> float:
        """Take the metric of an epoch; returns the factor for the next one.

        Raises:
            ValueError: the metric is not finite.
        """
        if not math.isfinite(value):
            raise ValueError(f"--lr_policy plateau: the metric is {value}, so nothing can be learned from it")
        if self._best == math.inf or value < self._best - self.threshold * abs(self._best):
            self._best, self._bad = value, 0
        else:
            self._bad += 1
        if self._bad > self.patience:
            lowered = self._current * self.factor
            if self._current - lowered > 1e-8:
                self._current = lowered
            self._bad = 0
        return self._current

    def state(self) -> dict[str, float]:
        """Everything that ``update`` has learned, as primitives."""
        return {"best": self._best, "bad": self._bad, "current": self._current}

    def load_state(self, state: dict[str, float]) -> None:
        """Go on where ``state`` was taken."""
        self._best, self._bad, self._current = float(state["best"]), int(state["bad"]), float(state["current"])


@dataclass
class TrainingSchedule:
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


def current_lr(optimizers: Mapping[str, torch.optim.Optimizer]) -> float:
    """Learning rate of the first optimizer, for the logs."""
    return float(next(iter(optimizers.values())).param_groups[0]["lr"])


def set_lr_factor(optimizers: Mapping[str, torch.optim.Optimizer], factor: float) -> None:
    """Set every optimizer's learning rate to its initial rate times ``factor``."""
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

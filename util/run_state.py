"""What must survive a stop, beside the networks: gathered for a checkpoint, and put back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from util.checkpoint import FORMAT, versions
from util.metrics.evaluation import Evaluation
from util.plan import Plan
from util.progress import Meter, Progress
from util.seed import load_rng_state, rng_state

logger = logging.getLogger(__name__)


class Stateful(Protocol):
    """What is needed of a model."""

    def training_state(self) -> dict[str, Any]: ...

    def load_training_state(self, state: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class RunState:
    """The parts of a run that have a state; ``<tag>_state.pth`` holds it as tensors and primitives.

    Attributes:
        fingerprint: of the data set's files.
        world_size: number of processes.
    """

    model: Stateful
    plan: Plan
    meter: Meter
    evaluation: Evaluation | None
    fingerprint: Mapping[str, Any]
    world_size: int = 1

    def gather(self, progress: Progress, options: Mapping[str, Any]) -> dict[str, Any]:
        """The state at a place of the run, with the options that it depends on. Every process must call it."""
        return {
            "format": FORMAT,
            "progress": progress.state(),
            **self.model.training_state(),
            "schedulers": self.plan.state(),
            "ema": {},
            "meter": self.meter.state(),
            "evaluation": self.evaluation.state() if self.evaluation else {},
            "rng": rng_state(),
            "sampler": {"position": progress.epoch_iter, **self.fingerprint},
            "options": dict(options),
            "versions": versions(),
        }

    def restore(self, state: Mapping[str, Any]) -> Progress:
        """Put everything back and return the place; the next batch is the one that would have come.

        Raises:
            ValueError: the state belongs to another model.
        """
        self.model.load_training_state(state)
        self.plan.load_state(state["schedulers"])
        self.meter.load_state(state["meter"], 1.0 / self.world_size)
        if self.evaluation:
            self.evaluation.load_state(state.get("evaluation", {}))  # runs of older versions have none
        load_rng_state(state["rng"])
        if any(state["sampler"].get(key) != value for key, value in self.fingerprint.items()):
            logger.warning("warning: the files of the data set are not those of this checkpoint")
        return Progress(**state["progress"])

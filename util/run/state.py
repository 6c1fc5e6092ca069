"""What must survive a stop, beside the networks: gathered for a checkpoint, and put back."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import nn

from util.metrics.evaluation import Evaluation
from util.run import distributed
from util.run.checkpoint import FORMAT, Checkpointer, versions
from util.run.distributed import World
from util.run.engine import load_rng_state, rng_state
from util.run.progress import Meter, Progress
from util.run.schedule import Plan

logger = logging.getLogger(__name__)


class Stateful(Protocol):
    """What is needed of a model."""

    networks: dict[str, nn.Module]
    network_aliases: ClassVar[Mapping[str, tuple[str, ...]]]

    def training_state(self) -> dict[str, Any]: ...

    def load_training_state(self, state: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class RunState:
    """The parts of a run that have a state; ``<tag>_state.pth`` holds it as tensors and primitives.

    Attributes:
        fingerprint: of the data set's files.
        world: this process among all.
    """

    checkpointer: Checkpointer
    model: Stateful
    plan: Plan
    meter: Meter
    evaluation: Evaluation | None
    fingerprint: Mapping[str, Any]
    world: World

    def save(self, tags: Sequence[str], progress: Progress, options: Mapping[str, Any]) -> None:
        """Save networks and state of a place of the run under these tags. Every process must call it.

        Args:
            tags: ``latest``, an epoch, ...
            progress: the place.
            options: those that the state depends on.

        Raises:
            NonFiniteLoss: a loss or a weight is not finite; the last checkpoint stays as it is.
            OSError: the disk is full or cannot be written; the last checkpoint stays as it is.
        """
        self.meter.check()
        self.meter.check_weights(self.model.networks)
        state = {
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
        if self.world.is_main:
            self.checkpointer.save(tags, self.model.networks, state)
        distributed.barrier()

    def resume(self, tag: str, *, recover: bool) -> Progress | None:
        """Load networks and state, and return the place; the next batch is the one that would have come.

        Args:
            tag: which checkpoint.
            recover: finish a save that was cut off, first.

        Returns:
            None for a checkpoint without a state file, of the original code: its weights are loaded.

        Raises:
            FileNotFoundError: there is no such checkpoint.
            ValueError: it is damaged, or belongs to another model.
        """
        if self.world.is_main and recover:
            self.checkpointer.recover()
        distributed.barrier()
        for name, net in self.model.networks.items():
            self.checkpointer.load_network(tag, name, net, self.model.network_aliases.get(name, ()))
        state = self.checkpointer.load_state(tag)
        if state is None:
            logger.warning("warning: there is no %s_state.pth: fine-tuning these weights with new optimizers", tag)
            return None
        self.model.load_training_state(state)
        self.plan.load_state(state["schedulers"])
        self.meter.load_state(state["meter"], 1.0 / self.world.size)
        if self.evaluation:
            known = state.get("evaluation", {})
            tag = f"best_{self.evaluation.best.short}"
            if known.get("metric") != self.evaluation.best.short:  # the run went on without it for a while
                known = (self.checkpointer.load_state(tag) or {}).get("evaluation", {})
            self.evaluation.load_state(known)
        load_rng_state(state["rng"])
        if any(state["sampler"].get(key) != value for key, value in self.fingerprint.items()):
            logger.warning("warning: the files of the data set are not those of this checkpoint")
        return Progress(**state["progress"])

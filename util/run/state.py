"""What must survive a stop, beside the networks: gathered for a checkpoint, and put back."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from util.metrics.evaluation import Evaluation
from util.run import distributed
from util.run.checkpoint import AVERAGE, FORMAT, Checkpointer, versions
from util.run.distributed import World
from util.run.engine import load_rng_state, rng_state
from util.run.progress import Meter, Progress
from util.run.schedule import TrainingSchedule

logger = logging.getLogger(__name__)

_PARTS = ("optimizers", "scaler", "extra", "schedulers", "meter", "rng", "sampler", "progress")
"""What a training cannot go on without."""


class Stateful(Protocol):
    """What is needed of a model."""

    networks: dict[str, nn.Module]
    averages: dict[str, nn.Module]
    aliases: dict[str, tuple[str, ...]]
    optimizers: dict[str, torch.optim.Optimizer]
    scalers: dict[str, torch.amp.GradScaler]

    @property
    def saved_networks(self) -> dict[str, nn.Module]: ...

    def extra_state(self) -> dict[str, Any]: ...

    def load_extra_state(self, state: Mapping[str, Any]) -> None: ...


def training_state(model: Stateful) -> dict[str, Any]:
    """Optimizers, loss scalers and extra state of a model. Every process must call it."""
    return {
        "optimizers": {name: optimizer.state_dict() for name, optimizer in model.optimizers.items()},
        "scaler": {name: scaler.state_dict() for name, scaler in model.scalers.items()},
        "extra": model.extra_state(),
    }


def load_training_state(model: Stateful, state: Mapping[str, Any]) -> None:
    """Restore ``training_state``. ``--lr``, ``--beta1``... of this start win over those of the checkpoint.

    Raises:
        ValueError: it belongs to another model.
    """
    if set(state["optimizers"]) != set(model.optimizers):
        raise ValueError(
            f"the state file belongs to another model: it has optimizers {', '.join(state['optimizers'])}, "
            f"this model has {', '.join(model.optimizers)}; check --model and the flags that add networks"
        )
    model.load_extra_state(state["extra"])  # first: a model may refuse flags with which layers would fit all the same
    for name, optimizer in model.optimizers.items():
        _check_moments(name, optimizer, state["optimizers"][name])
        settings = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
        optimizer.load_state_dict(state["optimizers"][name])
        for group, setting in zip(optimizer.param_groups, settings):
            group.update(setting)
    for name, scaler in model.scalers.items():
        if name in state["scaler"]:
            scaler.load_state_dict(state["scaler"][name])


def _check_moments(name: str, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Refuse the state of an optimizer whose parameters have another order or other shapes.

    Raises:
        ValueError: naming the optimizer.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    kept = [state["state"].get(number, {}).get("exp_avg") for number in numbers]
    fits = len(parameters) == len(kept) and all(
        moments is None or moments.shape == parameter.shape for parameter, moments in zip(parameters, kept)
    )
    if not fits:
        raise ValueError(
            f"the state of optimizer {name} belongs to another network, with its layers in another order: give the "
            "flags that it was trained with, see train_opt.txt"
        )


@dataclass(frozen=True)
class RunState:
    """The parts of a run that have a state; ``<tag>_state.pth`` holds it as tensors and primitives.

    Attributes:
        fingerprint: of the data set's files.
        world: this process among all.
    """

    checkpointer: Checkpointer
    model: Stateful
    plan: TrainingSchedule
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
        self.meter.check_weights(self.model.saved_networks)
        state = {
            "format": FORMAT,
            "progress": progress.state(),
            **training_state(self.model),
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
            self.checkpointer.save(tags, self.model.saved_networks, state)
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
            self.checkpointer.load_network(tag, name, net, self.model.aliases[name])
        self._load_averages(tag)
        state = self.checkpointer.load_state(tag)
        if state is None:
            logger.warning("warning: there is no %s_state.pth: fine-tuning these weights with new optimizers", tag)
            return None
        if missing := [name for name in _PARTS if name not in state]:
            raise ValueError(
                f"{self.checkpointer.folder / f'{tag}_state.pth'}: not the whole state of a run, it lacks "
                f"{missing[0]}; restore another copy, or delete it to fine-tune"
            )
        load_training_state(self.model, state)
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

    def _load_averages(self, tag: str) -> None:
        """Those of the checkpoint; where ``--ema_decay`` is new to the run they start from its networks."""
        for name, net in self.model.averages.items():
            if (self.checkpointer.folder / f"{tag}_net_{name}.pth").is_file():
                self.checkpointer.load_network(tag, name, net)
                continue
            source = name.removesuffix(AVERAGE)
            logger.warning("warning: %s has no %s: the average starts from %s", tag, name, source)
            net.load_state_dict(self.model.networks[source].state_dict())

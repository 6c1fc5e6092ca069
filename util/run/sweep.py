"""A search for good options by Optuna: trials in a data base, which several processes and machines may share.

Every trial has a slot, a number from 0: the name of its run. All slots are in the data base from the start, waiting; a
worker takes one after the other. Values that need no knowledge of other trials (grid, random, the first ones of TPE)
are drawn then, so that they depend neither on the number of workers nor on who is faster. The trial of a worker that
died is noticed by its missing heartbeat, and waits again: in the same slot, so that its run goes on.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from util.exit_code import EXIT_BAD_INPUT, EXIT_DONE
from util.files import locked
from util.pages.sweep_page import SweepTrial
from util.run.folder import holds_run, is_training
from util.run.follow import EpochReader, TrainingProcess
from util.run.search_space import Dimension, grid, read_space
from util.run.trials import Offer, SharedTrials, Task, TrialFailed, require_optuna
from util.wording import counted

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("median", "halving", "none")
DATABASE = "sweep.db"

_STATES = {"WAITING": "waiting", "RUNNING": "running", "COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed"}
_DEFINITION, _SLOT = "definition", "slot"  # attributes in the data base


@dataclass(frozen=True)
class Definition:
    """What a sweep searches, the same for all its workers.

    Attributes:
        space: as ``util.run.search_space.read_space`` takes it.
        metric: short name of a metric, or name of a loss.
        direction: ``minimize`` or ``maximize``.
        sampler: one of ``SAMPLERS``.
        pruner: one of ``PRUNERS``.
        warmup: epochs before which nothing is pruned.
        seed: of the sampler.
        startup: trials whose values are drawn at random before TPE begins.
        train: words of train.py that all trials share.
    """

    space: tuple[str, ...]
    metric: str
    direction: str
    sampler: str = "tpe"
    pruner: str = "median"
    warmup: int = 0
    seed: int = 0
    startup: int = 10
    train: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """A trial's training.

    Attributes:
        command: the program with its words, for a new run.
        folder: of the run.
        log: file of the training's messages.
        last_epoch: a trial is not pruned in it.
    """

    command: Sequence[str]
    folder: Path
    log: Path
    last_epoch: int


def read_definition(storage: Any, name: str) -> Definition | None:
    """The definition of a sweep that is there; None if it is not.

    Raises:
        ValueError: a study of this name is no sweep of this program.
    """
    optuna = require_optuna()
    if name not in optuna.get_all_study_names(storage):
        return None
    found = optuna.load_study(study_name=name, storage=storage).user_attrs.get(_DEFINITION)
    if not isinstance(found, dict):
        raise ValueError(f"--name {name}: the study in this data base is no sweep of scripts/sweep.py; choose another")
    fields: dict[str, Any] = {key: tuple(each) if isinstance(each, list) else each for key, each in found.items()}
    return Definition(**fields)


class Sweep:
    """A worker of a sweep.

    Args:
        storage: as ``open_storage`` makes it.
        name: of the sweep.
        definition: of the sweep; of a new one, it is stored.
        folder: for the lock of the workers of this machine; it exists.
        poll: seconds between two looks at a training.
    """

    def __init__(self, storage: Any, name: str, definition: Definition, folder: Path, *, poll: float = 1.0) -> None:
        self._optuna = require_optuna()
        self.name, self.definition = name, definition
        self.space: tuple[Dimension, ...] = read_space(definition.space)
        self._poll = poll
        lock = folder / ".sweep.lock"
        with locked(lock, "another worker opens the sweep"):
            if read_definition(storage, name) is None:
                self.study = self._optuna.create_study(
                    study_name=name, storage=storage, direction=definition.direction, pruner=self._pruner()
                )
                self.study.set_user_attr(_DEFINITION, asdict(definition))
            else:
                self.study = self._optuna.load_study(study_name=name, storage=storage, pruner=self._pruner())
        self._shared = SharedTrials(
            self.study, _SLOT, lock, grace=storage.grace_period, poll=poll, named=run_name, say=logger.info
        )

    # --- trials -------------------------------------------------------------------------------------------------------

    def add_trials(self, total: int) -> None:
        """Let there be this many trials in all; those that are there stay.

        Raises:
            ValueError: a grid has fewer points.
        """
        drawn = self._drawn(total)
        with self._shared.alone():
            known = {trial.user_attrs.get(_SLOT) for trial in self.study.get_trials(deepcopy=False)}
            for slot in range(total):
                if slot not in known:
                    self.study.enqueue_trial(drawn[slot] if slot < len(drawn) else {}, user_attrs={_SLOT: slot})

    def retry_failed(self) -> int:
        """Let the failed trials wait again; returns their number."""
        with self._shared.alone():
            failed = [each for each in self._shared.latest().values() if each.state.name == "FAIL"]
            for trial in failed:
                self._shared.requeue(trial.number)
        return len(failed)

    def trials(self) -> list[SweepTrial]:
        """Every slot's last trial, in the order of the slots."""
        return [self._shown(slot, trial) for slot, trial in sorted(self._shared.latest().items())]

    def _shown(self, slot: int, trial: optuna.trial.FrozenTrial) -> SweepTrial:
        state, points = _STATES[trial.state.name], sorted(trial.intermediate_values.items())
        value = trial.value if state == "done" else points[-1][1] if state == "pruned" and points else None
        values = trial.params or trial.system_attrs.get("fixed_params", {})
        params = {each.flag: each.word(values[each.flag]) for each in self.space if each.flag in values}
        times = len(trial.system_attrs.get("retry_history", ()))
        remarks = [error] if (error := self._shared.error(trial)) else []
        remarks += [f"started {times + 1} times" if state != "waiting" else "waits again"] if times else []
        seconds = trial.duration.total_seconds() if trial.duration else None
        return SweepTrial(run_name(slot), state, params, points, value, seconds, "; ".join(remarks))

    def _drawn(self, total: int) -> list[dict[str, Any]]:
        """The values of the first slots, as far as they do not depend on other trials."""
        d = self.definition
        if d.sampler == "grid":
            points = grid(self.space)
            if total > len(points):
                raise ValueError(f"--trials {total}: the grid has {counted(len(points), 'point')}")
            return list(points)
        memory = self._optuna.create_study(sampler=self._optuna.samplers.RandomSampler(seed=d.seed))
        drawn = []
        for _ in range(total if d.sampler == "random" else min(total, d.startup)):
            trial = memory.ask()
            for dimension in self.space:
                dimension.suggest(trial)
            drawn.append(trial.params)
        return drawn

    # --- work ---------------------------------------------------------------------------------------------------------

    def work(self, prepare: Callable[[int, Mapping[str, str]], Job], finished: Callable[[], object]) -> None:
        """Train one trial after the other until none is left, those of workers that die meanwhile included.

        Args:
            prepare: slot, flag -> word: the training.
            finished: called after every trial.

        Raises:
            ValueError: train.py refuses its words; the trial waits again.
            KeyboardInterrupt: likewise, once the training has saved.
        """

        def offer() -> Offer:
            latest = self._shared.latest()
            waiting = {trial.number: slot for slot, trial in latest.items() if trial.state.name == "WAITING"}
            if waiting:
                self.study.sampler = self._sampler(waiting[min(waiting)])
                return Offer.TAKE
            return Offer.WAIT if any(trial.state.name == "RUNNING" for trial in latest.values()) else Offer.END

        self._shared.work(offer, lambda trial: self._begin(trial, prepare), finished)

    def _begin(self, trial: optuna.trial.Trial, prepare: Callable[[int, Mapping[str, str]], Job]) -> Task:
        """Draw the values of a trial; what trains with them."""
        slot, params = trial.user_attrs[_SLOT], {each.flag: each.suggest(trial) for each in self.space}

        def train() -> float:
            logger.info("%s: %s", run_name(slot), " ".join(f"--{flag} {word}" for flag, word in params.items()))
            try:
                value = self._train(trial, prepare(slot, params))
            except TrialFailed as error:
                logger.warning("%s failed: %s; the others go on", run_name(slot), error)
                raise
            except self._optuna.TrialPruned:
                logger.info("%s: pruned", run_name(slot))
                raise
            logger.info("%s: %s %.6g", run_name(slot), self.definition.metric, value)
            return value

        return train

    def _train(self, trial: optuna.trial.Trial, job: Job) -> float:
        """The value of the last epoch in which there was one."""
        metric, reader = self.definition.metric, EpochReader(job.folder)
        values: dict[int, float] = {}
        known: dict[str, None] = {}
        process = TrainingProcess(self._command(trial, job), job.log)
        try:
            while True:
                code = process.exit_code  # before the file is read: what the process wrote last is seen
                for epoch, found in reader.new():
                    known |= dict.fromkeys(found)
                    if metric in found and epoch not in values:
                        values[epoch] = found[metric]
                        trial.report(found[metric], epoch)
                    if code is None and epoch < job.last_epoch and epoch in values and trial.should_prune():
                        process.stop()
                        raise self._optuna.TrialPruned
                if code is not None:
                    break
                time.sleep(self._poll)
        except (Exception, KeyboardInterrupt):
            process.stop()
            raise
        if code == EXIT_BAD_INPUT:
            raise ValueError(f"train.py refused {job.folder.name}: {process.error}")
        if code != EXIT_DONE:
            raise TrialFailed(f"exit code {code} {process.error}".strip())
        if not values:
            names = ", ".join(known) or "none: no epoch was finished"
            raise ValueError(f"--metric {metric}: {job.folder.name} did not log it; there are {names}")
        value = values[max(values)]
        if math.isnan(value):
            raise TrialFailed(f"{metric} is not a number in epoch {max(values)}")
        return value

    def _command(self, trial: optuna.trial.Trial, job: Job) -> list[str]:
        """The command, going on with what an earlier start of this trial left."""
        while is_training(job.folder):  # a worker was killed, its training was not
            logger.info("%s: waiting for the training that a killed worker left behind", job.folder.name)
            time.sleep(max(self._poll, 1.0))
        if not holds_run(job.folder):
            return list(job.command)
        if not self.study.get_trials(deepcopy=False)[trial.number].system_attrs.get("retry_history"):
            raise ValueError(
                f"--name {self.name}: {job.folder} holds a run already, of another sweep; delete it, or choose another "
                "--name"
            )
        goes_on = (job.folder / "latest_state.pth").is_file()
        return [*job.command, "--continue_train" if goes_on else "--overwrite"]

    def _sampler(self, slot: int) -> Any:
        """A sampler whose draws depend on the seed and the slot: workers with one seed draw different values."""
        samplers, d = self._optuna.samplers, self.definition
        if d.sampler != "tpe":
            return samplers.RandomSampler(seed=d.seed)
        return samplers.TPESampler(seed=d.seed + slot, n_startup_trials=d.startup, constant_liar=True)

    def _pruner(self) -> Any:
        pruners, d = self._optuna.pruners, self.definition
        if d.pruner == "median":
            return pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=d.warmup)
        if d.pruner == "halving":
            return pruners.SuccessiveHalvingPruner(min_resource=max(1, d.warmup))
        return pruners.NopPruner()


def run_name(slot: int) -> str:
    """Name of a trial's run within the folder of its sweep."""
    return f"trial_{slot:03d}"

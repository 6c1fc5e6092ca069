"""A search for good options by Optuna: trials in a data base, which several processes and machines may share.

Every trial has a slot, a number from 0: the name of its run. All slots are in the data base from the start, waiting; a
worker takes one after the other. Values that need no knowledge of other trials (grid, random, the first ones of TPE)
are drawn then, so that they depend neither on the number of workers nor on who is faster. The trial of a worker that
died is noticed by its missing heartbeat, and waits again: in the same slot, so that its run goes on.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from util.exit_code import EXIT_BAD_INPUT, EXIT_DONE
from util.files import locked
from util.packages import needs
from util.pages.sweep_page import SweepTrial
from util.run.folder import holds_run, is_training
from util.run.follow import EpochReader, TrainingProcess
from util.run.search_space import Dimension, grid, read_space
from util.wording import counted

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("median", "halving", "none")
DATABASE = "sweep.db"

_STATES = {"WAITING": "waiting", "RUNNING": "running", "COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed"}
_DEFINITION, _SLOT, _ERROR = "definition", "slot", "error"  # attributes in the data base


class TrainingFailed(RuntimeError):
    """A trial's training failed; the others go on."""


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


def require_optuna() -> Any:
    """The package.

    Raises:
        ValueError: it is not installed.
    """
    with needs("scripts/sweep.py needs", "optuna"):
        import optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def open_storage(url: str, grace: int) -> Any:
    """A data base of trials.

    Args:
        url: ``sqlite:///FILE``, or that of a server.
        grace: seconds without a heartbeat after which a worker counts as dead.

    Raises:
        ValueError: it cannot be reached; the message does not have its password.
    """
    optuna = require_optuna()
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    # SQLite lets one process write at a time; the default of 5 s is short on a shared disk.
    extra = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    shown = url.partition(":")[0] + ":..."
    try:
        shown = make_url(url).render_as_string(hide_password=True)
        return optuna.storages.RDBStorage(
            url,
            engine_kwargs=extra,
            heartbeat_interval=max(1, grace // 4),
            grace_period=grace,
            heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(),
        )
    except (ImportError, SQLAlchemyError, RuntimeError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise ValueError(f"--storage {shown}: cannot be opened ({reason}); check the URL and the server") from None


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
        self._lock, self._poll, self._grace = folder / ".sweep.lock", poll, storage.grace_period
        with self._alone():
            if read_definition(storage, name) is None:
                self.study = self._optuna.create_study(
                    study_name=name, storage=storage, direction=definition.direction, pruner=self._pruner()
                )
                self.study.set_user_attr(_DEFINITION, asdict(definition))
            else:
                self.study = self._optuna.load_study(study_name=name, storage=storage, pruner=self._pruner())
        self._current: int | None = None

    # --- trials -------------------------------------------------------------------------------------------------------

    def add_trials(self, total: int) -> None:
        """Let there be this many trials in all; those that are there stay.

        Raises:
            ValueError: a grid has fewer points.
        """
        drawn = self._drawn(total)
        with self._alone():
            known = {trial.user_attrs.get(_SLOT) for trial in self.study.get_trials(deepcopy=False)}
            for slot in range(total):
                if slot not in known:
                    self.study.enqueue_trial(drawn[slot] if slot < len(drawn) else {}, user_attrs={_SLOT: slot})

    def retry_failed(self) -> int:
        """Let the failed trials wait again; returns their number."""
        with self._alone():
            failed = [each for each in self._latest().values() if each.state.name == "FAIL"]
            for trial in failed:
                self._requeue(trial.number)
        return len(failed)

    def trials(self) -> list[SweepTrial]:
        """Every slot's last trial, in the order of the slots."""
        return [self._shown(slot, trial) for slot, trial in sorted(self._latest().items())]

    def _latest(self) -> dict[int, optuna.trial.FrozenTrial]:
        trials = self.study.get_trials(deepcopy=False)
        return {trial.user_attrs[_SLOT]: trial for trial in trials if _SLOT in trial.user_attrs}

    def _shown(self, slot: int, trial: optuna.trial.FrozenTrial) -> SweepTrial:
        state, points = _STATES[trial.state.name], sorted(trial.intermediate_values.items())
        value = trial.value if state == "done" else points[-1][1] if state == "pruned" and points else None
        values = trial.params or trial.system_attrs.get("fixed_params", {})
        params = {each.flag: each.word(values[each.flag]) for each in self.space if each.flag in values}
        times = len(trial.system_attrs.get("retry_history", ()))
        remarks = [str(trial.user_attrs[_ERROR])] if state == "failed" and _ERROR in trial.user_attrs else []
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

    def _requeue(self, number: int) -> None:
        """Let a trial that failed, by its number in the data base, wait again in its slot."""
        trial = self.study.get_trials(deepcopy=False)[number]
        if trial.state.name == "FAIL":
            self._optuna.storages.RetryHeartbeatStaleTrialCallback()(self.study, trial)

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
        told = False
        while True:
            with contextlib.ExitStack() as alone:
                alone.enter_context(self._alone())
                self._free_stale()
                states = [trial.state.name for trial in self._latest().values()]
                if waiting := "WAITING" in states:
                    self._train_next(prepare, alone)
            if waiting:
                finished()
            elif "RUNNING" not in states:
                return
            else:
                if not told:
                    logger.info("waiting for other workers; trials that run there: %d", states.count("RUNNING"))
                told = True
                time.sleep(max(self._poll, 1.0))

    def _free_stale(self) -> None:
        """Let the trials of dead workers wait again."""
        self._optuna.storages.fail_stale_trials(self.study)
        for trial in self._latest().values():  # Optuna overlooks one whose worker died before its first heartbeat
            begun = trial.datetime_start if trial.state.name == "RUNNING" and not trial.params else None
            if begun and (datetime.now() - begun).total_seconds() > self._grace:
                self.study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)
                self._requeue(trial.number)

    def _train_next(self, prepare: Callable[[int, Mapping[str, str]], Job], alone: contextlib.ExitStack) -> None:
        """Train the next waiting trial. Other workers of this machine may choose theirs once ``alone`` is closed: two
        processes may take the same trial out of an SQLite data base, which has no locks of rows."""
        states = (self._optuna.trial.TrialState.WAITING,)
        self.study.sampler = self._sampler(self.study.get_trials(deepcopy=False, states=states)[0].user_attrs[_SLOT])
        self._current = None

        def objective(trial: optuna.trial.Trial) -> float:
            if _SLOT not in trial.user_attrs:  # another machine took the last one between two looks
                raise TrainingFailed("no trial is left")
            slot, params = trial.user_attrs[_SLOT], {each.flag: each.suggest(trial) for each in self.space}
            self._current = trial.number
            alone.close()
            told = " ".join(f"--{flag} {word}" for flag, word in params.items())
            logger.info("%s: %s", run_name(slot), told)
            try:
                value = self._train(trial, prepare(slot, params))
            except TrainingFailed as error:
                trial.set_user_attr(_ERROR, str(error))
                logger.warning("%s failed: %s; the others go on", run_name(slot), error)
                raise
            except self._optuna.TrialPruned:
                logger.info("%s: pruned", run_name(slot))
                raise
            logger.info("%s: %s %.6g", run_name(slot), self.definition.metric, value)
            return value

        try:
            self.study.optimize(objective, n_trials=1, catch=(TrainingFailed,))
        except BaseException:
            if self._current is not None:
                self._requeue(self._current)
            raise

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
            raise TrainingFailed(f"exit code {code} {process.error}".strip())
        if not values:
            names = ", ".join(known) or "none: no epoch was finished"
            raise ValueError(f"--metric {metric}: {job.folder.name} did not log it; there are {names}")
        value = values[max(values)]
        if math.isnan(value):
            raise TrainingFailed(f"{metric} is not a number in epoch {max(values)}")
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

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        return locked(self._lock, "another worker chooses its trial")


def run_name(slot: int) -> str:
    """Name of a trial's run within the folder of its sweep."""
    return f"trial_{slot:03d}"

"""Trials of Optuna that several processes and machines share: who works on which, and what a dead worker left behind.

A trial is an attempt at something with a name of its own, its key: a slot of a sweep, a run of a table. A worker takes
one trial after the other. While it works on one, a thread of Optuna writes a sign of life (heartbeat) into the data
base; a trial whose signs stop is put back, with the same key, and the next worker takes it.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import time
import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from util.files import locked
from util.packages import needs

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

_TAKEN, _ERROR = "taken", "error"  # attributes in the data base

Task = Callable[[], float]
"""What is done for a trial; returns the number that it is compared by."""


class TrialFailed(RuntimeError):
    """A trial has failed; the others go on."""


class TrialDropped(Exception):
    """A trial is not for this worker, or nothing is left to do for it."""


class Offer(enum.Enum):
    """What there is for a worker."""

    TAKE = "a trial waits"
    WAIT = "others work on what is left"
    END = "nothing is left"


def require_optuna(who: str = "scripts/sweep.py needs") -> Any:
    """The package.

    Args:
        who: cannot do without, with its verb.

    Raises:
        ValueError: it is not installed.
    """
    with needs(who, "optuna"):
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


class SharedTrials:
    """A worker's view of the trials of a study.

    Args:
        study: in a data base of ``open_storage``.
        key: attribute of a trial that holds its key.
        lock: file of the lock of the workers of this machine; its folder exists.
        grace: seconds without a heartbeat after which a worker counts as dead.
        poll: seconds between two looks at others.
        named: what a key is called in messages.
        say: tells the user what happens.
    """

    def __init__(
        self,
        study: optuna.Study,
        key: str,
        lock: Path,
        *,
        grace: float,
        poll: float = 1.0,
        named: Callable[[Any], str] = str,
        say: Callable[[str], object] = logger.info,
    ) -> None:
        self._optuna = require_optuna()
        self.study = study
        self._key, self._lock, self._grace, self._poll = key, lock, grace, poll
        self._named, self._say = named, say

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """While no other worker of this machine chooses its trial."""
        return locked(self._lock, "another worker chooses its trial")

    def latest(self) -> dict[Any, optuna.trial.FrozenTrial]:
        """The last trial of every key."""
        trials = self.study.get_trials(deepcopy=False)
        return {trial.user_attrs[self._key]: trial for trial in trials if self._key in trial.user_attrs}

    def error(self, trial: optuna.trial.FrozenTrial) -> str:
        """Why a trial failed; empty where it did not."""
        return str(trial.user_attrs.get(_ERROR, "")) if trial.state.name == "FAIL" else ""

    def requeue(self, number: int) -> None:
        """Let what a trial that failed was about, by its number in the data base, wait again."""
        trial = self.study.get_trials(deepcopy=False)[number]
        key = trial.user_attrs.get(self._key)
        if trial.state.name == "FAIL" and key is not None and self.latest()[key].number == number:
            self._optuna.storages.RetryHeartbeatStaleTrialCallback()(self.study, trial)

    def free_stale(self) -> None:
        """Let the trials of dead workers wait again."""
        self._optuna.storages.fail_stale_trials(self.study)
        # Optuna overlooks one whose worker died before its first heartbeat.
        for trial in self.study.get_trials(deepcopy=False):
            begun = trial.params or trial.user_attrs.get(_TAKEN) == trial.number
            since = None if begun or trial.state.name != "RUNNING" else trial.datetime_start
            if since and (datetime.now() - since).total_seconds() > self._grace:
                self.study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)
                self.requeue(trial.number)

    def work(
        self,
        offer: Callable[[], Offer],
        begin: Callable[[optuna.trial.Trial], Task],
        finished: Callable[[], object],
    ) -> None:
        """Work on one trial after the other until none is left, those of workers that die meanwhile included.

        Args:
            offer: called while this worker is alone: what there is. ``TAKE`` takes the first trial that waits.
            begin: likewise, with the trial that was taken: what is to be done for it. It may raise ``TrialDropped``.
            finished: called after every trial.

        Raises:
            Exception: what a task raised, unless it is ``TrialFailed`` or pruned; what it was about waits again.
            KeyboardInterrupt: likewise.
        """
        told = False
        while True:
            with contextlib.ExitStack() as alone:
                alone.enter_context(self.alone())
                self.free_stale()
                offered = offer()
                if offered is Offer.TAKE:
                    self._take(begin, alone)
            if offered is Offer.TAKE:
                finished()
            elif offered is Offer.END:
                return
            else:
                if not told:
                    running = [trial for trial in self.latest().values() if trial.state.name == "RUNNING"]
                    keys = ", ".join(self._named(trial.user_attrs[self._key]) for trial in running)
                    self._say(
                        f"waiting for other workers, at work on: {keys} "
                        f"(one that was killed counts as dead after {self._grace:g} s)"
                    )
                told = True
                time.sleep(max(self._poll, 1.0))

    def _take(self, begin: Callable[[optuna.trial.Trial], Task], alone: contextlib.ExitStack) -> None:
        """Work on the first trial that waits. Other workers of this machine may choose theirs once ``alone`` is closed:
        two processes may take the same trial out of an SQLite data base, which has no locks of rows."""
        taken: list[int] = []
        raised: list[BaseException] = []

        def objective(trial: optuna.trial.Trial) -> float:
            if self._key not in trial.user_attrs:  # another machine took the last one between two looks
                raise TrialDropped
            taken.append(trial.number)
            try:
                trial.set_user_attr(_TAKEN, trial.number)
                task = begin(trial)
                alone.close()
                return task()
            except TrialFailed as error:
                raised.append(error)
                trial.set_user_attr(_ERROR, str(error))
                raise
            except BaseException as error:
                raised.append(error)
                raise

        try:
            self.study.optimize(objective, n_trials=1, catch=(TrialFailed, TrialDropped))
        except BaseException as error:
            optuna = self._optuna
            own = (TrialFailed, TrialDropped, optuna.TrialPruned, optuna.exceptions.UpdateFinishedTrialError)
            stops = [each for each in raised if not isinstance(each, own)]
            # The computer slept, or stood still, for too long: Optuna cannot end what was given to another worker. It
            # raises ValueError, or AssertionError where the task went well.
            ended = isinstance(error, (ValueError, AssertionError)) and error not in raised
            if taken and ended and not stops and self._is_finished(taken[0]):
                self._say(f"{self._name_of(taken[0])}: no sign of life for too long, another worker has it now")
                return
            if taken:
                self.requeue(taken[0])
            if stops and error is not stops[0]:
                raise stops[0] from None
            raise

    def _name_of(self, number: int) -> str:
        return self._named(self.study.get_trials(deepcopy=False)[number].user_attrs[self._key])

    def _is_finished(self, number: int) -> bool:
        return self.study.get_trials(deepcopy=False)[number].state.is_finished()

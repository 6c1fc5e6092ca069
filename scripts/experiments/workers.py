"""Who works on which run of a table: one process alone, or several that share the runs by a data base of Optuna.

What is done is known from the folders of the runs. The data base says only who is at work on which run now, and which
ones failed since this call began; a worker takes the first run that nobody works on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from scripts.experiments.runs import TableOptions
from util.files import locked
from util.run.folder import make_folder
from util.run.trials import Offer, SharedTrials, Task, TrialDropped, TrialFailed, open_storage, require_optuna

if TYPE_CHECKING:
    import optuna

DATABASE, LOCK = "table.db", ".table.lock"
ALONE = "none"
"""Value of --storage for one process without a data base."""

_KIND, _SESSION, _RUN, _FAILURE = "kind", "session", "run", "failure"  # attributes in the data base


@dataclass(frozen=True)
class Failure:
    """A step of a run that failed.

    Attributes:
        what: the step: ``train``, ``test`` or ``evaluate``.
        code: its exit code.
        error: its line of error; empty if none was heard.
    """

    what: str
    code: int
    error: str = ""

    def __str__(self) -> str:
        return f"{self.what}, exit code {self.code}"


Attempt = Callable[[str], Failure | None]
"""Do what is left of a run, by its name. What it raises stops the table."""


class Workers(Protocol):
    """This process, among those that work on a table."""

    @property
    def several(self) -> bool:
        """Whether there may be others."""

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """While no other worker chooses a run or writes the table."""

    def busy(self) -> frozenset[str]:
        """The runs that others are at work on."""

    def ended(self) -> Mapping[str, Failure | None]:
        """What came of the runs that were worked on since this call began; None for those that went well."""

    def work(self, names: Sequence[str], attempt: Attempt, finished: Callable[[], object]) -> bool:
        """Work on these runs until all of them have ended.

        Args:
            names: of the runs, in this order.
            attempt: see there.
            finished: called after every run.

        Returns:
            Whether the last one of them ended here.
        """


class OneWorker:
    """A process alone."""

    several = False

    def __init__(self) -> None:
        self._ended: dict[str, Failure | None] = {}

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Nobody else is there."""
        return contextlib.nullcontext()

    def busy(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def ended(self) -> Mapping[str, Failure | None]:
        """See ``Workers``."""
        return self._ended

    def work(self, names: Sequence[str], attempt: Attempt, finished: Callable[[], object]) -> bool:
        """See ``Workers``."""
        for name in names:
            self._ended[name] = attempt(name)
            finished()
        return True


class SharedWorkers:
    """A process among others. Calls that overlap in time are one session, which tries every run once.

    Args:
        name: of the table.
        folder: of the table.
        url: of the data base; empty for the file in ``folder``, which is made when there is work to do.
        grace: seconds without a sign of life after which a worker counts as dead.
        poll: seconds between two looks at others.
    """

    several = True

    def __init__(self, name: str, folder: Path, url: str, grace: int, *, poll: float = 1.0) -> None:
        self._name, self._folder, self._grace, self._poll = name, folder, grace, poll
        self._url = url or f"sqlite:///{(folder / DATABASE).absolute()}"
        self._begun = bool(url) or (folder / DATABASE).is_file()
        self._mine: set[int] = set()
        self._shared: SharedTrials | None = None
        self._session = 0

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """See ``Workers``."""
        return self._trials().alone() if self._begun else contextlib.nullcontext()

    def busy(self) -> frozenset[str]:
        """See ``Workers``."""
        return frozenset(self._in_state("RUNNING")) if self._begun else frozenset()

    def ended(self) -> Mapping[str, Failure | None]:
        """See ``Workers``."""
        if not self._begun:
            return {}
        return {trial.user_attrs[_RUN]: _failure(trial) for trial in self._ended_trials()}

    def work(self, names: Sequence[str], attempt: Attempt, finished: Callable[[], object]) -> bool:
        """See ``Workers``."""
        if not names:
            return True
        self._begun = True
        trials = self._trials()

        def begin(trial: optuna.trial.Trial) -> Task:
            return self._begin(trial, names, attempt)

        trials.work(lambda: self._offer(names), begin, finished)
        last = max(
            (trial for trial in self._ended_trials() if trial.user_attrs[_RUN] in names),
            key=lambda trial: (trial.datetime_complete or datetime.min, trial.number),
        )
        return last.number in self._mine

    # --- the data base ------------------------------------------------------------------------------------------------

    def _trials(self) -> SharedTrials:
        if self._shared is None:
            make_folder(self._folder, f"--results_dir {self._folder.parent}")
            with locked(self._folder / LOCK, "another worker opens the table"):
                self._shared = self._opened()
        return self._shared

    def _opened(self) -> SharedTrials:
        """Join the session of those who are at work, or begin one."""
        found = require_optuna()
        storage = open_storage(self._url, self._grace)
        study = found.create_study(study_name=self._name, storage=storage, load_if_exists=True)
        if _KIND not in study.user_attrs:
            if study.user_attrs or study.get_trials(deepcopy=False):
                raise ValueError(f"--name {self._name}: the study in this data base is no table; choose another --name")
            study.set_user_attr(_KIND, "table")
            study.set_metric_names(["exit code"])  # Optuna asks for a number; those of the table are in the folders
        shared = SharedTrials(study, _RUN, self._folder / LOCK, grace=self._grace, poll=self._poll, say=_say)
        shared.free_stale()
        self._session = int(study.user_attrs.get(_SESSION, 0))
        if not any(trial.state.name == "RUNNING" for trial in study.get_trials(deepcopy=False)):
            self._session += 1
            study.set_user_attr(_SESSION, self._session)
        return shared

    def _ended_trials(self) -> list[optuna.trial.FrozenTrial]:
        """Those of this session, and of later ones, that came to an end; in their order."""
        return [
            trial
            for trial in self._trials().study.get_trials(deepcopy=False)
            if trial.user_attrs.get(_SESSION, 0) >= self._session
            and (trial.state.name == "COMPLETE" or (trial.state.name == "FAIL" and trial.user_attrs.get(_FAILURE)))
        ]

    def _offer(self, names: Sequence[str]) -> Offer:
        ended, running = self.ended(), self._in_state("RUNNING")
        left = [name for name in names if name not in ended]
        free = [name for name in left if name not in running]
        if not free:
            return Offer.WAIT if left else Offer.END
        if not self._in_state("WAITING") & set(free):  # one that was put back is there
            self._trials().study.enqueue_trial({}, user_attrs={_RUN: free[0], _SESSION: self._session})
        return Offer.TAKE

    def _in_state(self, state: str) -> set[str]:
        """The runs of which a trial has this state."""
        trials = self._trials().study.get_trials(deepcopy=False)
        return {each.user_attrs[_RUN] for each in trials if each.state.name == state and _RUN in each.user_attrs}

    def _begin(self, trial: optuna.trial.Trial, names: Sequence[str], attempt: Attempt) -> Task:
        """Claim a run. Where two machines, which have no lock in common, claim one at once, the smaller number has it;
        both were in the data base before either was taken, so that both see the same."""
        name = trial.user_attrs[_RUN]
        rivals = [
            each.number
            for each in self._trials().study.get_trials(deepcopy=False)
            if each.user_attrs.get(_RUN) == name and each.number < trial.number and not each.state.is_finished()
        ]
        if name not in names or name in self.ended() or rivals:
            raise TrialDropped
        for attribute, value in ((_SESSION, self._session), (_FAILURE, None)):
            trial.set_user_attr(attribute, value)

        def task() -> float:
            failure = attempt(name)
            self._mine.add(trial.number)
            if failure is not None:
                trial.set_user_attr(_FAILURE, asdict(failure))
                raise TrialFailed(str(failure))
            return 0.0

        return task


def _failure(trial: optuna.trial.FrozenTrial) -> Failure | None:
    found: Any = trial.user_attrs.get(_FAILURE)
    return Failure(**found) if found and trial.state.name == "FAIL" else None


def _say(text: str) -> None:
    print(text, flush=True)


def open_workers(options: TableOptions, folder: Path) -> Workers:
    """The workers of a table: several where Optuna is installed, unless one alone is asked for.

    Raises:
        ValueError: a data base is asked for without Optuna.
    """
    if options.storage == ALONE:
        return OneWorker()
    try:
        require_optuna("--storage needs")
    except ValueError:
        if options.storage:
            raise
        return OneWorker()
    return SharedWorkers(options.name, folder, options.storage, options.grace)

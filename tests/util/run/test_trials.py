"""Trials that workers share: what happens to one whose worker seems to be dead."""

from pathlib import Path
from typing import Any

import pytest

from util.run.trials import Offer, SharedTrials, Task, TrialFailed, open_storage

optuna = pytest.importorskip("optuna")


def trials_in(folder: Path, said: list[str], keys: str = "a") -> SharedTrials:
    storage = open_storage(f"sqlite:///{folder / 'trials.db'}", 60)
    study = optuna.create_study(study_name="s", storage=storage, load_if_exists=True)
    for key in keys:
        study.enqueue_trial({}, user_attrs={"key": key})
    return SharedTrials(study, "key", folder / ".lock", grace=60, poll=0.1, named=str.upper, say=said.append)


def states(trials: SharedTrials) -> list[tuple[str, str]]:
    return [(each.user_attrs["key"], each.state.name) for each in trials.study.get_trials(deepcopy=False)]


class Worker:
    """Works on whatever waits. ``first`` is done in the first task."""

    def __init__(self, trials: SharedTrials, first: Task) -> None:
        self._trials, self._first, self.done = trials, first, list[str]()

    def offer(self) -> Offer:
        waits = any(each.state.name == "WAITING" for each in self._trials.latest().values())
        return Offer.TAKE if waits else Offer.END

    def begin(self, trial: Any) -> Task:
        self.done.append(trial.user_attrs["key"])
        return self._first if len(self.done) == 1 else lambda: 0.0

    def work(self) -> list[str]:
        self._trials.work(self.offer, self.begin, lambda: None)
        return self.done


@pytest.mark.parametrize("ending", ["well", "failed"])
def test_a_worker_that_counted_as_dead_goes_on_with_the_next(tmp_path: Path, ending: str) -> None:
    said: list[str] = []
    trials = trials_in(tmp_path, said, "ab")

    def sleeps() -> float:  # as a notebook that was shut; another worker gives the trial up meanwhile
        trials.study.tell(0, state=optuna.trial.TrialState.FAIL)
        trials.requeue(0)
        if ending == "failed":
            raise TrialFailed("no memory")
        return 0.0

    assert Worker(trials, sleeps).work() == ["a", "b", "a"]
    assert said == ["A: no sign of life for too long, another worker has it now"]
    assert states(trials) == [("a", "FAIL"), ("b", "COMPLETE"), ("a", "COMPLETE")]


def test_what_stops_a_worker_stops_it_even_if_it_counted_as_dead(tmp_path: Path) -> None:
    trials = trials_in(tmp_path, [], "a")

    def sleeps() -> float:
        trials.study.tell(0, state=optuna.trial.TrialState.FAIL)
        trials.requeue(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Worker(trials, sleeps).work()
    assert states(trials) == [("a", "FAIL"), ("a", "WAITING")]  # put back once


def test_a_task_that_stops_the_worker_waits_again(tmp_path: Path) -> None:
    trials = trials_in(tmp_path, [], "ab")

    def refused() -> float:
        raise ValueError("bad words")

    with pytest.raises(ValueError, match="bad words"):
        Worker(trials, refused).work()
    assert states(trials) == [("a", "FAIL"), ("b", "WAITING"), ("a", "WAITING")]


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_a_worker_that_died_before_its_first_sign_of_life_is_noticed(tmp_path: Path) -> None:
    said: list[str] = []
    trials = trials_in(tmp_path, said)
    trials.study.ask()
    trials.free_stale()
    assert states(trials) == [("a", "RUNNING")]
    trials = SharedTrials(trials.study, "key", tmp_path / ".lock", grace=0)
    trials.free_stale()
    assert states(trials) == [("a", "FAIL"), ("a", "WAITING")]

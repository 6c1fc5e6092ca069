"""A sweep with Optuna's own samplers, pruners and data base, and a training that takes no time."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.runs import ENVIRONMENT, REPO, children, wait_for

pytest.importorskip("optuna")

from util.run.sweep import DATABASE, Definition, Job, Sweep, read_definition, run_name
from util.run.trials import open_storage

TRAINING = REPO / "tests" / "fake_training.py"


def sweep_in(folder: Path, space: str = "lr=1,2,3", **changes: Any) -> Sweep:
    folder.mkdir(exist_ok=True)
    fields: dict[str, Any] = {"space": (space,), "metric": "G_L1", "direction": "minimize", "pruner": "none"}
    definition = Definition(**{**fields, "sampler": "grid", **changes})
    storage = open_storage(f"sqlite:///{folder / DATABASE}", 1)
    return Sweep(storage, "s", definition, folder, poll=0.02)


class Trainings:
    """The jobs of a sweep in this folder."""

    def __init__(self, folder: Path, epochs: int = 3, seconds: float = 0.0) -> None:
        self._folder, self._epochs, self._seconds = folder, epochs, seconds

    def __call__(self, slot: int, params: Mapping[str, str]) -> Job:
        folder = self._folder / run_name(slot)
        words = ["--folder", str(folder), "--epochs", str(self._epochs), "--seconds", str(self._seconds)]
        words += ["--lr", params["lr"]]
        command = [sys.executable, "-S", str(TRAINING), *words]
        return Job(command, folder, self._folder / "logs" / f"{run_name(slot)}.txt", self._epochs)


def nothing() -> None:
    return None


def log_of(folder: Path, slot: int) -> str:
    return (folder / "logs" / f"{run_name(slot)}.txt").read_text()


def test_a_grid_is_trained_point_by_point(tmp_path: Path) -> None:
    sweep, finished = sweep_in(tmp_path), []
    sweep.add_trials(2)
    sweep.work(Trainings(tmp_path), lambda: finished.append(1))
    trials = sweep.trials()
    assert [(each.name, each.state, each.params) for each in trials] == [
        ("trial_000", "done", {"lr": "1"}),
        ("trial_001", "done", {"lr": "2"}),
    ]
    assert trials[0].points == [(1, 11.0), (2, 10.5), (3, pytest.approx(10 + 1 / 3))]
    assert trials[1].value == pytest.approx(20 + 1 / 3) and len(finished) == 2
    again = sweep_in(tmp_path)
    again.add_trials(3)
    again.work(Trainings(tmp_path), nothing)
    assert [each.state for each in again.trials()] == ["done"] * 3 and "lr 2" in log_of(tmp_path, 1)
    with pytest.raises(ValueError, match="--trials 4: the grid has 3 points"):
        again.add_trials(4)


def test_random_values_do_not_depend_on_the_number_of_trials(tmp_path: Path) -> None:
    drawn = {}
    for count in (2, 4):
        sweep = sweep_in(tmp_path / str(count), "lr=log:1e-4..1e-1", sampler="random", seed=5)
        sweep.add_trials(count)
        drawn[count] = [each.params["lr"] for each in sweep.trials()]
    assert drawn[2] == drawn[4][:2] and len(set(drawn[4])) == 4
    assert all(1e-4 <= float(value) <= 1e-1 for value in drawn[4])


def test_tpe_draws_where_the_values_are_good(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path, "lr=0.0..8.0", sampler="tpe", startup=4, seed=1)
    sweep.add_trials(18)
    assert [bool(each.params) for each in sweep.trials()] == [True] * 4 + [False] * 14
    sweep.work(Trainings(tmp_path, epochs=1), nothing)
    values = [float(each.params["lr"]) for each in sweep.trials()]
    assert len(set(values)) == 18 and sum(values[-8:]) / 8 < 2.5  # uniform draws have a mean of 4


def test_a_bad_trial_is_pruned_and_its_training_stopped(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path, "lr=1,2,3,4,5", pruner="median", warmup=2)
    sweep.add_trials(5)
    sweep.work(Trainings(tmp_path, epochs=12, seconds=0.05), nothing)
    states = [each.state for each in sweep.trials()]
    assert states == ["done"] * 4 + ["pruned"]
    pruned = sweep.trials()[4]
    assert 2 <= len(pruned.points) < 12 and pruned.value == pruned.points[-1][1]


def test_failures(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path, "lr=7,11,1")
    sweep.add_trials(3)
    sweep.work(Trainings(tmp_path), nothing)
    assert [(each.state, each.remark) for each in sweep.trials()] == [
        ("failed", "G_L1 is not a number in epoch 3"),
        ("failed", "exit code 1 memory is full"),
        ("done", ""),
    ]
    assert sweep.retry_failed() == 2
    assert [each.state for each in sweep.trials()] == ["waiting", "waiting", "done"]


def test_refused_words_stop_the_sweep_and_the_trial_waits(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path, "lr=13,1")
    sweep.add_trials(2)
    with pytest.raises(ValueError, match=r"train\.py refused trial_000: 13 is refused"):
        sweep.work(Trainings(tmp_path), nothing)
    assert [each.state for each in sweep.trials()] == ["waiting", "waiting"]
    other = sweep_in(tmp_path / "metric", metric="G_L2")
    other.add_trials(1)
    with pytest.raises(ValueError, match="--metric G_L2: trial_000 did not log it; there are G_L1"):
        other.work(Trainings(tmp_path / "metric"), nothing)


def test_a_folder_with_a_run_of_another_sweep_is_refused(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path)
    (tmp_path / "trial_000").mkdir()
    (tmp_path / "trial_000" / "latest_state.pth").touch()
    sweep.add_trials(1)
    with pytest.raises(ValueError, match="holds a run already, of another sweep"):
        sweep.work(Trainings(tmp_path), nothing)
    assert not (tmp_path / "logs").exists()


def test_the_definition_is_kept(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path, train=("--dataroot", "data"))
    assert read_definition(sweep.study._storage, "s") == sweep.definition
    assert read_definition(sweep.study._storage, "other") is None
    with pytest.raises(ValueError, match=r"--storage postgresql://me:\*\*\*@host/x: cannot be opened"):
        open_storage("postgresql://me:secret@host/x", 5)


WORKER = """
import sys
from pathlib import Path
from tests.util.run.test_sweep import Trainings, nothing, sweep_in
folder = Path(sys.argv[1])
sweep_in(folder, "lr=1,2,3,4").work(Trainings(folder, epochs=40, seconds=0.05), nothing)
"""


def test_what_a_killed_worker_began_is_continued_by_another(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path, "lr=1,2,3,4")
    sweep.add_trials(4)
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)], env=ENVIRONMENT)
    log = tmp_path / "trial_000" / "metrics.jsonl"
    wait_for(lambda: log.exists() and len(log.read_text().splitlines()) >= 3, worker)
    for process in (worker.pid, *children(worker.pid)):
        os.kill(process, signal.SIGKILL)
    worker.wait()
    known = len(log.read_text().splitlines())
    assert sweep.trials()[0].state == "running"
    sweep.work(Trainings(tmp_path, epochs=known + 2), nothing)
    trials = sweep.trials()
    assert [each.state for each in trials] == ["done"] * 4 and len(trials) == 4
    assert trials[0].remark == "started 2 times" and [each.remark for each in trials[1:]] == [""] * 3
    assert "--continue_train" in log_of(tmp_path, 0) and "--continue_train" not in log_of(tmp_path, 1)
    assert [epoch for epoch, _ in trials[0].points] == list(range(1, known + 3))

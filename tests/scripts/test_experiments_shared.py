"""Tables whose runs are shared by several processes, by a data base of Optuna. The programs are fakes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.experiments.grid import run_table
from scripts.experiments.workers import OneWorker, SharedWorkers, open_workers
from tests.runs import ENVIRONMENT, wait_for
from tests.scripts.fake_programs import SMALL, TWO, Fakes, table_of
from util.run.folder import open_run_folder

pytest.importorskip("optuna")

from util.run.sweep import Definition, Sweep
from util.run.trials import open_storage

PSNR = ["--metrics", "psnr"]


def shared(options, folder):
    """Workers that look at each other more often."""
    return SharedWorkers(options.name, folder, options.storage, options.grace, poll=0.1)


@pytest.fixture
def work(workdir, dataroot):
    """A worker of a table: (exit code, fakes)."""

    def run(*words, fakes=None, **others):
        fakes = fakes or Fakes()
        given = ["--dataroot", str(dataroot), *SMALL, *PSNR, *words]
        return run_table(TWO, given, fakes.commands(**{"open_workers": shared, **others})), fakes

    return run


class Meanwhile(Fakes):
    """While its training of a run (part of the name) goes on, something else happens, once."""

    def __init__(self, when, what, **others):
        super().__init__(**others)
        self.when, self.what = when, what

    def train(self, words):
        if self.when in words[words.index("--name") + 1] and self.what:
            what, self.what = self.what, None
            what()
        return super().train(words)


def test_two_workers_share_the_runs_and_what_one_leaves_the_other_takes(work, capsys):
    second = []

    def joins():  # takes what the first one is not at, and is stopped by Ctrl-C in the third run
        second.append(work("--seeds", "0,1", fakes=Fakes(codes={("train", "high_seed0"): 130})))
        second.append(table_of())

    code, first = work("--seeds", "0,1", fakes=Meanwhile("low_seed0", joins))
    (stopped, other), (rows, _) = second
    assert (code, stopped) == (0, 130)
    assert [name for what, name in other.programs() if what == "train"] == ["demo_low_seed1", "demo_high_seed0"]
    trained = {name: words for what, name, words in first.calls if what == "train"}
    assert list(trained) == ["demo_low_seed0", "demo_high_seed0", "demo_high_seed1"]
    assert "--continue_train" in trained["demo_high_seed0"] and "--continue_train" not in trained["demo_high_seed1"]
    assert rows["low"]["remarks"] == "1 of 2 seeds to come" and rows["low"]["PSNR"] == "20.00"
    assert [row["seeds"] for row in table_of()[0].values()] == ["2", "2"]
    assert len(first.compared) == 1 and other.compared == []  # by the one that ends last
    assert "Demo: 4 runs, 0 of them done already, 1 under way elsewhere" in capsys.readouterr().out
    again, fakes = work("--seeds", "0,1")
    assert again == 0 and fakes.calls == []


def test_a_failure_is_tried_again_by_the_next_call_and_not_by_its_other_workers(work):
    second = []

    def joins():
        second.append(work("--seeds", "0,1", fakes=Fakes(codes={("train", "high_seed1"): 130})))
        second.append(table_of())

    failing = Meanwhile("high_seed0", joins, codes={("train", "low_seed0"): 1})
    code, _ = work("--seeds", "0,1", fakes=failing)
    (_, other), (rows, _) = second
    assert code == 1 and {name for _, name in other.programs()} == {"demo_high_seed1"}
    assert rows["low"]["remarks"] == "failed: seed 0 (train, exit code 1)" and rows["low"]["seeds"] == "1"
    assert table_of()[0]["low"]["remarks"] == "failed: seed 0 (train, exit code 1)"
    code, fakes = work("--seeds", "0,1")
    assert code == 0 and {name for _, name in fakes.programs()} == {"demo_low_seed0"}
    assert "remarks" not in table_of()[0]["low"]


def test_seeds_are_added_while_another_worker_is_at_its_own(work):
    added = []

    def joins():
        added.append(work("--seeds", "0,1", fakes=Fakes(codes={("train", "high"): 130})))

    code, first = work(fakes=Meanwhile("low_seed0", joins))
    assert code == 0 and {name for _, name in first.programs()} == {"demo_low_seed0", "demo_high_seed0"}
    assert {name for _, name in added[0][1].programs()} == {"demo_low_seed1", "demo_high_seed0"}
    code, fakes = work("--seeds", "0,1")
    assert code == 0 and {name for _, name in fakes.programs()} == {"demo_high_seed1"}
    assert [row["seeds"] for row in table_of()[0].values()] == ["2", "2"]


def test_other_options_are_refused_while_another_worker_trains(work, capsys):
    refused = []
    code, _ = work(fakes=Meanwhile("high", lambda: refused.append(work("--n_epochs", "9"))))
    assert code == 0 and refused[0][0] == 2 and refused[0][1].calls == []
    assert "--n_epochs was 1, is 9 now" in capsys.readouterr().err


def test_measuring_again_is_shared_too(work):
    work("--seeds", "0,1")
    second = []

    class Joined(Fakes):
        def evaluate(self, words):
            if not second:
                second.append(None)
                stop = Fakes(codes={("evaluate", "high_seed0"): 130})
                second[0] = work("--seeds", "0,1", "--evaluate_again", fakes=stop)
            return super().evaluate(words)

    _, first = work("--seeds", "0,1", "--evaluate_again", fakes=Joined())
    assert second[0][1].programs() == [("evaluate", "demo_low_seed1"), ("evaluate", "demo_high_seed0")]
    assert [name for _, name in first.programs()] == ["demo_low_seed0", "demo_high_seed0", "demo_high_seed1"]


WORKER = """
import sys, time
from scripts.experiments.grid import run_table
from tests.scripts.fake_programs import SMALL, TWO, Fakes
from tests.scripts.test_experiments_shared import PSNR, Meanwhile, shared

class Slow(Fakes):
    def train(self, words):
        self.codes = {("train", "low"): 130}  # saves after one epoch of two
        super().train(words)
        time.sleep(300)

run_table(TWO, ["--dataroot", sys.argv[1], *SMALL, *PSNR], Slow().commands(open_workers=shared))
"""


def test_the_run_of_a_killed_worker_is_taken_over_and_continued(work, workdir, dataroot, capsys):
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(dataroot)], env=ENVIRONMENT)
    wait_for((workdir / "checkpoints/demo_low_seed0/latest_state.pth").is_file, worker, 300)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    code, fakes = work("--grace", "2")
    assert code == 0 and {name for _, name in fakes.programs()} == {"demo_low_seed0", "demo_high_seed0"}
    words = {name: words for what, name, words in fakes.calls if what == "train"}
    assert "--continue_train" in words["demo_low_seed0"]
    assert [row["updates"] for row in table_of()[0].values()] == ["6", "6"]
    assert len(fakes.compared) == 1


def test_without_optuna_a_table_is_made_by_one_process(work, workdir, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, fakes = work("--storage", "sqlite:///x.db", open_workers=open_workers)
    assert code == 2 and fakes.calls == [] and not Path("results").exists()
    assert "--storage needs the package optuna: pip install optuna" in capsys.readouterr().err
    code, fakes = work(open_workers=open_workers)
    assert code == 0 and len(fakes.calls) == 6 and [row["seeds"] for row in table_of()[0].values()] == ["1", "1"]
    assert not list(workdir.rglob("table.db")) and "optuna" not in capsys.readouterr().err.lower()


def test_without_optuna_a_second_process_is_told_of_it(work, workdir, monkeypatch, capsys):
    """It goes as far as train.py, which refuses; the fake does not."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    folder = workdir / "checkpoints" / "demo_low_seed0"
    folder.mkdir(parents=True)
    with open_run_folder(folder, overwrite=False):
        work(open_workers=open_workers)
        assert "install Optuna: pip install optuna" in capsys.readouterr().err
        work("--evaluate_again", "--storage", "none", open_workers=open_workers)
        assert capsys.readouterr().err == ""


def test_one_process_alone_may_be_asked_for(work, workdir):
    code, fakes = work("--storage", "none", open_workers=open_workers)
    assert code == 0 and len(fakes.calls) == 6 and not list(workdir.rglob("table.db"))


def test_a_run_that_another_worker_made_in_another_folder_is_missed(work, capsys):
    """As of two machines with a data base in common, and no disk."""

    class Elsewhere(OneWorker):
        several = True

        def work(self, names, attempt, finished):
            return self._ended.update(dict.fromkeys(names)) or False

    code, fakes = work("--grace", "1", open_workers=lambda options, folder: Elsewhere())
    said = capsys.readouterr().err
    assert code == 2 and fakes.calls == [] and "demo_low_seed0, which another worker has made, is not there" in said


def test_the_name_of_a_sweep_is_refused(work, workdir, capsys):
    storage = open_storage(f"sqlite:///{workdir / 'own.db'}", 60)
    definition = Definition(("lr=1,2",), "psnr", "maximize")
    Sweep(storage, "demo", definition, workdir)
    code, fakes = work("--storage", f"sqlite:///{workdir / 'own.db'}")
    assert code == 2 and fakes.calls == []
    assert "--name demo: the study in this data base is no table; choose another --name" in capsys.readouterr().err

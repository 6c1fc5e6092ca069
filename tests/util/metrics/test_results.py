"""Which results are meant, and how test.py is asked for those that are missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from util.metrics.results import ResultFolder, RunPlace, choose, make_missing

PLACE = RunPlace("run", Path("checkpoints"), Path("results"))


def results(*names):
    for name in names:
        (Path("results/run") / name / "images").mkdir(parents=True)
        (Path("results/run") / name / "index.html").write_text("x")


def saved(*tags):
    for tag in tags:
        Path("checkpoints/run").mkdir(parents=True, exist_ok=True)
        (Path("checkpoints/run") / f"{tag}_net_G.pth").write_bytes(b"x")


def chosen(*epochs, phase="test", any_phase=True):
    return [(each.path.name, each.tag) for each in choose(PLACE, phase, epochs, any_phase=any_phase)]


@pytest.fixture(autouse=True)
def _here(workdir):
    """The folders of a test are its own."""


def test_latest_is_meant_where_it_is_or_can_be_made():
    results("test_latest", "test_5", "val_latest")
    assert chosen() == [("test_latest", "latest")]
    assert chosen(phase="val", any_phase=False) == [("val_latest", "latest")]
    saved("latest", "5")
    assert chosen(phase="train", any_phase=False) == [("train_latest", "latest")]


def test_latest_is_made_rather_than_another_measured():
    results("test_5")
    saved("latest")
    assert chosen() == [("test_latest", "latest")]


@pytest.mark.parametrize(
    ("name", "tag", "phase"),
    [
        ("val_latest", "latest", "val"),
        ("test_5", "5", "test"),
        ("my_own_phase_12", "12", "my_own_phase"),
        ("test_iter_2000", "iter_2000", "test"),
        ("test_latest_iter2000", "latest_iter2000", "test"),
        ("test_best_kid", "best_kid", "test"),
        ("test_best_mean_kid", "best_mean_kid", "test"),
        ("latest_latest", "latest", "latest"),
        ("pictures", "", "pictures"),
    ],
)
def test_the_only_folder_is_meant(name, tag, phase):
    """Without a checkpoint and without ``test_latest``."""
    results(name)
    (folder,) = choose(PLACE, "test", (), any_phase=True)
    assert (folder.path.name, folder.tag, folder.phase) == (name, tag, phase)
    assert folder.images == Path("results/run") / name / "images"


def test_only_folder_of_the_phase_that_was_given():
    results("val_5", "test_5")
    assert chosen(phase="val", any_phase=False) == [("val_5", "5")]
    with pytest.raises(FileNotFoundError, match=r"no results in results/run; make them by: python test\.py --name run"):
        chosen(phase="train", any_phase=False)


def test_several_folders_are_not_guessed():
    results("val_10", "val_9", "test_best_kid")
    with pytest.raises(ValueError) as error:
        chosen()
    message = str(error.value)
    assert "results/run has test_best_kid, val_9, val_10" in message and "--phase test --epoch best_kid" in message


def test_what_a_killed_test_left_behind_is_no_result():
    results("test_latest.partial", "test_5")
    assert chosen() == [("test_5", "5")]
    assert chosen("all") == [("test_5", "5")]


def test_folder_without_pictures_is_no_result():
    (Path("results/run/test_5")).mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="no results"):
        chosen()


def test_epochs_are_in_the_order_of_training_and_once():
    saved("2", "10", "latest", "iter_900", "iter_2000", "best_kid", "best_fid")
    asked = ("latest", "10", "best_kid", "2", "iter_2000", "iter_900", "10", "best_fid")
    expected = ["2", "10", "iter_900", "iter_2000", "best_fid", "best_kid", "latest"]
    assert chosen(*asked) == [(f"test_{tag}", tag) for tag in expected]


def test_all_is_every_checkpoint_and_every_result_of_the_phase():
    results("test_3", "val_4", "test_latest_iter700", "test_seen_6")
    saved("10", "2", "latest")
    assert [tag for _, tag in chosen("all")] == ["2", "3", "10", "latest_iter700", "latest"]
    assert [tag for _, tag in chosen("all", phase="val")] == ["2", "4", "10", "latest"]


def test_all_of_nothing():
    Path("checkpoints/run").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="--epoch all: no checkpoint in checkpoints/run"):
        chosen("all")


def test_epoch_that_is_nowhere_is_told_before_others_are_made():
    results("test_3", "val_4")
    saved("10")
    with pytest.raises(FileNotFoundError) as error:
        chosen("10", "4")
    message = str(error.value)
    assert "--epoch 4" in message and "results/run/test_4" in message and "there are: 3, 10" in message


def test_run_that_is_nowhere():
    saved("latest")
    with pytest.raises(FileNotFoundError, match=r"--name ran: neither results/ran nor .*did you mean run\?"):
        choose(RunPlace("ran", Path("checkpoints"), Path("results")), "test", (), any_phase=True)
    for name in ("../run", "", "/run"):
        with pytest.raises(ValueError, match="--name"):
            choose(RunPlace(name, Path("checkpoints"), Path("results")), "test", (), any_phase=True)


class Recorder:
    """In place of test.py's main."""

    def __init__(self, *codes):
        self.calls, self._codes = [], list(codes)

    def __call__(self, words):
        self.calls.append(words)
        return self._codes.pop(0) if self._codes else 0


def make(folders, *flags, again=False, test=None):
    test = test or Recorder()
    code = make_missing(
        PLACE, [ResultFolder(PLACE.results / name, tag) for name, tag in folders], flags, again=again, test=test
    )
    return code, test.calls


WHERE = ["--name", "run", "--checkpoints_dir", "checkpoints", "--results_dir", "results", "--phase"]


def test_only_what_is_missing_is_made():
    results("val_5")
    code, calls = make([("val_5", "5"), ("val_10", "10")], "--eval")
    assert code == 0 and calls == [[*WHERE, "val", "--epoch", "10", "--eval"]]


def test_again_makes_all_of_their_own_phase():
    results("val_5", "test_latest_iter700")
    _, calls = make([("val_5", "5"), ("test_latest_iter700", "latest_iter700")], again=True)
    assert calls == [[*WHERE, "val", "--epoch", "5"], [*WHERE, "test", "--epoch", "latest", "--load_iter", "700"]]


def test_a_failed_test_ends_it_with_its_exit_code():
    code, calls = make([("test_1", "1"), ("test_2", "2"), ("test_3", "3")], test=Recorder(0, 2, 0))
    assert code == 2 and len(calls) == 2


@pytest.mark.parametrize(
    ("name", "tag", "file"), [("test_5", "5", "5"), ("test_latest_iter7", "latest_iter7", "iter_7")]
)
def test_results_older_than_their_checkpoint_are_told(name, tag, file, caplog):
    results(name)
    saved(file)
    page, weights = Path("results/run") / name / "index.html", Path("checkpoints/run") / f"{file}_net_G.pth"
    os.utime(page, (1000, 1000))
    os.utime(weights, (2000, 2000))
    assert make([(name, tag)]) == (0, [])
    assert f"{name} is older than the checkpoint; --retest" in caplog.text
    caplog.clear()
    os.utime(page, (3000, 3000))
    make([(name, tag)])
    assert "older" not in caplog.text


def test_another_checkpoint_does_not_make_results_old(caplog):
    results("test_5")
    saved("5", "15")
    os.utime("results/run/test_5/index.html", (2000, 2000))
    os.utime("checkpoints/run/5_net_G.pth", (1000, 1000))
    make([("test_5", "5")])
    assert "older" not in caplog.text


def test_draws_of_each_image_are_counted_by_domain(workdir):
    results("test_latest")
    (folder,) = choose(PLACE, "test", (), any_phase=True)
    assert folder.num_samples("B") == 1
    for name in ("0_fake_B", "0_fake_B_2", "0_fake_B_11", "0_fake_B_mean", "7_fake_A_3_rgb", "9_fake_B_99_real_A"):
        (folder.images / f"{name}.png").touch()
    assert (folder.num_samples("B"), folder.num_samples("A")) == (11, 3)

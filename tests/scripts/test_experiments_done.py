"""What of a table counts as done, when the same command comes again with more or other words."""

from pathlib import Path

import pytest

import test
import train
from options.metric_options import MetricOptions
from scripts.experiments.grid import run_table
from scripts.experiments.runs import Row, Table, is_measured_with
from tests.measuring import CPU, save_drawings
from tests.scripts.fake_programs import SMALL, TWO, DemoTable, Fakes
from util.metrics.evaluation import Evaluation
from util.metrics.images import FolderImages
from util.metrics.measurement import Measurement, read_measurements, update_measurements
from util.metrics.suite import Suite

ONE = Table(DemoTable, "Demo", "rate", "", lambda args, base: [Row("low", {"lr": "1"})])


@pytest.fixture
def make(workdir, dataroot):
    """Run a table from a command line: (exit code, what was run)."""

    def run(*words, table=TWO, **programs):
        fakes = Fakes()
        code = run_table(table, ["--dataroot", str(dataroot), *SMALL, *words], fakes.commands(**programs))
        return code, [program for program, _ in fakes.programs()]

    return run


# --- measured with other settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "again"),
    [
        (["--kid_subset_size", "2"], True),
        (["--kid_subset_size", "40"], False),  # there are 3 images: subsets of 3, as before
        (["--kid_subsets", "9"], True),
        (["--metric_seed", "1"], True),
        (["--feature_extractor", "efficientnet_lite0"], True),
        (["--is_splits", "2", "--metric_batch_size", "1", "--lpips_net", "vgg"], False),  # say nothing about KID
    ],
)
def test_a_number_that_was_measured_with_other_settings_is_measured_again(words, again, make):
    make("--metrics", "kid,psnr", table=ONE)
    assert make("--metrics", "kid,psnr", *words, table=ONE) == (0, ["evaluate"] if again else [])


def test_numbers_that_have_no_settings_are_kept(make):
    make("--metrics", "psnr")
    assert make("--metrics", "psnr", "--kid_subset_size", "2", "--metric_seed", "1") == (0, [])


def test_a_number_without_a_protocol_is_measured_again(make):
    make("--metrics", "kid", table=ONE)
    file = Path("results/demo_low_seed0/metrics.json")
    (known,) = read_measurements(file)
    bare = Measurement(known.name, known.short, known.value, folder=known.folder, tag=known.tag)
    update_measurements(file, [bare])
    assert make("--metrics", "kid", table=ONE) == (0, ["evaluate"])


def test_the_protocols_that_evaluate_writes_are_understood(tmp_path, tiny):
    """6 generated images, 5 real ones, 4 of the source."""
    counts = {"boxes": 6, "discs": 5, "source": 4}
    sides = [
        FolderImages(save_drawings(tmp_path / name, "discs" if name == "discs" else "boxes", count), name)
        for name, count in counts.items()
    ]
    names = ["kid", "mean_kid", "is", "fid", "prc"]

    def other(**changes):
        found = Suite(names, CPU, feature_cache="none", progress=False, **settings).measure(*sides)
        return {each.short for each in found if not is_measured_with(each, MetricOptions(**{**settings, **changes}))}

    settings = {}  # subsets of 50 and 10 splits, which so few images do not allow
    assert other() == set()
    assert other(kid_subset_size=5, is_splits=3) == set()
    assert other(kid_subset_size=4) == {"kid", "mean_kid"}
    settings = {"kid_subset_size": 3, "kid_subsets": 7, "is_splits": 2, "metric_seed": 5}
    assert other() == set()
    assert other(kid_subset_size=2) == other(kid_subsets=8) == {"kid", "mean_kid"}
    assert other(is_splits=3) == {"is"} and other(metric_seed=6) == {"kid", "mean_kid", "is"}


# --- trained, but not to the last epoch -------------------------------------------------------------------------------


def test_a_row_that_early_stop_ended_is_trained(make, monkeypatch):
    """The second of 6 evaluations is not better than the first."""
    waiting = iter([20.0, 19.0])
    monkeypatch.setattr(Evaluation, "_measure", lambda self, model: [Measurement("psnr", "psnr", next(waiting))])
    words = ["--eval_freq", "1", "--eval_metrics", "psnr", "--early_stop", "1", "--n_epochs", "5", "--metrics", "psnr"]
    code, _ = make(*words, table=ONE, train=train.main, test=test.main)
    assert code == 0 and len(Path("checkpoints/demo_low_seed0/loss_log.csv").read_text().splitlines()) == 1 + 2
    assert make(*words, table=ONE) == (0, [])
    assert "| low | 1 | 10 | 10 |" in Path("results/demo/table.md").read_text()  # 2 epochs of 5 images


# --- words that come too late -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dry", [[], ["--dry_run"]])
def test_words_that_come_too_late_are_named(dry, make, capsys):
    make("--print_freq", "7")
    capsys.readouterr()
    words = ["--print_freq", "7", *dry, "--", "--save_epoch_freq", "1", "--num_threads", "3"]
    assert make(*words) == (0, [])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("--save_epoch_freq 1 has no effect on demo_low_seed0 and 1 more: ")


def test_words_for_runs_that_are_still_to_be_trained_are_not_late(make, capsys):
    make(table=ONE)
    capsys.readouterr()
    assert make("--", "--save_epoch_freq", "1")[1] == ["train", "test", "evaluate"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("--save_epoch_freq 1 has no effect on demo_low_seed0: ")

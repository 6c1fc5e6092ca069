"""The table of noises in the generator."""

import re
import shlex

import pytest

import test
import train
from data import DATASETS
from models import MODELS
from options.parse import parse_train
from scripts import evaluate
from scripts.experiments import stochastic
from scripts.experiments.grid import run_table
from tests.conftest import TRAINABLE_ARGS
from tests.scripts.fake_programs import Fakes, table_of, value_after


def calls_of(dataroot, *words):
    fakes = Fakes()
    code = run_table(stochastic.TABLE, ["--dataroot", str(dataroot), *TRAINABLE_ARGS, *words], fakes.commands())
    return code, fakes.calls


def test_rows_are_rates_of_dropout_and_the_other_noises(workdir, dataroot):
    code, calls = calls_of(dataroot)
    found = {}
    for program, name, words in calls:
        if program == "train":
            o = parse_train(words, MODELS, DATASETS)
            found[name] = (o.run.model, o.model.noise, o.model.dropout)
    assert code == 0
    assert found == {
        "stochastic_dropout_0.5_seed0": ("stochastic", ("dropout",), 0.5),
        "stochastic_dropout_0.9_seed0": ("stochastic", ("dropout",), 0.9),
        "stochastic_dropout_0.95_seed0": ("stochastic", ("dropout",), 0.95),
        "stochastic_feature_seed0": ("stochastic", ("feature",), 0.5),
        "stochastic_weight_seed0": ("stochastic", ("weight",), 0.5),
    }


def test_every_image_is_drawn_several_times_and_the_draws_are_compared(workdir, dataroot):
    _, calls = calls_of(dataroot, "--num_samples", "7", "--dropouts", "", "--noises", "weight")
    words = {program: words for program, _, words in calls}
    assert value_after(words["test"], "num_samples") == "7"
    assert value_after(words["evaluate"], "metrics") == "kid,psnr,ssim,l1,diversity"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--num_samples", "1"], "--num_samples 1: give 2 or more"),
        (["--noises", "weights"], "did you mean 'weight'"),
        (["--dropouts", "0"], "--dropout 0"),
        (["--dropouts", "0.5,1"], "--dropout 1"),
        (["--noise", "weight"], "--noise: the rows of this table set it"),
    ],
)
def test_bad_rows_are_refused(words, message, workdir, dataroot, capsys):
    code, calls = calls_of(dataroot, *words)
    assert code == 2 and calls == [] and message in capsys.readouterr().err


def test_help_and_the_commands_of_the_docstring(workdir, dataroot, capsys):
    assert run_table(stochastic.TABLE, ["--help"]) == 0
    assert "NaN after 25 epochs" in capsys.readouterr().out
    (workdir / "datasets").mkdir()
    (workdir / "datasets" / "facades").symlink_to(dataroot)
    commands = re.findall(r"^ +python scripts/experiments/stochastic.py (.+)$", stochastic.__doc__, re.M)
    assert len(commands) == 2
    for command in commands:
        assert run_table(stochastic.TABLE, [*shlex.split(command), "--dry_run"]) == 0
        out = capsys.readouterr().out
        assert "not started" in out and "--num_samples 4" in out


def test_the_table_has_the_diversity_of_real_runs(workdir, dataroot):
    words = ["--dataroot", str(dataroot), *TRAINABLE_ARGS, "--n_iters", "4", "--no_html", "--dropouts", "0.5"]
    programs = {"train": train.main, "test": test.main, "evaluate": evaluate.main}
    words += ["--metrics", "psnr,diversity", "--num_samples", "2"]
    assert run_table(stochastic.TABLE, words, Fakes().commands(**programs)) == 0
    rows, text = table_of("stochastic")
    assert list(rows) == ["dropout 0.5", "feature", "weight"]
    assert all(float(row["diversity"]) > 0 for row in rows.values()) and "look at the pictures" in text

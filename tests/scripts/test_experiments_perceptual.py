"""The table of L1 against the perceptual loss."""

import re
import shlex
from pathlib import Path

import pytest

import test
import train
from data import DATASETS
from models import MODELS
from options.parse import parse_train
from scripts.experiments import perceptual
from scripts.experiments.grid import run_table
from scripts.experiments.table import RunEnd
from tests.conftest import TRAINABLE_ARGS, trainable_args
from tests.scripts.fake_programs import Fakes, table_of


def rows_of(dataroot, *words):
    """Row -> (lambda_L1, lambda_perceptual), and the exit code."""
    fakes = Fakes()
    code = run_table(perceptual.TABLE, ["--dataroot", str(dataroot), *TRAINABLE_ARGS, *words], fakes.commands())
    found = {}
    for program, name, argv in fakes.calls:
        if program == "train":
            options = parse_train(argv, MODELS, DATASETS)
            assert options.run.model == "perceptual"
            row = name.removeprefix("perceptual_").removesuffix("_seed0")
            found[row] = (options.model.lambda_L1, options.model.lambda_perceptual)
    return code, found


def test_the_rows_are_pixels_features_and_both(workdir, dataroot):
    assert rows_of(dataroot) == (0, {"L1": (100, 0), "perceptual": (0, 10), "both": (100, 10)})


def test_rows_and_their_weights_can_be_chosen(workdir, dataroot):
    words = ("--rows", "both,L1", "--lambda_L1", "50", "--lambda_vgg", "0.1")
    assert rows_of(dataroot, *words) == (0, {"both": (50, 0.1), "L1": (50, 0)})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rows", "L1,percept"], "did you mean 'perceptual'"),
        (["--rows", "L1,L1"], "row L1 is there twice"),
        (["--rows", ""], "there are no rows"),
        (["--lambda_perceptual", "much"], "--lambda_perceptual much"),
        (["--vgg", "vgg13"], "--vgg vgg13"),
    ],
)
def test_bad_rows_are_refused(words, message, workdir, dataroot, capsys):
    code, rows = rows_of(dataroot, *words)
    assert code == 2 and rows == {} and message in capsys.readouterr().err


def test_help_and_the_commands_of_the_docstring(workdir, dataroot, capsys):
    assert run_table(perceptual.TABLE, ["--help"]) == 0
    assert "history, no target" in capsys.readouterr().out
    (workdir / "datasets").mkdir()
    (workdir / "datasets" / "facades").symlink_to(dataroot)
    commands = re.findall(r"^ +python scripts/experiments/perceptual.py (.+)$", perceptual.__doc__, re.M)
    assert len(commands) == 2
    for command in commands:
        assert run_table(perceptual.TABLE, [*shlex.split(command), "--dry_run"]) == 0
        assert "not started" in capsys.readouterr().out


def test_every_row_can_be_trained(workdir, dataroot, offline):
    words = ["--dataroot", str(dataroot), *trainable_args("perceptual"), "--n_epochs", "1", "--n_epochs_decay", "1"]
    words += ["--no_html", "--metrics", "psnr"]
    assert run_table(perceptual.TABLE, words, Fakes().commands(train=train.main, test=test.main)) == 0
    rows, text = table_of("perceptual")
    assert list(rows) == ["L1", "perceptual", "both"] and all(row["updates"] == "10" for row in rows.values())
    assert all(float(row["s/image"]) >= 0 for row in rows.values()) and "s/image: seconds" in text


def test_seconds_of_an_image_are_the_median_of_the_epochs(workdir):
    """10, 10 and, resumed, 5 images: 2, 30 and 1.5 seconds give 0.2, 3 and 0.3."""
    Path("loss_log.csv").write_text("epoch,total_iters,lr,seconds\n1,10,0,2\n2,20,0,30\n3,25,0,1.5\n")
    assert perceptual.seconds_per_image(RunEnd(Path())) == pytest.approx(0.3)


def test_a_run_without_an_epoch_has_no_seconds(workdir):
    assert perceptual.seconds_per_image(RunEnd(Path())) is None

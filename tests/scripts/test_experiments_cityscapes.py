"""The table on Cityscapes: its rows and its commands."""

import re
import shlex

import pytest

import test
import train
from datasets import prepare_cityscapes_dataset
from scripts.experiments import cityscapes
from scripts.experiments.grid import run_table
from tests.scripts.fake_programs import SMALL, Fakes, table_of
from tests.scripts.test_experiment_rows import rows_of


def test_the_rows_differ_in_the_reconstruction_loss(workdir, dataroot):
    code, rows = rows_of(cityscapes.TABLE, dataroot, "--direction", "BtoA")
    assert code == 0 and list(rows) == ["perceptual", "L1"]
    weights = {name: (options.model.lambda_perceptual, options.model.lambda_L1) for name, options in rows.items()}
    assert weights == {"perceptual": (10.0, 0.0), "L1": (0.0, 100.0)}
    for options in rows.values():
        assert (options.run.model, options.data.direction) == ("perceptual", "BtoA")
        assert (options.schedule.n_epochs, options.schedule.n_epochs_decay) == (100, 100)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--losses", "l2"], "--losses l2"),
        (["--lambda_L1", "10"], "--lambda_L1: the rows of this table set it"),
    ],
)
def test_bad_rows_are_refused(words, message, workdir, dataroot, capsys):
    code, rows = rows_of(cityscapes.TABLE, dataroot, *words)
    assert code == 2 and rows == {} and message in capsys.readouterr().err


def test_the_commands_of_the_docstring_work(workdir, dataroot, capsys):
    (workdir / "datasets").mkdir()
    (workdir / "datasets" / "cityscapes").symlink_to(dataroot)
    text = cityscapes.__doc__.replace("\\\n", "")
    commands = re.findall(r"^ +python scripts/experiments/cityscapes.py (.+)$", text, re.M)
    assert len(commands) == 2
    for command in commands:
        assert run_table(cityscapes.TABLE, [*shlex.split(command), "--dry_run"]) == 0
        assert "not started" in capsys.readouterr().out
    (prepare,) = re.findall(r"^ +python datasets/prepare_cityscapes_dataset.py (.+)$", text, re.M)
    assert prepare_cityscapes_dataset.main(shlex.split(prepare)) == 2
    assert "--gtFine_dir" in capsys.readouterr().err, "the flags are right, only the folders are missing"
    assert run_table(cityscapes.TABLE, ["--help"]) == 0
    assert "history, no target" in capsys.readouterr().out


def test_every_row_can_be_trained(workdir, dataroot):
    words = ["--dataroot", str(dataroot), *SMALL, "--metrics", "psnr", "--vgg_weights", "random"]
    assert run_table(cityscapes.TABLE, words, Fakes().commands(train=train.main, test=test.main)) == 0
    rows, _ = table_of("cityscapes")
    assert set(rows) == {"perceptual", "L1"} and all(row["updates"] == "10" for row in rows.values())

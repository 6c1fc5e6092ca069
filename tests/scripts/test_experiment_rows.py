"""The rows of the three tables."""

import re
import shlex

import pytest

import test
import train
from data import DATASETS
from models import MODELS
from models.networks.factory import DISCRIMINATOR_NAMES
from options.parse import parse_train
from scripts.experiments import adversarial_losses, batch_size, discriminators
from scripts.experiments.grid import run_table
from tests.conftest import TRAINABLE_ARGS
from tests.scripts.fake_programs import SMALL, Fakes, table_of

# --- the three tables -------------------------------------------------------------------------------------------------


def rows_of(table, dataroot, *words):
    """Label -> options of train.py, and the exit code."""
    fakes = Fakes()
    code = run_table(table, ["--dataroot", str(dataroot), *TRAINABLE_ARGS, *words], fakes.commands())
    parsed = [
        (name, parse_train(words, MODELS, DATASETS)) for program, name, words in fakes.calls if program == "train"
    ]
    return code, {name.removeprefix(f"{table.name}_").removesuffix("_seed0"): options for name, options in parsed}


def test_batch_sizes(workdir, dataroot):
    code, rows = rows_of(batch_size.TABLE, dataroot)
    assert code == 0
    assert {name: options.data.batch_size for name, options in rows.items()} == {"1": 1, "4": 4, "16": 16, "64": 64}
    assert all(options.schedule.n_epochs == 100 and not options.schedule.n_iters for options in rows.values())


def test_equal_updates_are_those_of_the_first_batch_size(workdir, dataroot):
    words = ("--batch_sizes", "2,1", "--equal", "updates", "--n_epochs", "3", "--n_epochs_decay", "2")
    code, rows = rows_of(batch_size.TABLE, dataroot, *words)
    schedules = {(options.schedule.n_iters, options.schedule.n_iters_decay) for options in rows.values()}
    assert code == 0 and schedules == {(9, 6)}  # 5 images: 3 updates of 2, 2 and 1 in an epoch


def test_equal_updates_may_be_given(workdir, dataroot):
    code, rows = rows_of(batch_size.TABLE, dataroot, "--batch_sizes", "1,2", "--equal", "updates", "--n_iters", "8")
    assert code == 0 and {options.schedule.n_iters for options in rows.values()} == {8}


@pytest.mark.parametrize(
    ("table", "words", "message"),
    [
        (batch_size.TABLE, ["--batch_sizes", "1,0"], "--batch_sizes 1,0"),
        (batch_size.TABLE, ["--batch_sizes", ""], "--batch_sizes"),
        (batch_size.TABLE, ["--batch_sizes", "1,01"], "row 1 is there twice"),
        (batch_size.TABLE, ["--n_iters", "10"], "say so by --equal updates"),
        (batch_size.TABLE, ["--batch_size", "2"], "--batch_size: the rows"),
        (adversarial_losses.TABLE, ["--gan_modes", "vanila"], "did you mean 'vanilla'"),
        (discriminators.TABLE, ["--netDs", "basics"], "did you mean 'basic'"),
        (discriminators.TABLE, ["--netDs", "basic,nona"], "did you mean 'none'"),
        (discriminators.TABLE, ["--lambda_GAN", "0"], "--lambda_GAN: the rows"),
    ],
)
def test_bad_rows_are_refused(table, words, message, workdir, dataroot, capsys):
    code, rows = rows_of(table, dataroot, *words)
    assert code == 2 and rows == {} and message in capsys.readouterr().err


def test_adversarial_losses(workdir, dataroot):
    code, rows = rows_of(adversarial_losses.TABLE, dataroot)
    assert code == 0
    assert {name: options.model.gan_mode for name, options in rows.items()} == {
        "cross_entropy": "vanilla",
        "hinge": "hinge",
        "least_squares": "lsgan",
        "Wasserstein": "wgan",
        "Wasserstein_with_gradient_penalty": "wgangp",
    }


def test_discriminators(workdir, dataroot):
    code, rows = rows_of(discriminators.TABLE, dataroot, "--n_layers_D", "2")
    assert code == 0 and list(rows) == ["none", "basic", "multiscale", "sesam", "sesame"]
    assert [(o.model.netD, o.model.lambda_GAN) for o in rows.values()] == [
        ("basic", 0.0),
        ("basic", 1.0),
        ("multiscale", 1.0),
        ("sesam", 1.0),
        ("sesame", 1.0),
    ]


def test_every_other_discriminator_can_be_a_row(workdir, dataroot):
    names = [*DISCRIMINATOR_NAMES, "ms3"]
    code, rows = rows_of(discriminators.TABLE, dataroot, "--netDs", ",".join(names))
    assert code == 0 and [options.model.netD for options in rows.values()] == names


@pytest.mark.parametrize("script", [batch_size, adversarial_losses, discriminators])
def test_help_tells_what_the_table_is_and_its_commands_parse(script, capsys):
    assert run_table(script.TABLE, ["--help"]) == 0
    said = capsys.readouterr().out
    assert "history, no target" in said


@pytest.mark.parametrize("script", [batch_size, adversarial_losses, discriminators])
def test_the_commands_of_the_docstring_work(script, workdir, dataroot, capsys):
    (workdir / "datasets").mkdir()
    (workdir / "datasets" / "facades").symlink_to(dataroot)
    commands = re.findall(rf"^ +python scripts/experiments/{script.TABLE.name}.py (.+)$", script.__doc__, re.M)
    assert len(commands) == 2
    for command in commands:
        assert run_table(script.TABLE, [*shlex.split(command), "--dry_run"]) == 0
        assert "not started" in capsys.readouterr().out


@pytest.mark.parametrize("script", [adversarial_losses, discriminators])
def test_every_row_can_be_trained(script, workdir, dataroot):
    words = ["--dataroot", str(dataroot), *SMALL, "--metrics", "psnr", "--n_layers_D", "2"]  # two scales of 32 pixels
    assert run_table(script.TABLE, words, Fakes().commands(train=train.main, test=test.main)) == 0
    rows, _ = table_of(script.TABLE.name)
    assert len(rows) == 5 and all(row["updates"] == "10" for row in rows.values())

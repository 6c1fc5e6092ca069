"""The command line of a sweep, and one with train.py itself."""

import re
from pathlib import Path

import pytest

from options.parse import gathered
from scripts import sweep
from tests.conftest import TRAINABLE_ARGS

pytest.importorskip("optuna")

TRAIN = ["--model", "pix2pix", "--netD", "pixel", *TRAINABLE_ARGS[2:], "--n_epochs", "1", "--n_epochs_decay", "0"]
EVAL = ["--eval_freq", "1", "--eval_metrics", "psnr"]


def test_every_space_counts() -> None:
    words = ["--name", "s", "--space", "a=1,2", "b=3", "--trials", "4", "--space=c=1..2", "--space", "d=5"]
    assert gathered(words, "--space") == ["--name", "s", "--trials", "4", "--space", "a=1,2", "b=3", "c=1..2", "d=5"]
    assert gathered(["--name", "s"], "--space") == ["--name", "s"]


def test_a_sweep_with_train_py(workdir: Path, dataroot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = ["--name", "s", "--space", "lambda_L1=10,100", "--sampler", "grid", "--trials", "1", "--metric", "psnr"]
    assert sweep.main([*own, "--gpu_ids=-1", "--", "--dataroot", str(dataroot), *TRAIN, *EVAL]) == 0
    first, train, test, page = capsys.readouterr().out.splitlines()
    assert first.startswith("best of 1: trial_000, PSNR ")
    assert train.endswith("--lambda_L1 10 --name s_best") and test == "python test.py --name s/trial_000"
    text = re.sub("<[^>]+>", "", Path(page.removeprefix("page: ")).read_text())
    assert "1 trial: 1 done" in text and "python scripts/sweep.py --name s" in text
    assert (workdir / "checkpoints/s/trial_000/latest_net_G.pth").is_file()
    for words, message in (
        (["--metric", "ssim"], "--metric ssim: the sweep s was begun with psnr"),
        (["--", "--dataroot", "elsewhere", *TRAIN, *EVAL, "--ngf", "9"], "-- --ngf 9: the sweep s was begun with 4"),
        (["--trials", "3"], "--trials 3: the grid has 2 points"),
    ):
        assert sweep.main(["--name", "s", *words]) == 2
        assert message in capsys.readouterr().err


def test_wrong_words_make_nothing(workdir: Path, dataroot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--", "--dataroot", str(dataroot), *TRAIN]
    base = ["--name", "s", "--metric", "psnr", "--space"]
    for words, message in (
        (["--name", "s"], "--name s: there is no sweep in checkpoints/s; give --space and --metric"),
        (["--name", "s", "--space", "lr=1,2", *data], "--metric: name what is compared"),
        (["--name", "../s", "--space", "lr=1,2", *data], "give a plain name"),
        ([*base, "lr=1,2", *data], "--metric psnr: nothing is measured; add after the lone --: --eval_freq 1"),
        ([*base, "lr=1,2", *data, "--eval_freq", "1", "--eval_metrics", "ssim"], "--eval_metrics psnr"),
        ([*base, "lrr=1,2", *data, *EVAL], "unknown option --lrr: did you mean --lr?"),
        ([*base, "lr=1,x", *data, *EVAL], "--space lr=x: --lr x: expected a number"),
        ([*base, "cache_dir=a,b", *data, *EVAL], "the training does not depend on it"),
        ([*base, "lr=1,2", *data, *EVAL, "--lr", "3"], "-- --lr: --space lr varies it"),
        ([*base, "lr=1,2", *data, *EVAL, "--name", "x"], "-- --name: give --name before the lone --"),
        ([*base, "lr=1,2", *data, *EVAL, "--overwrite"], "-- --overwrite: leave it out"),
        ([*base, "lr=1..2", "--sampler", "grid", *data, *EVAL], "add a number of points"),
    ):
        assert sweep.main(words) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert not (workdir / "checkpoints").exists()

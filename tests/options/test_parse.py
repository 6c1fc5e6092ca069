from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from data import DATASETS
from models import MODELS
from models.losses.gan import GANLoss
from models.networks import factory, init, names, norm
from options.files import format_options, read_options, write_options
from options.parse import HelpAsked, parse_test, parse_train
from options.schema import OptionError, specs
from util.run import LR_POLICIES, schedule

REPO = Path(__file__).resolve().parents[2]


def train_options(*argv):
    return parse_train(list(argv), MODELS, DATASETS)


def test_published_defaults_of_pix2pix():
    o = train_options("--dataroot", "x", "--name", "n", "--model", "pix2pix")
    assert (o.model.netG, o.model.norm, o.model.gan_mode, o.model.pool_size) == ("unet_256", "batch", "vanilla", 0)
    assert (o.model.ngf, o.model.ndf, o.model.netD, o.model.n_layers_D) == (64, 64, "basic", 3)
    assert (o.model.lr, o.model.beta1, o.model.lambda_L1, o.model.init_type, o.model.init_gain) == (
        (0.0002, 0.5, 100.0, "normal", 0.02)
    )
    assert (o.data.load_size, o.data.crop_size, o.data.batch_size, o.data.preprocess) == (
        286,
        256,
        1,
        "resize_and_crop",
    )
    assert (o.schedule.n_epochs, o.schedule.n_epochs_decay, o.schedule.lr_policy, o.schedule.lr_decay_iters) == (
        (100, 100, "linear", 50)
    )
    assert (o.log.print_freq, o.log.display_freq, o.log.update_html_freq) == (100, 400, 1000)
    assert (o.loop.save_latest_freq, o.loop.save_epoch_freq, o.log.display_port) == (5000, 5, 8097)
    assert (o.run.dataset_mode, o.data.direction, o.run.epoch) == ("aligned", "AtoB", "latest")


def test_option_choices_are_those_of_the_code_that_uses_them():
    """Each word of a torch-free table has a meaning where torch is, and each meaning a word."""
    assert set(names.GENERATORS) == set(factory.GENERATORS)
    assert set(names.DISCRIMINATORS) - {"ms<N>"} == set(factory.DISCRIMINATORS) and factory.is_discriminator("ms3")
    for norm_name in names.NORMS:
        norm.norm_layer(norm_name)
    for init_type in names.INIT_TYPES:
        init.init_weights(torch.nn.Conv2d(3, 3, 1), init_type)
    for mode in (*names.GAN_MODES, *names.GAN_MODE_ALIASES):
        GANLoss(mode)(torch.zeros(1, 1, 2, 2), True)
    for policy in LR_POLICIES:
        if policy != "plateau":  # follows a metric
            schedule.lr_factor(policy, epoch=1, n_epochs=1, n_epochs_decay=1)


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["--bath_size", "2"], ["--bath_size", "did you mean --batch_size"]),
        (["--model", "pix2pxi"], ["--model pix2pxi", "did you mean 'pix2pix'"]),
        (["--dataset_mode", "alined"], ["--dataset_mode alined", "did you mean 'aligned'"]),
        (["--norm", "batc"], ["--norm batc", "did you mean 'batch'"]),
        (["--lr", "fast"], ["--lr fast", "a number"]),
        (["--lr", "-1"], ["--lr -1", "smallest"]),
        (["--batch_size", "0"], ["--batch_size 0", "smallest"]),
        (["--batch_size"], ["--batch_size", "argument"]),
        (["stray"], ["stray", "--"]),
        (["--crop_size", "512"], ["--load_size 286", "--crop_size 512"]),
        (["--lr_policy", "plateau"], ["--lr_policy plateau", "--plateau_metric"]),
        (["--n_epochs", "0", "--n_epochs_decay", "0"], ["--n_epochs 0", "nothing to train"]),
        (["--config", "missing.json"], ["--config missing.json", "no such file"]),
        (["--suffix", "{nothing}"], ["--suffix", "nothing"]),
        (["--value_range", "5,1"], ["--value_range", "rising"]),
        (["--eval_metrics", "kid,diversity"], ["--eval_metrics diversity", "test.py --num_samples"]),
    ],
)
def test_bad_options_name_the_flag_the_value_and_the_remedy(argv, parts):
    with pytest.raises(OptionError) as info:
        train_options("--dataroot", "x", *argv)
    assert all(part in str(info.value) for part in parts), str(info.value)


def test_no_abbreviations():
    with pytest.raises(OptionError, match="--dataroo"):
        train_options("--dataroo", "x")


def test_config_file_counts_less_than_flags_and_more_than_defaults(workdir):
    Path("c.json").write_text(json.dumps({"batch_size": 4, "lr": 0.1, "model": "pix2pix", "no_flip": True}))
    o = train_options("--dataroot", "x", "--config", "c.json", "--lr", "0.3")
    assert (o.data.batch_size, o.model.lr, o.data.no_flip) == (4, 0.3, True)
    Path("c.json").write_text(json.dumps({"batch_sizes": 4}))
    with pytest.raises(OptionError, match="batch_size"):
        train_options("--dataroot", "x", "--config", "c.json")
    Path("c.json").write_text("{")
    with pytest.raises(OptionError, match="JSON"):
        train_options("--dataroot", "x", "--config", "c.json")


def test_suffix_is_filled_in():
    o = train_options("--dataroot", "x", "--name", "run", "--suffix", "{model}_{netG}_size{load_size}")
    assert o.run.name == "run_pix2pix_unet_256_size286"


def saved_run(workdir, *argv):
    o = train_options("--dataroot", "data", "--name", "run", "--crop_size", "64", *argv)
    folder = workdir / "checkpoints" / "run"
    folder.mkdir(parents=True)
    write_options(o.values, o.defaults, folder, "train")
    return folder


def test_option_files_come_back_equal(workdir):
    folder = saved_run(workdir, "--value_range", "0,4095", "--no_flip")
    o = parse_test(["--name", "run"], MODELS, DATASETS)
    assert o.data.value_range == (0.0, 4095.0) and o.data.max_dataset_size == float("inf")
    text = (folder / "train_opt.txt").read_text()
    assert text.startswith("----------------- Options ---------------\n")
    assert text.endswith("----------------- End -------------------\n")
    assert "crop_size: 64" in text and "[default: 256]" in text and "lr: 0.0002   " in text
    names = [line.split(":")[0].strip() for line in text.splitlines()[1:-1]]
    assert names == sorted(names)


def test_testing_takes_over_the_model_and_not_the_loop(workdir):
    saved_run(workdir, "--netG", "unet_128", "--batch_size", "8", "--no_dropout", "--direction", "BtoA")
    o = parse_test(["--name", "run"], MODELS, DATASETS)
    assert (o.run.model, o.model.netG, o.model.no_dropout, o.data.direction) == ("pix2pix", "unet_128", True, "BtoA")
    assert (o.data.phase, o.data.batch_size, o.data.no_flip, o.data.load_size) == ("test", 1, True, 64)
    o = parse_test(["--name", "run", "--crop_size", "128", "--phase", "val"], MODELS, DATASETS)
    assert (o.data.load_size, o.data.crop_size, o.data.phase) == (128, 128, "val")
    o = parse_test(["--name", "run", "--model", "test"], MODELS, DATASETS)
    assert (o.run.dataset_mode, o.model.netG) == ("single", "unet_128")


def test_without_a_run_folder_testing_falls_back_to_the_test_model(workdir):
    o = parse_test(["--name", "unknown", "--dataroot", "x"], MODELS, DATASETS)
    assert (o.run.model, o.run.dataset_mode, o.model.netG) == ("test", "single", "resnet_9blocks")


def test_a_test_finds_a_run_by_its_suffix_and_reads_a_runs_own_file_as_config(workdir):
    o = train_options("--dataroot", "d", "--name", "s", "--model", "pix2pix", "--suffix", "{model}", "--ngf", "8")
    folder = workdir / "checkpoints" / "s_pix2pix"
    folder.mkdir(parents=True)
    write_options(o.values, o.defaults, folder, "train")
    o = parse_test(["--name", "s", "--model", "pix2pix", "--suffix", "{model}"], MODELS, DATASETS)
    assert (o.run.name, o.model.ngf) == ("s_pix2pix", 8)
    o = parse_test(["--name", "other", "--config", str(folder / "train_opt.json")], MODELS, DATASETS)
    assert (o.run.name, o.run.model, o.model.ngf, o.data.phase) == ("other", "pix2pix", 8, "test")


def test_the_originals_option_file_is_read(workdir):
    folder = workdir / "checkpoints" / "old"
    folder.mkdir(parents=True)
    rows = [("isTrain", "True"), ("model", "pix2pix"), ("netG", "unet_128"), ("norm", "instance\t[default: batch]")]
    rows += [("max_dataset_size", "inf"), ("no_dropout", "True")]
    body = "\n".join(f"{name:>25}: {value:<30}" for name, value in rows)
    (folder / "train_opt.txt").write_text(f"---- Options ----\n{body}\n---- End ----\n")
    o = parse_test(["--name", "old", "--dataroot", "x"], MODELS, DATASETS)
    assert (o.run.model, o.model.netG, o.model.norm, o.model.no_dropout) == ("pix2pix", "unet_128", "instance", True)


def test_a_damaged_option_file_is_named(workdir):
    folder = saved_run(workdir)
    (folder / "train_opt.json").write_text("{broken")
    with pytest.raises(OptionError, match=r"train_opt"):
        read_options(folder)


def test_continuing_restores_the_options_and_flags_win(workdir):
    saved_run(workdir, "--lr", "0.01", "--batch_size", "3")
    o = train_options("--name", "run", "--continue_train", "--n_epochs", "7")
    assert (o.model.lr, o.data.batch_size, o.data.crop_size, o.schedule.n_epochs) == (0.01, 3, 64, 7)
    assert o.loop.continue_train and o.data.dataroot == "data"


def test_format_marks_what_differs_from_the_default():
    text = format_options({"a": 1, "b": 2}, {"a": 1, "b": 3})
    rows = text.splitlines()
    assert rows[1].split() == ["a:", "1"] and rows[2].split() == ["b:", "2", "[default:", "3]"]


def test_every_option_has_help_and_no_name_is_declared_twice():
    for name in MODELS.names():
        for spec in specs(MODELS.get(name).Options).values():
            assert spec.help
    with pytest.raises(HelpAsked):
        train_options("--model", "pix2pix", "--help")


@pytest.mark.parametrize("program", ["train.py", "test.py"])
def test_an_empty_command_line_says_what_to_do_in_five_lines_without_torch(program):
    command = [sys.executable, "-X", "importtime", program]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=120)
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert (done.returncode, done.stdout, len(said)) == (2, "", 5)
    assert "torch" not in {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert max(map(len, said)) < 120 and said[0].startswith(f"{program}: ")
    for line in said[1:]:
        _, file, *words = re.split(r"\s{3,}", line.strip())[0].split()
        assert (REPO / file).is_file()
        if file == program and words != ["--help"]:
            (parse_train if program == "train.py" else parse_test)(words, MODELS, DATASETS)


@pytest.mark.parametrize("program", ["train.py", "test.py"])
def test_help_answers_without_torch(program):
    command = [sys.executable, "-X", "importtime", program, "--help"]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True, timeout=120)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in imported and not {"torch", "numpy"} & imported
    assert "--batch_size" in done.stdout and "pix2pix" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "required: INPUT"),
        (["--help"], 0, "--views VIEW,..."),
        (["--model", "pix2pix", "--help"], 0, "--views VIEW,..."),
    ],
)
def test_a_command_that_tests_a_run_says_its_own_options(words, code, said):
    command = [sys.executable, "scripts/translate.py", *words]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=120)
    assert done.returncode == code and said in (done.stderr if code else done.stdout)
    assert "Traceback" not in done.stderr

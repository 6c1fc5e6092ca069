"""What a user gets for a mistake: exit code 2, one line that names the flag or file, and nothing created or lost."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import test as test_program
import train
from tests.conftest import TRAINABLE_ARGS

COMMON = ["--name", "run", "--model", "pix2pix", *TRAINABLE_ARGS]


def snapshot(folder):
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if path.name != ".lock"
    }


def complaint(capsys):
    """The one line; a log line about the device may stand before it."""
    lines = [line for line in capsys.readouterr().err.splitlines() if "no GPU found" not in line]
    assert len(lines) == 1, lines
    return lines[0]


@pytest.fixture()
def here(workdir, dataroot):
    """A copy of the data set in the current folder, free to be broken."""
    shutil.copytree(dataroot, workdir / "data")
    return workdir


def mixed_sizes(here):
    Image.new("RGB", (80, 40)).save(here / "data" / "train" / "1.png")


def empty_phase(here):
    for file in (here / "data" / "train").iterdir():
        file.unlink()


def truncated(here):
    file = here / "data" / "train" / "0.png"
    file.write_bytes(file.read_bytes()[:200])


def truncated_in_the_middle(here):
    file = here / "data" / "train" / "2.png"
    file.write_bytes(file.read_bytes()[:300])


def no_image(here):
    (here / "data" / "train" / "0.png").write_text("this is text")


def zero_bytes(here):
    (here / "data" / "train" / "0.png").write_bytes(b"")


def one_sided(here):
    Image.new("RGB", (32, 32)).save(here / "data" / "train" / "0.png")


def unmatched(here):
    shutil.rmtree(here / "data" / "train")
    for side, names in (("A", "012"), ("B", "013")):
        (here / "data" / "train" / side).mkdir(parents=True)
        for name in names:
            Image.new("RGB", (32, 32)).save(here / "data" / "train" / side / f"{name}.png")


def five_channels(here):
    shutil.rmtree(here / "data" / "train")
    for side in "AB":
        (here / "data" / "train" / side).mkdir(parents=True)
        np.save(here / "data" / "train" / side / "0.npy", np.zeros((32, 32, 5), np.uint8))


def existing_run(here):
    (here / "checkpoints" / "run").mkdir(parents=True)
    (here / "checkpoints" / "run" / "latest_net_G.pth").write_bytes(b"precious")


def nothing(here):
    pass


DATA = ["--dataroot", "data"]
TRAINING = {
    "unknown flag": (nothing, [*DATA, "--bach_size", "4"], ["--bach_size", "--batch_size"]),
    "unknown model": (nothing, [*DATA, "--model", "pix2pixel"], ["--model pix2pixel", "pix2pix"]),
    "unknown data set": (nothing, [*DATA, "--dataset_mode", "alligned"], ["--dataset_mode alligned", "aligned"]),
    "unknown generator": (nothing, [*DATA, "--netG", "unet256"], ["--netG", "unet256", "unet_256"]),
    "unknown discriminator": (nothing, [*DATA, "--netD", "basics"], ["--netD", "basics", "basic"]),
    "word for a number": (nothing, [*DATA, "--lr", "fast"], ["--lr fast"]),
    "negative number": (nothing, [*DATA, "--n_epochs", "-3"], ["--n_epochs -3"]),
    "value out of choices": (nothing, [*DATA, "--precision", "fp8"], ["--precision fp8", "bf16"]),
    "no data root": (nothing, [], ["--dataroot"]),
    "missing data root": (nothing, ["--dataroot", "dta"], ["--dataroot dta"]),
    "missing phase": (nothing, [*DATA, "--phase", "trian"], ["trian", "train"]),
    "empty phase": (empty_phase, DATA, ["train", "--dataroot"]),
    "truncated image": (truncated, DATA, ["0.png"]),
    "truncated image in the middle": (truncated_in_the_middle, DATA, ["2.png"]),
    "text for an image": (no_image, DATA, ["0.png"]),
    "empty file": (zero_bytes, DATA, ["0.png", "empty"]),
    "no pair in a file": (one_sided, DATA, ["0.png"]),
    "unmatched names": (unmatched, DATA, ["2", "3", "train"]),
    "channels": (five_channels, DATA, ["0.npy", "5", "--input_nc"]),
    "mixed sizes in a batch": (mixed_sizes, [*DATA, "--preprocess", "none", "--batch_size", "2"], ["--batch_size 2"]),
    "size of the network": (nothing, [*DATA, "--netG", "unet_256"], ["--crop_size", "256"]),
    "crop above load": (nothing, [*DATA, "--crop_size", "64"], ["--load_size 36", "--crop_size 64"]),
    "no such GPU": (nothing, [*DATA, "--gpu_ids", "77"], ["--gpu_ids 77"]),
    "GPUs that are no numbers": (nothing, [*DATA, "--gpu_ids", "a,b"], ["--gpu_ids a,b"]),
    "precision of the CPU": (nothing, [*DATA, "--precision", "fp16"], ["--precision fp16"]),
    "existing run": (existing_run, DATA, ["--name run", "--continue_train", "--overwrite"]),
    "nothing to continue": (nothing, [*DATA, "--continue_train"], ["--continue_train", "no run"]),
    "broken checkpoint": (existing_run, [*DATA, "--continue_train"], ["latest_net_G.pth"]),
    "contradiction": (existing_run, [*DATA, "--continue_train", "--overwrite"], ["--continue_train", "--overwrite"]),
    "name that leads elsewhere": (nothing, [*DATA, "--name", "../x"], ["--name", "../x"]),
    "phase that leads elsewhere": (nothing, [*DATA, "--phase", "../x"], ["--phase", "../x"]),
    "empty phase name": (nothing, [*DATA, "--phase", ""], ["--phase"]),
    "infinite number": (nothing, [*DATA, "--lr", "inf"], ["--lr inf", "finite"]),
    "infinite range": (nothing, [*DATA, "--value_range", "0,inf"], ["--value_range 0,inf", "finite"]),
    "number too large": (nothing, [*DATA, "--beta1", "1.5"], ["--beta1 1.5", "largest"]),
    "value with a dash": (nothing, [*DATA, "--value_range", "-1,1"], ["--value_range", "--flag=value"]),
    "strange suffix": (nothing, [*DATA, "--suffix", "{model.x}"], ["--suffix {model.x}"]),
    "strange GPUs": (nothing, [*DATA, "--gpu_ids", ","], ["--gpu_ids ,"]),
    "epoch that leads elsewhere": (existing_run, [*DATA, "--continue_train", "--epoch", "../x/1"], ["--epoch ../x/1"]),
    "folder that cannot be": (nothing, [*DATA, "--checkpoints_dir", "/proc/x"], ["--checkpoints_dir /proc/x"]),
    "missing side": (nothing, [*DATA, "--dataset_mode", "single"], ["--dataset_mode single", "aligned"]),
    "missing config": (nothing, [*DATA, "--config", "c.json"], ["--config c.json"]),
    "plateau without a metric": (nothing, [*DATA, "--lr_policy", "plateau"], ["--lr_policy plateau"]),
    "nothing to train": (nothing, [*DATA, "--n_epochs", "0", "--n_epochs_decay", "0"], ["--n_epochs 0"]),
    "model for testing": (nothing, [*DATA, "--model", "test", "--dataset_mode", "aligned"], ["test.py"]),
}


@pytest.mark.parametrize("case", TRAINING)
def test_train(case, here, capsys):
    prepare, argv, parts = TRAINING[case]
    prepare(here)
    before = snapshot(here)
    assert train.main([*COMMON, *argv]) == 2
    line = complaint(capsys)
    assert line.startswith("train.py: error: ") and all(part in line for part in parts), line
    assert snapshot(here) == before, "something was created or lost"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, dataroot):
    """One trained run, to be copied by every case."""
    folder = tmp_path_factory.mktemp("trained")
    argv = ["--dataroot", str(dataroot), "--checkpoints_dir", str(folder), "--n_epochs", "1", "--n_epochs_decay", "0"]
    assert train.main([*COMMON, *argv, "--no_html"]) == 0
    return folder


def broken_options(here):
    (here / "checkpoints" / "run" / "train_opt.json").write_text("{")


def other_network(here):
    torch.save({"x": torch.zeros(1)}, here / "checkpoints" / "run" / "latest_net_G.pth")


def empty_network(here):
    (here / "checkpoints" / "run" / "latest_net_G.pth").write_bytes(b"")


def damaged_marker(here):
    (here / "checkpoints" / "run" / "save.commit").write_text("x{")


def truncated_network(here):
    file = here / "checkpoints" / "run" / "latest_net_G.pth"
    file.write_bytes(file.read_bytes()[:1000])


TESTING = {
    "missing run": (nothing, ["--name", "rum"], ["--name rum"]),
    "unknown flag": (nothing, ["--num_tests", "3"], ["--num_tests", "--num_test"]),
    "missing epoch": (nothing, ["--epoch", "7"], ["--epoch 7", "latest"]),
    "missing phase": (nothing, ["--phase", "vall"], ["vall", "test"]),
    "other network": (nothing, ["--ngf", "8"], ["latest_net_G.pth", "--ngf"]),
    "other norm": (nothing, ["--norm", "instance"], ["latest_net_G.pth", "--norm"]),
    "other keys": (other_network, [], ["latest_net_G.pth"]),
    "truncated checkpoint": (truncated_network, [], ["latest_net_G.pth", "damaged"]),
    "broken options": (broken_options, [], ["train_opt"]),
    "missing data": (nothing, ["--dataroot", "nowhere"], ["--dataroot nowhere"]),
    "value": (nothing, ["--num_test", "0"], ["--num_test 0"]),
    "empty checkpoint": (empty_network, [], ["latest_net_G.pth", "damaged"]),
    "damaged marker": (damaged_marker, [], ["save.commit", "delete it"]),
    "missing iteration": (nothing, ["--load_iter", "5"], ["--load_iter 5", "latest"]),
    "epoch that leads elsewhere": (nothing, ["--epoch", "../run/latest"], ["--epoch ../run/latest"]),
    "results that cannot be": (nothing, ["--results_dir", "/proc/x"], ["--results_dir /proc/x"]),
    "stretch": (nothing, ["--aspect_ratio", "inf"], ["--aspect_ratio inf"]),
}


@pytest.mark.parametrize("case", TESTING)
def test_test(case, here, trained, capsys):
    prepare, argv, parts = TESTING[case]
    shutil.copytree(trained / "run", here / "checkpoints" / "run")
    prepare(here)
    capsys.readouterr()
    before = snapshot(here)
    name = [] if "--name" in argv else ["--name", "run"]
    data = [] if "--dataroot" in argv else DATA
    assert test_program.main([*name, *data, "--gpu_ids", "-1", *argv]) == 2
    line = complaint(capsys)
    assert line.startswith("test.py: error: ") and all(part in line for part in parts), line
    assert snapshot(here) == before, "something was created or lost"

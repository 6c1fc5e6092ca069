"""The published command lines of the student project (DLIM) run as printed, on small data and with small networks.

Each is ``train.py`` (or ``trainSesame.py``) and the ``test.py`` that followed. What a test appends only makes it small.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import test as test_program
import train
from options.parse import parse_train
from tests.conftest import TRAINABLE_ARGS

REPO = Path(__file__).resolve().parents[1]
SMALL = [*TRAINABLE_ARGS, "--n_epochs", "1", "--n_epochs_decay", "0", "--n_layers_D", "2", "--no_html"]
SMALL += ["--max_dataset_size", "2"]

FACADES = "--dataroot ./datasets/facades --direction BtoA"
COMMANDS = {
    **{
        f"batch{size}": f"train.py {FACADES} --name batch{size} --model pix2pix --batch_size {size}"
        for size in (1, 4, 16, 64, 256)
    },
    "perceptual": f"train.py {FACADES} --name perceptual --model perceptual",
    "adv_og": f"train.py {FACADES} --name adv_og --model adversarial_losses --gan_mode original",
    "adv_ls": f"train.py {FACADES} --name adv_ls --model adversarial_losses --gan_mode ls",
    "adv_hinge": f"train.py {FACADES} --name adv_hinge --model adversarial_losses --gan_mode hinge",
    "adv_w": f"train.py {FACADES} --name adv_w --model adversarial_losses --gan_mode w",
    "stoch": f"train.py {FACADES} --name stoch --model stochastic",
    "classic": f"train.py {FACADES} --name classic --model pix2pix --netD basic",
    "multiscale": f"train.py {FACADES} --name classic --model pix2pix --netD multiscale",
    "sesam": f"trainSesame.py {FACADES} --name classic --model pix2pix --netD sesam",
    "sesame": f"train.py {FACADES} --name sesame --model pix2pix --netD sesam",
    "cityscapes": "train.py --dataroot ./datasets/cityscapes --direction BtoA --name cityscapes --model pix2pix",
    "cycle_gan": "train.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan",
    "colorization": "train.py --dataroot ./datasets/color --name color_pix2pix --model colorization",
}
NEEDED = {"perceptual": ["--vgg_weights", "random", "--vgg_layers", "1"]}  # there is no network in a test
PICTURES = {
    "cycle_gan": {"real_A", "fake_B", "rec_A", "real_B", "fake_A", "rec_B"},
    "colorization": {"real_A", "real_B_rgb", "fake_B_rgb"},
}


@pytest.fixture()
def here(workdir: Path, dataroot: Path) -> Path:
    """A current folder with the data sets of the commands."""
    (workdir / "datasets").mkdir()
    for name in ("facades", "cityscapes", "maps", "color"):
        (workdir / "datasets" / name).symlink_to(dataroot)
    return workdir


@pytest.mark.parametrize("key", COMMANDS)
def test_a_command_trains_and_tests(key: str, here: Path) -> None:
    _, *words = shlex.split(COMMANDS[key])
    assert train.main([*words, *SMALL, *NEEDED.get(key, [])]) == 0
    name = words[words.index("--name") + 1]
    assert test_program.main(["--name", name, "--gpu_ids", "-1", "--num_test", "1"]) == 0
    saved = json.loads((here / "checkpoints" / name / "train_opt.json").read_text())
    given = {words[at][2:]: words[at + 1] for at in range(0, len(words), 2)}
    assert {flag: str(saved[flag]) for flag in given} == given
    pictures = {
        path.stem.removeprefix("0_") for path in (here / "results" / name / "test_latest" / "images").glob("*.png")
    }
    assert pictures == PICTURES.get(key, {"real_A", "fake_B", "real_B"})


def test_test_takes_the_published_flags_again(here: Path) -> None:
    """The original's test commands repeat what the run knows by itself."""
    words = shlex.split(f"{FACADES} --name facades_pix2pix --model pix2pix")
    assert train.main([*words, *SMALL]) == 0
    assert test_program.main([*words, "--gpu_ids", "-1"]) == 0


def test_three_runs_of_one_name_cannot_overwrite_each_other(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The published commands call all three discriminators ``classic``."""
    first, second = (shlex.split(COMMANDS[key])[1:] for key in ("classic", "multiscale"))
    assert train.main([*first, *SMALL]) == 0
    before = (here / "checkpoints" / "classic" / "latest_net_D.pth").read_bytes()
    assert train.main([*second, *SMALL]) == 2
    assert "--name classic" in capsys.readouterr().err
    assert (here / "checkpoints" / "classic" / "latest_net_D.pth").read_bytes() == before


def test_trainSesame_says_that_train_does_it(here: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(REPO / "trainSesame.py"), "--help"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "trainSesame.py: train.py trains with every --netD" in done.stderr
    assert "python train.py" in done.stdout and "--netD" in done.stdout


def test_every_published_adversarial_loss_is_an_alias() -> None:
    from data import DATASETS
    from models import MODELS

    for key in ("adv_og", "adv_ls", "adv_hinge", "adv_w"):
        options = parse_train(shlex.split(COMMANDS[key])[1:], MODELS, DATASETS)
        assert options.model.gan_mode in ("original", "ls", "hinge", "w")
    default = parse_train(["--model", "adversarial_losses", "--dataroot", "x"], MODELS, DATASETS)
    assert default.model.gan_mode == "original"

"""Pairs of pictures that are at least twice as high as wide: combined, believed, trained on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import test as test_program
import train
from data import DATASETS
from datasets import combine_A_and_B
from models import MODELS
from options.parse import parse_train
from options.schema import OptionError
from tests.conftest import trainable_args

WIDTH, HEIGHT = 24, 52


def picture(seed, width=WIDTH, height=HEIGHT):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(file, pixels):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


@pytest.fixture()
def sides(workdir):
    """Folders A and B as combine_A_and_B.py takes them."""
    for phase in ("train", "test"):
        for number in range(2):
            for side, pixels in (("A", picture(number)), ("B", 255 - picture(number))):
                save(workdir / side / phase / f"{number}.png", pixels)
    return workdir


def side_by_side(folder):
    for phase in ("train", "test"):
        for number in range(2):
            save(folder / phase / f"{number}.png", np.hstack([picture(number), 255 - picture(number)]))


def flags(*more, dataroot="AB"):
    """A training that keeps the size of the pictures."""
    epochs = ["--n_epochs", "1", "--n_epochs_decay", "0", "--no_html", "--preprocess", "none", "--no_flip"]
    return ["--dataroot", dataroot, "--name", "run", "--model", "pix2pix", *trainable_args("pix2pix"), *epochs, *more]


COMBINE = ["--fold_A", "A", "--fold_B", "B", "--fold_AB", "AB"]


def test_combined_portraits_are_trained_on_as_they_were(sides, capsys):
    assert combine_A_and_B.main(COMBINE) == 0
    said = capsys.readouterr().out
    assert "AB/train/A: 2 pairs in the folders A and B" in said and "4 of 4 pairs written" in said
    assert np.array_equal(np.asarray(Image.open("AB/train/B/1.png")), 255 - picture(1))
    assert train.main(flags()) == 0
    options = parse_train(flags(), MODELS, DATASETS).data
    sample = DATASETS.get("aligned")(options, input_nc=3, output_nc=3)[1]
    wanted = picture(1).transpose(2, 0, 1) / 127.5 - 1
    assert np.abs(sample["A"].numpy() - wanted).max() < 1e-5
    assert np.abs(sample["B"].numpy() + wanted).max() < 1e-5


def test_only_the_phase_with_portraits_becomes_folders(sides, capsys):
    for side in "AB":
        save(sides / side / "val" / "9.png", picture(9, 16, 31))
        save(sides / side / "test" / "deep" / "7.png", picture(7, 40, 40))
    assert combine_A_and_B.main(COMBINE) == 0
    assert sorted(file.relative_to("AB").as_posix() for file in Path("AB").rglob("*.png")) == [
        *(f"test/{side}/{name}.png" for side in "AB" for name in ("0", "1", "deep/7")),
        *(f"train/{side}/{number}.png" for side in "AB" for number in (0, 1)),
        "val/9.png",
    ]
    assert combine_A_and_B.main(COMBINE) == 2
    assert "--fold_AB holds 11 of the files" in capsys.readouterr().err


def test_files_without_phases(workdir):
    for side in "AB":
        save(workdir / side / "1.png", picture(1))
    assert combine_A_and_B.main(COMBINE) == 0
    assert sorted(file.as_posix() for file in Path("AB").rglob("*.png")) == ["AB/A/1.png", "AB/B/1.png"]


def test_side_by_side_portraits_are_refused_with_the_way_round(workdir, capsys):
    side_by_side(workdir / "AB")
    assert train.main(flags()) == 2
    assert "48x52 pixels look like one picture" in (line := capsys.readouterr().err)
    assert "if they are pairs, give --dataset_mode aligned" in line


def test_they_are_believed_with_a_warning_and_the_run_remembers_it(workdir, said):
    side_by_side(workdir / "AB")
    assert train.main(flags("--dataset_mode", "aligned")) == 0
    told = said()
    assert "the halves of AB/train/0.png are 24x52" in told
    assert "looks like one picture, but is cut into A and B because of --dataset_mode aligned" in told
    assert json.loads(Path("checkpoints/run/train_opt.json").read_text())["portrait_pairs"] is True
    assert test_program.main(["--name", "run", "--gpu_ids", "-1"]) == 0
    written = np.asarray(Image.open("results/run/test_latest/images/1_real_B.png"))
    assert np.array_equal(written, 255 - picture(1))


def test_an_odd_width_is_never_a_pair(workdir, capsys):
    save(workdir / "AB" / "train" / "1.png", picture(1, 31, 16))
    assert train.main(flags("--dataset_mode", "aligned")) == 2
    assert "a width of 31 pixels cannot be cut" in capsys.readouterr().err


def test_the_flag_itself(workdir):
    assert parse_train(flags("--portrait_pairs"), MODELS, DATASETS).data.portrait_pairs
    named = flags("--dataset_mode", "aligned", "--portrait_pairs", "False")
    assert not parse_train(named, MODELS, DATASETS).data.portrait_pairs
    with pytest.raises(OptionError, match="--portrait_pairs"):
        parse_train([*flags(), "--dataset_mode", "unaligned", "--portrait_pairs"], MODELS, DATASETS)

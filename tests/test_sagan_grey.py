"""Images of one channel from noise: digits, X-rays by class."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import test as test_program
import train
from data import DATASETS
from models import MODELS
from options.parse import parse_train
from options.schema import OptionError
from scripts import generate, match, morph
from tests.class_run import make_run
from tests.conftest import SIZE
from tests.runs import arguments

RUN = ["--name", "run", "--gpu_ids", "-1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two classes of grey images, one epoch."""
    folder = tmp_path_factory.mktemp("grey")
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        (folder / "data" / "train" / name).mkdir(parents=True)
        for number in range(2):
            pixels = rng.integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "data" / "train" / name / f"{number}.png")
    argv = arguments(folder / "data", model="sagan", epochs="1")
    argv[argv.index("--dataroot") + 1] = str(folder / "data")
    place = ["--checkpoints_dir", str(folder / "checkpoints")]
    assert train.main([*argv, "--n_epochs_decay", "0", "--num_classes", "2", "--output_nc", "1", *place]) == 0
    return folder


@pytest.fixture()
def here(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained


def modes(folder):
    return {Image.open(file).mode for file in folder.rglob("*.png")}


def test_both_flags_are_saved_and_the_networks_have_one_channel(here):
    saved = json.loads((here / "checkpoints" / "run" / "train_opt.json").read_text())
    assert (saved["input_nc"], saved["output_nc"]) == (1, 1)


def test_samples_are_grey_files(here):
    assert test_program.main([*RUN, "--generate_all", "--num_images", "2"]) == 0
    images = here / "results" / "run" / "test_latest" / "images"
    assert len(list(images.rglob("*.png"))) == 4 and modes(images) == {"L"}
    assert generate.main([*RUN, "--class_name", "two", "--num_images", "3", "--output", "drawn"]) == 0
    assert len(list((here / "drawn" / "images").rglob("*.png"))) == 3 and modes(here / "drawn" / "images") == {"L"}


def test_a_grey_run_is_matched_with_its_data_and_morphed(here):
    assert match.main([*RUN, "--class_name", "one", "--features", "pixels", "--top_n", "2"]) == 0
    assert morph.main([*RUN, "--from_class_name", "one", "--to_class_name", "two", "--n_morphs", "3"]) == 0
    (facts,) = json.loads((here / "results" / "run" / "match_0_latest" / "match.json").read_text())["samples"]
    assert {each["name"] for each in facts["matches"]} == {"one"}


@pytest.mark.parametrize("flags", [["--input_nc", "1"], ["--output_nc", "1"], ["--input_nc", "1", "--output_nc", "1"]])
def test_either_flag_sets_the_channels_of_the_images(flags):
    o = parse_train(["--name", "x", "--dataroot", "d", "--model", "sagan", *flags], MODELS, DATASETS).model
    assert (o.input_nc, o.output_nc) == (1, 1)


def test_a_file_of_flags_sets_them_too_and_the_command_line_wins(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({"output_nc": 1}))
    argv = ["--name", "x", "--dataroot", "d", "--model", "sagan", "--config", str(tmp_path / "c.json")]
    of_file = parse_train(argv, MODELS, DATASETS).model
    of_flags = parse_train([*argv, "--input_nc", "4"], MODELS, DATASETS).model
    assert (of_file.input_nc, of_flags.input_nc, of_flags.output_nc) == (1, 4, 4)


def test_two_numbers_of_channels_are_refused():
    argv = ["--name", "x", "--dataroot", "d", "--model", "sagan", "--input_nc", "3", "--output_nc", "1"]
    with pytest.raises(OptionError, match=r"--input_nc 3 and --output_nc 1: .* give one of them"):
        parse_train(argv, MODELS, DATASETS)


def test_a_run_of_an_earlier_version_keeps_its_images(workdir, said):
    """It saved ``--output_nc`` as it was given, 3, and made nothing of it."""
    make_run(workdir, "--input_nc", "1")
    file = workdir / "checkpoints" / "run" / "train_opt.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "output_nc": 3}))
    assert test_program.main([*RUN, "--num_images", "1"]) == 0
    assert modes(workdir / "results" / "run" / "test_latest" / "images") == {"L"}

"""test.py and images that cannot be read: the others are translated, the broken ones are named."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import test as test_program
import train
from data import DATASETS
from data.loader import create_loader
from options.base_options import DataOptions
from tests.conftest import SIZE, trainable_args
from tests.runs import arguments

RUN = ["--name", "run", "--gpu_ids", "-1"]


def train_run(folder, dataroot, model):
    argv = arguments(dataroot, "--checkpoints_dir", str(folder / "checkpoints"), model=model, epochs="1")
    assert train.main([*argv, "--n_epochs_decay", "0", "--no_html"]) == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory, dataroot):
    folder = tmp_path_factory.mktemp("broken")
    train_run(folder, dataroot, "pix2pix")
    return folder


@pytest.fixture()
def here(workdir, trained, dataroot):
    """The run, which draws dropout, and a copy of its data, free to be broken."""
    shutil.copytree(trained / "checkpoints", workdir / "checkpoints")
    shutil.copytree(dataroot, workdir / "data")
    return workdir


def cut_off(file):
    file.write_bytes(file.read_bytes()[:90])


def pictures(here, place="test_latest"):
    images = here / "results" / "run" / place / "images"
    return {file.name: file.read_bytes() for file in images.glob("*.png")}


def complaints(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("test.py: error: ")]


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("threads", ["0", "1"])
def test_the_good_pictures_are_those_of_a_test_without_broken_ones(number, threads, here, capsys, said):
    assert test_program.main([*RUN, "--dataroot", "data"]) == 0
    whole = pictures(here)
    cut_off(here / "data" / "test" / f"{number}.png")
    capsys.readouterr()
    assert test_program.main([*RUN, "--dataroot", "data", "--num_threads", threads]) == 1
    (line,) = complaints(capsys)
    assert f"data/test/{number}.png: cannot be read as an image" in line
    assert pictures(here) == {name: each for name, each in whole.items() if not name.startswith(str(number))}
    page = (here / "results" / "run" / "test_latest" / "index.html").read_text()
    assert [f"{n}_fake_B.png" in page for n in range(3)] == [n != number for n in range(3)]


def test_the_last_line_counts(here, said):
    cut_off(here / "data" / "test" / "1.png")
    assert test_program.main([*RUN, "--dataroot", "data"]) == 1
    assert "2 images (1 left out as they cannot be read): results/run/test_latest/index.html" in said()


def test_every_broken_file_has_its_line(here, capsys):
    cut_off(here / "data" / "test" / "0.png")
    (here / "data" / "test" / "2.png").write_bytes(b"")
    assert test_program.main([*RUN, "--dataroot", "data"]) == 1
    lines = complaints(capsys)
    assert [number for line in lines for number in "012" if f"test/{number}.png: " in line] == ["0", "2"]
    assert {name[0] for name in pictures(here)} == {"1"}


def test_an_image_that_does_not_fit_is_left_out_too(here, capsys):
    Image.new("RGB", (60, 30)).save(here / "data" / "test" / "1.png")
    assert test_program.main([*RUN, "--dataroot", "data", "--preprocess", "crop", "--crop_size", "32"]) == 1
    (line,) = complaints(capsys)
    assert "1.png: 30x30 pixels are too few for --crop_size 32" in line
    assert {name[0] for name in pictures(here)} == {"0", "2"}


def test_nothing_readable_is_an_error_and_earlier_results_stay(here, capsys):
    assert test_program.main([*RUN, "--dataroot", "data"]) == 0
    before = pictures(here)
    for number in range(3):
        cut_off(here / "data" / "test" / f"{number}.png")
    assert test_program.main([*RUN, "--dataroot", "data"]) == 2
    (line,) = complaints(capsys)
    assert "data/test/0.png" in line
    assert pictures(here) == before


def test_broken_files_beyond_num_test_do_not_matter(here, capsys):
    cut_off(here / "data" / "test" / "1.png")
    assert test_program.main([*RUN, "--dataroot", "data", "--num_test", "1"]) == 0
    assert test_program.main([*RUN, "--dataroot", "data", "--num_test", "2"]) == 1
    assert {name[0] for name in pictures(here)} == {"0"}


def test_a_batch_keeps_its_good_pictures(here, trained, dataroot, capsys):
    flags = [*RUN, "--dataroot", "data", "--eval", "--batch_size", "2"]
    assert test_program.main(flags) == 0
    whole = pictures(here)
    cut_off(here / "data" / "test" / "0.png")
    assert test_program.main(flags) == 1
    found = pictures(here)
    assert set(found) == {name for name in whole if not name.startswith("0")}
    for name, each in found.items():  # one image or two in a batch: equal but for rounding
        (here / "a.png").write_bytes(each)
        (here / "b.png").write_bytes(whole[name])
        difference = np.asarray(Image.open("a.png")).astype(int) - np.asarray(Image.open("b.png"))
        assert np.abs(difference).max() <= 1


def test_unpaired_images_do_not_lose_their_partners(workdir, dataroot, capsys):
    """Sample 1 is A 1 and B 1: with A 1 broken, B 1 is translated with the next A."""
    shutil.copytree(dataroot, workdir / "data")
    train_run(workdir, dataroot, "cycle_gan")
    assert test_program.main([*RUN, "--dataroot", "data"]) == 0
    whole = pictures(workdir)
    cut_off(next(iter(sorted((workdir / "data" / "testA").glob("1.*")))))
    capsys.readouterr()
    assert test_program.main([*RUN, "--dataroot", "data"]) == 1
    (line,) = complaints(capsys)
    assert "testA/1.png" in line
    lost = {name for name in whole if name.startswith("1_") and name.removesuffix(".png")[2:] in OF_A}
    assert set(pictures(workdir)) == whole.keys() - lost


OF_A = {"real_A", "fake_B", "rec_A", "idt_B"}


def pairs(folder, **options):
    data = DataOptions(dataroot=str(folder), phase="test", load_size=SIZE, crop_size=SIZE, **options)
    return DATASETS.get("aligned")(data, input_nc=3, output_nc=3)


@pytest.mark.parametrize("threads", [0, 1])
def test_the_loader_says_which_places_a_batch_has(threads, here):
    cut_off(here / "data" / "test" / "1.png")
    found = []
    loader = create_loader(
        pairs(here / "data"),
        batch_size=2,
        num_threads=threads,
        serial_batches=True,
        direction="AtoB",
        seed=0,
        on_broken=lambda place, error: found.append((place, type(error))),
    )
    batches = list(loader.batches(1))
    loader.close()
    assert [batch["places"] for batch in batches] == [[0], [2]]
    assert [batch["A"].shape for batch in batches] == [torch.Size([1, 3, SIZE, SIZE])] * 2
    assert found == [(1, ValueError)]


def test_a_training_still_stops(here, capsys):
    cut_off(here / "data" / "train" / "2.png")
    argv = ["--dataroot", "data", "--name", "new", "--model", "pix2pix", *trainable_args("pix2pix")]
    assert train.main(argv) == 2
    assert "train/2.png: cannot be read" in capsys.readouterr().err

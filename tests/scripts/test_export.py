"""scripts/export.py: the file, what is said of it, the page that compares; scripts/translate.py runs it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from scripts import export, translate
from tests.runs import arguments, train_in
from tests.test_bad_input import complaint
from tests.untrained import make_run
from util.images.labels import LABEL_COLOURS

RUN = ["--name", "run", "--num_threads", "0", "--gpu_ids", "-1"]


@pytest.fixture(scope="module")
def trained(dataroot, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    train_in(folder, arguments(dataroot, "--no_html", "--netG", "unet_128", "--ngf", "2", *SIZE, epochs="1"))
    return folder


SIZE = ["--load_size", "128", "--crop_size", "128"]


@pytest.fixture()
def here(trained, workdir):
    shutil.copytree(trained / "checkpoints", workdir / "checkpoints")
    return workdir


@pytest.mark.slow
def test_an_export_is_compared_on_the_images_of_the_run_and_translates_as_the_run(here, dataroot, said):
    assert export.main([*RUN, "--eval", "--num_images", "2"]) == 0
    told = said()
    assert "batch norm: running statistics of the training" in told and "dropout: off" in told
    assert "free: batch, height, width" in told and "multiples of 128, at least 128" in told
    file = here / "checkpoints" / "run" / "latest_AtoB.onnx"
    assert file.is_file() and not list(file.parent.glob("*.data"))

    report = here / "results" / "run" / "export_latest"
    parity = json.loads((report / "parity.json").read_text())
    names = [each["name"] for each in parity["inputs"]]
    assert names == ["drawn numbers, batch of 1, 128x128", "drawn numbers, batch of 3, 384x128", "0.png", "1.png"]
    assert all(each["passed"] and 0 < each["largest"] < 1e-4 for each in parity["inputs"])
    assert parity["file"]["usage"]["out"].startswith("fake_B: float32")
    pictures = {each.name: np.asarray(Image.open(each)) for each in (report / "images").iterdir()}
    assert set(pictures) == {"input.png", "run.png", "export.png", "difference.png"}
    assert np.abs(pictures["run.png"].astype(int) - pictures["export.png"]).max() <= 1
    assert "1.png" in (report / "index.html").read_text()

    photo = here / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)).save(photo)
    for engine in ("torch", "onnxruntime"):
        assert translate.main([*RUN, "--eval", str(photo), "--output", f"{engine}.png", "--engine", engine]) == 0
    ran = [np.asarray(Image.open(here / f"{engine}.png")).astype(int) for engine in ("torch", "onnxruntime")]
    assert ran[0].shape == (50, 70, 3) and np.abs(ran[0] - ran[1]).max() <= 1


def test_a_file_that_differs_ends_with_1_and_the_page_says_where(here, said, monkeypatch):
    opened = export.open_exported

    def shifted(file, engine):
        session, facts = opened(file, engine)
        return lambda arrays: [each + 0.01 for each in session(arrays)], facts

    monkeypatch.setattr(export, "open_exported", shifted)
    assert export.main([*RUN, "--format", "torch", "--num_images", "1", "--report", "page"]) == 1
    assert "3 of 3 inputs differ by more than --tolerance 0.001, the worst" in said()
    assert "too much" in (here / "page" / "index.html").read_text()


def test_index_maps_with_processing_are_compared_by_their_labels(workdir, said):
    sides = ["--input_nc", "3", "--label_nc_A", "3", "--output_nc", "5", "--label_nc_B", "5", "--init_type", "kaiming"]
    make_run(workdir, "pix2pix", *sides)
    labels = np.random.default_rng(0).integers(0, 3, (32, 32), dtype=np.uint8)
    (workdir / "in").mkdir()
    Image.fromarray(labels).save(workdir / "in/a.png")
    flags = ["--eval", "--format", "torch", "--with_processing", "--images", "in"]
    assert export.main([*RUN, *flags]) == 0
    assert "uint8 [N, H, W, 1], any size, labels 0 to 2 of an index map" in said()
    report = workdir / "results" / "run" / "export_latest"
    (row,) = (each for each in json.loads((report / "parity.json").read_text())["inputs"] if each["name"] == "a.png")
    assert row["passed"] and row["largest"] < 0.001
    pictures = {each.stem: np.asarray(Image.open(each)) for each in (report / "images").iterdir()}
    assert (pictures["input"] == LABEL_COLOURS[labels]).all()
    assert len(np.unique(pictures["run"].reshape(-1, 3), axis=0)) > 1
    assert (pictures["run"] != pictures["export"]).any(axis=2).mean() < 0.001


def test_without_images_drawn_numbers_are_compared_with_a_note(here, said):
    flags = ["--dataroot", str(here / "none"), "--format", "torch", "--size", "128,128", "--output", "deep/g.pt2"]
    assert export.main([*RUN, *flags]) == 0
    told = said()
    assert "compared on drawn numbers; give --images DIR" in told and "height and width fixed: by --size" in told
    assert "statistics of each picture" in told
    assert "dropout: off; the run draws it in a test without --eval" in told
    assert [each.name for each in (here / "deep").iterdir()] == ["g.pt2"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--direction", "BtoA"], "--direction BtoA: run 'run' of --model pix2pix translates AtoB only"),
        (["--direction", "up"], "--direction up: give AtoB or BtoA"),
        (["--output", "model.pt2"], "--output model.pt2: a file of --format onnx ends with .onnx"),
        (["--output", "checkpoints/run/train_opt.txt/model.onnx"], "train_opt.txt cannot be written"),
        (["--size", "100,128"], "--size 100,128: this network takes multiples of 128 of at least 128; 128 and 256 are"),
        (["--size", "128"], "--size 128: give HEIGHT,WIDTH in pixels, e.g. 256,256"),
        (
            ["--format", "torch", "--external_data"],
            "--external_data: only --format onnx has it",
        ),
        (["--images", "nowhere"], "nowhere"),
        (["--format", "tflite"], "--format tflite: unknown value: choose one of onnx, torch, openvino"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_input_is_refused_before_anything_is_written(flags, words, here, capsys):
    before = sorted(here.rglob("*"))
    assert export.main([*RUN, *flags]) == 2
    assert words in complaint(capsys)
    assert sorted(here.rglob("*")) == before

"""scripts/generate.py: the pictures of test.py, in any folder."""

from __future__ import annotations

import json

import pytest

import test as test_program
from scripts import generate, match, morph
from tests.class_run import NAMES, RUN, WITHOUT_EFFECT, bring, flags_without_effect, make_runs
from tests.test_bad_input import complaint, snapshot

FLAGS = ["--num_images", "2", "--sample_seed", "3"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return make_runs(tmp_path_factory.mktemp("run"))


@pytest.fixture()
def here(trained, workdir):
    return bring(trained, workdir)


def files(folder):
    return {path: content for path, content in snapshot(folder).items() if content is not None}


def test_the_pictures_are_those_of_test_py(here):
    flags = ["--class_name", "green_square", "--truncation", "0.7"]
    assert test_program.main([*RUN, *FLAGS, *flags]) == 0
    published = ["--class-id", "1", "--truncation-threshold", "0.7"]
    assert generate.main([*RUN, *FLAGS, *published, "--output", "out"]) == 0
    assert snapshot(here / "out") == snapshot(here / "results" / "run" / "test_latest")
    facts = json.loads((here / "out" / "samples.json").read_text())
    wanted = {"seed": 3, "truncation": 0.7, "checkpoint": "latest", "network": "G_ema", "standing_stats": 0}
    assert {key: facts[key] for key in wanted} == wanted
    assert [row["file"] for row in facts["samples"]] == [f"images/0001_green_square/003_0000{n}.png" for n in (0, 1)]
    assert (here / "out" / "grid.png").is_file() and "1: green_square" in (here / "out" / "index.html").read_text()


def test_without_output_the_place_is_that_of_test_py_and_a_second_call_replaces_the_first(here):
    assert generate.main([*RUN, *FLAGS, "--generate-all"]) == 0
    folder = here / "results" / "run" / "test_latest"
    first = snapshot(folder)
    assert {path.parts[1] for path in first if path.suffix == ".png" and len(path.parts) > 1} == {
        f"{label:04d}_{name}" for label, name in enumerate(NAMES)
    }
    assert generate.main([*RUN, *FLAGS, "--generate_all", "--output", str(folder)]) == 0
    assert snapshot(folder) == first
    assert generate.main([*RUN, *FLAGS, "--class_id", "2"]) == 0
    assert {path.name for path in (folder / "images").iterdir()} == {"0002_red_circle"}


def test_flags_without_effect_are_told_once(here, said):
    assert generate.main([*RUN, *FLAGS, *WITHOUT_EFFECT, "--batch_size", "1", "--phase", "val"]) == 0
    assert flags_without_effect(said()) == ["--dataroot", "--load_size", "--max_classes", "--num_test"]
    assert (here / "results" / "run" / "val_latest" / "index.html").is_file()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--class_id", "3"], "--class_id 3: the run has 3 classes, 0 to 2"),
        (["--class_name", "green_squares"], "did you mean 'green_square'?"),
        (["--class_nam", "green_square"], "did you mean --class_name?"),
        (["--name", "rum"], "checkpoints/rum does not exist"),
        (["--name", "pairs"], "--model pix2pix, which does not draw from noise but translates images: use python test"),
        (["--output", "mine"], "--output mine: holds other files than samples"),
        (["--output", "mine/images/photo.png"], "photo.png is a file; name a folder"),
        (["--truncation", "0"], "--truncation 0.0: the smallest allowed value"),
    ],
)
def test_what_cannot_be_drawn(here, capsys, flags, said):
    (here / "mine" / "images").mkdir(parents=True)
    (here / "mine" / "images" / "photo.png").write_text("")
    before = files(here)
    assert generate.main([*RUN, *flags]) == 2
    line = complaint(capsys)
    assert said in line and line.startswith("generate.py: error: ")
    assert files(here) == before


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        (test_program.main, ["--class_name", "squares"]),
        (generate.main, ["--class_name", "squares"]),
        (match.main, ["--class_name", "squares"]),
        (morph.main, ["--from_class_name", "squares"]),
        (morph.main, ["--morph", "latent", "--class_name", "squares"]),
    ],
)
def test_a_wrong_class_is_refused_before_the_network_is_loaded(here, capsys, monkeypatch, command, flags):
    """Standing statistics may take minutes."""
    monkeypatch.setattr("models.sagan.samples.load_run", lambda *_: pytest.fail("loaded"))
    before = files(here)
    assert command([*RUN, *flags]) == 2
    assert "class_name squares" in complaint(capsys) and files(here) == before


def test_help_lists_its_own_flags(here, capsys):
    assert generate.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: python scripts/generate.py") and "--output DIR" in text and "--class_name" in text

"""scripts/morph.py: from one class or one sample to another, with both ends as a plain test draws them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

import test as test_program
from models.sagan.samples import load_noise_run, parse_noise_run
from scripts import morph
from scripts.morph import draw_morph, labels_between, latents_between, slerp
from tests.class_run import RUN, WITHOUT_EFFECT, bring, flags_without_effect, make_runs
from tests.conftest import SIZE
from tests.test_bad_input import complaint, snapshot


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return make_runs(tmp_path_factory.mktemp("run"))


@pytest.fixture()
def here(trained, workdir):
    return bring(trained, workdir)


def pixels(path):
    return np.asarray(Image.open(path))


def plain_sample(here, label, seed, number, *flags):
    """What test.py draws."""
    argv = [*RUN, "--class_id", str(label), "--sample_seed", str(seed), "--num_images", str(number + 1), *flags]
    assert test_program.main(argv) == 0
    (file,) = (here / "results" / "run" / "test_latest" / "images").glob(f"*/{seed:03d}_{number:05d}.png")
    return pixels(file)


def drawn(*flags):
    """The loaded run, its way, and its frames and latent vectors."""
    options = parse_noise_run("scripts/morph.py", [*RUN, *flags], morph.MorphOptions)
    run = load_noise_run(options)
    way = morph.way_of(options.test, run.names)
    return run, way, *draw_morph(run, way)


def test_from_class_to_class_with_the_plain_classes_at_the_ends(here, said):
    flags = ["--from-class-id", "2", "--to_class_name", "blue_star", "--n-morphs", "5", "--num_images", "2"]
    assert morph.main([*RUN, *flags, "--sample_seed", "4", "--loop"]) == 0
    folder = here / "results" / "run" / "morph_2_0_latest"
    assert "5 frames from red_circle to blue_star" in said()
    assert np.array_equal(pixels(folder / "images" / "00001_0000.png"), plain_sample(here, 2, 4, 1))
    facts = json.loads((folder / "morph.json").read_text())
    assert [frame["place"] for frame in facts["frames"]] == [0, 0.25, 0.5, 0.75, 1]
    assert facts["from"] == {"class": 2, "name": "red_circle", "seed": 4} and facts["to"]["class"] == 0
    files = {file for frame in facts["frames"] for file in frame["files"]}
    assert files == {f"images/{file.name}" for file in (folder / "images").iterdir()} and len(files) == 10
    animation = Image.open(folder / "morph.gif")
    assert (animation.n_frames, animation.info["duration"], animation.info["loop"]) == (8, 250, 0)
    width, height = Image.open(folder / "strip.png").size
    assert width > 5 * 2 * SIZE and height > 2 * 2 * SIZE
    assert "../morph.gif" in (folder / "index.html").read_text()

    before = snapshot(folder)
    assert morph.main([*RUN, *flags, "--sample_seed", "4", "--loop"]) == 0
    assert snapshot(folder) == before


def test_frames_are_mixtures_of_the_classes_with_one_z(here):
    run, way, frames, latents = drawn("--n_morphs", "3", "--num_images", "2")
    assert way.classes == (0, 2) and frames.shape == (3, 2, 3, SIZE, SIZE)
    assert torch.equal(latents[0], latents[1]) and torch.equal(latents[0], latents[2])
    for frame, weights in zip(frames, ([1.0, 0, 0], [0.5, 0, 0.5], [0, 0, 1.0])):
        mixed = run.model.sample(latents[0], torch.tensor([weights] * 2))
        assert (frame - mixed).abs().max() < 1e-6
    for label, frame in ((0, frames[0]), (2, frames[2])):
        assert torch.equal(frame, run.model.sample(latents[0], torch.tensor([label] * 2)))
    assert min((frames[1] - end).abs().mean() for end in (frames[0], frames[2])) > 0.01


def test_from_sample_to_sample_of_a_class(here):
    flags = ["--morph", "latent", "--class_name", "green_square", "--from_seed", "9", "--to_seed", "3"]
    assert morph.main([*RUN, *flags, "--n_morphs", "3", "--num_images", "1", "--truncation", "0.5"]) == 0
    folder = here / "results" / "run" / "morph_latent_1_9_3_latest"
    for frame, seed in ((0, 9), (2, 3)):
        plain = plain_sample(here, 1, seed, 0, "--truncation", "0.5")
        assert np.array_equal(pixels(folder / "images" / f"00000_{frame:04d}.png"), plain)
    facts = json.loads((folder / "morph.json").read_text())
    assert facts["truncation"] == 0.5 and 0.1 < facts["largest_latent"] <= 0.5
    assert (facts["from"]["seed"], facts["to"]["seed"], facts["to"]["class"]) == (9, 3, 1)
    assert Image.open(folder / "morph.gif").n_frames == 3


def test_no_latent_vector_of_a_morph_passes_the_bound(here):
    """Half way between equal signs an arc is sqrt(2) as far out as the chord."""
    flags = ["--morph", "latent", "--class_id", "0", "--truncation", "0.25", "--n_morphs", "5"]
    run, _, frames, latents = drawn(*flags)
    assert 0.2 < latents.abs().max() <= 0.25 and len(latents.unique(dim=0)) == 5
    again = run.model.sample(latents[2], torch.zeros(4, dtype=torch.long))
    assert (frames[2] - again).abs().max() < 1e-6
    first, last = torch.tensor([[0.2, -0.1, 0.2]]), torch.tensor([[0.2, 0.2, -0.1]])
    assert slerp(first, last, 0.5).max() > 0.25
    bounded = latents_between(first, last, [0.0, 0.5, 1.0], 0.25)
    assert bounded.max() == 0.25 and torch.equal(bounded[0], first) and torch.equal(bounded[2], last)


def test_slerp_by_hand():
    x, y = torch.tensor([[2.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 2.0], [3.0, 0.0]])
    third = slerp(x, y, 1 / 3)
    assert torch.allclose(third[0], torch.tensor([2 * math.cos(math.pi / 6), 2 * math.sin(math.pi / 6)]))
    assert torch.allclose(third[1], torch.tensor([1 + 2 / 3, 0.0]))  # parallel: the chord
    assert torch.equal(slerp(x, y, 0.0), x) and torch.equal(slerp(x, y, 1.0), y)


def test_labels_between():
    assert labels_between((2, 0), 0.0, 3, 2).tolist() == [2, 2] and labels_between((2, 0), 1.0, 3, 1).tolist() == [0]
    assert labels_between((2, 0), 0.25, 3, 1).tolist() == [[0.25, 0, 0.75]]
    assert labels_between((1, 1), 0.25, 3, 2).tolist() == [1, 1]


def test_the_published_classes_are_the_default_where_they_exist():
    imagenet, few = [str(n) for n in range(1000)], ["a", "b", "c"]
    assert morph.way_of(morph.MorphOptions(), imagenet).classes == (947, 153)
    assert morph.way_of(morph.MorphOptions(to_class_id=5), imagenet).classes == (947, 5)
    assert morph.way_of(morph.MorphOptions(), few).classes == (0, 2)


def test_a_run_without_classes_morphs_between_samples_only(here, capsys):
    argv = ["--name", "plain", "--gpu_ids", "-1", "--n_morphs", "2", "--num_images", "1"]
    assert morph.main(argv) == 2
    assert "the run has no classes; --morph latent goes" in complaint(capsys)
    assert morph.main([*argv, "--morph", "latent", "--sample_seed", "6"]) == 0
    assert len(list((here / "results" / "plain" / "morph_latent_0_6_7_latest" / "images").iterdir())) == 2


def test_flags_without_effect_are_told(here, said):
    argv = [*RUN, "--n_morphs", "2", "--num_images", "1", "--batch_size", "2"]
    assert morph.main([*argv, *WITHOUT_EFFECT, "--phase", "val"]) == 0
    assert flags_without_effect(said()) == ["--dataroot", "--load_size", "--max_classes", "--num_test", "--phase"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--n_morphs", "1"], "--n_morphs 1: the smallest allowed value is 2"),
        (["--from_class_id", "3"], "--from_class_id 3: the run has 3 classes, 0 to 2"),
        (["--to_class_name", "redcircle"], "unknown --to_class_name redcircle: did you mean 'red_circle'?"),
        (["--from_class_id", "2"], "twice the class red_circle"),
        (["--from_class_id", "1", "--from_class_name", "blue_star"], "together: give one"),
        (["--class_id", "1"], "--morph class --class_id: they belong to --morph latent"),
        (["--morph", "latent"], "--class_id is missing: give a class, 0 to 2, or its --class_name"),
        (["--morph", "latent", "--to_class_id", "1"], "the class stays with --morph latent"),
        (["--morph", "latent", "--class_id", "1", "--to_seed", "0"], "there is nothing between them"),
        (["--name", "rum"], "checkpoints/rum does not exist"),
        (["--name", "pairs"], "--model pix2pix, which does not draw from noise"),
        (["--epoch", "7"], "7_net_G_ema.pth"),
    ],
)
def test_what_cannot_be_morphed(here, capsys, flags, said):
    assert morph.main([*RUN, *flags]) == 2
    assert said in complaint(capsys) and not (here / "results").exists()

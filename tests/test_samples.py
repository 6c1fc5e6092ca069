"""Several draws of every image: test.py --num_samples, the files, the page, and the metric of what they differ by."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import test as test_program
import train
from scripts import evaluate
from tests.conftest import TRAINABLE_ARGS
from tests.test_bad_input import complaint, snapshot
from util.metrics.measurement import read_measurements
from util.run.engine import seed_step
from util.run.inference import with_samples
from util.types import Visual

PLAIN = ["--gpu_ids", "-1", "--name", "run"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, dataroot):
    """A run of the stochastic model with dropout and feature noise, and one of pix2pix without any."""
    folder = tmp_path_factory.mktemp("trained")
    for name, extra in (
        ("run", ["--model", "stochastic", "--noise", "dropout,feature", "--noise_init", "0.5", "--lr", "0.01"]),
        ("calm", ["--no_dropout"]),
    ):
        argv = ["--dataroot", str(dataroot), "--name", name, "--checkpoints_dir", str(folder / "checkpoints")]
        assert train.main([*TRAINABLE_ARGS, *argv, "--n_iters", "6", "--no_html", *extra]) == 0
    return folder


@pytest.fixture()
def here(workdir, trained):
    shutil.copytree(trained / "checkpoints", workdir / "checkpoints")
    return workdir


def pictures(here, place="results/run/test_latest"):
    images = here / place / "images"
    return {path.name: np.asarray(Image.open(path)).astype(float) for path in sorted(images.iterdir())}


def results_of(here, *argv):
    assert test_program.main([*PLAIN, *argv]) == 0
    return pictures(here)


def test_the_first_draw_is_that_of_a_plain_test_and_the_others_depend_on_their_number_alone(here):
    plain, three, four = (results_of(here, *argv) for argv in ([], ["--num_samples", "3"], ["--num_samples", "4"]))
    assert set(three) == {
        f"{n}_{v}.png"
        for n in range(3)
        for v in ("real_A", "fake_B", "fake_B_2", "fake_B_3", "fake_B_mean", "fake_B_std", "real_B")
    }
    for name, pixels in plain.items():
        assert np.array_equal(pixels, three[name]) and np.array_equal(pixels, four[name]), name
    for name, pixels in three.items():
        assert np.array_equal(pixels, four[name]) == ("mean" not in name and "std" not in name), name
    draws = [four[f"1_fake_B{end}.png"] for end in ("", "_2", "_3", "_4")]
    assert min(np.abs(a - b).mean() for a, b in itertools.combinations(draws, 2)) > 0.255  # 1e-3 of the range
    again = results_of(here, "--num_samples", "4", "--seed", "1")
    assert not np.array_equal(again["1_fake_B_2.png"], four["1_fake_B_2.png"])


def test_mean_and_spread_are_those_of_the_draws_and_fewer_samples_leave_nothing_behind(here):
    found = results_of(here, "--num_samples", "5")
    draws = np.stack([found[f"0_fake_B{end}.png"] for end in ("", "_2", "_3", "_4", "_5")])
    assert np.abs(found["0_fake_B_mean.png"] - draws.mean(0)).max() <= 1  # the draws were rounded
    expected = (8 * draws.std(0)).clip(0, 255)
    assert np.abs(found["0_fake_B_std.png"] - expected).max() <= 8 and expected.max() > 20
    page = (here / "results/run/test_latest/index.html").read_text()
    row = [
        page.index(f"images/0_{v}.png") for v in ("real_A", "fake_B", "fake_B_2", "fake_B_5", "fake_B_std", "real_B")
    ]
    assert row == sorted(row) and page.index("images/1_real_A.png") > row[-1]
    assert "fake_B_std: 8 x standard deviation" in page
    assert not any("fake_B_5" in name for name in results_of(here, "--num_samples", "2"))


def test_with_eval_the_noise_stays_and_test_noise_turns_it_off(here):
    found = results_of(here, "--num_samples", "2", "--eval")
    assert np.abs(found["0_fake_B.png"] - found["0_fake_B_2.png"]).mean() > 0.255
    off = results_of(here, "--test_noise", "False", "--seed", "1")
    assert np.array_equal(off["0_fake_B.png"], results_of(here, "--test_noise", "False")["0_fake_B.png"])


def test_the_rate_of_dropout_can_be_another_in_a_test(here):
    spread = [
        results_of(here, "--num_samples", "3", *argv)["0_fake_B_std.png"].mean() for argv in ([], ["--dropout", "0.1"])
    ]
    assert spread[1] < spread[0]


@pytest.mark.parametrize(
    "argv",
    [["--name", "calm"], ["--test_noise", "False"]],
)
def test_samples_of_a_model_that_draws_nothing_are_refused(argv, here, capsys):
    before = snapshot(here)
    assert test_program.main([*PLAIN, *argv, "--num_samples", "4"]) == 2
    line = complaint(capsys)
    assert "--num_samples 4: nothing is drawn" in line and "--model stochastic" in line
    assert snapshot(here) == before


def test_images_are_drawn_one_by_one(here, caplog):
    single = results_of(here, "--num_samples", "2")
    caplog.clear()
    batched = results_of(here, "--num_samples", "2", "--batch_size", "3", "--eval")
    assert "1 is used, because the model draws random numbers for the batch" in caplog.text
    assert "--eval would" not in caplog.text
    assert set(batched) == set(single)


def test_diversity_looks_at_all_draws_and_the_other_metrics_at_the_first(here):
    measured = []
    for argv, metrics in (([], "psnr"), (["--num_samples", "3"], "psnr,diversity")):
        found = results_of(here, *argv)
        assert evaluate.main([*PLAIN, "--metrics", metrics]) == 0
        measured.append({each.short: each.value for each in read_measurements(here / "results/run/metrics.json")})
    assert measured[0]["psnr"] == measured[1]["psnr"]
    draws = [[found[f"{n}_fake_B{end}.png"] for end in ("", "_2", "_3")] for n in range(3)]
    distances = [np.abs(a - b).mean() / 255 for each in draws for a, b in itertools.combinations(each, 2)]
    assert measured[1]["diversity"] == pytest.approx(np.mean(distances), rel=1e-5)


def test_a_model_of_several_outputs_has_samples_of_each_and_colours_keep_their_ending():
    generator = torch.Generator().manual_seed(0)
    draws = [
        {name: torch.rand(1, 3, 2, 2, generator=generator) for name in ("real_A", "fake_B_rgb", "fake", "Disc_B")}
        for _ in range(2)
    ]
    kinds = {
        "real_A": Visual("real", "A"),
        "fake_B_rgb": Visual("fake", "B", colours=True),
        "fake": Visual("fake", "B"),
        "Disc_B": Visual("about", ""),
    }
    found = with_samples(draws, kinds)
    assert list(found) == [
        *("real_A", "fake_B_rgb", "fake_B_2_rgb", "fake_B_mean_rgb", "fake_B_std_rgb"),
        *("fake", "fake_2", "fake_mean", "fake_std", "Disc_B"),
    ]
    assert torch.equal(found["fake_2"], draws[1]["fake"]) and torch.equal(found["Disc_B"], draws[0]["Disc_B"])
    half = (draws[0]["fake"] - draws[1]["fake"]).abs() / 2  # the standard deviation of two numbers
    torch.testing.assert_close(found["fake_std"], (8 * half - 1).clamp(max=1))


def test_draws_have_seeds_of_their_own():
    def numbers(*where, **draw):
        seed_step(*where, **draw)
        return tuple(torch.rand(4).tolist())

    assert numbers(3, 1, 0) == numbers(3, 1, 0, draw=1)
    assert len({numbers(3, step, rank, draw=draw) for step in (0, 1) for rank in (0, 1) for draw in (1, 2, 3)}) == 12

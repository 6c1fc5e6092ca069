"""test.py as a user runs it: names, pages, what is taken over, what changes the pictures and what must not."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import test as test_program
import train
from models.networks.factory import build_generator
from tests.conftest import SIZE, TRAINABLE_ARGS

PLAIN = ["--gpu_ids", "-1", "--name", "run"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, dataroot):
    """Two finished runs: ``run`` with batch norm and dropout (the default), ``calm`` with neither."""
    folder = tmp_path_factory.mktemp("trained")
    for name, extra in (("run", []), ("calm", ["--norm", "instance", "--no_dropout"])):
        argv = ["--dataroot", str(dataroot), "--name", name, "--checkpoints_dir", str(folder / "checkpoints")]
        argv += ["--n_epochs", "1", "--n_epochs_decay", "1", "--save_epoch_freq", "1", "--no_html", *extra]
        assert train.main([*TRAINABLE_ARGS, *argv]) == 0
    return folder


@pytest.fixture()
def here(workdir, trained):
    shutil.copytree(trained / "checkpoints", workdir / "checkpoints")
    return workdir


def pictures(here, name="run", place="test_latest"):
    images = here / "results" / name / place / "images"
    return {
        path.relative_to(images).as_posix(): path.read_bytes() for path in sorted(images.rglob("*")) if path.is_file()
    }


def test_only_the_name_is_needed_and_two_tests_are_equal(here):
    assert test_program.main(PLAIN) == 0
    first = pictures(here)
    assert set(first) == {f"{n}_{v}.png" for n in range(3) for v in ("real_A", "fake_B", "real_B")}
    assert test_program.main(PLAIN) == 0
    assert pictures(here) == first
    assert (here / "checkpoints" / "run" / "test_opt.txt").exists()


def test_inputs_are_written_back_as_they_were(here, dataroot):
    assert test_program.main(PLAIN) == 0
    whole = np.asarray(Image.open(dataroot / "test" / "1.png"))
    images = here / "results" / "run" / "test_latest" / "images"
    assert np.array_equal(np.asarray(Image.open(images / "1_real_A.png")), whole[:, :SIZE])
    assert np.array_equal(np.asarray(Image.open(images / "1_real_B.png")), whole[:, SIZE:])


def test_num_test_stops_and_clears_what_an_earlier_test_left(here):
    assert test_program.main(PLAIN) == 0
    assert test_program.main([*PLAIN, "--num_test", "2"]) == 0
    assert {name.split("_")[0] for name in pictures(here)} == {"0", "1"}
    assert "2_fake_B" not in (here / "results" / "run" / "test_latest" / "index.html").read_text()


def test_folders_of_results(here):
    assert test_program.main([*PLAIN, "--epoch", "1", "--phase", "train", "--results_dir", "out"]) == 0
    page = (here / "out" / "run" / "train_1" / "index.html").read_text()
    assert "Experiment = run, Phase = train, Epoch = 1" in page
    shutil.copy(here / "checkpoints/run/1_net_G.pth", here / "checkpoints/run/iter_40_net_G.pth")
    assert test_program.main([*PLAIN, "--load_iter", "40"]) == 0
    assert len(pictures(here, place="test_latest_iter40")) == 9


def test_eval_changes_the_pictures_and_seeds_only_those_with_dropout(here):
    def run(*argv):
        assert test_program.main([*PLAIN, *argv]) == 0
        return {name: data for name, data in pictures(here).items() if "fake" in name}

    default = run()
    assert run("--seed", "1") != default, "dropout is active, as in the published protocol"
    assert run("--eval") != default
    assert run("--eval", "--seed", "1") == run("--eval", "--seed", "2")


def test_a_batch_gives_the_pictures_of_single_images_or_is_not_used(here, caplog):
    for name, argv, used in (("calm", [], True), ("run", [], False), ("run", ["--eval"], True)):
        results = []
        for size in ("1", "2"):
            caplog.clear()
            assert test_program.main([*PLAIN, "--name", name, "--batch_size", size, *argv]) == 0
            images = here / "results" / name / "test_latest" / "images"
            results.append([np.asarray(Image.open(images / f"{n}_fake_B.png")).astype(int) for n in range(3)])
        assert ("1 is used" in caplog.text) != used
        assert max(np.abs(a - b).max() for a, b in zip(*results)) <= 1  # rounding at the last bit


def test_names_come_from_the_relative_path(here, dataroot):
    data = here / "data" / "test"
    (data / "sub").mkdir(parents=True)
    shutil.copy(dataroot / "test" / "0.png", data / "a.png")
    shutil.copy(dataroot / "test" / "0.png", data / "sub" / "a.png")
    Image.open(dataroot / "test" / "0.png").save(data / "a.bmp")
    assert test_program.main([*PLAIN, "--dataroot", "data"]) == 0
    names = {name.removesuffix("_fake_B.png") for name in pictures(here) if name.endswith("_fake_B.png")}
    assert names == {"a", "a_png", "sub/a"} or names == {"a", "a_bmp", "sub/a"}
    assert 'src="images/sub/a_fake_B.png"' in (here / "results/run/test_latest/index.html").read_text()


def test_one_sided_inference_gives_the_same_pictures(here, dataroot):
    assert test_program.main([*PLAIN, "--name", "calm"]) == 0
    paired = {name.split("_")[0]: data for name, data in pictures(here, "calm").items() if "fake" in name}
    assert test_program.main([*PLAIN, "--name", "calm", "--model", "test", "--dataroot", str(dataroot / "testB")]) == 0
    alone = {name.split("_")[0]: data for name, data in pictures(here, "calm").items() if "fake" in name}
    assert alone == paired and {name.split("_")[1] for name in pictures(here, "calm")} == {"real.png", "fake.png"}


@pytest.mark.parametrize(("ratio", "size"), [("2.0", (2 * SIZE, SIZE)), ("0.5", (SIZE, 2 * SIZE))])
def test_aspect_ratio(here, ratio, size):
    assert test_program.main([*PLAIN, "--aspect_ratio", ratio]) == 0
    assert Image.open(here / "results/run/test_latest/images/0_fake_B.png").size == size


def test_a_checkpoint_of_the_original_code_is_tested_by_its_flags(workdir, dataroot):
    """No option file, a DataParallel prefix, and the statistics that InstanceNorm kept before torch 0.4."""
    net = build_generator("resnet_6blocks", 3, 3, ngf=4, norm="instance", dropout=0.0)
    state = {f"module.{key}": value for key, value in net.state_dict().items()}
    state["module.model.2.running_mean"], state["module.model.2.running_var"] = torch.zeros(4), torch.ones(4)
    folder = workdir / "checkpoints" / "old"
    folder.mkdir(parents=True)
    torch.save(state, folder / "latest_net_G.pth")
    argv = ["--name", "old", "--dataroot", str(dataroot / "testA"), "--netG", "resnet_6blocks", "--ngf", "4"]
    argv += ["--no_dropout", "--crop_size", str(SIZE), "--gpu_ids", "-1"]
    assert test_program.main(argv) == 0
    assert len(pictures(workdir, "old")) == 6
    shutil.copy(folder / "latest_net_G.pth", folder / "latest_net_G_A.pth")
    (folder / "latest_net_G.pth").unlink()
    assert test_program.main([*argv, "--model", "test", "--model_suffix", "_A"]) == 0


def test_testing_while_training_does_not_disturb_it(here):
    """The drafts of a save in progress belong to the training process."""
    draft = here / "checkpoints" / "run" / "latest_net_G.pth.tmp"
    draft.write_bytes(b"half")
    assert test_program.main(PLAIN) == 0
    assert draft.read_bytes() == b"half"

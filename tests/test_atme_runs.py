"""ATME as a user runs it: the published command line, mistakes, files of a run, resuming, processes, tests."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import test as test_program
import train
from data import DATASETS
from models import MODELS
from models.atme.maps import owner_of
from options.parse import parse_train
from tests.conftest import SIZE, draw_pair
from tests.runs import arguments, files, train_in
from tests.test_resume import run_interrupted

AGAIN = ["--name", "run", "--continue_train", "--gpu_ids", "-1"]
TEST = ["--name", "run", "--gpu_ids", "-1"]


def atme(dataroot, *extra, **settings):
    return arguments(dataroot, *extra, model="atme", **settings)


def state_of(run, tag="latest"):
    return torch.load(run / f"{tag}_state.pth", weights_only=True)


def pictures(workdir, place="test_latest"):
    images = workdir / "results" / "run" / place / "images"
    return {file.name: file.read_bytes() for file in images.iterdir()}


AUTHORS_OPTIONS = """
    batch_size beta1 checkpoints_dir continue_train crop_size dataroot dataset_mode dim direction display_env
    display_freq display_id display_ncols display_port display_server display_winsize epoch epoch_count gan_mode gpu_ids
    groups init_dim init_gain init_type input_nc lambda_L1 learned_sinusoidal_cond learned_sinusoidal_dim load_iter
    load_size lr lr_decay_iters lr_policy model n_epochs n_epochs_decay n_layers_D n_save_noisy name ndf netD netG ngf
    no_dropout no_flip no_html norm num_threads output_nc pool_size preprocess print_freq random_fourier_features
    save_by_iter save_epoch_freq save_latest_freq serial_batches suffix time_dim_mult update_html_freq use_wandb verbose
    wandb_project_name
"""
"""The rows of their train_opt.txt that are options here, too."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory, dataroot):
    """A finished run over 3 epochs in batches of 3 (3 + 2 images), with three tracked images."""
    folder = tmp_path_factory.mktemp("finished")
    argv = atme(dataroot, "--batch_size", "3", "--n_save_noisy", "3", "--checkpoints_dir", str(folder))
    original, seen = MODELS.get("atme").tracked_maps, []

    def recording(self):
        records = original(self)
        seen.extend(records)
        return records

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODELS.get("atme"), "tracked_maps", recording)
        assert train.main(argv) == 0
    return folder / "run", seen


@pytest.fixture()
def run(workdir, finished):
    """A copy of the finished run in the current folder."""
    shutil.copytree(finished[0], workdir / "checkpoints" / "run")
    return workdir / "checkpoints" / "run"


def test_the_published_command_line():
    published = "--name P --model atme --batch_size 48 --direction AtoB --dataroot ./datasets/X"
    o = parse_train(published.split(), MODELS, DATASETS)
    m = o.model
    assert (o.run.dataset_mode, o.data.batch_size, o.data.load_size, o.data.crop_size) == ("aligned", 48, 286, 256)
    assert (m.norm, m.netG, m.netD, m.gan_mode, m.pool_size) == ("instance", "unet_256_ddm", "basic", "vanilla", 0)
    assert (m.dim, m.dim_mults, m.groups, m.init_dim, m.time_dim_mult) == (64, (1, 2, 4, 8), 8, 64, 4)
    assert (m.learned_sinusoidal_cond, m.random_fourier_features, m.learned_sinusoidal_dim) == (False, False, 16)
    assert (m.n_save_noisy, m.lambda_L1, m.lr, m.beta1, m.ndf) == (0, 100.0, 2e-4, 0.5, 64)
    assert (m.atme_head, m.atme_w, m.time_scale, m.test_map) == ("resnet", "block", 1.0, "reference")
    assert (o.schedule.n_epochs, o.schedule.n_epochs_decay, o.schedule.lr_policy) == (100, 100, "linear")


@pytest.mark.parametrize("words", [["--dim_mults", "1,2"], ["--dim_mults", "(1,2)"], ["--dim_mults=1, 2"]])
def test_factors_are_written_with_or_without_parentheses(words):
    assert parse_train(["--model", "atme", *words], MODELS, DATASETS).model.dim_mults == (1, 2)


@pytest.mark.parametrize(("word", "value"), [("False", False), ("True", True), ("false", False), ("0", False)])
def test_a_no_means_no(word, value):
    for flag in ("learned_sinusoidal_cond", "random_fourier_features"):
        options = parse_train(["--model", "atme", f"--{flag}", word], MODELS, DATASETS)
        assert getattr(options.model, flag) is value


MISTAKES = [
    (["--netG", "unet_256"], ["--netG unet_256", "unet_256_ddm"]),
    (["--groups", "3"], ["--dim 8", "--groups 3"]),
    (["--dim", "7"], ["--dim 7"]),
    (["--dim", "0"], ["--dim 0"]),
    (["--init_dim", "6"], ["--init_dim 6", "--groups"]),
    (["--dim_mults", "1,x"], ["--dim_mults 1,x"]),
    (["--dim_mults", "1,0"], ["--dim_mults", "1,0"]),
    (["--dim_mults", "()"], ["--dim_mults"]),
    (["--learned_sinusoidal_cond", "--learned_sinusoidal_dim", "5"], ["--learned_sinusoidal_dim 5"]),
    (["--n_save_noisy", "99"], ["--n_save_noisy 99", "5 images"]),
    (["--n_save_noisy", "-1"], ["--n_save_noisy -1"]),
    (["--atme_w", "foo"], ["--atme_w foo", "block"]),
    (["--atme_head", "foo"], ["--atme_head foo", "resnet"]),
    (["--test_map", "ref"], ["--test_map ref", "reference"]),
    (["--crop_size", "33", "--load_size", "33"], ["--crop_size 33", "multiple of 2"]),
    (["--crop_size", "16", "--load_size", "16"], ["--crop_size 16", "at least 24"]),
    (["--gan_mode", "foo"], ["--gan_mode foo"]),
]


@pytest.mark.parametrize(("words", "expected"), MISTAKES, ids=lambda each: " ".join(each))
def test_mistakes_are_told_in_one_line_before_anything_is_made(words, expected, workdir, dataroot, capsys):
    assert train.main(atme(dataroot, *words)) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "error" in line)
    assert all(word in line for word in expected), line
    assert list(workdir.iterdir()) == []


def test_images_of_several_sizes_are_refused_by_name(workdir, dataroot, said):
    shutil.copytree(dataroot / "train", workdir / "data" / "train")
    draw_pair(9, 2 * SIZE).save(workdir / "data" / "train" / "big.png")
    assert train.main(atme("data", "--preprocess", "none", epochs="1")) == 2
    told = said()
    assert "big.png at 64x64" in told and "use --preprocess resize_and_crop" in told


def test_the_log_has_the_state_of_the_game(finished):
    rows = list(csv.DictReader((finished[0] / "loss_log.csv").open()))
    assert len(rows) == 3
    names = ["G_GAN", "G_L1", "D_real", "D_fake", "D_sum", "D_entropy", "saturated", "collapsed"]
    assert list(rows[0]) == ["epoch", "total_iters", *names, "lr", "seconds"]
    for row in rows:
        assert float(row["D_sum"]) == pytest.approx(float(row["D_real"]) + float(row["D_fake"]), rel=1e-5)
        assert 0 < float(row["D_entropy"]) <= 0.694 and row["collapsed"] == "0.0" and float(row["saturated"]) < 1


def test_all_tracked_images_of_every_epoch_are_saved(finished):
    run, seen = finished
    folder = run / "images_noisy"
    index = json.loads((folder / "tracked.json").read_text())
    indices = index["indices"]
    assert len(set(indices)) == 3 and indices == state_of(run)["extra"]["tracked"]
    assert [path.rsplit("/", 1)[1] for path in index["paths"]] == [f"{i}.png" for i in indices]
    expected = {f"epoch_{e:03d}_{name}" for e in (1, 2, 3) for i in indices for name in names(i)}
    assert {file.name for file in folder.iterdir()} == {*expected, "tracked.json"}
    assert len(seen) == 9
    for number, record in enumerate(seen):
        with np.load(folder / f"epoch_{number // 3 + 1:03d}_{record.index}.npz") as arrays:
            assert np.array_equal(arrays["logits"], record.logits.numpy())
            assert np.array_equal(arrays["W"], record.W.numpy())
        assert Image.open(folder / f"epoch_{number // 3 + 1:03d}_W_{record.index}.png").size == (SIZE, SIZE)
    maps = state_of(run)["extra"]["disc_maps"]
    for record in seen[-3:]:
        assert torch.equal(maps[record.index, 0], record.logits), "the last epoch's logits are the memory's"


def names(index):
    return (f"D_{index}.png", f"W_{index}.png", f"{index}.npz")


def test_a_resumed_run_writes_the_same_maps(tmp_path, dataroot, monkeypatch):
    extra = ("--batch_size", "2", "--n_save_noisy", "2")
    for each in ("whole", "broken"):
        (tmp_path / each).mkdir()
    monkeypatch.chdir(tmp_path / "whole")
    assert train.main(atme(dataroot, *extra)) == 0
    run_interrupted(dataroot, tmp_path / "broken", monkeypatch, 4, "atme", extra)
    monkeypatch.chdir(tmp_path / "broken")
    assert train.main([*AGAIN, "--seed", "0"]) == 0
    whole, broken = (tmp_path / each / "checkpoints" / "run" for each in ("whole", "broken"))
    assert files(whole) == files(broken)
    maps = [
        {file.name: file.read_bytes() for file in (folder / "images_noisy").glob("*.png")} for folder in (whole, broken)
    ]
    assert maps[0] == maps[1] and len(maps[0]) == 12


def test_going_on_with_more_tracked_images_keeps_the_others(run):
    before = state_of(run)["extra"]["tracked"]
    assert train.main([*AGAIN, "--n_epochs", "3", "--n_save_noisy", "4"]) == 0
    assert set(before) < set(state_of(run)["extra"]["tracked"])
    assert len(list((run / "images_noisy").glob("epoch_004_*.npz"))) == 4


def test_changed_files_are_noticed(run, workdir, dataroot, said):
    """As many files, one of them another: its row starts over, the others go on."""
    shutil.copytree(dataroot, workdir / "data")
    (workdir / "data" / "train" / "2.png").rename(workdir / "data" / "train" / "2b.png")
    before = state_of(run)["extra"]["disc_maps"]
    assert train.main([*AGAIN, "--n_epochs", "3", "--dataroot", "data"]) == 0
    assert "the files of the data set are not those of this checkpoint" in said()
    assert "their maps of D start over" in said()
    extra = state_of(run)["extra"]
    assert extra["disc_map_owners"][2] == owner_of("train/2b.png") and extra["disc_maps"].shape == before.shape


def test_a_moved_data_set_goes_on_silently(run, workdir, dataroot, said):
    shutil.copytree(dataroot / "train", workdir / "elsewhere" / "train")
    assert train.main([*AGAIN, "--n_epochs", "3", "--dataroot", "elsewhere"]) == 0
    assert "start over" not in said()


@pytest.mark.parametrize("words", [["--crop_size", "40", "--load_size", "40"], ["--max_dataset_size", "4"]])
def test_another_size_of_maps_or_data_set_is_told(words, run, said):
    assert train.main([*AGAIN, "--n_epochs", "3", *words]) == 0
    assert "the checkpoint has 5 maps of D of 2x2, this run" in said()
    shape = tuple(state_of(run)["extra"]["disc_maps"].shape)
    assert shape == ((5, 1, 3, 3) if "--crop_size" in words else (4, 1, 2, 2))


def test_BtoA_translates_the_other_way(workdir, dataroot):
    assert train.main(atme(dataroot, "--direction", "BtoA", epochs="1")) == 0
    assert test_program.main(TEST) == 0
    found = pictures(workdir)
    whole = np.asarray(Image.open(dataroot / "test" / "0.png"))
    (workdir / "0.png").write_bytes(found["0_real_A.png"])
    assert np.array_equal(np.asarray(Image.open(workdir / "0.png")), whole[:, SIZE:])
    owners = state_of(workdir / "checkpoints" / "run")["extra"]["disc_map_owners"]
    assert owners.tolist() == [owner_of(f"train/{i}.png") for i in range(5)]


@pytest.mark.parametrize("phase", ["test", "train"])
@pytest.mark.parametrize("test_map", ["reference", "zero", "memory", "two_pass"])
def test_every_test_map_makes_its_pictures_twice(test_map, phase, run, workdir):
    argv = [*TEST, "--test_map", test_map, "--phase", phase]
    found = []
    for _ in range(2):
        assert test_program.main(argv) == 0
        found.append(pictures(workdir, f"{phase}_latest"))
    assert found[0] == found[1]
    count = {"test": 3, "train": 5}[phase]
    visuals = ("real_A", "Disc_B", "noisy_A", "fake_B", "real_B")
    assert set(found[0]) == {f"{i}_{name}.png" for i in range(count) for name in visuals}


def test_test_maps_differ_and_follow_the_checkpoint(run, workdir):
    W = {}
    for test_map in ("reference", "zero", "memory", "two_pass"):
        assert test_program.main([*TEST, "--test_map", test_map, "--phase", "train"]) == 0
        W[test_map] = pictures(workdir, "train_latest")["0_Disc_B.png"]
    assert len(set(W.values())) >= 3
    assert test_program.main([*TEST, "--test_map", "memory", "--phase", "train", "--epoch", "1"]) == 0
    assert pictures(workdir, "train_1")["0_Disc_B.png"] != W["memory"]


@pytest.mark.parametrize("what", ["no state file", "a state without maps"])
def test_the_memory_is_asked_for_where_there_is_none(what, run, workdir, capsys):
    state = state_of(run)
    (run / "latest_state.pth").unlink()
    if what == "a state without maps":
        del state["extra"]["disc_maps"]
        torch.save(state, run / "latest_state.pth")
    assert test_program.main([*TEST, "--test_map", "memory"]) == 2
    assert "--test_map memory: this checkpoint has no memory" in capsys.readouterr().err
    assert not (workdir / "results").exists()
    assert test_program.main(TEST) == 0


def test_checkpoints_of_the_authors_are_read(run, workdir, said):
    """Their W is called T; they have no state, and their own option file."""
    assert test_program.main(TEST) == 0
    ours = pictures(workdir)
    options = json.loads((run / "train_opt.json").read_text())
    for file in run.iterdir():
        if not file.name.startswith("latest_net_"):
            shutil.rmtree(file) if file.is_dir() else file.unlink()
    (run / "latest_net_W.pth").rename(run / "latest_net_T.pth")
    theirs = {key: options[key] for key in AUTHORS_OPTIONS.split()}
    theirs |= {"dim_mults": "(1, 2)", "mask_size": 256, "isTrain": True, "max_dataset_size": "inf", "phase": "train"}
    rows = [f"{key:>25}: {value!s:<30}\t[default: x]" for key, value in sorted(theirs.items())]
    (run / "train_opt.txt").write_text("\n".join(["--- Options ---", *rows, "--- End ---"]) + "\n")
    data = ["--dataroot", options["dataroot"]]
    assert test_program.main([*TEST, *data]) == 0
    assert pictures(workdir) == ours
    assert test_program.main([*TEST, *data, "--test_map", "memory"]) == 2
    assert train.main([*AGAIN, *data, "--n_epochs", "1", "--n_epochs_decay", "0"]) == 0
    assert "fine-tuning" in said() and (run / "latest_net_W.pth").exists()


@pytest.mark.parametrize("w", ["none", "noise"])
def test_a_W_without_parameters_is_saved_resumed_and_tested(w, tmp_path, dataroot, monkeypatch):
    extra = ("--atme_w", w, "--batch_size", "2")
    for each in ("whole", "broken"):
        (tmp_path / each).mkdir()
    monkeypatch.chdir(tmp_path / "whole")
    assert train.main(atme(dataroot, *extra)) == 0
    run_interrupted(dataroot, tmp_path / "broken", monkeypatch, 4, "atme", extra)
    monkeypatch.chdir(tmp_path / "broken")
    assert train.main(AGAIN) == 0
    assert files(tmp_path / "whole/checkpoints/run") == files(tmp_path / "broken/checkpoints/run")
    assert test_program.main(TEST) == 0 and len(pictures(tmp_path / "broken")) == 15


@pytest.mark.slow
def test_two_processes_have_the_memory_of_one(tmp_path, dataroot, two_processes):
    """2 x batch 1 against 1 x batch 2 over two epochs of 5 images (2 + 2 + 1): memory, log and tracked maps."""
    extra = ("--batch_size", "2", "--n_save_noisy", "3", "--n_epochs_decay", "0")
    argv = atme(dataroot, *extra)
    for each in ("one", "two"):
        (tmp_path / each).mkdir()
    train_in(tmp_path / "one", argv)
    two_processes.call(train_in, tmp_path / "two", argv)
    one, two = (tmp_path / each / "checkpoints" / "run" for each in ("one", "two"))
    for tag in ("1", "latest"):
        mine, theirs = (state_of(run, tag)["extra"] for run in (one, two))
        assert torch.equal(mine["disc_map_owners"], theirs["disc_map_owners"]) and mine["tracked"] == theirs["tracked"]
        torch.testing.assert_close(mine["disc_maps"], theirs["disc_maps"], rtol=1e-4, atol=1e-4)
    rows = [list(csv.DictReader((run / "loss_log.csv").open())) for run in (one, two)]
    for mine, theirs in zip(*rows):
        for name in ("D_real", "D_sum", "D_entropy", "saturated", "collapsed"):
            assert float(theirs[name]) == pytest.approx(float(mine[name]), rel=1e-4, abs=1e-6), name
    folders = [run / "images_noisy" for run in (one, two)]
    assert {file.name for file in folders[0].iterdir()} == {file.name for file in folders[1].iterdir()}
    assert (folders[0] / "tracked.json").read_text() == (folders[1] / "tracked.json").read_text()
    for file in folders[0].glob("*.npz"):
        with np.load(file) as mine, np.load(folders[1] / file.name) as theirs:
            for key in ("logits", "W"):
                np.testing.assert_allclose(theirs[key], mine[key], rtol=1e-4, atol=1e-4)

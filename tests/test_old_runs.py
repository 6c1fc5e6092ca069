"""Runs that an earlier version began (commit cc31922) go on, and end where that version ended.

``golden/old_runs/<model>/begun`` is a run killed in its second epoch, ``finished`` the same run uninterrupted, both
made by that version on the images that ``draw_pair`` draws.
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
import torch

import test as test_program
import train
from models.networks.factory import build_generator
from models.trained import load

OLD = Path(__file__).parent / "golden" / "old_runs"


@pytest.mark.parametrize("model", ["pix2pix", "augan"])
def test_a_run_begun_by_an_earlier_version_ends_as_it_would_have(model, workdir, dataroot):
    """On the processor that made them the weights are equal bit for bit.

    Measured, largest difference of a weight: 1.2e-7 with AVX2 alone, 1.9e-4 with SSE4.1 alone (AU-GAN, a step of Adam
    is 2e-4); histories of fakes that start empty 5.3e-4, lost moments of Adam 8.5e-4.
    """
    run = workdir / "checkpoints" / "run"
    shutil.copytree(OLD / model / "begun", run)
    assert train.main(["--name", "run", "--continue_train", "--gpu_ids", "-1", "--dataroot", str(dataroot)]) == 0
    for file in sorted((OLD / model / "finished").glob("*.pth")):
        expected, found = (torch.load(each, weights_only=True) for each in (file, run / file.name))
        assert expected.keys() == found.keys()
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=0, atol=3e-4, msg=f"{file.name}: {key}")
    rows, old_rows = (
        list(csv.DictReader(each.open())) for each in (run / "loss_log.csv", OLD / model / "finished" / "loss_log.csv")
    )
    assert [row["epoch"] for row in rows] == [row["epoch"] for row in old_rows] == ["1", "2", "3"]
    for row, old in zip(rows, old_rows):
        assert row.keys() == old.keys()
        for name in row.keys() - {"seconds"}:
            assert float(row[name]) == pytest.approx(float(old[name]), rel=1e-3, abs=1e-3), name


@pytest.mark.parametrize("model", ["pix2pix", "augan"])
def test_it_can_be_tested_with_no_other_flag(model, workdir, dataroot):
    shutil.copytree(OLD / model / "begun", workdir / "checkpoints" / "run")
    assert test_program.main(["--name", "run", "--gpu_ids", "-1", "--dataroot", str(dataroot)]) == 0
    assert list((workdir / "results" / "run" / "test_latest" / "images").glob("*_fake_B.png"))


# --- folders of the original code, without the options of the training ------------------------------------------------


def weights(folder, name, netG, **shape):
    """Weights of a generator as ``latest_net_<name>.pth``; returns the network."""
    folder.mkdir(parents=True, exist_ok=True)
    net = build_generator(netG, shape.pop("input_nc", 3), shape.pop("output_nc", 3), ngf=4, **shape)
    torch.save(net.state_dict(), folder / f"latest_net_{name}.pth")
    return net


@pytest.mark.parametrize(
    ("netG", "norm", "dropout"),
    [("unet_128", "batch", 0.5), ("resnet_6blocks", "instance", 0.0), ("resnet_9blocks", "batch", 0.5)],
)
def test_weights_alone_are_enough(tmp_path, netG, norm, dropout):
    net = weights(tmp_path / "run", "G", netG, norm=norm, dropout=dropout, input_nc=1)
    run = load("run", checkpoints_dir=tmp_path, flags=["--eval"])
    image = torch.rand(1, 1, 128, 128) * 2 - 1
    torch.testing.assert_close(run.generator().module(image)[0], net.eval()(image))
    with pytest.raises(ValueError, match="a checkpoint of another network"):  # flags win
        load("run", checkpoints_dir=tmp_path, flags=["--ngf", "8"])


def test_two_generators_are_a_run_of_cycle_gan(tmp_path):
    nets = [weights(tmp_path / "run", f"G_{side}", "resnet_6blocks", norm="instance", dropout=0.0) for side in "AB"]
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    run = load("run", checkpoints_dir=tmp_path)
    for direction, net in zip(("AtoB", "BtoA"), nets):
        torch.testing.assert_close(run.generator(direction).module(image)[0], net(image))
    (tmp_path / "run" / "latest_net_G_A.pth").unlink()
    run = load("run", checkpoints_dir=tmp_path)
    torch.testing.assert_close(run.generator().module(image)[0], nets[1](image))


@pytest.mark.parametrize(
    ("file", "rows", "expected"),
    [
        ("test_opt.txt", "model: pix2pix\n direction: BtoA \t[default: AtoB]\nngf: 64\nno_dropout: True", "BtoA"),
        ("opt.txt", "model: pix2pix\nwhich_direction: BtoA\nwhich_model_netG: unet_256\nfineSize: 128", "BtoA"),
        ("test_opt.txt", "model: test\ndataset_mode: single\nmodel_suffix: ", "AtoB"),
    ],
)
def test_options_of_a_test_are_used_where_the_weights_tell_nothing(tmp_path, file, rows, expected):
    weights(tmp_path / "run", "G", "unet_128", norm="batch")
    (tmp_path / "run" / file).write_text(f"------- Options -------\n{rows}\n-------- End --------\n")
    run = load("run", checkpoints_dir=tmp_path)
    assert (run.options.model.netG, run.options.model.ngf) == ("unet_128", 4)
    assert (run.options.run.model, run.options.data.direction) == (rows.split("\n")[0][7:], expected)
    assert run.options.model.no_dropout == ("no_dropout" in rows)
    assert run.options.data.crop_size == (128 if "fineSize" in rows else 256)


def test_damaged_weights_are_named(tmp_path):
    weights(tmp_path / "run", "G", "unet_128")
    (tmp_path / "run" / "latest_net_G.pth").write_bytes(b"<html>")
    with pytest.raises(ValueError, match=r"latest_net_G\.pth: damaged or not a checkpoint"):
        load("run", checkpoints_dir=tmp_path)

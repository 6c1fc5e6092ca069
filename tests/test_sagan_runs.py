"""SAGAN as a user runs it: training, samples, measuring, several processes."""

from __future__ import annotations

import json
import os
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import test as test_program
import train
from scripts import evaluate
from tests.conftest import SIZE
from tests.runs import arguments, files, train_in
from util.metrics.measurement import read_measurements
from util.run.distributed import stop, world_from_environment
from util.run.engine import seed_step

SAMPLES = ["--name", "run", "--gpu_ids", "-1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, dataroot):
    """A run of 3 epochs without ``--num_classes``: the data say how many there are."""
    folder = tmp_path_factory.mktemp("trained")
    argv = [
        word for word in arguments(dataroot, "--ema_start", "0", model="sagan") if word not in ("--num_classes", "3")
    ]
    train_in(folder, argv)
    return folder


@pytest.fixture()
def run(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained / "checkpoints" / "run"


def result(trained, place="test_latest"):
    return trained / "results" / "run" / place


def test_a_training_writes_what_samples_need(run):
    networks = {file.stem.removeprefix("latest_net_") for file in run.glob("latest_net_*.pth")}
    assert networks == {"G", "D", "G_ema"}
    assert json.loads((run / "train_opt.json").read_text())["num_classes"] == 3
    assert (run / "label_to_classname.txt").read_text() == "0: 'ape'\n1: 'bee'\n2: 'cat'\n"
    page = (run / "web" / "index.html").read_text()
    assert "epoch003_real" in page and "epoch003_fake" in page and "epoch003_samples" in page
    sizes = dict(re.findall(r'<img[^>]*alt="(real|samples)"([^>]*)>', page))
    assert "width:256px" in sizes["real"] and "width" not in sizes["samples"]
    assert Image.open(run / "web" / "images" / "epoch001_fake.png").size == (SIZE, SIZE)
    sheet = Image.open(run / "web" / "images" / "epoch001_samples.png")
    assert sheet.width > 3 * 2 * SIZE and sheet.height > 6 * 2 * SIZE  # enlarged; the names are below
    epochs = [
        json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines() if '"kind": "epoch"' in line
    ]
    assert {"spread_min", "spread_mean", "spread_real", "attn_gamma_G", "attn_gamma_D"} <= epochs[-1]["means"].keys()


def test_samples_of_random_classes(run, trained, said):
    assert test_program.main([*SAMPLES, "--num_images", "7"]) == 0
    folder = result(trained)
    assert "7 images: results/run/test_latest/index.html" in said()
    facts = json.loads((folder / "samples.json").read_text())
    assert [row["class"] for row in facts["samples"]].count(0) in (2, 3) and len(facts["samples"]) == 7
    assert all(Image.open(folder / row["file"]).size == (SIZE, SIZE) for row in facts["samples"])
    assert (folder / "grid.png").is_file() and "0: ape" in (folder / "index.html").read_text()


def test_samples_depend_on_seed_class_and_number_alone(run, trained):
    def pictures(*flags):
        assert test_program.main([*SAMPLES, *flags]) == 0
        images = result(trained) / "images"
        return {file.relative_to(images).as_posix(): file.read_bytes() for file in images.rglob("*.png")}

    two = pictures("--class_name", "bee,cat", "--num_images", "3")
    assert set(two) == {f"{folder}/000_0000{n}.png" for folder in ("0001_bee", "0002_cat") for n in range(3)}
    every = pictures("--generate_all", "--num_images", "2", "--batch_size", "4")
    assert len(every) == 6
    same = {name for name in set(two) & set(every) if two[name] == every[name]}
    assert len(same) == len(set(two) & set(every)) == 4
    assert pictures("--class_id", "1", "--num_images", "1", "--sample_seed", "9").keys() == {"0001_bee/009_00000.png"}
    tame = pictures("--class_id", "1", "--num_images", "1", "--truncation", "0.1")
    assert tame["0001_bee/000_00000.png"] != two["0001_bee/000_00000.png"]
    assert json.loads((result(trained) / "samples.json").read_text())["truncation"] == 0.1
    raw = pictures("--class_id", "1", "--num_images", "1", "--use_raw")
    assert raw["0001_bee/000_00000.png"] != two["0001_bee/000_00000.png"]
    standing = pictures("--class_id", "1", "--num_images", "1", "--standing_stats", "2")
    assert standing["0001_bee/000_00000.png"] != two["0001_bee/000_00000.png"]


def test_flags_about_input_images_are_told_to_have_no_effect(run, trained, said):
    assert test_program.main([*SAMPLES, "--num_images", "1", "--num_test", "5", "--dataroot", "gone"]) == 0
    told = said()
    assert "--num_test has no effect" in told and "--dataroot has no effect" in told and "--num_images has" not in told


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--class_id", "3"], ["--class_id 3", "3 classes, 0 to 2"]),
        (["--class_name", "bea"], ["--class_name bea", "bee"]),
        (["--class_id", "1", "--generate_all"], ["--class_id", "--generate_all", "give one"]),
        (["--truncation", "0"], ["--truncation 0"]),
        (["--epoch", "9"], ["--epoch 9", "does not exist"]),
        (["--num_classes", "4"], ["another network"]),
    ],
)
def test_what_cannot_be_drawn_is_told(flags, parts, run, trained, said):
    shutil.rmtree(trained / "results", ignore_errors=True)
    assert test_program.main([*SAMPLES, *flags]) == 2
    told = said()
    assert all(part in told for part in parts) and "Traceback" not in told
    assert not (trained / "results").exists()


def test_a_run_is_measured_with_fresh_samples(run, trained, tiny):
    words = ["--name", "run", "--gpu_ids", "-1", "--feature_cache", "none", "--metrics", "kid,fid,is"]
    assert evaluate.main([*words, "--n_samples", "9", "--kid_subset_size", "2", "--epoch", "1,latest"]) == 0
    found = read_measurements(trained / "results" / "run" / "metrics.json")
    assert {each.folder for each in found} == {"eval_1", "eval_latest"} and len(found) == 6
    protocol = found[0].protocol
    assert (protocol["fake"]["n"], protocol["real"]["n"]) == (9, 5)
    assert "training images" in protocol["real"]["from"]
    assert evaluate.main([*words, "--n_samples", "6", "--kid_subset_size", "2"]) == 0  # drawn again
    assert len(list((result(trained, "eval_latest") / "images").rglob("*.png"))) == 6


def test_samples_of_other_weights_or_flags_are_drawn_again(run, trained, tiny, said):
    words = ["--name", "run", "--gpu_ids", "-1", "--feature_cache", "none", "--metrics", "is", "--n_samples", "4"]

    def drawn(*flags):
        before = said().count("making results/run/eval_latest")
        assert evaluate.main([*words, "--", *flags] if flags else words) == 0
        return said().count("making results/run/eval_latest") > before

    shutil.rmtree(result(trained, "eval_latest"), ignore_errors=True)
    facts = result(trained, "eval_latest") / "samples.json"
    assert drawn() and not drawn()
    assert drawn("--truncation", "0.5") and json.loads(facts.read_text())["truncation"] == 0.5
    assert drawn("--truncation", "0.5", "--use_raw") and json.loads(facts.read_text())["network"] == "G"
    assert drawn()
    os.utime(run / "latest_net_G_ema.pth")  # as if it had been trained on
    assert drawn()


def test_other_real_images_and_scores_without_any_need_no_training_data(run, trained, dataroot, tiny, monkeypatch):
    saved = json.loads((run / "train_opt.json").read_text())
    monkeypatch.setattr("options.parse.read_options", lambda *a, **k: {**saved, "dataroot": "gone"})
    words = [
        "--name",
        "run",
        "--gpu_ids",
        "-1",
        "--feature_cache",
        "none",
        "--n_samples",
        "5",
        "--kid_subset_size",
        "2",
    ]
    assert evaluate.main([*words, "--metrics", "is"]) == 0
    assert evaluate.main([*words, "--metrics", "kid", "--real", str(dataroot / "classes" / "train")]) == 0
    found = read_measurements(trained / "results" / "run" / "metrics.json")
    assert evaluate.main([*words, "--metrics", "intra_fid", "--real", str(dataroot / "classes" / "train")]) == 2
    assert any(each.short == "kid" and each.protocol["real"]["from"].endswith("classes/train") for each in found)
    assert evaluate.main([*words, "--metrics", "kid"]) == 2
    assert evaluate.main([*words, "--metrics", "kid", "--dataroot", str(dataroot / "classes")]) == 0


def test_a_page_that_compares_translations_has_no_place_for_samples(run, said):
    assert evaluate.main(["--compare", "run", "run"]) == 2
    assert "--compare run: it draws from noise" in said()


def test_the_seed_of_a_test_is_that_of_its_samples(run, trained):
    for flags in (["--seed", "5"], ["--sample_seed", "5"], ["--seed", "7", "--sample_seed", "5"]):
        assert test_program.main([*SAMPLES, "--class_id", "1", "--num_images", "1", *flags]) == 0
        assert json.loads((result(trained) / "samples.json").read_text())["seed"] == 5, flags


def test_names_of_classes_can_be_given_later(run, trained, tmp_path):
    (tmp_path / "names.txt").write_text("monkey\nhoney bee, apis\ntiger\n")
    words = [*SAMPLES, "--class_names", str(tmp_path / "names.txt"), "--class_name", "apis,1", "--num_images", "2"]
    assert test_program.main(words) == 0
    rows = json.loads((result(trained) / "samples.json").read_text())["samples"]
    assert [row["name"] for row in rows] == ["honey bee, apis"] * 2  # named twice, drawn once
    assert rows[0]["file"] == "images/0001_honey_bee/000_00000.png"


def test_held_out_images_are_measured_while_training(workdir, dataroot, tiny):
    extra = ["--eval_freq", "1", "--eval_metrics", "kid,is", "--feature_cache", "none", "--save_best", "kid"]
    assert train.main(arguments(dataroot, *extra, model="sagan")) == 0
    run = workdir / "checkpoints" / "run"
    epochs = [
        json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines() if '"kind": "epoch"' in line
    ]
    assert [list(each["metrics"]) for each in epochs] == [["kid_inception", "is_inception"]] * 3
    assert list(run.glob("best_kid_net_G_ema.pth"))


def test_fewer_classes_than_the_data_have_are_refused(workdir, dataroot, said):
    assert train.main([*arguments(dataroot, model="sagan"), "--num_classes", "2"]) == 2
    assert "--num_classes 2: the data have 3 classes" in said() and not (workdir / "checkpoints").exists()


def test_several_batches_a_step(workdir, dataroot, said):
    extra = ["--n_critic", "2", "--accum_grad", "2", "--batch_size", "1", "--label_sampling", "balanced"]
    assert train.main([*arguments(dataroot, model="sagan"), *extra]) == 0
    assert "2 steps of batch 4 per epoch" in said()


def test_attention_cannot_move_when_a_run_goes_on(run, said):
    """The layers would fit by name and shape; the moments of Adam would be those of other layers."""
    before = {file.name: file.stat().st_mtime_ns for file in run.glob("*_opt.json")}
    words = ["--name", "run", "--continue_train", "--gpu_ids", "-1", "--n_epochs", "9"]
    assert train.main([*words, "--attn_res_G", "16"]) == 2
    assert "--attn_res_G 16" in said() and "Traceback" not in said()
    assert {file.name: file.stat().st_mtime_ns for file in run.glob("*_opt.json")} == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda root: (root / "bee").rename(root / "zebu"), "label 1 was bee, and in these data it is cat"),
        (lambda root: shutil.rmtree(root / "ape"), "label 0 was ape, and in these data it is bee"),
        (lambda root: shutil.copytree(root / "bee", root / "ant"), "label 0 was ape, and in these data it is ant"),
        (lambda root: shutil.copytree(root / "bee", root / "yak"), "give --max_classes 3 to use the first ones"),
    ],
)
def test_labels_cannot_shift_when_a_run_goes_on(change, told, run, dataroot, tmp_path, said):
    names = (run / "label_to_classname.txt").read_text()
    shutil.copytree(dataroot / "classes" / "train", tmp_path / "data" / "train")
    change(tmp_path / "data" / "train")
    words = ["--name", "run", "--continue_train", "--gpu_ids", "-1", "--dataroot", str(tmp_path / "data")]
    assert train.main([*words, "--n_epochs", "9"]) == 2
    assert told in said() and (run / "label_to_classname.txt").read_text() == names


@pytest.mark.parametrize(
    "flags", [["--domain", "A"], ["--resize", "64"], ["--metrics", "mean_kid"], ["--metrics", "diversity"]]
)
def test_what_only_translations_have_is_refused(flags, run, said):
    assert evaluate.main(["--name", "run", "--gpu_ids", "-1", *flags]) == 2
    assert f"{flags[0]} {flags[1]}: has no use for the run run, which draws from noise" in said()


def steps_on_halves(argv):
    """Three steps on other images in each process: the weights that came out, and the first noise drawn."""
    model = train.build_model(argv, 4)
    rank = world_from_environment().rank
    seen, draw = [], model._draw
    model._draw = lambda n: seen.append(draw(n)) or seen[-1]
    for step in range(3):
        seed_step(0, step, rank)
        images = torch.rand(2, 3, 32, 32) * 2 - 1
        model.set_input({"image": images, "label": torch.tensor([0, 1]), "share": 0.5, "global_size": 4})
        model.optimize_parameters()
    stop()
    weights = [value.float().flatten() for name in "GD" for value in model.networks[name].state_dict().values()]
    return torch.cat(weights).numpy(), seen[0][0].numpy()


@pytest.mark.slow
def test_two_processes_have_equal_weights_and_other_noise(tmp_path, dataroot, two_processes):
    two_processes.call(train_in, tmp_path, arguments(dataroot, "--batch_size", "4", "--n_iters", "3", model="sagan"))
    argv = arguments(dataroot, "--batch_size", "4", model="sagan")
    (weights, noise), (other_weights, other_noise) = two_processes.call(steps_on_halves, argv)
    np.testing.assert_allclose(weights, other_weights, rtol=1e-5, atol=1e-6)
    assert not np.array_equal(noise, other_noise)


@pytest.mark.slow
def test_a_resumed_run_with_critic_and_average_equals_the_uninterrupted_one(workdir, dataroot, monkeypatch):
    from tests.test_resume import run_interrupted

    extra = ["--n_critic", "2", "--batch_size", "1", "--ema_start", "2", "--class_balanced", "--dequantize"]
    for each in ("whole", "broken"):
        (workdir / each).mkdir()
    monkeypatch.chdir(workdir / "whole")
    assert train.main(arguments(dataroot, *extra, model="sagan")) == 0
    run_interrupted(dataroot, workdir / "broken", monkeypatch, 4, "sagan", extra)
    monkeypatch.chdir(workdir / "broken")
    assert train.main(["--name", "run", "--continue_train", "--gpu_ids", "-1"]) == 0
    one, other = (files(workdir / each / "checkpoints" / "run") for each in ("whole", "broken"))
    assert one.keys() == other.keys() and one == other
    state = torch.load(workdir / "whole" / "checkpoints" / "run" / "latest_state.pth", weights_only=True)
    assert state["extra"]["steps"] > 2

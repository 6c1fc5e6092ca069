"""Measuring while training: the numbers, what they decide, and that the training does not notice."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
import torch

import train
from data import DATASETS
from models import MODELS
from scripts import evaluate
from tests.models.test_models import TRANSLATORS
from tests.runs import arguments, files, train_in
from tests.test_resume import run_interrupted
from util.metrics.evaluation import Best, Evaluation
from util.metrics.measurement import Measurement, read_measurements

PAIRED = [name for name in TRANSLATORS if DATASETS.get(MODELS.get(name).dataset_mode).paired]
UNPAIRED = [name for name in TRANSLATORS if name not in PAIRED]
EVAL = ["--eval_freq", "1", "--eval_metrics", "kid,psnr,ssim,l1", "--feature_cache", "none"]


def epochs(run):
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [record for record in records if record["kind"] == "epoch"]


def scripted(monkeypatch, values, short="psnr"):
    """Evaluations that give these values, one after the other."""
    waiting = iter(values)
    monkeypatch.setattr(Evaluation, "_measure", lambda self, networks: [Measurement(short, short, next(waiting))])


@pytest.mark.parametrize("name", PAIRED)
def test_the_numbers_are_those_of_a_test_afterwards(name, workdir, dataroot, tiny):
    assert train.main(arguments(dataroot, *EVAL, "--save_best", "kid", model=name)) == 0
    run = workdir / "checkpoints" / "run"
    logged = epochs(run)[-1]["metrics"]
    assert list(logged) == ["kid_inception", "psnr", "ssim", "l1"]
    argv = ["--name", "run", "--metrics", "kid,psnr,ssim,l1", "--gpu_ids", "-1", "--feature_cache", "none"]
    assert evaluate.main([*argv, "--epoch", "latest,best_kid"]) == 0
    found = read_measurements(workdir / "results" / "run" / "metrics.json")
    assert {each.name: each.value for each in found if each.tag == "latest"} == logged
    best = min(epochs(run), key=lambda record: record["metrics"]["kid_inception"])
    assert {each.name: each.value for each in found if each.tag == "best_kid"} == best["metrics"]
    rows = list(csv.DictReader((run / "loss_log.csv").open()))
    assert [float(row["psnr"]) for row in rows] == [record["metrics"]["psnr"] for record in epochs(run)]


@pytest.mark.parametrize("name", UNPAIRED)
def test_unpaired_models_are_measured_in_both_domains(name, workdir, dataroot, tiny):
    argv = arguments(dataroot, "--eval_freq", "1", "--feature_cache", "none", "--save_best", "kid", model=name)
    assert train.main(argv) == 0
    logged = epochs(workdir / "checkpoints" / "run")[-1]["metrics"]
    assert list(logged) == ["kid_inception", "kid_inception_A"]
    for domain, key in (("B", "kid_inception"), ("A", "kid_inception_A")):
        argv = ["--name", "run", "--metrics", "kid", "--gpu_ids", "-1", "--feature_cache", "none", "--domain", domain]
        assert evaluate.main(argv) == 0
        found = read_measurements(workdir / "results" / "run" / "metrics.json")
        assert [each.value for each in found if each.domain == domain] == [logged[key]]


@pytest.mark.parametrize("name", PAIRED)
def test_the_training_does_not_notice(name, tmp_path, dataroot, monkeypatch, tiny):
    for folder, flags in (("with", EVAL), ("without", [])):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        assert train.main(arguments(dataroot, *flags, "--norm", "batch", model=name)) == 0
    one, other = (tmp_path / folder / "checkpoints" / "run" for folder in ("with", "without"))
    networks = {name: content for name, content in files(one).items() if "_net_" in name}
    assert networks and networks == {name: content for name, content in files(other).items() if "_net_" in name}
    states = [torch.load(run / "latest_state.pth", weights_only=True) for run in (one, other)]
    for key in ("optimizers", "meter", "sampler", "progress", "extra"):
        assert str(states[0][key]) == str(states[1][key]), key


@pytest.mark.parametrize("steps", [7, 12])
def test_a_resumed_run_evaluates_as_the_uninterrupted_one(steps, tmp_path, dataroot, monkeypatch, tiny):
    """15 steps in 3 epochs; the best value is remembered."""
    flags = (*EVAL, "--save_best", "l1", "--early_stop", "7")
    for folder in ("whole", "broken"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "whole")
    assert train.main(arguments(dataroot, *flags)) == 0
    run_interrupted(dataroot, tmp_path / "broken", monkeypatch, steps, "pix2pix", flags)
    monkeypatch.chdir(tmp_path / "broken")
    assert train.main(["--name", "run", "--continue_train", "--gpu_ids", "-1"]) == 0
    whole, broken = (tmp_path / folder / "checkpoints" / "run" for folder in ("whole", "broken"))
    assert "best_l1_net_G.pth" in files(whole) and files(whole) == files(broken)
    assert [record["metrics"] for record in epochs(whole)] == [record["metrics"] for record in epochs(broken)]


def test_the_best_checkpoint_is_kept(workdir, dataroot, monkeypatch):
    scripted(monkeypatch, [20.0, 22.0, 21.0])
    flags = ["--eval_freq", "1", "--eval_metrics", "psnr", "--save_best", "psnr"]
    assert train.main(arguments(dataroot, *flags)) == 0
    run = files(workdir / "checkpoints" / "run")
    assert run["best_psnr_net_G.pth"] == run["2_net_G.pth"] != run["3_net_G.pth"]
    assert run["best_psnr_state.pth"] == run["2_state.pth"]


def test_evaluations_come_every_few_epochs_and_at_the_end(workdir, dataroot, monkeypatch):
    scripted(monkeypatch, [1.0, 2.0])
    assert train.main(arguments(dataroot, "--eval_freq", "2", "--eval_metrics", "psnr")) == 0
    assert [record["metrics"] for record in epochs(workdir / "checkpoints" / "run")] == [
        {},
        {"psnr": 1.0},
        {"psnr": 2.0},
    ]


def test_a_run_stops_when_there_is_no_progress(workdir, dataroot, monkeypatch, said):
    scripted(monkeypatch, [0.5, 0.4, 0.45, 0.41, 0.3, 0.35, 0.31, 0.3], short="l1")
    flags = ["--eval_freq", "1", "--eval_metrics", "l1", "--early_stop", "2"]
    assert train.main(arguments(dataroot, *flags, "--n_epochs", "8")) == 0
    run = workdir / "checkpoints" / "run"
    assert len(epochs(run)) == 4
    assert "no better l1 for 2 evaluations (the best was in epoch 2)" in said()
    assert train.main(["--name", "run", "--continue_train", "--gpu_ids", "-1"]) == 0
    assert "raise --early_stop to go on" in said() and len(epochs(run)) == 4
    assert train.main(["--name", "run", "--continue_train", "--gpu_ids", "-1", "--early_stop", "3"]) == 0
    assert [record["metrics"]["l1"] for record in epochs(run)][4:] == [0.3, 0.35, 0.31, 0.3]


def test_the_learning_rate_follows_a_metric(workdir, dataroot, monkeypatch):
    scripted(monkeypatch, [20.0] * 9)
    flags = ["--eval_freq", "1", "--eval_metrics", "psnr", "--lr_policy", "plateau", "--plateau_metric", "psnr"]
    assert train.main(arguments(dataroot, *flags, "--n_epochs", "8")) == 0
    rates = [record["lr"] for record in epochs(workdir / "checkpoints" / "run")]
    assert rates == pytest.approx([0.0002] * 7 + [0.00004] * 2)  # one good value, then six that are not better


def test_higher_is_better_for_psnr(workdir, dataroot, monkeypatch):
    scripted(monkeypatch, [20.0 + 2 * epoch for epoch in range(9)])
    flags = ["--eval_freq", "1", "--eval_metrics", "psnr", "--lr_policy", "plateau", "--plateau_metric", "psnr"]
    assert train.main(arguments(dataroot, *flags, "--n_epochs", "8")) == 0
    assert {record["lr"] for record in epochs(workdir / "checkpoints" / "run")} == {0.0002}


def test_a_failed_evaluation_is_told_and_the_training_goes_on(workdir, dataroot, monkeypatch, said):
    shutil.copytree(dataroot, "data")
    original = Evaluation.run

    def break_a_file(self, networks, epoch):
        if epoch == 2:
            (workdir / "data" / "test" / "1.png").write_bytes(b"no image")
        return original(self, networks, epoch)

    monkeypatch.setattr(Evaluation, "run", break_a_file)
    assert train.main(arguments("data", "--eval_freq", "1", "--eval_metrics", "psnr")) == 0
    found = [record["metrics"] for record in epochs(workdir / "checkpoints" / "run")]
    assert list(found[0]) == ["psnr"] and found[1:] == [{}, {}]
    assert "warning: epoch 2 is not evaluated: ValueError: data/test/1.png" in said()


def test_a_metric_that_is_impossible_is_told_once_and_the_others_are_measured(workdir, dataroot, tiny, said):
    """One held-out image has no KID."""
    flags = ["--eval_freq", "1", "--eval_metrics", "kid,fid,psnr", "--eval_images", "1", "--feature_cache", "none"]
    assert train.main(arguments(dataroot, *flags, epochs="1")) == 0
    assert [list(record["metrics"]) for record in epochs(workdir / "checkpoints" / "run")] == [["psnr"], ["psnr"]]
    text = said()
    assert text.count("evaluations go without kid: ValueError: KID needs two images on each side") == 1
    assert text.count("evaluations go without fid: ") == 1 and "is not evaluated" not in text


def test_a_run_that_dies_in_an_evaluation_loses_nothing(tmp_path, dataroot, monkeypatch, tiny):
    flags = (*EVAL, "--save_best", "l1", "--save_latest_freq", "5000")
    for folder in ("whole", "broken"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "whole")
    assert train.main(arguments(dataroot, *flags)) == 0
    monkeypatch.chdir(tmp_path / "broken")
    with monkeypatch.context() as patch:
        original = Evaluation._measure

        def dying(self, model):
            if len(epochs(tmp_path / "broken" / "checkpoints" / "run")) == 1:
                raise KeyboardInterrupt
            return original(self, model)

        patch.setattr(Evaluation, "_measure", dying)
        assert train.main(arguments(dataroot, *flags)) == 130
    state = torch.load("checkpoints/run/latest_state.pth", weights_only=True)
    assert (state["progress"]["epoch"], state["progress"]["epoch_iter"]) == (2, 5)
    assert train.main(["--name", "run", "--continue_train", "--gpu_ids", "-1"]) == 0
    whole, broken = (tmp_path / folder / "checkpoints" / "run" for folder in ("whole", "broken"))
    assert files(whole) == files(broken)
    assert [record["metrics"] for record in epochs(whole)] == [record["metrics"] for record in epochs(broken)]


@pytest.mark.parametrize("error", [KeyError("x"), MemoryError("big"), AssertionError()])
def test_no_error_of_an_evaluation_ends_the_training(error, workdir, dataroot, monkeypatch, said):
    def failing(self, model):
        raise error

    monkeypatch.setattr(Evaluation, "_measure", failing)
    assert train.main(arguments(dataroot, "--eval_freq", "1", "--eval_metrics", "psnr", epochs="0")) == 0
    assert f"warning: epoch 1 is not evaluated: {type(error).__name__}" in said()


def test_values_measured_in_another_way_are_not_compared(workdir, dataroot, monkeypatch, said):
    flags = ["--eval_freq", "1", "--eval_metrics", "psnr", "--save_best", "psnr"]
    scripted(monkeypatch, [30.0, 20.0, 19.0, 18.0])
    assert train.main(arguments(dataroot, *flags, epochs="0")) == 0
    again = ["--name", "run", "--continue_train", "--gpu_ids", "-1"]
    assert train.main([*again, "--n_epochs", "1", "--eval_images", "2"]) == 0
    assert "was measured in another way" in said()
    run = files(workdir / "checkpoints" / "run")
    assert run["best_psnr_net_G.pth"] == run["2_net_G.pth"]
    assert train.main([*again, "--n_epochs", "2", "--eval_freq", "0", "--save_best", ""]) == 0
    assert train.main([*again, "--n_epochs", "3", "--eval_freq", "1", "--save_best", "psnr"]) == 0
    assert files(workdir / "checkpoints" / "run")["best_psnr_net_G.pth"] == run["2_net_G.pth"], (
        "19 is no better than 20"
    )


def test_what_cannot_be_measured_here_is_left_out(workdir, dataroot, offline, said):
    flags = ["--eval_freq", "1", "--eval_metrics", "kid,fid,lpips,psnr"]
    assert train.main(arguments(dataroot, *flags, epochs="0")) == 0
    text = said()
    assert "warning: evaluations go without kid, fid: the weights of Inception" in text
    assert "warning: evaluations go without lpips: " in text and "--lpips_weights FILE" in text
    assert list(epochs(workdir / "checkpoints" / "run")[0]["metrics"]) == ["psnr"]


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--save_best", "kid"], ["--save_best kid", "--inception_weights"]),
        (["--lr_policy", "plateau", "--plateau_metric", "kid"], ["--plateau_metric kid", "--inception_weights"]),
        (["--eval_metrics", "kid"], ["--eval_freq 1", "--inception_weights", "efficientnet_lite0"]),
    ],
)
def test_a_run_that_depends_on_it_does_not_start(flags, parts, workdir, dataroot, offline, said):
    assert train.main(arguments(dataroot, "--eval_freq", "1", *flags)) == 2
    text = said()
    assert all(part in text for part in parts), text
    assert list(workdir.iterdir()) == []


def test_val_comes_before_test(workdir, dataroot, said):
    shutil.copytree(dataroot, "data")
    shutil.copytree("data/test", "data/val")
    (workdir / "data" / "val" / "0.png").unlink()
    argv = arguments("data", "--eval_freq", "1", "--eval_metrics", "psnr", epochs="0")
    assert train.main(argv) == 0
    assert "evaluation: psnr on val every epoch" in said()
    assert train.main([*argv, "--overwrite", "--eval_phase", "test"]) == 0
    assert "evaluation: psnr on test every epoch" in said()


def test_only_the_first_images(workdir, dataroot, monkeypatch):
    seen = []
    original = Evaluation._side
    monkeypatch.setattr(Evaluation, "_side", lambda *args: seen.append(original(*args)) or seen[-1])
    flags = ["--eval_freq", "1", "--eval_metrics", "psnr", "--eval_images", "2"]
    assert train.main(arguments(dataroot, *flags, epochs="0")) == 0
    assert {tuple(side.names) for side in seen} == {("0", "1")}


def test_unpaired_images_have_no_targets(workdir, dataroot, tiny, said):
    argv = arguments(dataroot, "--eval_freq", "1", "--feature_cache", "none", epochs="0", model="cycle_gan")
    assert train.main(argv) == 0
    assert list(epochs(workdir / "checkpoints" / "run")[0]["metrics"]) == [
        "kid_inception",
        "kid_inception_A",
    ]
    assert train.main([*argv, "--overwrite", "--eval_metrics", "kid,ssim"]) == 2
    assert "--eval_metrics ssim: unpaired images have no targets" in said()


@pytest.mark.slow
def test_several_processes_agree(tmp_path, dataroot, two_processes):
    flags = ["--eval_freq", "1", "--eval_metrics", "psnr,l1", "--save_best", "l1", "--early_stop", "1"]
    argv = arguments(dataroot, *flags, "--batch_size", "2", "--norm", "instance", "--no_dropout")
    found = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        train_in(folder, argv) if processes == 1 else two_processes.call(train_in, folder, argv)
        found.append([record["metrics"] for record in epochs(folder / "checkpoints" / "run")])
        assert (folder / "checkpoints" / "run" / "best_l1_net_G.pth").is_file()
    assert len(found[0]) == len(found[1]) >= 1
    for alone, together in zip(*found):
        assert together == pytest.approx(alone, rel=1e-3)


def test_the_best_value() -> None:
    best = Best("kid", patience=2)
    assert [best.update(value, epoch) for epoch, value in enumerate([0.3, 0.2, float("nan"), 0.25], start=1)] == [
        *(True, True, False, False)
    ]
    assert (best.value, best.epoch, best.waited, best.exhausted) == (0.2, 2, 2, True)
    assert best.update(0.1, 5) and not best.exhausted
    assert not Best("psnr", patience=0, waited=9).exhausted
    higher = Best("psnr")
    assert [higher.update(value, 1) for value in (10.0, 12.0, 11.0)] == [True, True, False]

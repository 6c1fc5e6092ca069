"""Stopping and going on: a resumed run is the run that was never stopped."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess

import pytest
import torch

import train
from models import MODELS
from tests.models.test_models import TRAINABLE
from tests.runs import ENVIRONMENT, arguments, command, files, torchrun_command, train_in, wait_for


def run_interrupted(dataroot, folder, monkeypatch, steps, model, extra=()):
    """Train in this process, and die without warning in the middle of the given step."""

    class Died(BaseException):
        pass

    cls = MODELS.get(model)
    original, count = cls.optimize_parameters, 0

    def dying(self):
        nonlocal count
        count += 1
        if count > steps:
            raise Died
        return original(self)

    with monkeypatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(cls, "optimize_parameters", dying)
        with pytest.raises(Died):
            train.main(arguments(dataroot, *extra, model=model))


@pytest.mark.parametrize("name", TRAINABLE)
@pytest.mark.parametrize(("steps", "batch_size"), [(3, 1), (7, 1), (3, 2), (5, 4)])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(
    name, steps, batch_size, tmp_path, dataroot, monkeypatch
):
    """Killed in mid-epoch, at its end, or right after its smaller last batch (5 images: 2 + 2 + 1, 4 + 1)."""
    extra = ("--pool_size", "2", "--batch_size", str(batch_size))
    for each in ("whole", "broken"):
        (tmp_path / each).mkdir()
    monkeypatch.chdir(tmp_path / "whole")
    assert train.main(arguments(dataroot, *extra, model=name)) == 0
    run_interrupted(dataroot, tmp_path / "broken", monkeypatch, steps, name, extra)
    monkeypatch.chdir(tmp_path / "broken")
    assert train.main(["--name", "run", "--continue_train", "--gpu_ids", "-1"]) == 0
    whole, broken = (tmp_path / each / "checkpoints" / "run" for each in ("whole", "broken"))
    assert files(whole).keys() == files(broken).keys()
    for file, content in files(whole).items():
        assert content == files(broken)[file], file

    def losses(run):
        rows = csv.DictReader((run / "loss_log.csv").open())
        return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]

    def scalars(run):
        records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return [(r["total_iters"], r["losses"]) for r in records if r["kind"] == "scalars"]

    assert losses(whole) == losses(broken) and scalars(whole) == scalars(broken)


@pytest.mark.slow
def test_compressed_gradients_are_resumed_and_equal_in_both_processes(tmp_path, dataroot, two_processes):
    """The flag is one of the run's options, and nothing else of the compression has to be kept."""
    words = ["--batch_size", "2", "--no_html", "--n_epochs_decay", "0", "--gradient_compression", "bf16"]
    for each in ("whole", "parts", "exact"):
        (tmp_path / each).mkdir()
    two_processes.call(train_in, tmp_path / "whole", arguments(dataroot, *words, epochs="2"))
    two_processes.call(train_in, tmp_path / "parts", arguments(dataroot, *words, epochs="1"))
    two_processes.call(train_in, tmp_path / "parts", ["--name", "run", "--continue_train", "--n_epochs", "2"])
    two_processes.call(train_in, tmp_path / "exact", arguments(dataroot, *words[:-2], epochs="2"))
    found = {
        each: files(tmp_path / each / "checkpoints" / "run")["2_net_G.pth"] for each in ("whole", "parts", "exact")
    }
    assert found["whole"] == found["parts"] != found["exact"]


@pytest.mark.slow
def test_kill_dash_nine_then_continue(tmp_path, dataroot):
    """A real SIGKILL at a moment nobody chose, then the run to the end: equal to the run that was never killed."""
    extra = ("--n_epochs", "10", "--keep_checkpoints", "2")
    for each in ("whole", "killed"):
        (tmp_path / each).mkdir()
    train_in(tmp_path / "whole", arguments(dataroot, *extra))
    process = subprocess.Popen(command(dataroot, *extra), cwd=tmp_path / "killed", stderr=subprocess.PIPE)
    run = tmp_path / "killed" / "checkpoints" / "run"
    wait_for(lambda: (run / "3_state.pth").exists(), process)
    process.kill()
    process.communicate()
    train_in(tmp_path / "killed", ["--name", "run", "--continue_train", "--gpu_ids", "-1"])
    whole = files(tmp_path / "whole" / "checkpoints" / "run")
    assert whole == files(run) and "11_state.pth" in whole and "9_state.pth" not in whole


def test_a_finished_run_says_that_nothing_is_left_and_more_epochs_go_on(workdir, dataroot, said):
    assert train.main(arguments(dataroot)) == 0
    before = files(workdir / "checkpoints" / "run")
    again = ["--name", "run", "--continue_train", "--gpu_ids", "-1"]
    assert train.main(again) == 0
    assert "nothing left to train" in said()
    assert files(workdir / "checkpoints" / "run") == before
    assert train.main([*again, "--n_epochs", "3"]) == 0
    rows = list(csv.DictReader((workdir / "checkpoints" / "run" / "loss_log.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]


def test_going_back_to_an_earlier_epoch(workdir, dataroot):
    assert train.main(arguments(dataroot)) == 0
    run = workdir / "checkpoints" / "run"
    before = files(run)
    again = ["--name", "run", "--continue_train", "--gpu_ids", "-1", "--epoch", "1"]
    assert train.main(again) == 0
    assert files(run) == before
    rows = list(csv.DictReader((run / "loss_log.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]


def test_checkpoints_without_a_state_are_fine_tuned(workdir, dataroot, said):
    assert train.main(arguments(dataroot)) == 0
    run = workdir / "checkpoints" / "run"
    again = ["--name", "run", "--continue_train", "--gpu_ids", "-1", "--epoch_count", "3"]
    torch.save({"format": 1, "optimizers": {}}, run / "latest_state.pth")
    assert train.main(again) == 2
    assert "latest_state.pth: not the whole state of a run, it lacks scaler; restore another copy" in said()
    for file in run.glob("*_state.pth"):
        file.unlink()
    assert train.main(again) == 0
    assert "fine-tuning" in said()
    rows = list(csv.DictReader((run / "loss_log.csv").open()))
    assert rows[-1]["epoch"] == "3"


def test_a_run_by_steps_that_ends_in_mid_epoch_can_be_extended(tmp_path, dataroot, monkeypatch):
    for each, argv in (("whole", ["--n_iters", "13"]), ("extended", ["--n_iters", "7"])):
        (tmp_path / each).mkdir()
        monkeypatch.chdir(tmp_path / each)
        assert train.main(arguments(dataroot, *argv, "--lr_policy", "constant")) == 0
    assert train.main(["--name", "run", "--continue_train", "--n_iters", "13", "--gpu_ids", "-1"]) == 0
    whole, extended = (tmp_path / each / "checkpoints" / "run" for each in ("whole", "extended"))
    latest = {name: content for name, content in files(whole).items() if name.startswith("latest")}
    assert latest.items() <= files(extended).items() and len(latest) == 3


@pytest.mark.skipif(os.name != "posix", reason="locks are POSIX")
def test_a_second_start_touches_nothing_of_a_running_one(workdir, dataroot, said):
    from util.run.folder import open_run_folder

    assert train.main(arguments(dataroot, epochs="1")) == 0
    run = workdir / "checkpoints" / "run"
    lock = open_run_folder(run, overwrite=False)
    (run / "latest_net_G.pth.tmp").write_bytes(b"being written")
    again = ["--name", "run", "--continue_train", "--n_epochs", "9", "--gpu_ids", "-1"]
    assert train.main(again) == 2 and "is training in" in said()
    assert train.main([*again, "--dry_run"]) == 0
    assert (run / "latest_net_G.pth.tmp").exists()
    lock.close()


@pytest.mark.parametrize(("before", "after"), [("1", "2"), ("1", "4"), ("2", "3"), ("4", "1")])
def test_resuming_with_another_batch_size_uses_every_image_once(before, after, tmp_path, dataroot, monkeypatch):
    run_interrupted(dataroot, tmp_path, monkeypatch, 3, "pix2pix", ("--batch_size", before, "--save_latest_freq", "1"))
    monkeypatch.chdir(tmp_path)
    again = ["--name", "run", "--continue_train", "--gpu_ids", "-1", "--batch_size", after]
    seen = []
    original = MODELS.get("pix2pix").set_input
    monkeypatch.setattr(
        MODELS.get("pix2pix"), "set_input", lambda self, b: (seen.extend(b["A_paths"]), original(self, b))[1]
    )
    assert train.main(again) == 0
    done = {"1": 3, "2": 2 + 2 + 1, "4": 4 + 1 + 4}[before]  # images of 3 steps, with 5 images in an epoch
    assert len(seen) == 3 * 5 - done
    state = torch.load(tmp_path / "checkpoints/run/latest_state.pth", weights_only=True)
    assert state["progress"]["total_iters"] == 15


@pytest.mark.parametrize("word", ["True", "true", "1", "yes"])
def test_every_form_of_yes_continues(workdir, dataroot, word):
    assert train.main(arguments(dataroot, "--lr", "0.01", epochs="1")) == 0
    assert train.main(["--name", "run", f"--continue_train={word}", "--n_epochs", "2", "--gpu_ids", "-1"]) == 0
    assert json.loads((workdir / "checkpoints/run/train_opt.json").read_text())["lr"] == 0.01


def test_flags_of_a_continued_run_reach_its_optimizers(workdir, dataroot):
    assert train.main(arguments(dataroot, epochs="1")) == 0
    again = ["--name", "run", "--continue_train", "--n_epochs", "2", "--gpu_ids", "-1", "--beta1", "0.9", "--lr", "0.1"]
    assert train.main(again) == 0
    groups = torch.load(workdir / "checkpoints/run/latest_state.pth", weights_only=True)["optimizers"]["G"]
    assert groups["param_groups"][0]["betas"] == (0.9, 0.999) and groups["param_groups"][0]["initial_lr"] == 0.1


def test_a_moved_run_goes_on_where_it_is_now(workdir, dataroot):
    assert train.main(arguments(dataroot, "--checkpoints_dir", "first", epochs="1")) == 0
    shutil.copytree("first/run", "checkpoints/moved")
    before = files(workdir / "first" / "run")
    assert train.main(["--name", "moved", "--continue_train", "--n_epochs", "2", "--gpu_ids", "-1"]) == 0
    assert files(workdir / "first" / "run") == before
    assert "3_state.pth" in files(workdir / "checkpoints" / "moved")


def test_a_suffix_is_applied_once(workdir, dataroot):
    argv = [word for word in arguments(dataroot, "--suffix", "s_{netG}", epochs="1") if word not in ("--name", "run")]
    assert train.main(argv) == 0
    again = [
        "--suffix",
        "s_{netG}",
        "--netG",
        "resnet_6blocks",
        "--continue_train",
        "--n_epochs",
        "2",
        "--gpu_ids",
        "-1",
    ]
    assert train.main(again) == 0
    assert [path.name for path in (workdir / "checkpoints").iterdir()] == ["experiment_name_s_resnet_6blocks"]


def test_a_weight_that_is_not_finite_is_never_saved(workdir, dataroot, monkeypatch, said):
    cls = MODELS.get("pix2pix")
    original = cls.optimize_parameters

    def spoil(self):
        losses = original(self)
        next(self.networks["G"].parameters()).data[0] = float("inf")
        return losses

    monkeypatch.setattr(cls, "optimize_parameters", spoil)
    assert train.main(arguments(dataroot, "--save_latest_freq", "1")) == 1
    assert "network G" in said() and not files(workdir / "checkpoints" / "run")


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_whole_group_saves_too(tmp_path, dataroot, processes, number, code):
    """A terminal's Ctrl-C and a cluster's SIGTERM reach the workers that read images, and all processes."""
    extra = ("--n_epochs", "5000", "--num_threads", "1", "--batch_size", "2")
    argv = command(dataroot, *extra) if processes == 1 else torchrun_command(arguments(dataroot, *extra))
    options = {"cwd": tmp_path, "env": ENVIRONMENT, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    process = subprocess.Popen(argv, **options)
    run = tmp_path / "checkpoints" / "run"
    wait_for(lambda: (run / "1_state.pth").exists(), process)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=120)
    assert "go on with: python train.py --name run" in err, err[-3000:]
    assert processes == 2 or process.returncode == code
    state = torch.load(run / "latest_state.pth", weights_only=True)
    assert state["progress"]["total_iters"] == (state["progress"]["epoch"] - 1) * 5 + state["progress"]["epoch_iter"]


@pytest.mark.slow
def test_every_process_gets_its_own_history_of_fakes_back(tmp_path, dataroot, two_processes):
    extra = ("--pool_size", "3", "--batch_size", "2", "--no_dropout")
    for each, steps in (("whole", ["9"]), ("broken", ["4", "9"])):
        (tmp_path / each).mkdir()
        for number, n_iters in enumerate(steps):
            argv = arguments(dataroot, *extra, "--n_iters", n_iters, "--lr_policy", "constant")
            argv += ["--continue_train"] if number else []
            two_processes.call(train_in, tmp_path / each, argv)
    whole, broken = (files(tmp_path / each / "checkpoints" / "run") for each in ("whole", "broken"))
    assert whole["latest_net_G.pth"] == broken["latest_net_G.pth"]
    assert whole["latest_state.pth"] == broken["latest_state.pth"]

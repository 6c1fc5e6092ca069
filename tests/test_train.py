"""The program as a user runs it: train, stop, resume, several processes, and what goes wrong on the way."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import test as test_program
import train
from models import MODELS
from tests.conftest import SIZE, TRAINABLE_ARGS
from tests.models.test_models import TRAINABLE

REPO = Path(__file__).resolve().parents[1]
FREQS = ["--print_freq", "2", "--display_freq", "4", "--update_html_freq", "4", "--save_latest_freq", "2"]


def arguments(dataroot, *extra, model="pix2pix", name="run", epochs="2"):
    base = ["--dataroot", str(dataroot), "--name", name, "--model", model, *TRAINABLE_ARGS, *FREQS]
    return [*base, "--n_epochs", epochs, "--n_epochs_decay", "1", "--save_epoch_freq", "1", *extra]


@pytest.fixture()
def said(capsys, caplog):
    """Everything that was told so far: standard error and the log."""
    caplog.set_level("INFO")

    def text():
        return caplog.text + capsys.readouterr().err

    return text


def files(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.glob("*.pth"))}


@pytest.mark.parametrize("name", TRAINABLE)
def test_train_then_test_end_to_end(name, workdir, dataroot, said):
    assert train.main(arguments(dataroot, model=name)) == 0
    run = workdir / "checkpoints" / "run"
    networks = {file.stem.removeprefix("latest_net_") for file in run.glob("latest_net_*.pth")}
    assert networks == set(train.build_model(["--model", name, *TRAINABLE_ARGS], 5).networks)
    for name_of in ("train_opt.txt", "train_opt.json", "loss_log.txt", "loss_log.csv", "metrics.jsonl"):
        assert (run / name_of).stat().st_size > 0
    rows = list(csv.DictReader((run / "loss_log.csv").open()))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    assert [float(row["lr"]) for row in rows] == pytest.approx([0.0002, 0.0002, 0.0001])
    line = r"\(epoch: 1, iters: 2, time: \d+\.\d{3}, data: \d+\.\d{3}\) (\w+: -?\d+\.\d{3} )+"
    assert re.search(line, (run / "loss_log.txt").read_text())
    page = (run / "web" / "index.html").read_text()
    assert "Experiment name = run" in page and "epoch003_fake_B.png" in page and "<svg" in page
    assert Image.open(run / "web" / "images" / "epoch001_real_A.png").size == (SIZE, SIZE)

    assert test_program.main(["--name", "run", "--gpu_ids", "-1"]) == 0
    images = workdir / "results" / "run" / "test_latest" / "images"
    assert len(list(images.glob("*_fake_B.png"))) == 3
    assert "Experiment = run, Phase = test, Epoch = latest" in (images.parent / "index.html").read_text()
    assert "3 images: results/run/test_latest/index.html" in said()


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


def command(dataroot, *extra):
    return [sys.executable, str(REPO / "train.py"), *arguments(dataroot, *extra)]


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.02)


@pytest.mark.slow
def test_kill_dash_nine_then_continue(tmp_path, dataroot):
    """A real SIGKILL at a moment nobody chose, then the run to the end: equal to the run that was never killed."""
    extra = ("--n_epochs", "30", "--keep_checkpoints", "2")
    for each in ("whole", "killed"):
        (tmp_path / each).mkdir()
    subprocess.run(command(dataroot, *extra), cwd=tmp_path / "whole", check=True, capture_output=True)
    process = subprocess.Popen(command(dataroot, *extra), cwd=tmp_path / "killed", stderr=subprocess.PIPE)
    run = tmp_path / "killed" / "checkpoints" / "run"
    wait_for(lambda: (run / "3_state.pth").exists(), process)
    process.kill()
    process.communicate()
    again = [sys.executable, str(REPO / "train.py"), "--name", "run", "--continue_train"]
    subprocess.run(again, cwd=tmp_path / "killed", check=True, capture_output=True)
    whole = files(tmp_path / "whole" / "checkpoints" / "run")
    assert whole == files(run) and "31_state.pth" in whole and "29_state.pth" not in whole


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, dataroot, number, code):
    process = subprocess.Popen(command(dataroot, "--n_epochs", "500"), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    run = tmp_path / "checkpoints" / "run"
    wait_for(lambda: (run / "1_state.pth").exists(), process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "python train.py --name run --continue_train" in err and "Traceback" not in err
    progress = torch.load(run / "latest_state.pth", weights_only=True)["progress"]
    assert progress["total_iters"] == (progress["epoch"] - 1) * 5 + progress["epoch_iter"]


def test_a_nan_stops_the_run_and_leaves_the_last_checkpoint(workdir, dataroot, monkeypatch, capsys):
    cls = MODELS.get("pix2pix")
    original, count = cls.reconstruction_losses, 0

    def sick(self):
        nonlocal count
        count += 1
        return {"G_L1": original(self)["G_L1"] * (float("nan") if count == 6 else 1.0)}

    monkeypatch.setattr(cls, "reconstruction_losses", sick)
    assert train.main(arguments(dataroot)) == 1
    err = capsys.readouterr().err
    last = err.strip().splitlines()[-1]
    assert "G_L1 nan" in last and "step 6" in last and ".png" in last and "Traceback" not in err
    state = torch.load(workdir / "checkpoints" / "run" / "latest_state.pth", weights_only=True)
    assert state["progress"]["steps"] == 5  # the save at the end of epoch 1


def test_a_full_disk_ends_the_run_in_words(workdir, dataroot, monkeypatch, capsys):
    def full(content, file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    assert train.main(arguments(dataroot)) == 1
    assert "No space left on device" in capsys.readouterr().err.strip().splitlines()[-1]


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
    for file in run.glob("*_state.pth"):
        file.unlink()
    assert train.main(["--name", "run", "--continue_train", "--gpu_ids", "-1", "--epoch_count", "3"]) == 0
    assert "fine-tuning" in said()
    rows = list(csv.DictReader((run / "loss_log.csv").open()))
    assert rows[-1]["epoch"] == "3"


def test_a_run_bounded_by_steps(workdir, dataroot):
    extra = ("--n_iters", "7", "--n_iters_decay", "5", "--save_by_iter")
    assert train.main(arguments(dataroot, *extra)) == 0
    state = torch.load(workdir / "checkpoints" / "run" / "latest_state.pth", weights_only=True)
    assert state["progress"]["steps"] == 12
    assert (workdir / "checkpoints" / "run" / "iter_4_net_G.pth").exists()


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
    from util.run_folder import open_run_folder

    assert train.main(arguments(dataroot, epochs="1")) == 0
    run = workdir / "checkpoints" / "run"
    lock = open_run_folder(run, overwrite=False)
    (run / "latest_net_G.pth.tmp").write_bytes(b"being written")
    again = ["--name", "run", "--continue_train", "--n_epochs", "9", "--gpu_ids", "-1"]
    assert train.main(again) == 2 and "is training in" in said()
    assert train.main([*again, "--dry_run"]) == 0
    assert (run / "latest_net_G.pth.tmp").exists()
    lock.close()


@pytest.mark.parametrize(
    ("extra", "part"),
    [
        (("--lr_policy", "plateau", "--plateau_metric", "G_L2"), "did you mean 'G_L1'"),
        (("--dataset_mode", "single"), "--dataset_mode single"),
        (("--epoch_count", "9"), "--epoch_count 9"),
        (("--model", "test", "--dataset_mode", "aligned"), "--model test"),
    ],
)
def test_a_mistake_is_found_before_overwrite_deletes_anything(workdir, dataroot, capsys, extra, part):
    assert train.main(arguments(dataroot, epochs="1")) == 0
    before = files(workdir / "checkpoints" / "run")
    capsys.readouterr()
    assert train.main(arguments(dataroot, "--overwrite", *extra)) == 2
    assert part in capsys.readouterr().err.strip().splitlines()[-1]
    assert files(workdir / "checkpoints" / "run") == before


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


def test_two_deterministic_runs_write_equal_files(tmp_path, dataroot, monkeypatch):
    contents = []
    for each in "ab":
        (tmp_path / each).mkdir()
        monkeypatch.chdir(tmp_path / each)
        assert train.main(arguments(dataroot, "--deterministic", "--seed", "3")) == 0
        contents.append(files(tmp_path / each / "checkpoints" / "run"))
    assert contents[0] == contents[1] and len(contents[0]) > 6


def test_workers_change_nothing(tmp_path, dataroot, monkeypatch):
    contents = []
    for threads in "02":
        (tmp_path / threads).mkdir()
        monkeypatch.chdir(tmp_path / threads)
        assert train.main(arguments(dataroot, "--num_threads", threads, epochs="1")) == 0
        contents.append(files(tmp_path / threads / "checkpoints" / "run"))
    assert contents[0] == contents[1]


def test_a_dry_run_tells_all_and_writes_nothing(workdir, dataroot, capsys):
    assert train.main(arguments(dataroot, "--dry_run")) == 0
    out = capsys.readouterr().out
    assert not list(workdir.iterdir())
    for part in (
        "network G: ResnetGenerator",
        "network D:",
        "5 images",
        "15 steps in all",
        "peak memory",
        "crop_size: 32",
    ):
        assert part in out, part


def test_a_missing_visdom_never_stops_training(workdir, dataroot, monkeypatch):
    monkeypatch.setitem(sys.modules, "visdom", None)  # importing it raises ImportError
    assert train.main(arguments(dataroot, "--display_id", "1", epochs="1")) == 0


def torchrun(workdir, argv, processes=2):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)}
    return subprocess.run(
        [*launcher, str(REPO / "train.py"), *argv], cwd=workdir, env=environment, capture_output=True, text=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("name", TRAINABLE)
def test_two_processes_equal_one(name, norm, tmp_path, dataroot):
    """2 x batch 1 against 1 x batch 2 over 5 steps, and then an uneven last batch: 5 images are 2 + 2 + 1."""
    extra = ["--norm", norm, "--no_dropout", "--batch_size", "2", "--n_iters", "5", "--lr", "0.0002"]
    argv = arguments(dataroot, *extra, model=name)
    for each in ("one", "two"):
        (tmp_path / each).mkdir()
    done = torchrun(tmp_path / "two", argv)
    assert done.returncode == 0, done.stderr[-3000:]
    subprocess.run(
        [sys.executable, str(REPO / "train.py"), *argv],
        cwd=tmp_path / "one",
        check=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    one, two = (tmp_path / each / "checkpoints" / "run" for each in ("one", "two"))
    assert {file.name for file in one.iterdir()} == {file.name for file in two.iterdir()}
    records = [
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines() if '"scalars"' in line]
        for run in (one, two)
    ]
    assert len(records[0]) == len(records[1]) >= 4
    for a, b in zip(*records):
        for key, value in a["losses"].items():
            assert b["losses"][key] == pytest.approx(value, rel=1e-5, abs=1e-5), (a["total_iters"], key)
    for file in one.glob("latest_net_*.pth"):
        mine, theirs = (torch.load(run / file.name, weights_only=True) for run in (one, two))
        assert mine.keys() == theirs.keys()
        for key, value in mine.items():
            if not key.endswith("running_var"):  # of the 1-image tail on both processes: another unbiased count
                assert float((value - theirs[key]).abs().max()) < 1e-4, (file.name, key)


@pytest.mark.slow
def test_five_channels_and_sixteen_bits_go_through(workdir):
    """Multi-channel input files, 16 bit targets: trained on and written back in their depth."""
    rng = np.random.default_rng(0)
    for phase in ("train", "test"):
        for side, channels in (("A", 5), ("B", 1)):
            (workdir / "data" / phase / side).mkdir(parents=True)
            for number in range(2):
                if channels == 1:
                    image = Image.fromarray(rng.integers(0, 65535, (SIZE, SIZE)).astype(np.uint16))
                    image.save(workdir / "data" / phase / side / f"{number}.png")
                else:
                    array = rng.integers(0, 65535, (SIZE, SIZE, channels)).astype(np.uint16)
                    np.save(workdir / "data" / phase / side / f"{number}.npy", array)
    extra = ["--input_nc", "5", "--output_nc", "1", "--netG", "resnet_6blocks"]
    assert train.main(arguments(workdir / "data", *extra, epochs="1")) == 0
    assert test_program.main(["--name", "run", "--gpu_ids", "-1"]) == 0
    images = workdir / "results" / "run" / "test_latest" / "images"
    assert Image.open(images / "0_fake_B.png").mode.startswith("I;16")
    assert (images / "0_real_A.tif").exists() and Image.open(images / "0_real_A.png").mode == "RGB"


def test_a_run_can_be_moved(workdir, dataroot):
    assert train.main(arguments(dataroot, epochs="1")) == 0
    shutil.move(workdir / "checkpoints" / "run", workdir / "elsewhere" / "renamed")
    argv = ["--name", "renamed", "--checkpoints_dir", "elsewhere", "--gpu_ids", "-1"]
    assert test_program.main(argv) == 0
    assert (workdir / "results" / "renamed" / "test_latest" / "index.html").exists()
    assert train.main([*argv, "--continue_train", "--n_epochs", "2"]) == 0

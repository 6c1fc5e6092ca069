"""Mistakes with scripts/evaluate.py: exit code 2, one line that names the flag or file, and nothing created or lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import test as test_program
from scripts import evaluate
from tests.measuring import INCEPTION_FILE, draw, save_drawings, save_results, save_run
from tests.test_bad_input import complaint, snapshot
from util.images.io import save_array

pytestmark = pytest.mark.usefixtures("offline", "workdir")

RUN = ["--name", "run"]
FOLDERS = ["--fake", "made", "--real", "target"]


@pytest.fixture(autouse=True)
def _ready(workdir, monkeypatch):
    """A run with two result folders, two free folders, and no test that may begin."""
    save_run()
    save_results()
    save_results("test_5")
    for tag in ("latest", "5"):
        Path(f"checkpoints/run/{tag}_net_G.pth").write_bytes(b"weights")
    save_drawings(Path("made"), "boxes", 5, size=16)
    save_drawings(Path("target"), "discs", 5, size=16)
    monkeypatch.setattr(test_program, "main", lambda words: pytest.fail(f"test.py {words}"))


def nothing():
    pass


def unpaired():
    save_run("unaligned")


def damaged_numbers():
    Path("results/run/metrics.json").write_text("{")
    Path("m.json").write_text('{"format": 7}')


def broken_image():
    Path("made/2.png").write_bytes(Path("made/2.png").read_bytes()[:99])
    file = Path("results/run/test_latest/images/2_fake_B.png")
    file.write_bytes(file.read_bytes()[:99])


def no_targets():
    for file in Path("results/run/test_latest/images").rglob("*_real_B.png"):
        file.unlink()


def one_target_lost():
    Path("results/run/test_latest/images/3_real_B.png").unlink()


def lost_draw():
    """Second draws beside the results, but for one."""
    for file in Path("results/run/test_latest/images").rglob("*_fake_B.png"):
        if file.name != "3_fake_B.png":
            save_array(file.with_name(f"{file.stem}_2.png"), draw("boxes", 1, 24))


def larger_target():
    save_array(Path("results/run/test_latest/images/3_real_B.png"), draw("boxes", 1, 40))


def float_image():
    np.save("made/2.npy", np.zeros((16, 16, 3)))


def one_image():
    for number in range(1, 5):
        Path(f"made/{number}.png").unlink()


def no_network():
    Path("w.pth").write_bytes(b"<html>404</html>")
    torch.save({"x": torch.zeros(1)}, "x.pth")


def broken_options():
    Path("checkpoints/run/train_opt.json").write_text("{")


CASES = {
    "nothing to measure": (nothing, [], ["nothing to measure", "--name RUN", "--fake DIR"]),
    "two things": (nothing, [*RUN, *FOLDERS], ["--name and --fake", "give one of"]),
    "no real": (nothing, ["--fake", "made"], ["--fake made", "--real DIR"]),
    "unknown flag": (nothing, [*RUN, "--metric", "kid"], ["--metric", "--metrics"]),
    "unknown metric": (nothing, [*RUN, "--metrics", "kdi"], ["--metrics kdi", "kid"]),
    "unknown extractor": (nothing, [*RUN, "--feature_extractor", "efficientnet"], ["efficientnet_lite0"]),
    "unknown run": (nothing, ["--name", "rum"], ["--name rum", "did you mean run?"]),
    "name that leads elsewhere": (nothing, ["--name", "../run"], ["--name", "../run"]),
    "unknown epoch": (nothing, [*RUN, "--epoch", "5,7"], ["--epoch 7", "there are: 5, latest"]),
    "strange epoch": (nothing, [*RUN, "--epoch", "last"], ["--epoch last", "latest"]),
    "all and one": (nothing, [*RUN, "--epoch", "all,5"], ["all stands alone"]),
    "epoch of folders": (nothing, [*FOLDERS, "--epoch", "5"], ["--epoch 5", "--name"]),
    "phase that leads elsewhere": (nothing, [*RUN, "--phase", "../test"], ["--phase '../test'"]),
    "no pairs": (unpaired, [*RUN, "--metrics", "ssim"], ["--metrics ssim", "unpaired", "kid"]),
    "one run to compare": (nothing, ["--compare", "run"], ["--compare run", "two"]),
    "suffix of nothing": (nothing, [*RUN, "--fake_suffix", "x"], ["--fake_suffix x", "--domain"]),
    "half of nothing": (nothing, [*RUN, "--real_half", "left"], ["--real_half left", "--real DIR"]),
    "test flags of folders": (nothing, [*FOLDERS, "--", "--eval"], ["--eval", "--fake made"]),
    "test flags that move the results": (nothing, [*RUN, "--", "--load_iter", "5"], ["--load_iter", "before the --"]),
    "no draws": (
        nothing,
        [*RUN, "--metrics", "psnr,diversity"],
        ["--metrics diversity", "results/run/test_latest", "python test.py --name run --num_samples 4"],
    ),
    "no draws of an epoch": (nothing, [*RUN, "--epoch", "5", "--metrics", "diversity"], ["--epoch 5 --num_samples 4"]),
    "lost draw": (lost_draw, [*RUN, "--metrics", "diversity"], ["*_fake_B_2", "of 3 not every draw"]),
    "draws of folders": (nothing, [*FOLDERS, "--metrics", "diversity"], ["--metrics diversity", "--name RUN"]),
    "kid without real": (nothing, ["--fake", "made", "--metrics", "is,kid"], ["--fake made", "--real DIR"]),
    "draws as images": (
        lost_draw,
        ["--fake", "results/run/test_latest/images", "--metrics", "is"],
        ["5 fake_B_...", "--fake_suffix fake_B"],
    ),
    "missing folder": (nothing, ["--fake", "maid", "--real", "target"], ["--fake maid", "no such folder"]),
    "missing source": (nothing, [*FOLDERS, "--metrics", "mean_kid", "--source", "no"], ["--source no"]),
    "no source": (nothing, [*FOLDERS, "--metrics", "mean_kid"], ["mean_kid", "source"]),
    "folder of a test": (
        nothing,
        ["--fake", "results/run/test_latest/images", "--real", "target"],
        ["6 fake_A, 6 fake_B", "--fake_suffix fake_B"],
    ),
    "folder of a test as source": (
        nothing,
        [*FOLDERS, "--metrics", "mean_kid", "--source", "results/run/test_latest/images"],
        ["--source", "give a folder of one kind"],
    ),
    "no such suffix": (nothing, [*FOLDERS, "--real_suffix", "real_B"], ["--real target", "real_B"]),
    "output that is no file": (nothing, [*FOLDERS, "--output", "made"], ["--output made", ".json"]),
    "output that cannot be": (nothing, [*FOLDERS, "--output", "made/0.png/x.json"], ["--output made/0.png/x.json"]),
    "results that cannot be": (nothing, [*RUN, "--results_dir", "made/0.png"], ["--results_dir made/0.png"]),
    "damaged numbers": (damaged_numbers, RUN, ["results/run/metrics.json", "delete it"]),
    "damaged numbers of folders": (damaged_numbers, [*FOLDERS, "--output", "m.json"], ["m.json", "format 7"]),
    "broken options": (broken_options, RUN, ["train_opt", "--name run"]),
    "broken image": (broken_image, FOLDERS, ["made/2.png"]),
    "broken image of a run": (broken_image, RUN, ["2_fake_B.png"]),
    "no targets": (no_targets, RUN, ["results/run/test_latest", "real_B"]),
    "one target lost": (one_target_lost, RUN, ["1 of 6 have no target (3)"]),
    "larger target": (larger_target, [*RUN, "--metrics", "l1"], ["24x24", "40x40", "--resize"]),
    "floating point": (float_image, FOLDERS, ["made/2.npy", "float32", "--value_range LOW,HIGH"]),
    "one image": (one_image, FOLDERS, ["two images", "1 and 5"]),
    "too small for ssim": (nothing, [*FOLDERS, "--resize", "8", "--metrics", "ssim"], ["8 pixels", "11"]),
    "subset of one": (nothing, [*FOLDERS, "--kid_subset_size", "1"], ["--kid_subset_size 1"]),
    "no such GPU": (nothing, [*FOLDERS, "--gpu_ids", "77"], ["--gpu_ids 77"]),
}


@pytest.mark.parametrize("case", CASES)
def test_mistake(case, capsys, tiny):
    prepare, argv, parts = CASES[case]
    prepare()
    before = snapshot(Path())
    cut = argv.index("--") if "--" in argv else len(argv)
    device = [] if "--gpu_ids" in argv else ["--gpu_ids", "-1"]
    assert evaluate.main([*argv[:cut], *device, *argv[cut:]]) == 2
    line = complaint(capsys)
    assert line.startswith("evaluate.py: error: ") and all(part in line for part in parts), line
    assert snapshot(Path()) == before, "something was created or lost"


@pytest.mark.parametrize("argv", [RUN, [*FOLDERS, "--output", "m.json"]])
def test_damaged_numbers_are_told_before_anything_is_computed(argv, tiny):
    damaged_numbers()
    assert evaluate.main([*argv, "--gpu_ids", "-1"]) == 2 and tiny == []


WEIGHTS = {
    "no network": (["--metrics", "kid"], [INCEPTION_FILE, "--inception_weights FILE", "efficientnet_lite0"]),
    "no network for a run": (RUN, ["--inception_weights FILE", "--feature_extractor efficientnet_lite0"]),
    "no network for LPIPS": (["--metrics", "lpips"], ["alexnet", "--lpips_weights FILE"]),
    "missing file": (["--inception_weights", "v.pth"], ["--inception_weights v.pth", "no such file"]),
    "no weights": (["--inception_weights", "w.pth"], ["--inception_weights w.pth", "damaged or no file of weights"]),
    "other weights": (["--inception_weights", "x.pth"], ["--inception_weights x.pth", "torch-fidelity's Inception"]),
    "other backbone": (["--metrics", "lpips", "--lpips_weights", "x.pth"], ["--lpips_weights x.pth", "alexnet"]),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_without_the_weights(case, capsys, offline):
    no_network()
    argv, parts = WEIGHTS[case]
    before = snapshot(Path()), [file for file in offline.rglob("*") if file.is_file()]
    argv = argv if "--name" in argv else [*FOLDERS, *argv]
    assert evaluate.main([*argv, "--gpu_ids", "-1"]) == 2
    said = capsys.readouterr()
    *announced, line = said.err.splitlines()
    assert all(each.startswith("Downloading: ") for each in announced) and said.out == ""
    assert line.startswith("evaluate.py: error: ") and all(part in line for part in parts), line
    assert (snapshot(Path()), [file for file in offline.rglob("*") if file.is_file()]) == before


def test_pairs_need_no_weights(capsys):
    assert evaluate.main([*RUN, "--metrics", "psnr,ssim,l1", "--gpu_ids", "-1"]) == 0
    assert capsys.readouterr().out.startswith("PSNR: ")


def test_only_a_programming_error_is_shown_whole(monkeypatch, capsys, tiny):
    def fail(*_):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(evaluate, "_print", fail)
    assert evaluate.main([*FOLDERS, "--gpu_ids", "-1"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_verbose_shows_where_a_mistake_was_found(capsys):
    assert evaluate.main(["--name", "rum", "--verbose"]) == 2
    assert "Traceback" in capsys.readouterr().err

"""Results of a side of index maps: labels in the files, colours on the pages, no differences of labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import test as test_program
import train
from scripts import evaluate, segmentation_score
from tests.test_values import IMAGES, TEST, TRAIN, rgb, run_all
from util.images.io import read_image
from util.images.labels import LABEL_COLOURS, checked_labels, label_map
from util.metrics.images import FolderImages
from util.metrics.measurement import read_measurements
from util.run.sides import read_sides

LABELS = ["--output_nc", "5", "--label_nc_B", "5"]


def labels(seed: int) -> np.ndarray:
    """Patches of 8 pixels with the labels 0 to 4."""
    coarse = np.random.default_rng(seed).permutation(9).reshape(3, 3) % 5
    return np.kron(coarse, np.ones((8, 8), int)).astype(np.uint8)


def draw_pairs(*, photo_first: bool = True) -> None:
    """``data`` with 3 pairs to train on and 2 to test, photo and index map; the first maps have a palette."""
    for phase, first, count in (("train", 0, 3), ("test", 10, 2)):
        for number in range(count):
            image = Image.fromarray(labels(first + number))
            if number == 0:
                image = image.convert("P")
                image.putpalette([255, 0, 255, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
            for side, each in zip("AB" if photo_first else "BA", (Image.fromarray(rgb(first + number)), image)):
                folder = Path("data", phase, side)
                folder.mkdir(parents=True, exist_ok=True)
                each.save(folder / f"{number}.png")


def indices(name: str, images: Path = IMAGES) -> np.ndarray:
    with Image.open(images / f"{name}.png") as image:
        assert image.mode == "P"
        return np.asarray(image)


def test_colours_are_those_of_pascal_voc_and_all_differ():
    wanted = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128), 15: (192, 128, 128)}
    wanted |= {20: (0, 64, 128), 255: (224, 224, 192)}
    assert {label: tuple(LABEL_COLOURS[label].tolist()) for label in wanted} == wanted
    assert len({tuple(colour) for colour in LABEL_COLOURS.tolist()}) == 256


def test_the_label_is_the_largest_channel():
    values = np.array([[[0.1, -1.0]], [[0.2, -1.0]], [[-0.3, 0.9]]], np.float32)
    assert label_map(values).tolist() == [[[1], [2]]]
    assert label_map(values).dtype == np.uint8


def test_other_files_are_no_index_maps():
    with pytest.raises(ValueError, match=r"x\.png: has label 5, but the labels are 0 to 4"):
        checked_labels(np.full((2, 2, 1), 5), 5, "x.png")
    with pytest.raises(ValueError, match=r"x\.png: has 3 channels of uint8; an index map"):
        checked_labels(np.zeros((2, 2, 3), np.uint8), 5, "x.png")


def accuracy() -> tuple[float, float]:
    """Pixel accuracy and mean IoU of the results, by numpy alone."""
    fake, real = (np.stack([indices(f"{n}_{kind}_B") for n in range(2)]) for kind in ("fake", "real"))
    both = [np.sum((fake == n) & (real == n)) / np.sum((fake == n) | (real == n)) for n in range(5)]
    return float(np.mean(fake == real)), float(np.mean(both))


def test_from_a_photo_to_labels(workdir, tiny, said):
    draw_pairs()
    eval_flags = ["--eval_freq", "1", "--eval_metrics", "psnr,kid", "--kid_subset_size", "2", "--feature_cache", "none"]
    run_all(*LABELS, *eval_flags)
    assert "evaluations go without psnr: ValueError: the images are label maps" in said()
    for number in range(2):
        np.testing.assert_array_equal(indices(f"{number}_real_B"), labels(10 + number))
        assert indices(f"{number}_fake_B").max() < 5
        np.testing.assert_array_equal(np.asarray(Image.open(IMAGES / f"{number}_real_A.png")), rgb(10 + number))
    assert read_sides(Path("checkpoints/run"))["B"].labels == 5 == read_sides(IMAGES.parent)["B"].labels
    argv = ["--gpu_ids", "-1", "--name", "run", "--kid_subset_size", "2", "--feature_cache", "none"]
    assert evaluate.main([*argv, "--metrics", "kid,psnr,l1"]) == 0
    assert "without psnr, l1: the images are label maps" in said()
    (kid,) = read_measurements(Path("results/run/metrics.json"))
    assert "the network saw the label maps in colours" in kid.notes
    logged = [json.loads(line) for line in Path("checkpoints/run/metrics.jsonl").read_text().splitlines()]
    assert next(each for each in logged if each["kind"] == "epoch")["metrics"] == {
        "kid_inception": pytest.approx(kid.value, rel=1e-5)
    }
    assert evaluate.main([*argv, "--metrics", "psnr"]) == 2
    assert "--metrics psnr: the images are label maps" in said()
    folder = str(IMAGES)
    score = ["--fake", folder, "--fake_suffix", "fake_B", "--real", folder, "--real_suffix", "real_B"]
    assert segmentation_score.main([*score, "--label_nc", "5", "--output", "score.json"]) == 0
    found = json.loads(Path("score.json").read_text())
    assert (found["pixel_accuracy"], found["mean_iou"]) == pytest.approx(accuracy())
    assert segmentation_score.main([*score, "--label_nc", "4"]) == 2
    assert "has label 4, but the labels are 0 to 3" in said()
    alone = ["--model", "test", "--dataroot", "data/test/A", "--results_dir", "alone"]
    assert test_program.main([*TEST, *alone]) == 0
    np.testing.assert_array_equal(indices("0_fake", Path("alone/run/test_latest/images")), indices("0_fake_B"))


def test_from_labels_to_a_photo_and_their_colours_on_the_page(workdir):
    draw_pairs(photo_first=False)
    train_flags = [flag for flag in TRAIN if flag != "--no_html"]
    argv = [
        "--dataroot",
        "data",
        "--input_nc",
        "5",
        "--label_nc_A",
        "5",
        "--display_freq",
        "1",
        "--update_html_freq",
        "1",
    ]
    assert train.main([*train_flags, *argv, "--no_flip", "--serial_batches"]) == 0
    (shown, *_) = sorted(Path("checkpoints/run/web/images").glob("*real_A.png"))
    colours = {tuple(colour) for colour in np.asarray(Image.open(shown)).reshape(-1, 3).tolist()}
    assert colours == {tuple(colour) for colour in LABEL_COLOURS[:5].tolist()}
    assert test_program.main(TEST) == 0
    np.testing.assert_array_equal(indices("0_real_A"), labels(10))
    np.testing.assert_array_equal(np.asarray(Image.open(IMAGES / "0_real_B.png")), rgb(10))
    assert evaluate.main(["--gpu_ids", "-1", "--name", "run", "--metrics", "psnr"]) == 0  # of photographs


def test_a_cycle_writes_labels_in_their_domain(workdir):
    draw_pairs()
    for phase in ("train", "test"):
        for side in "AB":
            Path("data", phase, side).rename(Path("data", f"{phase}{side}"))
    run_all("--model", "cycle_gan", *LABELS, "--lambda_identity", "0")
    np.testing.assert_array_equal(indices("0_real_B"), labels(10))
    assert indices("0_fake_B").max() < 5
    assert read_image(IMAGES / "0_fake_A.png").array.shape[2] == 3


@pytest.mark.parametrize("flag", [["--save_best", "psnr"], ["--lr_policy", "plateau", "--plateau_metric", "l1"]])
def test_no_run_is_steered_by_differences_of_labels(flag, workdir, capsys):
    draw_pairs()
    argv = [*TRAIN, "--dataroot", "data", *LABELS, "--eval_freq", "1", "--eval_metrics", "psnr,l1"]
    assert train.main([*argv, *flag]) == 2
    assert f"{flag[-2]} {flag[-1]}: the images are label maps" in capsys.readouterr().err


def test_of_four_labels_none_is_opacity(workdir):
    draw_pairs()
    for file in Path("data").rglob("B/*.png"):
        Image.fromarray(np.asarray(Image.open(file)) % 4).save(file)
    run_all("--output_nc", "4", "--label_nc_B", "4", "--alpha", "keep")
    np.testing.assert_array_equal(indices("0_real_B"), labels(10) % 4)


def test_halves_and_scaling_keep_labels(tmp_path):
    Image.fromarray(np.concatenate([labels(1), labels(2)], axis=1)).save(tmp_path / "0.png")
    left, right = (FolderImages(tmp_path, "--fake", half=half, label_nc=5).read(0) for half in ("left", "right"))
    np.testing.assert_array_equal(left, LABEL_COLOURS[labels(1)])
    np.testing.assert_array_equal(right, LABEL_COLOURS[labels(2)])
    scaled = FolderImages(tmp_path, "--fake", resize=17, label_nc=5).read(0)
    assert scaled.shape == (17, 17, 3)
    assert {tuple(colour) for colour in scaled.reshape(-1, 3).tolist()} <= {
        tuple(c) for c in LABEL_COLOURS[:5].tolist()
    }

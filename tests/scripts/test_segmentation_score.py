"""Scores of label maps, counted by hand."""

import json

import numpy as np
import pytest
from PIL import Image

from scripts.segmentation_score import CITYSCAPES, CITYSCAPES_VOID, confusion, main, nearest, scores
from util.images.io import to_uint8

ROAD, SKY, CAR = CITYSCAPES["road"], CITYSCAPES["sky"], CITYSCAPES["car"]
REAL = [[ROAD, ROAD, ROAD, SKY], [ROAD, SKY, CAR, (0, 0, 0)]]
FAKE = [[ROAD, ROAD, SKY, SKY], [ROAD, SKY, ROAD, CAR]]
# true road 4, found right 3; sky 2 and 2; car 1 and 0; one void pixel. Found: road 4, sky 3, car 0.
EXPECTED = {
    "pixel_accuracy": 5 / 7,
    "class_accuracy": (3 / 4 + 2 / 2 + 0) / 3,
    "mean_iou": (3 / 5 + 2 / 3 + 0) / 3,
}


def save(file, pixels, **settings):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(pixels, np.uint8)).save(file, **settings)


def test_scores_are_those_counted_by_hand():
    names = list(CITYSCAPES)
    matrix = confusion(np.array(FAKE), np.array(REAL), list(CITYSCAPES.values()), CITYSCAPES_VOID)
    assert matrix.sum() == 7 and matrix[names.index("car"), names.index("road")] == 1
    found = scores(matrix, names)
    assert {name: getattr(found, name) for name in EXPECTED} == pytest.approx(EXPECTED)
    assert found.per_class["road"] == pytest.approx((3 / 4, 3 / 5)) and np.isnan(found.per_class["bus"]).all()


def test_a_class_that_is_only_found_counts_for_iou_alone():
    classes = [(0, 0, 0), (255, 255, 255)]
    found = scores(confusion(np.array([[classes[0], classes[1]]]), np.array([[classes[0]] * 2]), classes, ()), "ab")
    assert (found.class_accuracy, found.mean_iou) == (1 / 2, 1 / 4)  # a: 1 of 2, IoU 1/2; b: 0/0, IoU 0/1


def test_the_palette_is_read_through_noise():
    colours = list(CITYSCAPES.values())
    noisy = np.array([colours]) + np.random.default_rng(0).integers(-9, 10, (1, 19, 3))
    assert nearest(noisy.clip(0, 255), colours).tolist() == [list(range(19))]
    shown = to_uint8(np.array([colours], np.float32) / 127.5 - 1)  # as a result folder has them
    assert nearest(shown, colours).tolist() == [list(range(19))]


def test_a_result_folder_is_scored(tmp_path, capsys):
    for number in range(2):
        save(tmp_path / f"images/{number}_fake_B.png", FAKE)
        save(tmp_path / f"images/{number}_real_B.png", REAL)
    save(tmp_path / "pairs/0.png", np.concatenate([np.zeros((2, 4, 3)), REAL], axis=1))
    save(tmp_path / "maps/0.png", FAKE)
    images = str(tmp_path / "images")
    same = ["--fake", images, "--fake_suffix", "fake_B", "--real", images, "--real_suffix", "real_B"]
    halves = ["--fake", str(tmp_path / "maps"), "--real", str(tmp_path / "pairs"), "--real_half", "right"]
    for words, count in ((same, 2), (halves, 1)):
        assert main([*words, "--output", str(tmp_path / "scores.json")]) == 0
        written = json.loads((tmp_path / "scores.json").read_text())
        assert {name: written[name] for name in EXPECTED} == pytest.approx(EXPECTED)
        assert written["per_class"]["bus"] == [None, None] and written["real"]["n"] == count
        assert f"{count} pair{'s' * (count > 1)}, 19 classes\npixel accuracy: 0.7143" in capsys.readouterr().out


def test_any_palette(tmp_path, capsys):
    save(tmp_path / "a/0.png", [[[250, 250, 250], [0, 0, 0]]])
    save(tmp_path / "b/0.png", [[[255, 255, 255], [255, 0, 0]]])
    words = ["--fake", str(tmp_path / "a"), "--real", str(tmp_path / "b"), "--palette", str(tmp_path / "p.json")]
    (tmp_path / "p.json").write_text('{"paper": [255, 255, 255], "ink": [0, 0, 0], "void": [255, 0, 0]}')
    assert main(words) == 0 and "pixel accuracy: 1.0000" in capsys.readouterr().out
    (tmp_path / "p.json").write_text('{"paper": "white"}')
    assert main(words) == 2 and "--palette" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fake", "real", "words", "message"),
    [
        (FAKE, FAKE[:1], [], "differ in size, 4x2 and 4x1"),
        (FAKE, [[(0, 0, 0)] * 4] * 2, [], "no pixel has a class"),
        (FAKE, REAL, ["--palette", "citiscapes"], "--palette citiscapes: no such file"),
        (FAKE, REAL, ["--fake_suffix", "fake_A"], "no image whose name ends in _fake_A"),
    ],
)
def test_mistakes_are_told_in_a_line(fake, real, words, message, tmp_path, capsys):
    save(tmp_path / "a/0.png", fake)
    save(tmp_path / "b/0.png", real)
    assert main(["--fake", str(tmp_path / "a"), "--real", str(tmp_path / "b"), *words]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1

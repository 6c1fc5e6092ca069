"""The check of every file, from the command line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scripts.check_data import main


def save(file: Path, width: int = 16, height: int = 16, mode: str = "RGB", **extra: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(str(file).encode())
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, **extra)


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    code = main([str(word) for word in words])
    return code, capsys.readouterr().out


def test_a_sound_set_of_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for phase in ("train", "test"):
        for number in range(3):
            save(tmp_path / phase / f"{number}.png", 32, 16)
    code, said = run(capsys, tmp_path)
    assert code == 0
    assert "train: side by side, files: A 3" in said and "32x16 (3); 3 channels uint8 (3)" in said
    assert "6 files: 0 problems, 0 warnings" in said


def test_problems_and_warnings_of_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = tmp_path / "train" / "A", tmp_path / "train" / "B"
    for number in range(4):
        save(a / f"{number}.png")
        save(b / f"{number}.jpg")
    save(a / "alone.png")
    save(b / "left.png", 20, 16, "RGBA")
    save(b / "0.jpg", 24, 16)
    (a / "2.png").write_bytes((a / "2.png").read_bytes()[:100])
    shutil.copy(a / "1.png", a / "3.png")
    shutil.copytree(b, tmp_path / "test")
    code, said = run(capsys, tmp_path)
    assert code == 1
    for words in (
        "problem: train: 1 of 5 files in A have no partner in B: alone.png",
        "problem: train: 1 of 5 files in B have no partner in A: left.png",
        "problem: train: the sides of pair 0 differ in size: 16x16 and 24x16",
        "2.png: cannot be read as an image",
        "train B: 3 different sizes",
        "have an alpha channel",
        "equal images in more than one phase (results on them say nothing about new images): 5",
        "equal images more than once: 1",
    ):
        assert words in said
    assert "15 files: 4 problems" in said


def test_orientation_and_depth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    save(tmp_path / "trainA" / "1.jpg", exif=exif)
    save(tmp_path / "trainB" / "1.png")
    Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16)).save(tmp_path / "trainB" / "2.png")
    code, said = run(capsys, tmp_path)
    assert code == 0
    assert "train: unaligned, files: A 1, B 2" in said
    assert "1 of 1 files have an EXIF orientation" in said
    assert "train B: mixed bit depth" in said and "train B: mixed grey and colour" in said


def test_odd_and_upright_files_are_no_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "train" / "1.png", 31, 16)
    save(tmp_path / "train" / "2.png", 16, 30)
    code, said = run(capsys, tmp_path, "--dataset_mode", "aligned")
    assert code == 1
    warning, problem = sorted((line for line in said.splitlines() if ".png: " in line), key=lambda line: line[0] == "p")
    assert problem.startswith("problem: ") and "1.png: a width of 31 pixels" in problem
    assert warning.startswith("warning: ") and "2.png: 16x30 pixels look like one picture" in warning
    assert run(capsys, tmp_path, "--dataset_mode", "single")[0] == 0


def test_contact_sheet_shows_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = np.full((16, 16, 3), (255, 0, 0), np.uint8)
    right = np.full((16, 16, 3), (0, 0, 255), np.uint8)
    (tmp_path / "set" / "train").mkdir(parents=True)
    for number in range(3):
        Image.fromarray(np.hstack([left, right])).save(tmp_path / "set" / "train" / f"{number}.png")
    (tmp_path / "set" / "train" / "9.png").write_bytes(b"broken")
    code, said = run(capsys, tmp_path / "set", "--contact_sheet", tmp_path / "sheet.png")
    assert code == 1 and "contact sheet: " in said
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    assert (sheet == (0, 0, 255)).all(axis=2).sum() == 3 * 16 * 16
    assert (sheet == (255, 0, 0)).all(axis=2).sum() > 3 * 16 * 16  # and the red box of the broken file


def test_boxes_are_checked_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for side, boxes in (("A", [[4, 2, 6, 5], [90, 0, 5, 5]]), ("B", [])):
        file = tmp_path / "images" / f"{side}.png"
        file.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 20)).save(file)
        content = {"images": [{"id": 1, "file_name": file.name, "width": 40, "height": 20}]}
        content["annotations"] = [{"image_id": 1, "category_id": 5, "bbox": box} for box in boxes]
        (tmp_path / f"train{side}.json").write_text(json.dumps(content))
    words = ("--dataset_mode", "unaligned_coco", "--coco_imagedir", "images", "--category_id", 5)
    code, said = run(capsys, tmp_path, *words, "--contact_sheet", tmp_path / "sheet.png")
    assert code == 0 and "train A: 1 box; 0 of 1 images have none" in said
    assert "warning: " in said and "trainA.json: ignored 1 box without area inside" in said
    ys, xs = np.nonzero((np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")) == (0, 255, 0)).all(axis=2))
    # the picture begins at (8, 32) of the sheet, and the last pixels of the box are 9 and 6
    assert (xs.min() - 8, ys.min() - 32, xs.max() - 8, ys.max() - 32) == (4, 2, 9, 6)
    assert len(xs) == 2 * 6 + 2 * 3
    Image.new("RGB", (20, 20)).save(tmp_path / "images" / "A.png")
    code, said = run(capsys, tmp_path, *words)
    assert code == 1 and "A.png: 20x20 pixels, but labelled as 40x20" in said
    assert run(capsys, tmp_path / "images", *words)[0] == 2


def test_class_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, count in (("ant", 1), ("bee", 11)):
        for number in range(count):
            save(tmp_path / "train" / name / f"{number}.png", 16, 20)
    save(tmp_path / "val" / "bee" / "new.png")
    (tmp_path / "train" / "cow").mkdir()
    code, said = run(capsys, tmp_path, "--contact_sheet", tmp_path / "sheet.png")
    assert (
        code == 0
        and "train: class folders, files: 12 in 2 classes\n  images of a class: 1 to 11; ant 1, bee 11" in said
    )
    assert "class bee has 11 images, class ant 1: train.py --class_balanced" in said
    assert "1 class folder has no images and is left out: cow" in said and said.count("warning: ") == 2
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 8 * 128 + 2 * 8  # up to eight of a class in a row
        # two classes of train and one of val, each under a heading
        assert sheet.height == 3 * (128 + 16 + 8) + 2 * 2 * 16
    shutil.copy(tmp_path / "train" / "bee" / "3.png", tmp_path / "train" / "ant" / "wrong.png")
    shutil.copy(tmp_path / "train" / "bee" / "4.png", tmp_path / "val" / "bee" / "seen.png")
    shutil.copytree(tmp_path / "train" / "ant", tmp_path / "val" / "dog")
    (tmp_path / "val" / "dog" / "0.png").write_bytes(b"broken")
    code, said = run(capsys, tmp_path, "--dataset_mode", "class_folder")
    assert code == 1
    for words in (
        "problem: val: classes that train does not have: dog",
        "dog/0.png: cannot be read as an image",
        "equal images in more than one class (which of them is it?): 1",
        "equal images in more than one phase (results on them say nothing about new images): 2",
    ):
        assert words in said
    assert "more than once" not in said


def test_class_folders_in_the_data_root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "set" / "ant" / "1.png")
    save(tmp_path / "set" / "bee" / "1.png")
    for words in ([], ["--dataset_mode", "class_folder"]):
        code, said = run(capsys, tmp_path / "set", *words)
        assert code == 0 and ".: class folders, files: 2 in 2 classes" in said
    for words in (["--phase", "test"], ["--num_samples", "-1"]):
        assert run(capsys, tmp_path / "set", "--dataset_mode", "class_folder", *words)[0] == 2
    (tmp_path / "empty" / "ant").mkdir(parents=True)
    assert run(capsys, tmp_path / "empty", "--dataset_mode", "class_folder")[0] == 2


def test_bad_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "train" / "1.png", 32, 16)
    (tmp_path / "void").mkdir()
    for words in ([tmp_path / "gone"], [tmp_path, "--phase", "val"], [tmp_path / "void"]):
        assert run(capsys, *words)[0] == 2
    assert main([str(tmp_path), "--dataset_mode", "sideways"]) == 2
    assert "--dataset_mode sideways" in capsys.readouterr().err


def test_it_runs_as_a_program_from_anywhere(tmp_path: Path) -> None:
    save(tmp_path / "train" / "1.png", 32, 16)
    script = Path(__file__).parents[2] / "scripts" / "check_data.py"
    done = subprocess.run([sys.executable, script, "train"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "1 file: 0 problems" in done.stdout

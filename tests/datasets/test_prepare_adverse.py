"""prepare_bdd100k and prepare_alderley: night to A, day to B, nothing overwritten."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from data import DATASETS
from datasets import prepare_alderley, prepare_bdd100k

SCRIPTS = Path(__file__).parents[2] / "scripts"


def save(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 36), (value, value, value)).save(path)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# --- BDD100K ----------------------------------------------------------------------------------------------------------

CAR = {"category": "car", "box2d": {"x1": 10, "y1": 4, "x2": 30, "y2": 14}}
WALKER = {"category": "person", "box2d": {"x1": 1, "y1": 2, "x2": 3.5, "y2": 9}}
LANE = {"category": "lane", "poly2d": [[0, 0]]}
TRAIN = {"n1": "night", "n2": "night", "d1": "daytime", "x1": "dawn/dusk"}
VAL = {"v1": "night", "v2": "daytime"}


def bdd100k(root: Path, *, one_file: bool = True) -> list[str]:
    """Images and labels of either kind; returns the arguments."""
    for number, (phase, times) in enumerate((("train", TRAIN), ("val", VAL))):
        entries: list[dict[str, Any]] = []
        for name, timeofday in times.items():
            save(root / "images" / phase / f"{name}.jpg", 40 * number + 10 * len(entries))
            objects = [CAR, LANE, WALKER] if name == "n2" else [{**CAR, "category": "other vehicle"}]
            entry = {"attributes": {"timeofday": timeofday}, "name": f"{name}.jpg" if one_file else name}
            entries.append(entry | ({"labels": objects} if one_file else {"frames": [{"objects": objects}]}))
        (root / phase).mkdir()
        if one_file:
            (root / f"{phase}.json").write_text(json.dumps(entries))
        for entry in entries:
            (root / phase / f"{entry['name']}.json").write_text(json.dumps(entry))
    ending = ".json" if one_file else ""
    labels = ["--labels_train", f"{root}/train{ending}", "--labels_val", f"{root}/val{ending}"]
    return ["--images", f"{root}/images", *labels, "--output_dir", f"{root}/out"]


@pytest.mark.parametrize("one_file", [True, False])
def test_bdd100k_is_divided_by_the_time_of_day(
    one_file: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = bdd100k(tmp_path, one_file=one_file)
    assert prepare_bdd100k.main(arguments) == 0
    out = tmp_path / "out"
    images = ["testA/v1.jpg", "testB/v2.jpg", "trainA/n1.jpg", "trainA/n2.jpg", "trainB/d1.jpg"]
    assert files(out) == sorted([*images, "testA.json", "testB.json", "trainA.json", "trainB.json"])
    assert (out / "trainA" / "n1.jpg").read_bytes() == (tmp_path / "images" / "train" / "n1.jpg").read_bytes()
    said = capsys.readouterr().out
    assert "trainA: 2 images\n" in said and "1 image with timeofday dawn/dusk" in said
    assert "2 boxes of category other vehicle" in said  # of n1 and d1
    content = json.loads((out / "trainA.json").read_text())
    assert content["categories"][2] == {"id": 3, "name": "car"} and len(content["categories"]) == 10
    assert content["images"][1] == {"id": 2, "file_name": "n2.jpg", "width": 64, "height": 36}
    found = [(each["image_id"], each["category_id"], each["bbox"]) for each in content["annotations"]]
    assert found == [(2, 3, [10, 4, 20, 10]), (2, 1, [1, 2, 2.5, 7])]
    kind = DATASETS.get("unaligned_coco")
    dataset = kind(kind.Options(dataroot=str(out), category_id=3, preprocess="none"), input_nc=3, output_nc=3)
    assert (dataset.counts()["A"], dataset.counts()["A boxes"], dataset.counts()["B boxes"]) == (2, 1, 0)


def test_bdd100k_goes_on_and_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = bdd100k(tmp_path)
    gone = tmp_path / "images" / "train" / "n1.jpg"
    kept = gone.read_bytes()
    gone.unlink()
    mine = tmp_path / "out" / "trainB" / "d1.jpg"
    save(mine, 250)
    before = mine.read_bytes()
    assert prepare_bdd100k.main(arguments) == 1
    said = capsys.readouterr()
    assert "n1.jpg: there is no such file" in said.err and "d1.jpg exists and is another image" in said.err
    assert mine.read_bytes() == before and "trainA: 1 image" in said.out
    gone.write_bytes(kept)
    mine.unlink()
    (tmp_path / "out" / "trainA.json").unlink()
    assert prepare_bdd100k.main(arguments) == 0
    assert "trainA: 2 images, 1 of them there already" in capsys.readouterr().out
    listing = files(tmp_path / "out")
    assert prepare_bdd100k.main(arguments) == 0  # nothing left to do
    (tmp_path / "out" / "testA.json").write_text("mine")
    assert prepare_bdd100k.main(arguments) == 1
    assert "testA.json exists with other content" in capsys.readouterr().err
    assert (tmp_path / "out" / "testA.json").read_text() == "mine" and files(tmp_path / "out") == listing


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[", "is no JSON"),
        ('[{"attributes": {}}]', "is no label file of BDD100K"),
        ('[{"name": "n1.jpg"}, {"name": "n1.jpg"}]', "labelled more than once, 1 image: n1.jpg"),
        ('[{"name": "n1.jpg", "labels": [{"category": "car", "box2d": {"x1": 1}}]}]', "n1.jpg: box2d"),
    ],
)
def test_broken_labels_of_bdd100k(content: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = bdd100k(tmp_path)
    (tmp_path / "train.json").write_text(content)
    assert prepare_bdd100k.main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_bdd100k_without_folders_or_a_time_of_day(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = bdd100k(tmp_path)
    assert prepare_bdd100k.main([*arguments, "--labels_val", str(tmp_path / "gone")]) == 2
    assert prepare_bdd100k.main([*arguments, "--images", str(tmp_path)]) == 2  # has train and val, but of labels
    assert "none of 4 labelled images is in" in capsys.readouterr().err
    assert prepare_bdd100k.main([*arguments, "--images", str(tmp_path / "gone")]) == 2
    (tmp_path / "val.json").write_text('[{"name": "v1.jpg", "attributes": {"timeofday": "night"}}]')
    capsys.readouterr()
    assert prepare_bdd100k.main(arguments) == 1
    assert "testB: 1 failed: the labels have no image with timeofday daytime" in capsys.readouterr().err
    assert not (tmp_path / "out" / "testB").exists()


# --- Alderley ---------------------------------------------------------------------------------------------------------


def alderley(root: Path) -> list[str]:
    for side, numbers in (("night", (1, 13799, 13800, 13801)), ("day", (2, 11686, 11687))):
        for number in numbers:
            save(root / side / f"Image{number:05d}.jpg", number % 251)
    return ["--night", f"{root}/night", "--day", f"{root}/day", "--output_dir", f"{root}/out"]


def test_alderley_is_divided_by_the_number_of_the_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = alderley(tmp_path)
    save(tmp_path / "day" / "cover.jpg", 3)
    assert prepare_alderley.main([*arguments, "--link"]) == 0
    out = tmp_path / "out"
    train = [f"trainA/Image{number:05d}.jpg" for number in (1, 13799, 13800)]
    train += [f"trainB/Image{number:05d}.jpg" for number in (2, 11686)]
    assert files(out) == ["testA/Image13801.jpg", "testB/Image11687.jpg", *train]
    assert os.path.samefile(out / train[0], tmp_path / "night" / "Image00001.jpg")
    said = capsys.readouterr()
    assert "trainA: 3 images" in said.out and "1 file without a number left out: cover.jpg" in said.err
    assert prepare_alderley.main(arguments) == 0
    assert "trainB: 2 images, 2 of them there already" in capsys.readouterr().out


def test_alderley_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = alderley(tmp_path)
    assert prepare_alderley.main([*arguments, "--last_day", "99999"]) == 1  # leaves no frame for testB
    assert "testB: no frame has such a number" in capsys.readouterr().err
    (tmp_path / "night" / "Image00001.jpg").write_bytes(b"broken")
    assert prepare_alderley.main([*arguments, "--output_dir", str(tmp_path / "two")]) == 1
    assert "1 failed" in capsys.readouterr().err and len(files(tmp_path / "two")) == 6
    (tmp_path / "void").mkdir()
    assert prepare_alderley.main([*arguments, "--day", str(tmp_path / "void")]) == 2
    assert "Image00001.jpg" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["bdd100k", "alderley"])
def test_both_names_of_a_script_work(name: str) -> None:
    command = [sys.executable, str(SCRIPTS / f"prepare_{name}.py"), "--nonsense", "x"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "--" in done.stderr and done.stderr.count("\n") == 1

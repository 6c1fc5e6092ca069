"""Label files brought to the size of scaled images."""

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.label_converter import main

# 1280x720 to height 512: 512 * 1280 // 720 = 910 (910.2), factors 910 / 1280 and 512 / 720
PUBLISHED = {"7": {"width": 1280, "height": 720, "labels": [{"bbox": [100, 90, 1280, 720], "id": 3}], "tag": "x"}}
SCALED = {"7": {"width": 910, "height": 512, "labels": [{"bbox": [71, 64, 910, 512], "id": 3}], "tag": "x"}}


def write(file: Path, content: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def convert(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.mark.parametrize("absolute", [False, True])
def test_published_labels_and_the_originals_stay(
    absolute: bool, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(workdir / "my" / "labels" / "sub" / "train.json", PUBLISHED)
    folder = workdir / "my" / "labels" if absolute else Path("my/labels")
    assert convert(folder, "scale_height", 512) == 0
    result = Path("lc_output/my/labels/sub/train.json")
    assert json.loads(result.read_text()) == SCALED
    assert json.loads(file.read_text()) == PUBLISHED
    assert "1 of 1 file written" in capsys.readouterr().out
    before = result.stat().st_mtime_ns
    assert convert(".", "scale_height", 512) == 0  # lc_output lies in this folder, and is not read
    assert result.stat().st_mtime_ns == before
    assert "0 of 1 file written, 1 there already" in capsys.readouterr().out


def test_a_folder_elsewhere_goes_below_its_own_name(workdir: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("labels_of_mine")
    write(elsewhere / "a.json", PUBLISHED)
    assert convert(elsewhere, "scale_width", 640, "--output_dir", "out") == 0
    found = json.loads((workdir / "out" / elsewhere.name / "a.json").read_text())
    assert found["7"]["labels"][0]["bbox"] == [50, 45, 640, 360]  # half of everything
    assert json.loads((elsewhere / "a.json").read_text()) == PUBLISHED


def test_coco_files_round_the_corners(workdir: Path) -> None:
    """0.5 * (3, 3, 3 + 4, 3 + 3) = (1.5, 1.5, 3.5, 3), to even (2, 2, 4, 3)."""
    content = {"info": 1, "categories": [{"id": 1}], "images": [{"id": 5, "file_name": "x", "width": 40, "height": 20}]}
    entry = {"id": 8, "image_id": 5, "category_id": 1, "bbox": [3, 3, 4, 3], "area": 12, "segmentation": [[1, 2, 3, 4]]}
    write(Path("set/trainA.json"), {**content, "annotations": [entry]})
    assert convert("set", "scale_width", 20) == 0
    found = json.loads(Path("lc_output/set/trainA.json").read_text())
    assert found["images"] == [{"id": 5, "file_name": "x", "width": 20, "height": 10}]
    assert found["annotations"] == [{"id": 8, "image_id": 5, "category_id": 1, "bbox": [2, 2, 2, 1], "area": 2}]
    assert found["info"] == 1


def test_what_is_there_with_other_content_stays(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("labels/a.json"), PUBLISHED)
    write(Path("labels/b.json"), PUBLISHED)
    mine = write(Path("lc_output/labels/a.json"), "mine")
    assert convert("labels", "scale_height", 512) == 1
    said = capsys.readouterr()
    assert mine.read_text() == "mine"
    assert "1 of 2 files written" in said.out and "a.json exists with other content" in said.err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is no JSON"),
        ([1], "it holds a list"),
        ({"name": "tool"}, "is no file of labels, or an entry"),
        ({"7": {"width": 4, "height": 4, "labels": [{"bbox": [1, 2]}]}}, "ValueError"),
        ({"7": {"width": 0, "height": 4, "labels": []}}, "0x4 pixels"),
        ({"images": [], "annotations": [{"image_id": 3, "bbox": [1, 2, 3, 4]}]}, "KeyError: 3"),
    ],
)
def test_other_files_are_left_out_and_named(
    content: Any, words: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(Path("labels/a.json"), content)
    write(Path("labels/b.json"), PUBLISHED)
    assert convert("labels", "scale_height", 512) == 1
    said = capsys.readouterr()
    assert words in said.err and "labels/a.json" in said.err and said.err.count("\n") == 1
    assert [path.name for path in Path("lc_output").rglob("*.json")] == ["b.json"]


def test_bad_arguments(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("labels/a.json"), PUBLISHED)
    Path("void").mkdir()
    for words, said in (
        (("gone", "scale_height", 512), "there is no such folder"),
        (("void", "scale_height", 512), "there are no .json files"),
        (("labels", "scale_height", 0), "size 0"),
        (("labels", "scale_height", 512, "--output_dir", "."), "--output_dir .: the results would replace"),
    ):
        assert convert(*words) == 2
        assert said in capsys.readouterr().err
    assert convert("labels", "scale_depth", 512) == 2
    assert "did you mean 'scale_width'" in capsys.readouterr().err
    assert json.loads(Path("labels/a.json").read_text()) == PUBLISHED

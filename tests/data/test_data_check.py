"""The check at every start."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from data import DATASETS
from data.check import quick_check
from options.base_options import DataOptions


def save(file: Path, width: int, height: int, mode: str = "RGB", **extra: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 4), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, **extra)


def check(mode: str, root: Path, **options: Any) -> list[str]:
    built = DataOptions(dataroot=str(root), **{"load_size": 36, "crop_size": 32, **options})
    return quick_check(DATASETS.get(mode)(built, input_nc=3, output_nc=3))


def test_a_sound_data_set_is_silent(tmp_path: Path) -> None:
    for number in range(5):
        save(tmp_path / "train" / f"{number}.png", 80, 40)
    assert check("aligned", tmp_path) == []


def test_warnings(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "train" / "1.png", 90, 40)
    save(tmp_path / "train" / "2.png", 80, 40, "RGBA")
    save(tmp_path / "train" / "3.jpg", 40, 80, exif=exif)
    save(tmp_path / "train" / "4.png", 80, 40, "L")
    found = "\n".join(check("aligned", tmp_path))
    for words in (
        "1.png (45x40): --preprocess scale_width_and_crop",
        "the halves of",
        "transparency is ignored, e.g. of",
        "EXIF orientation, e.g. ",
        "mixed channels: 3 (",
    ):
        assert words in found
    assert found.count("\n") == 4
    assert "transparency" not in "\n".join(check("single", tmp_path / "train", alpha="white"))


@pytest.mark.parametrize(
    ("mode", "options", "words"),
    [
        ("single", {"preprocess": "crop", "crop_size": 50}, r"b\.png: 60x40 pixels are too few for --crop_size 50"),
        ("single", {"preprocess": "scale_width", "batch_size": 2}, r"--batch_size 2 .* becomes 36x27.*becomes 36x24"),
        ("single", {"preprocess": "none", "batch_size": 2}, r"becomes 80x60.*becomes 60x40"),
    ],
)
def test_what_cannot_work_is_refused(mode: str, options: dict[str, Any], words: str, tmp_path: Path) -> None:
    save(tmp_path / "a.png", 80, 60)
    save(tmp_path / "b.png", 60, 40)
    save(tmp_path / "c.png", 80, 60)
    assert check(mode, tmp_path)
    with pytest.raises(ValueError, match=words):
        check(mode, tmp_path, **options)


def test_a_broken_first_or_middle_file_is_refused(tmp_path: Path) -> None:
    for name in "abc":
        save(tmp_path / f"{name}.png", 40, 40)
    (tmp_path / "b.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"b\.png: cannot be read"):
        check("single", tmp_path)


def test_other_kinds_of_files_and_stacks_are_reported(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    save(root / "1.png", 40, 40)
    for name in ("a.dcm", "b.dcm", "notes.txt"):
        (root / name).touch()
    (line,) = check("single", root)
    assert line.startswith(f"{root}: 2 .dcm files are not read (DICOM: ")
    stack = tmp_path / "stacks" / "x.tif"
    stack.parent.mkdir()
    tifffile.imwrite(stack, np.zeros((3, 40, 40), np.uint16), imagej=True, metadata={"axes": "ZYX"})
    (line,) = check("single", stack.parent)
    assert line == f"{stack}: 3 slices (axis Z) are taken as channels; 1 of 1 files looked at are like this"

"""Squares from labelled photos: pixels, skipped files, going on, division, and tar files."""

import csv
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.class_folder_dataset import ClassFolderDataset, ClassFolderOptions
from datasets import prepare_class_folder
from datasets.prepare_class_folder import target_names
from scripts.prepare_class_folder import main

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def save(file: Path, width: int = 20, height: int = 20, colour: Any = RED, mode: str = "RGB", **extra: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (width, height), colour).save(file, **extra)


def run(*words: object) -> int:
    return main([str(word) for word in words])


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        assert picture.mode == "RGB"
        return np.asarray(picture).astype(int)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes with a sound file, and one of everything else."""
    root = tmp_path / "photos"
    save(root / "cat" / "1.JPEG", 40, 20)
    save(root / "cat" / "deep" / "2.png")
    save(root / "dog" / "grey.bmp", colour=90, mode="L")
    save(root / "dog" / "small.png", 15, 40)
    (root / "dog" / "cut.jpg").write_bytes((root / "cat" / "1.JPEG").read_bytes()[:300])
    (root / "dog" / "notes.txt").write_text("not an image")
    (root / "dog" / ".DS_Store").write_text("hidden")
    (root / "void").mkdir()
    return root


def test_squares_labels_and_what_is_skipped(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(photos, out, "--size", 16) == 0
    made = ["train/cat/1.JPEG", "train/cat/deep/2.png", "train/dog/grey.png"]
    assert files(out) == sorted(["dirname_to_label.txt", "skipped.csv", *made])
    assert all(pixels(out / name).shape == (16, 16, 3) for name in made)
    assert (pixels(out / "train/dog/grey.png") == 90).all()
    assert (out / "dirname_to_label.txt").read_text() == "cat 0\ndog 1\n"
    rows = list(csv.DictReader(io.StringIO((out / "skipped.csv").read_text())))
    assert {(row["phase"], row["class"], row["file"], row["reason"]) for row in rows} == {
        ("train", "dog", "small.png", "too small"),
        ("train", "dog", "cut.jpg", "unreadable"),
        ("train", "dog", "notes.txt", "no image"),
    }
    said = capsys.readouterr()
    assert "3 made, 0 there already, 3 skipped (" in said.out and "skipped of train/dog: 1 " in said.out
    assert "warning: some files were skipped" in said.err
    options = ClassFolderOptions(dataroot=str(out), class_map=str(out / "dirname_to_label.txt"))
    assert ClassFolderDataset(options, input_nc=3, output_nc=3).class_names == ("cat", "dog")


def test_the_middle_third_is_kept_upright_and_opaque(tmp_path: Path) -> None:
    stripes = np.zeros((30, 90, 3), np.uint8)
    stripes[:, :30], stripes[:, 30:60], stripes[:, 60:] = RED, GREEN, BLUE
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    source = tmp_path / "photos" / "a"
    source.mkdir(parents=True)
    stripes[15:, 30:60] = BLUE
    Image.fromarray(stripes).save(source / "turned.png", exif=exif)
    save(source / "clear.png", colour=(0, 0, 0, 0), mode="RGBA")
    save(source / "print.jpg", colour=(0, 0, 0, 0), mode="CMYK")
    Image.fromarray(np.full((20, 20), 65535, np.uint16)).save(source / "deep.png")
    assert run(tmp_path / "photos", tmp_path / "out", "--size", 30, "--min_size", 0) == 0
    out = tmp_path / "out" / "train" / "a"
    turned = pixels(out / "turned.png")
    assert (turned[:15] == BLUE).all() and (turned[15:] == GREEN).all()
    for name in ("clear.png", "print.jpg", "deep.png"):
        assert (pixels(out / name) >= 254).all()


def test_format_and_quality(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    source = tmp_path / "photos" / "a"
    source.mkdir(parents=True)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(source / "x.bmp")
    sizes = []
    for quality in (95, 30):
        assert (
            run(tmp_path / "photos", tmp_path / f"q{quality}", "--size", 64, "--format", "jpeg", "--quality", quality)
            == 0
        )
        file = tmp_path / f"q{quality}" / "train" / "a" / "x.jpg"
        with Image.open(file) as picture:
            assert picture.format == "JPEG"
        sizes.append(file.stat().st_size)
    assert sizes[0] > 2 * sizes[1]
    assert run(tmp_path / "photos", tmp_path / "png", "--keep_small") == 0
    assert pixels(tmp_path / "png" / "train" / "a" / "x.png").shape == (256, 256, 3)


def test_no_two_files_get_one_name() -> None:
    assert target_names(["a.bmp", "a.png", "a.tif", "b.JPEG"], "keep") == {
        "a.bmp": "a.bmp.png",
        "a.png": "a.png",
        "a.tif": "a.tif.png",
        "b.JPEG": "b.JPEG",
    }
    assert target_names(["a.png", "a.webp"], "jpeg") == {"a.png": "a.jpg", "a.webp": "a.webp.jpg"}


def test_a_second_call_goes_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    real = prepare_class_folder.square
    calls: list[int] = []

    def stop_at_second(*arguments: Any) -> Image.Image:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(prepare_class_folder, "square", stop_at_second)
    assert run(photos, out, "--size", 16, "--workers", 1) == 130
    monkeypatch.setattr(prepare_class_folder, "square", real)
    first = out / "train" / "cat" / "1.JPEG"
    before = first.stat().st_mtime_ns
    assert run(photos, out, "--size", 16) == 0
    assert "there already" in (said := capsys.readouterr().out) and " 0 there already" not in said
    assert first.stat().st_mtime_ns == before
    first.write_bytes(first.read_bytes()[:400])  # not whole any more
    assert run(photos, out, "--size", 16) == 0
    assert "1 made, 2 there already" in capsys.readouterr().out
    assert not list(out.rglob(".*"))


def test_phases_are_kept_or_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(40):
        save(tmp_path / "flat" / "a" / f"{number}.png")
    assert run(tmp_path / "flat", tmp_path / "out", "--size", 8, "--val_fraction", 0.25) == 0
    val = {file.name for file in (tmp_path / "out" / "val" / "a").iterdir()}
    train = {file.name for file in (tmp_path / "out" / "train" / "a").iterdir()}
    assert len(train | val) == 40 and not train & val and 3 <= len(val) <= 18
    save(tmp_path / "flat" / "a" / "more.png")
    save(tmp_path / "flat" / "b" / "0.png")
    assert run(tmp_path / "flat", tmp_path / "again", "--size", 8, "--val_fraction", 0.25) == 0
    assert {file.name for file in (tmp_path / "again" / "val" / "a").iterdir()} - {"more.png"} == val
    assert run(tmp_path / "out", tmp_path / "kept", "--size", 4) == 0  # IN with phases
    assert {name for name in files(tmp_path / "kept") if name.endswith("png")} == {
        name for name in files(tmp_path / "out") if name.endswith("png")
    }
    assert run(tmp_path / "out", tmp_path / "kept2", "--phase", "test") == 2
    assert "has the phases train, val already" in capsys.readouterr().err
    assert run(tmp_path / "out" / "val", tmp_path / "kept", "--size", 4, "--phase", "test") == 0
    assert len(files(tmp_path / "kept" / "test")) == len(val)


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def test_a_tar_file_of_a_tar_file_a_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "1.JPEG")
    image = (tmp_path / "1.JPEG").read_bytes()

    def of_class(*names: str) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name in names:
                add(tar, name, image)
        return buffer.getvalue()

    whole = of_class(*(f"n02_{number}.JPEG" for number in range(20)))
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        add(tar, "n01.tar", of_class("n01_1.JPEG", "../../n01_2.JPEG", "..", ".hidden.JPEG"))
        add(tar, "x/n02.tar", whole)
        add(tar, "../...tar", whole)
        add(tar, "n03.tar", b"no tar file")
        add(tar, "readme.txt", b"?")
    out = tmp_path / "deep" / "out"
    assert run(tmp_path / "all.tar", out, "--size", 16) == 0
    assert files(tmp_path / "deep") == sorted(
        ["out/dirname_to_label.txt", "out/skipped.csv", "out/train/n01/n01_1.JPEG", "out/train/n01/n01_2.JPEG"]
        + [f"out/train/n02/n02_{number}.JPEG" for number in range(20)]
    )
    assert (out / "skipped.csv").read_text().splitlines()[1:] == ["train,n03,n03.tar,unreadable"]
    assert run(tmp_path / "all.tar", out, "--size", 16) == 0
    assert "0 made, 22 there already" in capsys.readouterr().out
    (tmp_path / "cut.tar").write_bytes((tmp_path / "all.tar").read_bytes()[:5000])
    with tarfile.open(tmp_path / "flat.tar", "w") as tar:
        add(tar, "a/1.JPEG", image)
    for name, words in (
        ("cut", "uncompressed tar file"),
        ("flat", "no .tar file per class: unpack it"),
        ("1", "tar file"),
    ):
        file = tmp_path / ("1.JPEG" if name == "1" else f"{name}.tar")
        assert run(file, tmp_path / "none") == 2
        error = capsys.readouterr().err
        assert words in error and str(file) in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--size", "0"], "--size 0: give a number from 1"),
        (["--quality", "101"], "--quality 101"),
        (["--workers", "0"], "--workers 0"),
        (["--val_fraction", "1"], "--val_fraction 1"),
        (["--val_fraction", "0.1", "--phase", "val"], "--phase val does not: give one"),
        (["--phase", "../x"], "--phase ../x"),
        (["--keep_small", "--min_size", "9"], "--min_size 9 skips small pictures"),
    ],
)
def test_bad_flags(flags: list[str], words: str, photos: Path, tmp_path: Path, capsys: Any) -> None:
    assert run(photos, tmp_path / "out", *flags) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_bad_folders(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "void").mkdir()
    save(tmp_path / "loose" / "1.png")
    for source, out, words in (
        (tmp_path / "gone", "out", "there is no such folder or file"),
        (tmp_path / "void", "out", "no class folders with files; "),
        (tmp_path / "loose", "out", "has 1 file"),
        (photos, photos / "out", "lies in IN"),
        (photos, photos, "lies in IN"),
        (photos, photos / ".." / "loose" / "1.png", "is a file"),
        (photos / "dog", "out", "no class folders"),
        (photos, "out", "none of 6 files became a square: 4 too small"),  # of 256 pixels
    ):
        assert run(source, tmp_path / out) == 2
        assert words in capsys.readouterr().err
    assert files(tmp_path / "out") == ["skipped.csv"]


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder)}


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_another_division_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A picture in val as well as in train would be measured on what was learnt."""
    flat, out = tmp_path / "flat", tmp_path / "out"
    for number in range(40):
        save(flat / "a" / f"{number}.bmp")
    assert run(flat, out, "--size", 8, "--val_fraction", 0.25) == 0
    before = contents(out)
    val = {file.name for file in (out / "val" / "a").iterdir()}
    save(flat / "a" / "late.bmp")
    for fraction, count in ((0.6, None), (0, len(val))):
        capsys.readouterr()
        assert run(flat, out, "--size", 8, "--val_fraction", fraction) == 2
        error = complaint(capsys)
        assert f"--val_fraction {fraction}: " in error and "give the --val_fraction of the first call" in error
        assert count is None or f": {count} files of {out} would be in two phases, such as val/a/" in error
        assert contents(out) == before
    assert run(flat, out, "--size", 8, "--val_fraction", 0.6, "--format", "jpeg") == 2  # under another name, too
    assert "would be in two phases, such as train/a/" in complaint(capsys) and contents(out) == before
    assert run(flat, out, "--size", 8, "--val_fraction", 0.25) == 0  # the same fraction goes on
    assert len(contents(out)) == len(before) + 1


def test_equal_names_in_phases_that_were_named_are_other_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "mine" / "a" / "1.png")
    save(tmp_path / "others" / "a" / "1.png", colour=BLUE)
    out = tmp_path / "out"
    assert run(tmp_path / "others", out, "--size", 8, "--phase", "val") == 0
    assert run(tmp_path / "mine", out, "--size", 8) == 2
    assert "--phase train, if these are other pictures of the same names" in complaint(capsys)
    assert run(tmp_path / "mine", out, "--size", 8, "--phase", "train") == 0
    assert (pixels(out / "train/a/1.png")[0, 0].tolist(), pixels(out / "val/a/1.png")[0, 0].tolist()) == (
        list(RED),
        list(BLUE),
    )
    assert run(out, tmp_path / "copy", "--size", 8) == 0
    assert run(out, tmp_path / "copy", "--size", 8) == 0


def test_another_format_does_not_put_a_second_square_beside_the_first(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(photos, out, "--size", 16) == 0  # cat/1.JPEG, cat/deep/2.png, dog/grey.png
    before = contents(out)
    capsys.readouterr()
    for kind, count, name in (("png", 1, "train/cat/1.JPEG"), ("jpeg", 2, "train/cat/deep/2.png")):
        assert run(photos, out, "--size", 16, "--format", kind) == 2
        error = complaint(capsys)
        assert f"--format {kind}: {count} file" in error and f"in two formats, such as {name}: " in error
        assert contents(out) == before
    save(photos / "cat" / "1.png")  # a picture of its own
    assert run(photos, out, "--size", 16) == 0
    assert {"train/cat/1.JPEG", "train/cat/1.png"} < contents(out).keys()


def test_another_division_of_a_tar_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "1.JPEG")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number in range(20):
            add(tar, f"{number}.JPEG", (tmp_path / "1.JPEG").read_bytes())
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        add(tar, "n01.tar", buffer.getvalue())
    out = tmp_path / "out"
    assert run(tmp_path / "all.tar", out, "--size", 8) == 0
    before = contents(out)
    assert run(tmp_path / "all.tar", out, "--size", 8, "--val_fraction", 0.5) == 2
    assert "would be in two phases, such as train/n01/" in capsys.readouterr().err and contents(out) == before

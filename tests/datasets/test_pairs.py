"""Making pairs: combine_A_and_B, make_dataset_aligned, prepare_cityscapes_dataset."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import combine_A_and_B, make_dataset_aligned, prepare_cityscapes_dataset
from datasets.pairs import resize, side_by_side
from util.images.io import Picture, read_image


def save(path: Path, value: int, size: tuple[int, int] = (8, 6), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = value if mode in ("L", "I;16") else (value, value // 2, 255 - value, 255)[: len(mode)]
    Image.new(mode, size, colour).save(path)
    return path


def combine(root: Path, *more: str) -> int:
    folders = ["--fold_A", str(root / "A"), "--fold_B", str(root / "B"), "--fold_AB", str(root / "AB")]
    return combine_A_and_B.main([*folders, *more])


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_combine_matches_by_stem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in (("train/1.png", 10), ("train/2.bmp", 20), ("test/1.PNG", 30), ("train/only_a.png", 0)):
        save(tmp_path / "A" / name, value)
    for name, value in (("train/1.png", 110), ("train/2.png", 120), ("test/1.png", 130), ("val/only_b.png", 0)):
        save(tmp_path / "B" / name, value)
    assert combine(tmp_path) == 0
    assert files(tmp_path / "AB") == ["test/1.PNG", "train/1.png", "train/2.png"]
    pair = np.asarray(Image.open(tmp_path / "AB" / "train" / "2.png"))
    assert pair.shape == (6, 16, 3)
    assert (pair[:, :8] == (20, 10, 235)).all()
    assert (pair[:, 8:] == (120, 60, 135)).all()
    said = capsys.readouterr()
    assert "2 files without a partner" in said.err
    assert "only_a.png" in said.err
    assert "only_b.png" in said.err
    assert "3 of 3 pairs written" in said.out


@pytest.mark.parametrize("flags", [["--no_multiprocessing"], []])
def test_combine_use_ab(flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both sides may lie in one folder."""
    for name, value in (("train/x_A.png", 10), ("train/x_B.png", 20), ("train/y_A.png", 30), ("train/y_B.png", 40)):
        save(tmp_path / "all" / name, value)
    folder, target = str(tmp_path / "all"), tmp_path / "AB"
    arguments = ["--fold_A", folder, "--fold_B", folder, "--fold_AB", str(target), *flags]
    assert combine_A_and_B.main(arguments) == 2  # every file with itself is not meant
    assert "--use_AB" in capsys.readouterr().err
    assert combine_A_and_B.main([*arguments, "--use_AB"]) == 0
    assert files(target) == ["train/x.png", "train/y.png"]
    assert "partner" not in capsys.readouterr().err
    assert np.asarray(Image.open(target / "train" / "y.png"))[0, [0, 15], 0].tolist() == [30, 40]


def test_combine_num_imgs_counts_each_split(tmp_path: Path) -> None:
    for side in "AB":
        for name in ("train/1.png", "train/2.png", "train/10.png", "test/7.png"):
            save(tmp_path / side / name, 1)
    assert combine(tmp_path, "--num_imgs", "2") == 0
    assert files(tmp_path / "AB") == ["test/7.png", "train/1.png", "train/2.png"]  # natural order: 10 is the third


def test_combine_refuses_other_sizes_unless_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "A" / "1.png", 10)
    save(tmp_path / "A" / "2.png", 10)
    save(tmp_path / "B" / "1.png", 110)
    save(tmp_path / "B" / "2.png", 110, size=(4, 3))
    assert combine(tmp_path) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "8x6" in error
    assert "4x3" in error
    assert "--resize" in error
    assert not (tmp_path / "AB").exists()
    assert combine(tmp_path, "--resize", "nearest") == 0
    assert (np.asarray(Image.open(tmp_path / "AB" / "2.png"))[:, 8:] == (110, 55, 145)).all()


def test_combine_reports_broken_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for side in "AB":
        save(tmp_path / side / "1.png", 10)
        save(tmp_path / side / "2.png", 10, size=(64, 64))
    broken = tmp_path / "B" / "2.png"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(broken)
    broken.write_bytes(broken.read_bytes()[:6000])
    assert combine(tmp_path) == 1
    said = capsys.readouterr()
    assert str(broken) in said.err
    assert "1 of 2 pairs written" in said.out
    assert files(tmp_path / "AB") == ["1.png"]


def test_combine_keeps_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for side in "AB":
        save(tmp_path / side / "1.png", 10)
    (tmp_path / "AB").mkdir()
    (tmp_path / "AB" / "1.png").write_bytes(b"mine")
    assert combine(tmp_path) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "AB" / "1.png").read_bytes() == b"mine"
    assert combine(tmp_path, "--overwrite") == 0
    assert Image.open(tmp_path / "AB" / "1.png").size == (16, 6)


def test_combine_without_pairs_says_what_it_saw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "A" / "train" / "a.png", 10)
    save(tmp_path / "B" / "train" / "b.png", 10)
    assert combine(tmp_path) == 2
    error = capsys.readouterr().err
    assert "no pairs" in error
    assert "a.png" in error
    assert combine(tmp_path / "nowhere") == 2
    assert "there is no such folder" in capsys.readouterr().err


def test_combine_keeps_16_bit(tmp_path: Path) -> None:
    for side, value in (("A", 1000), ("B", 60001)):
        save(tmp_path / side / "1.png", value, mode="I;16")
    assert combine(tmp_path) == 0
    pair = read_image(tmp_path / "AB" / "1.png")
    assert pair.format == "uint16"
    assert pair.array[0, [0, 15], 0].tolist() == [1000, 60001]


def test_jpeg_pair_has_no_colour_subsampling(tmp_path: Path) -> None:
    """A red and a blue column beside each other stay apart, as they do not with half the colour resolution."""
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 255
    for side in "AB":
        (tmp_path / side).mkdir()
        Image.fromarray(stripes).save(tmp_path / side / "1.jpg", quality=100, subsampling=0)
    assert combine(tmp_path) == 0
    pair = np.asarray(Image.open(tmp_path / "AB" / "1.jpg")).astype(int)
    assert np.abs(pair[:, :16] - stripes).max() < 12


def test_side_by_side_finds_a_common_form() -> None:
    def plain(value: int, channels: int, alpha: bool = False) -> Picture:
        return Picture(np.full((2, 3, channels), value, np.uint8), "uint8", alpha)

    grey, colour, clear, bands = plain(7, 1), plain(9, 3), plain(5, 4, alpha=True), plain(4, 4)
    assert side_by_side(grey, colour, "x").array[0].tolist() == [[7, 7, 7]] * 3 + [[9, 9, 9]] * 3
    assert side_by_side(clear, grey, "x").array[0].tolist() == [[5, 5, 5]] * 3 + [[7, 7, 7]] * 3
    for side in (clear, bands):
        pair = side_by_side(side, side, "x")
        assert (pair.array.shape, pair.alpha) == ((2, 6, 4), side.alpha)
    with pytest.raises(ValueError, match="uint8 and uint16"):
        side_by_side(grey, Picture(grey.array.astype(np.uint16), "uint16"), "x")
    with pytest.raises(ValueError, match="3 and 7 channels"):
        side_by_side(colour, plain(0, 7), "x")
    with pytest.raises(ValueError, match="4 and 3 channels"):  # a fourth band is no opacity that could be left out
        side_by_side(bands, colour, "x")


def test_resize_keeps_range_and_type() -> None:
    edge = np.zeros((4, 4, 1), np.uint16)
    edge[:, 2:] = 65535
    wide = resize(edge, 8, 8, "bicubic")
    assert (wide.dtype, wide.min(), wide.max()) == (np.uint16, 0, 65535)  # the overshoot of bicubic is cut
    assert sorted(np.unique(resize(edge, 8, 8, "nearest"))) == [0, 65535]


# --- make_dataset_aligned ---------------------------------------------------------------------------------------------


def test_aligned_by_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for side, first in (("A", "a"), ("B", "b")):
        for number in (1, 2, 10):
            save(tmp_path / f"train{side}" / f"{first}{number}.png", 10 * number + (100 if side == "B" else 0))
        save(tmp_path / f"test{side}" / "x.png", 50)
    assert make_dataset_aligned.main(["--dataset-path", str(tmp_path)]) == 0
    assert files(tmp_path / "train") == ["0000.jpg", "0001.jpg", "0002.jpg"]
    assert files(tmp_path / "test") == ["0000.jpg"]
    last = np.asarray(Image.open(tmp_path / "train" / "0002.jpg")).astype(int)
    assert abs(last[3, 3, 0] - 100) <= 2
    assert abs(last[3, 12, 0] - 200) <= 2
    out = capsys.readouterr().out
    assert "3 pairs, matched by order" in out
    assert "1 pair, matched by name" in out
    assert make_dataset_aligned.main(["--dataset-path", str(tmp_path)]) == 2
    assert "exists" in capsys.readouterr().err


def test_aligned_prefers_names(tmp_path: Path) -> None:
    """Letter case changes the order of one side only; the names still tell the partners."""
    for name, value in (("b", 10), ("C", 20)):
        save(tmp_path / "trainA" / f"{name}.png", value)
    for name, value in (("b", 110), ("C", 120), ("A", 0)):
        save(tmp_path / "trainB" / f"{name}.jpg", value)
    (tmp_path / "trainB" / "A.jpg").unlink()
    assert make_dataset_aligned.main(["--dataset-path", str(tmp_path)]) == 0
    for name in files(tmp_path / "train"):
        pair = np.asarray(Image.open(tmp_path / "train" / name)).astype(int)
        assert pair[3, 12, 0] - pair[3, 3, 0] == pytest.approx(100, abs=3)


@pytest.mark.parametrize("problem", ["count", "size", "missing", "empty"])
def test_aligned_failure_leaves_nothing(problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if problem != "empty":
        for side in "AB":
            for phase in ("train", "test"):
                save(tmp_path / f"{phase}{side}" / "1.png", 10)
    if problem == "count":
        save(tmp_path / "testA" / "2.png", 10)
    elif problem == "size":
        save(tmp_path / "testA" / "1.png", 10, size=(9, 6))
    elif problem == "missing":
        (tmp_path / "testB" / "1.png").unlink()
        (tmp_path / "testB").rmdir()
    before = files(tmp_path)
    assert make_dataset_aligned.main(["--dataset-path", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert files(tmp_path) == before


# --- prepare_cityscapes_dataset ---------------------------------------------------------------------------------------


def cityscapes(root: Path, *, leave_out: str = "") -> list[str]:
    for phase, frames in (("train", ("aachen_000001_000019", "aachen_000010_000019")), ("val", ("ulm_1_2",))):
        for frame in frames:
            city = frame.split("_")[0]
            if frame != leave_out:
                save(root / "gtFine" / phase / city / f"{frame}_gtFine_color.png", 200, (64, 32), "RGBA")
            save(root / "gtFine" / phase / city / f"{frame}_gtFine_labelIds.png", 3, (64, 32), "L")
            save(root / "leftImg8bit" / phase / city / f"{frame}_leftImg8bit.png", 40, (64, 32))
    folders = ["--gtFine_dir", str(root / "gtFine"), "--leftImg8bit_dir", str(root / "leftImg8bit")]
    return [*folders, "--output_dir", str(root / "out")]


def test_cityscapes_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = cityscapes(tmp_path)
    assert prepare_cityscapes_dataset.main(arguments) == 0
    assert files(tmp_path / "out") == ["test/0.jpg", "train/0.jpg", "train/1.jpg"]
    pair = np.asarray(Image.open(tmp_path / "out" / "train" / "0.jpg")).astype(int)
    assert pair.shape == (256, 512, 3)
    assert np.abs(pair[128, 100] - (40, 20, 215)).max() <= 2  # photo left
    assert np.abs(pair[128, 400] - (200, 100, 55)).max() <= 2
    assert "2 pairs" in capsys.readouterr().out
    assert prepare_cityscapes_dataset.main(arguments) == 2
    assert "exists" in capsys.readouterr().err


def test_cityscapes_wants_both_sides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare_cityscapes_dataset.main(cityscapes(tmp_path, leave_out="aachen_000010_000019")) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "aachen/aachen_000010_000019" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("module", [combine_A_and_B, make_dataset_aligned, prepare_cityscapes_dataset])
def test_unknown_flag_is_one_line(module: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert module.main(["--nonsense", "1"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "unknown option --nonsense" in error
    assert module.main([]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "required: --" in error

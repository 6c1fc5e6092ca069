"""Finding and ordering files."""

from pathlib import Path

import pytest

from util.images.folder import left_out, natural_key, require_images, scan, stem


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_natural_order_through_folders(tmp_path: Path) -> None:
    touch(tmp_path, "img10.png", "img2.PNG", "img1.jpeg", "sub2/7.tif", "sub10/1.npy", "b.webp")
    touch(tmp_path, ".hidden.png", ".cache/x.png", "notes.txt", "Thumbs.db")
    names = [str(Path(path).relative_to(tmp_path)) for path in scan(tmp_path)]
    assert names == ["b.webp", "img1.jpeg", "img2.PNG", "img10.png", "sub2/7.tif", "sub10/1.npy"]


def test_max_size_is_taken_after_sorting(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{number}.png" for number in range(20, 0, -1)))
    assert [Path(path).name for path in scan(tmp_path, 3)] == ["1.png", "2.png", "3.png"]


def test_equal_numbers_have_an_order() -> None:
    assert sorted(["01", "1", "001"], key=natural_key) == sorted(["1", "001", "01"], key=natural_key)
    assert sorted(["a", "1", "2b"], key=natural_key) == ["1", "2b", "a"]


def test_linked_folders_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/1.png", "data/2.png")
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "circle").symlink_to(tmp_path / "data")
    assert [Path(path).name for path in scan(tmp_path / "data")] == ["2.png", "1.png"]


def test_missing_and_empty_folders_say_what_is_there(tmp_path: Path) -> None:
    touch(tmp_path, "trainA/1.png", "trainB/1.png", "empty/readme.txt")
    with pytest.raises(FileNotFoundError, match=r"--phase val: there is no folder .*val; .* has the folders .*trainA"):
        require_images(tmp_path / "val", flags="--phase val")
    with pytest.raises(FileNotFoundError, match=r"no images \(jpg .*\) in .*empty; .* has 1 file$"):
        require_images(tmp_path / "empty", flags="--phase empty")


def test_stem_keeps_dots_and_folders(tmp_path: Path) -> None:
    assert stem(str(tmp_path / "a" / "frame.001.png"), tmp_path) == "a/frame.001"


def test_a_link_to_a_folder_of_a_similar_name_is_followed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data2").mkdir()
    (tmp_path / "data" / "a.png").touch()
    (tmp_path / "data2" / "b.png").touch()
    (tmp_path / "data2" / "link").symlink_to(tmp_path / "data")
    (tmp_path / "data2" / "circle").symlink_to(tmp_path / "data2")
    assert [Path(path).name for path in scan(tmp_path / "data2")] == ["b.png", "a.png"]


def test_what_is_left_out_is_counted_by_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "2.JPG", "notes.txt", "a.json", ".hidden.dcm", "archive.zip", "Thumbs.db", "below/3.dcm")
    assert left_out([tmp_path]) == ""
    touch(tmp_path, "1.dcm", "2.DCM")
    assert (
        left_out([tmp_path])
        == "2 .dcm files are not read (DICOM: save the slices as 16-bit TIFF with their values in HU)"
    )
    assert left_out([tmp_path, tmp_path / "below"]).startswith("3 .dcm files are not read (DICOM")
    touch(tmp_path, "x.nii.gz", "scan", "y.xyz")
    line = left_out([tmp_path])
    assert line.startswith("2 .dcm, 1 without a suffix, 1 .nii.gz, 1 .xyz files are not read (DICOM: ")
    assert "; volumes: save their slices" in line and "\n" not in line


def test_one_file_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.heic")
    assert left_out([tmp_path]) == "1 .heic file is not read (HEIF: convert them to PNG or JPEG)"


def test_a_folder_of_other_kinds_says_what_to_do(tmp_path: Path) -> None:
    touch(tmp_path, "patient1/1.dcm", "patient2/1.dcm")
    with pytest.raises(FileNotFoundError, match=r"no images .*patient1.*; 2 \.dcm files are not read \(DICOM: save"):
        require_images(tmp_path, flags="--dataroot x")


def test_kinds_that_were_left_out_before_are_found(tmp_path: Path) -> None:
    names = [f"x.{suffix}" for suffix in ("avif", "gif", "jfif", "jp2", "jxl", "pgm", "pnm", "tga")]
    touch(tmp_path, *names, "0.png")
    assert [Path(path).name for path in scan(tmp_path)] == ["0.png", *names]
    assert left_out([tmp_path]) == ""

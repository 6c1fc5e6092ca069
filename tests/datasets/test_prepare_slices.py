"""prepare_slices.py: what it writes, who comes into which phase, and what it leaves out."""

from __future__ import annotations

import csv
import json
import random
import shutil
import sys
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

from datasets.prepare_slices import main
from tests.drawn_volumes import head, write_dicom, write_nifti
from util.images.io import read_header, read_image
from util.volumes import files
from util.volumes.grid import Volume

PYDICOM = Path(pydicom.__file__).parent / "data/test_files"
NIBABEL = Path(nibabel.__file__).parent / "tests/data"


def rows_of(out: Path) -> list[dict[str, str]]:
    with open(out / "slices.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run(*words: object) -> int:
    return main([str(word) for word in words])


def patients(folder: Path, names: list[str], kind: str, *, size: int = 16) -> Path:
    """A folder with one NIfTI per patient: folder/NAME/KIND.nii.gz."""
    for number, name in enumerate(names):
        mr, ct = head(size, seed=number)
        write_nifti(folder / name / f"{kind}.nii.gz", ct if kind == "ct" else mr)
    return folder


def test_packaged_ct_is_int16_in_hounsfield_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(PYDICOM / "CT_small.dcm", "--out", tmp_path / "out") == 0
    (row,) = rows_of(tmp_path / "out")
    picture = read_image(tmp_path / "out" / row["file"])
    assert picture.array.dtype == np.int16
    assert picture.array.shape == (128, 128, 1)
    assert (picture.array.min(), picture.array.max()) == (-896, 1167)
    assert (row["patient"], row["phase"], row["view"], row["position_mm"]) == ("1CT1", "train", "axial", "-75.7")
    assert (row["spacing_x"], row["spacing_y"], row["low"], row["high"]) == ("0.661468", "0.661468", "-896", "1167")
    volume = json.loads((tmp_path / "out/volumes.jsonl").read_text())
    assert (volume["unit"], volume["modality"], volume["spacing_mm"][2]) == ("HU", "CT", 5.0)
    assert "all slices are of one patient (1CT1)" in capsys.readouterr().err


def test_packaged_head_has_25_axial_slices(tmp_path: Path) -> None:
    assert run(NIBABEL / "anatomical.nii", "--out", tmp_path / "out") == 0
    rows = rows_of(tmp_path / "out")
    assert len(rows) == 25
    assert [float(row["position_mm"]) for row in rows] == [-16 + 2 * k for k in range(25)]
    header = read_header(tmp_path / "out" / rows[0]["file"])
    assert (header.width, header.height, header.format) == (33, 41, "int16")
    with Image.open(tmp_path / "out_sheet.png") as sheet:
        assert sheet.mode == "RGB"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "slices.csv",
        "slices.json",
        "volumes.jsonl",
        "train",
    }


@pytest.mark.parametrize("seed", range(4))
def test_no_patient_is_in_two_phases(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    names = [f"p{number}" for number in range(9)]
    rng.shuffle(names)
    source = tmp_path / "in"
    for number, name in enumerate(names):
        for visit in range(rng.randrange(1, 3)):
            write_nifti(source / name / f"visit{visit}.nii", head(8, 3, seed=10 * number + visit)[0])
    shares = ["--val_fraction", "0.2", "--test_fraction", "0.3", "--seed", seed]
    # In two calls for one side, then all at once for the other.
    for side, parts in (("A", (names[:4], names[4:])), ("B", (names,))):
        for part in parts:
            assert run(*(source / name for name in part), "--patient_pattern", "/(p[0-9]+)/", "--side", side,
                       "--out", tmp_path / "out", *shares) in (0, 1)  # fmt: skip
    phases: dict[str, set[str]] = {}
    for row in rows_of(tmp_path / "out"):
        assert row["file"].startswith(f"{row['phase']}{row['side']}/")
        phases.setdefault(row["patient"], set()).add(row["phase"])
    assert set(phases) == set(names)
    assert all(len(found) == 1 for found in phases.values())
    assert set.union(*phases.values()) == {"train", "val", "test"}


def test_a_phase_given_by_hand_cannot_take_a_patient_of_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patients(tmp_path / "a", ["p1", "p2"], "mr")
    assert run(tmp_path / "a", "--out", tmp_path / "out", "--phase", "train") == 0
    write_nifti(tmp_path / "b/p2/later.nii", head(seed=7)[0])
    write_nifti(tmp_path / "b/p3/later.nii", head(seed=8)[0])
    assert run(tmp_path / "b", "--out", tmp_path / "out", "--phase", "test") == 2
    assert "has patient p2 in phase train already" in capsys.readouterr().err
    assert {row["phase"] for row in rows_of(tmp_path / "out")} == {"train"}


def test_equal_voxels_of_two_patients_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("p1", "p2"):
        write_nifti(tmp_path / "in" / name / "a.nii", head(seed=1)[0])
    assert run(tmp_path / "in", "--out", tmp_path / "out") == 1
    assert "of patient p1: one of the names is wrong" in capsys.readouterr().err
    assert {row["patient"] for row in rows_of(tmp_path / "out")} == {"p1"}
    assert run(tmp_path / "in/p1", "--out", tmp_path / "out") == 2  # there already
    assert len(rows_of(tmp_path / "out")) == 6


def test_pairs_lie_under_equal_names_and_train_flags_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["p1", "p2", "p3"]
    mr, ct = patients(tmp_path / "mr", names, "mr"), patients(tmp_path / "ct", names, "ct")
    assert run(mr, "--pair_with", ct, "--out", tmp_path / "out", "--pair_window=-500,300") == 0
    rows = rows_of(tmp_path / "out")
    names_of = {side: {row["file"].replace(f"/{side}/", "/") for row in rows if row["side"] == side} for side in "AB"}
    assert names_of["A"] == names_of["B"]
    assert len(names_of["A"]) == 18
    row = next(row for row in rows if row["side"] == "B" and row["patient"] == "p2" and row["index"] == "3")
    picture = read_image(tmp_path / "out" / row["file"])
    # Stored from the left: columns stay, rows turn over.
    expected = head(seed=1)[1][:, ::-1, 3].T.clip(-500, 300)
    assert (picture.array[:, :, 0] == expected).all()
    assert "--model pix2pix --input_nc 1 --value_range_A=0," in (printed := capsys.readouterr().out)
    assert "--value_range_B=-500,300" in printed


def test_pairs_on_other_grids_are_refused_with_the_tool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["p1", "p2"]
    mr, ct = patients(tmp_path / "mr", names, "mr"), patients(tmp_path / "ct", names, "ct")
    write_nifti(ct / "p2/ct.nii.gz", head(12)[1])
    write_nifti(ct / "p9/ct.nii.gz", head(12)[1])
    assert run(mr, "--pair_with", ct, "--out", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "16x16x6 voxels of 1x1x2 mm, and 12x12x6 voxels of 1x1x2 mm" in error
    assert "SimpleITK, elastix" in error
    assert "SOURCE has no volume of patient p9" in error
    assert {row["patient"] for row in rows_of(tmp_path / "out")} == {"p1"}


def test_several_volumes_of_a_patient_are_paired_by_their_grids_and_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, size in (("early", 16), ("late", 12)):
        mr, ct = head(size, seed=size)
        write_nifti(tmp_path / "mr/p1" / f"{name}.nii.gz", mr)
        write_nifti(tmp_path / "ct/p1" / f"{'late' if name == 'early' else 'early'}.nii.gz", ct)  # names mislead
    whole = []
    read_file = files.read_file

    def noted(path: Path, *, voxels: bool = True) -> Volume:
        if voxels:
            whole.append(f"{path.parent.parent.name}/{path.name}")
        return read_file(path, voxels=voxels)

    monkeypatch.setattr(files, "read_file", noted)
    assert run(tmp_path / "mr", "--pair_with", tmp_path / "ct", "--out", tmp_path / "out") == 0
    assert whole == ["mr/early.nii.gz", "ct/late.nii.gz", "mr/late.nii.gz", "ct/early.nii.gz"]
    rows = rows_of(tmp_path / "out")
    pairs = {row["volume"]: {} for row in rows}
    for row in rows:
        pairs[row["volume"]][row["side"]] = f"{Path(row['source']).parent.parent.name}/{Path(row['source']).name}"
    assert list(pairs.values()) == [
        {"A": "mr/early.nii.gz", "B": "ct/late.nii.gz"},
        {"A": "mr/late.nii.gz", "B": "ct/early.nii.gz"},
    ]
    write_nifti(tmp_path / "ct/p1/third.nii.gz", head(12)[1])
    assert run(tmp_path / "mr", "--pair_with", tmp_path / "ct", "--out", tmp_path / "new") == 2
    assert "2 volumes in SOURCE and 3 in --pair_with, and 2 volumes of these on the grid of" in capsys.readouterr().err


def test_modalities_of_one_dicom_folder_become_a_pair(tmp_path: Path) -> None:
    for kind, start in (("MR", 0), ("CT", 500)):
        for z in (0.0, 3.0):
            stored = np.arange(16, dtype=np.int16).reshape(4, 4) + start + int(z)
            rescale = {} if kind == "CT" else {"RescaleSlope": None, "RescaleIntercept": None}
            series = {"SeriesInstanceUID": f"1.2.{start}", "Modality": kind, **rescale}
            write_dicom(tmp_path / "in" / f"{kind}{z}", stored, z, **series)
    words = ["--modality", "MR", "--pair_with", tmp_path / "in", "--pair_modality", "CT", "--out", tmp_path / "out"]
    assert run(tmp_path / "in", *words) == 0
    rows = rows_of(tmp_path / "out")
    lows = {(row["side"], row["index"]): float(row["low"]) for row in rows}
    assert lows == {("A", "0"): 0, ("A", "1"): 3, ("B", "0"): 500 - 1024, ("B", "1"): 503 - 1024}


def test_broken_and_foreign_files_are_one_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in"
    patients(source, ["p1"], "mr")
    (source / "notes.txt").write_text("not a volume")
    (source / "cut.nii.gz").write_bytes((source / "p1/mr.nii.gz").read_bytes()[:99])
    (source / "IM1.dcm").write_bytes(b"\0" * 128 + b"DICM")
    shutil.copy(PYDICOM / "badVR.dcm", source)
    (source / ".hidden").write_text("passed over")
    (source / "film.exr").write_bytes(b"v/1\1")
    (source / "p1/mr.json").write_text("{}")  # BIDS
    assert run(source, "--out", tmp_path / "out") == 1
    captured = capsys.readouterr().err.splitlines()
    errors = [line for line in captured if "error" in line]
    assert len(errors) == 5
    for name in ("notes.txt: is no volume", "cut.nii.gz: ", "IM1.dcm: ", "film.exr: no package", "badVR.dcm: says"):
        assert sum(name in line for line in errors) == 1, name
    assert len(rows_of(tmp_path / "out")) == 6


def test_nodata_is_named_by_the_file(tmp_path: Path) -> None:
    stored = np.array([[-2000, 0], [24, -2000]], np.int16)
    write_dicom(tmp_path / "in/a", stored, PixelPaddingValue=-2000)
    assert run(tmp_path / "in", "--out", tmp_path / "out") == 0
    (row,) = rows_of(tmp_path / "out")
    assert read_header(tmp_path / "out" / row["file"]).nodata == -3024
    assert (row["low"], row["high"]) == ("-1024", "-1000")


def test_one_type_for_a_side(tmp_path: Path) -> None:
    small, large = np.arange(27, dtype=np.uint8).reshape(3, 3, 3), np.arange(27, dtype=np.int16).reshape(3, 3, 3) - 9
    write_nifti(tmp_path / "in/p1/a.nii", small)
    write_nifti(tmp_path / "in/p2/a.nii", large)
    assert run(tmp_path / "in", "--out", tmp_path / "out") == 0
    for row in rows_of(tmp_path / "out"):
        assert row["format"] == "int16"
        picture = read_image(tmp_path / "out" / row["file"])
        assert picture.array.dtype == np.int16
        assert picture.array.min() == float(row["low"])


def test_resampled_npy_in_another_view(tmp_path: Path) -> None:
    patients(tmp_path / "in", ["p1"], "ct")
    words = ["--view", "coronal", "--resample", "2", "--format", "npy", "--test_fraction", "0"]
    assert run(tmp_path / "in", "--out", tmp_path / "out", *words) == 0
    rows = rows_of(tmp_path / "out")
    array = np.load(tmp_path / "out" / rows[0]["file"])
    assert (len(rows), array.shape, array.dtype) == (8, (6, 8, 1), np.int16)
    assert {row["spacing_x"] for row in rows} == {"2"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--window", "5,1"], "--window 5,1: give two numbers"),
        (["--pair_bands", "1"], "without --pair_with there is no other side"),
        (["--side", "A", "--pair_with", "x"], "--pair_with makes both sides"),
        (["--phase", "a/b"], "--phase a/b: give the name of a folder"),
        (["--test_fraction", "1"], "--val_fraction and --test_fraction"),
        (["--patient_pattern", "("], "is no regular expression"),
        (["--bands", "2"], "has 1 band: --bands 2 does not exist"),
        (["--resample", "99"], "thinner than --resample 99 mm"),
    ],
)
def test_bad_flags_end_with_one_line_and_nothing_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    patients(tmp_path / "in", ["p1"], "mr")
    assert run(tmp_path / "in", "--out", tmp_path / "out", *words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_or_another_view_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patients(tmp_path / "in", ["p1"], "mr")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").touch()
    assert run(tmp_path / "in", "--out", tmp_path / "mine") == 2
    assert "was not made by this command" in capsys.readouterr().err
    assert run(tmp_path / "in", "--out", tmp_path / "out") == 0
    assert run(tmp_path / "in", "--out", tmp_path / "out", "--view", "coronal") == 2
    assert "has slices with view unset, these would have coronal" in capsys.readouterr().err
    assert run(tmp_path / "missing", "--out", tmp_path / "new") == 2
    assert "there is no such file or folder" in capsys.readouterr().err


def test_missing_package_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.mha").touch()
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    assert run(tmp_path / "a.mha", "--out", tmp_path / "out") == 2
    assert "needs the package SimpleITK for this: pip install SimpleITK" in capsys.readouterr().err
    write_dicom(tmp_path / "a.dcm", np.zeros((2, 2), np.int16))
    monkeypatch.delattr(pydicom, "pixels")
    monkeypatch.setitem(sys.modules, "pydicom.pixels", None)  # of version 2
    assert run(tmp_path / "a.dcm", "--out", tmp_path / "out") == 2
    assert "needs the package pydicom for this: pip install 'pydicom>=3.0.2'" in capsys.readouterr().err

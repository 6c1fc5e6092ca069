"""Volumes through scripts/translate.py: every voxel in its place, in the unit of the target, in files others open."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch
from numpy.typing import NDArray

import models.translation
import train
from datasets.prepare_slices import main as prepare
from models.translation import Translator
from scripts.translate import main as translate
from tests.conftest import trainable_args
from tests.drawn_volumes import head, write_dicom, write_nifti

LOW_A, HIGH_A, LOW_B, HIGH_B = 0, 1000, -1000, 1000  # two HU for each unit of MR: no ties in rounding
AFFINE = np.array([[0.0, -1.5, 0, 7], [-1.0, 0, 0, -3], [0, 0, 2, 11], [0, 0, 0, 1]])  # neither axis as in a picture


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs ``axial`` and ``coronal`` from MR to CT in HU, of one small step, and their slices."""
    folder = tmp_path_factory.mktemp("runs")
    for number in range(3):
        mr, ct = head(16, 16, seed=number)
        for kind, array in (("mr", mr), ("ct", ct)):
            write_nifti(folder / kind / f"p{number}.nii.gz", array, AFFINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for view in ("axial", "coronal"):
            words = ["mr", "--pair_with", "ct", "--pair_unit", "HU", "--out", f"{view}_slices", "--view", view]
            assert prepare(words) == 0
            flags = ["--dataroot", f"{view}_slices", "--name", view, "--model", "pix2pix", "--input_nc", "1"]
            flags += ["--output_nc", "1", f"--value_range_A={LOW_A},{HIGH_A}", f"--value_range_B={LOW_B},{HIGH_B}"]
            flags += ["--unit_B", "HU", "--clip_range", *trainable_args("pix2pix"), "--n_epochs", "1"]
            flags += ["--n_epochs_decay", "0", "--max_dataset_size", "2", "--no_html"]
            assert train.main(flags) == 0
    return folder


@pytest.fixture
def place(runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(runs)
    shutil.rmtree("out", ignore_errors=True)
    return runs


def run(*words: object) -> int:
    return translate([*map(str, words), "--gpu_ids", "-1"])


def pass_through(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Replace the network by the identity; returns the shapes that it saw."""
    seen: list[tuple[int, ...]] = []

    def identity(
        self: Translator, images: torch.Tensor, places: Sequence[int], *, seed: int | None = None
    ) -> tuple[torch.Tensor]:
        seen.append(tuple(images.shape))
        return (images,)

    monkeypatch.setattr(Translator, "translate", identity)
    return seen


def in_hu(mr: NDArray[Any]) -> NDArray[np.int16]:
    """What the identity on [-1, 1] makes of MR values."""
    share = (mr.clip(LOW_A, HIGH_A).astype(np.float64) - LOW_A) / (HIGH_A - LOW_A)
    return np.rint(LOW_B + share * (HIGH_B - LOW_B)).astype(np.int16)


def test_numbers_are_hu_on_the_grid_of_the_source(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = pass_through(monkeypatch)
    assert run("--name", "axial", "mr/p1.nii.gz", "--output", "out/ct.nii.gz") == 0
    assert {shape[1:] for shape in seen} == {(1, 16, 16)}
    assert sum(shape[0] for shape in seen) == 16
    source, found = nibabel.load("mr/p1.nii.gz"), nibabel.load("out/ct.nii.gz")
    assert found.get_data_dtype() == np.int16
    assert (found.affine == source.affine).all()
    assert int(found.header["sform_code"]) == 1
    assert bytes(found.header["descrip"]).rstrip(b"\0") == b"axial HU"
    assert (np.asarray(found.dataobj) == in_hu(np.asarray(source.dataobj))).all()
    a, b = SimpleITK.ReadImage("mr/p1.nii.gz"), SimpleITK.ReadImage("out/ct.nii.gz")
    assert b.GetPixelIDTypeAsString() == "16-bit signed integer"
    for name in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(a, name)() == getattr(b, name)()


def test_slices_go_through_the_network_in_batches(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        seen = pass_through(patch)
        words = ["--name", "axial", "mr/p1.nii.gz", "--existing", "replace", "--output", "out/a.nii", "--batch_size"]
        assert run(*words, 5) == 0
        assert [shape[0] for shape in seen] == [5, 5, 5, 1]
        del seen[:]
        patch.setattr(models.translation, "BATCH_PIXELS", 16 * 16 * 6 + 1)  # memory for six slices
        assert run(*words, 100) == 0
        assert [shape[0] for shape in seen] == [6, 6, 4]
    found = []
    for batch_size in (1, 7):
        assert run(*words, batch_size) == 0
        found.append(np.asarray(nibabel.load("out/a.nii").dataobj).astype(int))
    assert np.abs(found[0] - found[1]).max() <= 1 and np.ptp(found[0]) > 10  # products of other sizes round otherwise


def test_the_real_network_stays_in_the_range_of_the_target(place: Path) -> None:
    assert run("--name", "coronal", "mr/p0.nii.gz", "mr/p2.nii.gz", "--output", "out") == 0
    for name in ("p0", "p2"):
        found = np.asarray(nibabel.load(f"out/{name}.nii.gz").dataobj)
        assert found.shape == (16, 16, 16)
        assert LOW_B <= found.min() < found.max() <= HIGH_B


def test_views_are_averaged(place: Path) -> None:
    words = ["mr/p1.nii.gz", "--output"]
    assert run("--name", "axial", *words, "out/a.nii") == 0
    assert run("--name", "coronal", *words, "out/c.nii") == 0
    assert run("--name", "axial", "--with_runs", "coronal", *words, "out/m.nii") == 0
    a, c, mean = (np.asarray(nibabel.load(f"out/{name}.nii").dataobj).astype(float) for name in "acm")
    assert np.abs(mean - (a + c) / 2).max() <= 1
    assert np.abs(a - c).max() > 1


def test_a_dicom_series_becomes_nifti(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pass_through(monkeypatch)
    stored = np.arange(16 * 16, dtype=np.int16).reshape(16, 16)
    plain = {"RescaleSlope": None, "RescaleIntercept": None, "Modality": "MR"}
    for z in (0.0, 3.0, 6.0):
        write_dicom(place / "series" / f"I{z}", stored + int(z), z, **plain)
    assert run("--name", "axial", "series", "--output", "out") == 0
    image = SimpleITK.ReadImage("out/series.nii.gz")
    assert image.GetOrigin() == pytest.approx((10, 20, 0))
    assert image.GetSpacing() == pytest.approx((0.25, 0.5, 3))
    voxels = SimpleITK.GetArrayFromImage(image).astype(int)
    for k, z in enumerate((0, 3, 6)):
        assert (voxels[k] == in_hu(stored + z)).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mr/p1.nii.gz", "mr/p2.nii.gz", "--output", "x.nii.gz"], "a file name, but there are 2 volumes"),
        (["mr/p1.nii.gz", "--output", "x.png"], "volumes are written as .nii or .nii.gz"),
        (["mr/p1.nii.gz", "axial_slices/train/A", "--output", "out"], "is no volume, others are"),
        (["mr/p1.nii.gz", "--output", "mr"], "is an input and would be lost"),
        (["mr/p1.nii.gz", "--output", "out", "--views", "axial,coronal"], "give one view for --name"),
        (["mr/p1.nii.gz", "--output", "out", "--views", "top"], "--views top: choose from axial"),
        (["mr/p1.nii.gz", "--output", "out", "--with_runs", "axial"], "the runs cut axial, axial slices"),
        (["mr/p1.nii.gz", "--output", "out", "--dataroot", "ct"], "has no slices.json"),
        (
            [
                "mr/p1.nii.gz",
                "--output",
                "out",
                "--with_runs",
                "coronal",
                "--engine",
                "openvino",
                "--exported",
                "a.onnx",
            ],
            "--exported a.onnx: is of one run",
        ),
        (["mr/p1.nii.gz", "--output", "out", "--quality", "50"], "--quality: is for pictures; --crf is"),
        (["mr/p1.nii.gz", "--output", "out", "--every", "2"], "--every: is for videos; leave it out"),
        (["broken.nii.gz", "--output", "out"], "broken.nii.gz: cannot be read"),
    ],
)
def test_bad_calls_end_with_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    (place / "broken.nii.gz").write_bytes(b"nothing")
    assert run("--name", "axial", *words) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert message in errors[-1]
    assert not (place / "out").exists()


def test_a_broken_volume_among_others_is_left_out(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "broken.nii.gz").write_bytes(b"nothing")
    assert run("--name", "axial", "broken.nii.gz", "mr/p1.nii.gz", "--output", "out") == 1
    assert "broken.nii.gz: cannot be read" in capsys.readouterr().err
    assert [path.name for path in (place / "out").iterdir()] == ["p1.nii.gz"]
    assert run("--name", "axial", "mr/p1.nii.gz", "--output", "out") == 2
    assert "give --existing replace or skip" in capsys.readouterr().err
    assert run("--name", "axial", "mr/p1.nii.gz", "--output", "out", "--existing", "skip") == 0

"""A volume through generators that do plain arithmetic, and back on its own grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.drawn_volumes import write_dicom, write_nifti
from tests.util.volumes.test_grid import ORIENTATIONS, coded, stored_as
from util.volumes.grid import Volume
from util.volumes.slices import SideSettings
from util.volumes.translation import SliceModel, is_volume, read_volume, translate_volume


def minus(slices: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    return [1000 - each.astype(np.int32) for each in slices]


@pytest.mark.parametrize(("order", "flips"), ORIENTATIONS[::5])
@pytest.mark.parametrize("view", ["axial", "coronal", "sagittal", "stored"])
def test_every_voxel_comes_back_to_its_place(order: tuple[int, ...], flips: tuple[bool, ...], view: str) -> None:
    volume = stored_as(order, flips)
    found = translate_volume(volume, [SliceModel(minus, view)], "int16")
    assert found.dtype == np.int16
    assert (found == 1000 - volume.array).all()


def test_a_volume_without_directions_is_cut_as_stored_if_no_view_was_wanted() -> None:
    volume = Volume(coded()[..., None], np.eye(4), oriented=False)
    assert (translate_volume(volume, [SliceModel(minus, "")], "int16") == 1000 - volume.array).all()
    with pytest.raises(ValueError, match="does not say how the patient lies"):
        translate_volume(volume, [SliceModel(minus, "axial")], "int16")


def test_the_generator_sees_the_slices_of_its_view_in_their_unit() -> None:
    seen: list[NDArray[Any]] = []

    def look(slices: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        seen.extend(slices)
        return list(slices)

    translate_volume(Volume(coded()[..., None], np.eye(4)), [SliceModel(look, "coronal")], "int16")
    assert len(seen) == 4
    assert seen[0].shape == (5, 3, 1)
    assert seen[0][0, 0, 0] == 234  # right, front, up: 2, 3, 4
    assert seen[0].dtype == np.int16


def test_views_are_averaged_before_they_are_rounded() -> None:
    volume = Volume(np.zeros((2, 2, 2, 1), np.int16), np.eye(4))

    def constant(value: float) -> SliceModel:
        return SliceModel(lambda slices: [np.full(each.shape, value, np.float32) for each in slices], "axial")

    models = [constant(-0.6), constant(-0.6), constant(-0.6)]
    assert (translate_volume(volume, models, "int16") == -1).all()
    assert (translate_volume(volume, [constant(0.4), constant(0.8), constant(0.9)], "int16") == 1).all()
    assert translate_volume(volume, [constant(0.25), constant(0.75)], "float32")[0, 0, 0, 0] == 0.5
    assert translate_volume(volume, [constant(-3)], "uint8").max() == 0


def test_resampled_training_sees_its_millimetres_and_the_file_keeps_its_own() -> None:
    ramp = (10 * np.arange(8))[:, None, None, None] * np.ones((1, 4, 4, 1))
    volume = Volume(ramp.astype(np.int16), np.diag([1.0, 2, 2, 1]))
    sizes = []

    def identity(slices: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        sizes.append((len(slices), *slices[0].shape))
        return slices

    found = translate_volume(volume, [SliceModel(identity, "axial", resample=2.0)], "float32")
    assert sizes == [(4, 4, 4, 1)]
    assert found.shape == volume.array.shape
    np.testing.assert_allclose(found[3:5, 0, 0, 0], [30, 40])


def test_what_was_not_measured_is_filled_and_values_are_clipped_as_in_training() -> None:
    array = np.array([-3024, -1500, 0, 900], np.int16).reshape(4, 1, 1, 1)
    volume = Volume(array, np.eye(4), nodata=-3024)
    model = SliceModel(lambda slices: slices, "axial", source=SideSettings(window=(-1000, 500)), low=-1000)
    assert translate_volume(volume, [model], "int16").ravel().tolist() == [-1000, -1000, 0, 500]


def test_uneven_slices_are_refused() -> None:
    volume = Volume(np.zeros((2, 2, 2, 1), np.int16), np.eye(4), uneven="its slices are 1 to 2 mm apart")
    with pytest.raises(ValueError, match="1 to 2 mm apart"):
        translate_volume(volume, [SliceModel(minus, "axial")], "int16")


def test_which_paths_are_volumes(tmp_path: Path) -> None:
    stored = np.zeros((2, 2), np.int16)
    for z in (0.0, 1.0):
        write_dicom(tmp_path / "series" / f"I{z}", stored, z)
    write_dicom(tmp_path / "one", stored)
    write_nifti(tmp_path / "a.nii.gz", np.zeros((2, 2, 2), np.int16))
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/a.tif").write_bytes(b"II*\0")
    (tmp_path / "b.png").write_bytes(b"\x89PNG")
    (tmp_path / "empty").mkdir()
    volumes = [path.name for path in sorted(tmp_path.iterdir()) if is_volume(path)]
    assert volumes == ["a.nii.gz", "one", "series"]
    assert read_volume(tmp_path / "series").shape == (2, 2, 2)
    write_dicom(tmp_path / "series/other", stored, SeriesInstanceUID="1.9")
    with pytest.raises(ValueError, match=r"holds 2 volumes, one is translated: CT 4 thorax \(2 files\)"):
        read_volume(tmp_path / "series")

"""NIfTI, NRRD, MetaImage and stacks: the values and places that other libraries wrote."""

from __future__ import annotations

from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK
import tifffile

from tests.drawn_volumes import write_nifti as draw_nifti
from tests.util.images.test_tiff import write_ome_set
from util.volumes.files import read_file, write_nifti
from util.volumes.grid import Volume, difference, slices_of
from util.volumes.series import find_series

NIBABEL = Path(nibabel.__file__).parent / "tests/data"
VALUES = (np.arange(24, dtype=np.int16) - 5).reshape(2, 3, 4)


def test_packaged_anatomical_volume_has_its_front_up() -> None:
    volume = read_file(NIBABEL / "anatomical.nii")
    slices = slices_of(volume, "axial")
    assert slices.shape == (25, 41, 33, 1)
    assert slices.dtype == np.int16
    # Stored as L, A, S: rows turn over, columns and slices stay.
    stored = np.asarray(nibabel.load(NIBABEL / "anatomical.nii").dataobj)
    assert slices[3, 0, 5, 0] == stored[5, 40, 3]
    assert slices[3, 40, 0, 0] == stored[0, 0, 3]


def test_time_points_must_be_chosen_and_scaled_values_are_floats() -> None:
    volume = read_file(NIBABEL / "functional.nii")  # slope 0.0754, intercept 3100.76
    assert volume.unnamed_bands == "20 time points"
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(
        volume.array[1, 2, 0, 3], nibabel.load(NIBABEL / "functional.nii").get_fdata()[1, 2, 0, 3]
    )


def test_file_that_does_not_say_how_the_patient_lies(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VALUES, None)
    image.to_filename(tmp_path / "a.nii")
    assert not read_file(tmp_path / "a.nii").oriented
    assert read_file(draw_nifti(tmp_path / "b.nii.gz", VALUES)).oriented


def test_nan_is_nodata_and_infinite_values_are_refused(tmp_path: Path) -> None:
    values = VALUES.astype(np.float32) + 0.5
    values[0, 0, 0] = np.nan
    volume = read_file(draw_nifti(tmp_path / "a.nii", values))
    assert volume.nodata is not None
    assert np.isnan(volume.nodata)
    values[0, 0, 0] = np.inf
    with pytest.raises(ValueError, match="infinite"):
        read_file(draw_nifti(tmp_path / "b.nii", values))


def test_all_kinds_of_one_volume_lie_in_one_place(tmp_path: Path) -> None:
    affine = np.array([[0, -2.0, 0, 7], [1.5, 0, 0, -3], [0, 0, 4, 11], [0, 0, 0, 1]])
    nifti = read_file(draw_nifti(tmp_path / "a.nii.gz", VALUES, affine))
    image = SimpleITK.ReadImage(tmp_path / "a.nii.gz")
    SimpleITK.WriteImage(image, tmp_path / "a.mha")
    header = {
        "space": "right-anterior-superior",
        "space directions": affine[:3, :3].T,
        "space origin": affine[:3, 3],
        "kinds": ["domain"] * 3,
    }
    nrrd.write(str(tmp_path / "a.nrrd"), VALUES, header)
    for name in ("a.mha", "a.nrrd"):
        volume = read_file(tmp_path / name)
        assert volume.oriented
        assert volume.array.dtype == np.int16
        np.testing.assert_allclose(volume.affine, affine, atol=1e-6)
        assert (volume.array == nifti.array).all()
        assert difference(volume, nifti) == ""
    for name in ("a.nii.gz", "a.mha", "a.nrrd"):
        grid = read_file(tmp_path / name, voxels=False)
        assert (grid.shape, grid.oriented, grid.array.max()) == ((2, 3, 4), True, 0)
        np.testing.assert_allclose(grid.affine, affine, atol=1e-6)


def test_colours_and_nrrd_without_a_space(tmp_path: Path) -> None:
    nrrd.write(str(tmp_path / "a.nrrd"), VALUES, {})
    assert not read_file(tmp_path / "a.nrrd").oriented
    image = SimpleITK.GetImageFromArray(np.arange(36, dtype=np.uint8).reshape(2, 2, 3, 3), isVector=True)
    SimpleITK.WriteImage(image, tmp_path / "c.mha")
    volume = read_file(tmp_path / "c.mha")
    assert (volume.array.shape, volume.unnamed_bands) == ((3, 2, 2, 3), "")
    assert volume.array[2, 1, 1].tolist() == [33, 34, 35]


def test_stacks_of_microscopes(tmp_path: Path) -> None:
    stack = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 3, 4, 5)  # slices, channels, rows, columns
    tifffile.imwrite(
        tmp_path / "i.tif",
        stack,
        imagej=True,
        resolution=(4.0, 2.0),
        metadata={"axes": "ZCYX", "spacing": 3.0, "unit": "um"},
    )
    metadata = {"axes": "ZCYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 3.0}
    tifffile.imwrite(tmp_path / "o.ome.tif", stack, metadata=metadata)
    for name in ("i.tif", "o.ome.tif"):
        volume = read_file(tmp_path / name)
        assert volume.spacing == pytest.approx((0.00025, 0.0005, 0.003))
        assert (slices_of(volume, "stored") == stack.transpose(0, 2, 3, 1)).all()
        assert not volume.oriented
        grid = read_file(tmp_path / name, voxels=False)
        assert (grid.shape, grid.oriented) == ((5, 4, 2), False)
        assert grid.spacing == pytest.approx((0.00025, 0.0005, 0.003))
    tifffile.imwrite(tmp_path / "t.tif", np.zeros((2, 3, 4, 5, 6), np.uint8), imagej=True)
    with pytest.raises(ValueError, match="axes TZCYX: save a file for each T"):
        read_file(tmp_path / "t.tif")


def test_refusals_are_one_line(tmp_path: Path) -> None:
    whole = draw_nifti(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 999, (9, 9, 9)).astype(np.int16))
    for name, data in {
        "cut.nii.gz": whole.read_bytes()[:200],
        "text.nii": b"not a volume",
        "empty.nrrd": b"",
        "text.mha": b"not a volume",
        "text.tif": b"II*\0 nothing here",
        "empty.hdr": b"",
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=r"^[^\n]+$"):
            read_file(tmp_path / name)
    with pytest.raises(ValueError, match="no package of this project reads EXR"):
        read_file(tmp_path / "a.exr")


@pytest.mark.parametrize("name", ["out.nii", "out.nii.gz"])
def test_written_values_are_not_stretched(tmp_path: Path, name: str) -> None:
    source = read_file(draw_nifti(tmp_path / "a.nii", VALUES))
    labels = np.zeros(VALUES.shape, np.uint8)
    labels[0] = 3
    write_nifti(tmp_path / name, labels, source, description="labels")
    found = nibabel.load(tmp_path / name)
    assert found.get_data_dtype() == np.uint8
    assert (found.dataobj.slope, found.dataobj.inter) == (1, 0)
    assert np.unique(np.asarray(found.dataobj)).tolist() == [0, 3]
    assert (found.affine == source.affine).all()
    image = SimpleITK.ReadImage(tmp_path / name)
    assert sorted(np.unique(SimpleITK.GetArrayFromImage(image)).tolist()) == [0, 3]


def test_written_without_a_header_has_the_same_place(tmp_path: Path) -> None:
    grid = Volume(VALUES[..., None], np.array([[0, -2.0, 0, 7], [1.5, 0, 0, -3], [0, 0, 4, 11], [0, 0, 0, 1]]))
    write_nifti(tmp_path / "a.nii.gz", VALUES.astype(np.float32), grid)
    found = read_file(tmp_path / "a.nii.gz")
    assert difference(found, grid) == ""
    assert found.oriented


def test_micrometres_of_a_nifti_stay_micrometres(tmp_path: Path) -> None:
    """nibabel's affine counts in the unit of the header; ITK gives millimetres."""
    image = nibabel.Nifti1Image(VALUES, np.diag([-2.0, 2.0, 5.0, 1.0]))
    image.header.set_xyzt_units("micron", "sec")
    image.set_sform(image.affine, code=3)
    image.to_filename(tmp_path / "a.nii")
    volume = read_file(tmp_path / "a.nii")
    np.testing.assert_allclose(volume.spacing, (0.002, 0.002, 0.005))
    write_nifti(tmp_path / "b.nii", VALUES.astype(np.float32), volume)
    header = nibabel.load(tmp_path / "b.nii").header
    np.testing.assert_allclose(header.get_zooms(), (2.0, 2.0, 5.0))
    assert header.get_xyzt_units() == ("micron", "sec") and int(header["sform_code"]) == 3
    np.testing.assert_allclose(SimpleITK.ReadImage(tmp_path / "b.nii").GetSpacing(), (0.002, 0.002, 0.005))
    assert difference(volume, read_file(tmp_path / "b.nii")) == ""


@pytest.mark.parametrize(("axis", "shape"), [("Z", (30, 20, 3, 1)), ("C", (30, 20, 1, 3))])
def test_the_files_of_an_ome_set_are_one_volume(axis: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    planes = np.random.default_rng(0).integers(0, 4096, (3, 20, 30), dtype=np.uint16)
    paths = write_ome_set(tmp_path, planes, axis)
    for path in paths:
        array = read_file(path).array
        assert array.shape == shape
        np.testing.assert_array_equal(array.reshape(30, 20, 3), planes.transpose(2, 1, 0))
    found, problems = find_series([tmp_path])
    assert [series.paths for series in found] == [(paths[0],)] and problems == []
    paths[1].unlink()
    with pytest.raises(ValueError, match=r"belongs to a set of 3 files \(OME\), of which 1\.ome\.tif is not beside it"):
        read_file(paths[2])

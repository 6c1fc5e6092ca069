"""DICOM: every picture that pydicom's wheel holds, against pydicom's own functions; and series drawn slice by slice."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.pixels import apply_color_lut, apply_rescale, pixel_array
from pydicom.uid import ExplicitVRBigEndian, RLELossless

from tests.drawn_volumes import slice_tags, write_dicom
from util.volumes.dicom import is_dicom, read_header, read_series, sort_into_series
from util.volumes.series import find_series

PACKAGED = Path(pydicom.__file__).parent / "data"
NO_PICTURE = "holds no picture"
REFUSED = {
    "ExplVR_BigEndNoMeta.dcm": NO_PICTURE,
    "ExplVR_LitEndNoMeta.dcm": NO_PICTURE,
    "JPEG-lossy.dcm": "its pixels cannot be decoded",  # the stream is broken: its scan begins in the middle
    "JPEG2000-embedded-sequence-delimiter.dcm": "its pixels cannot be decoded",
    "MR_truncated.dcm": "its pixels cannot be decoded",
    "UN_sequence.dcm": NO_PICTURE,
    "badVR.dcm": "says that it has 1A frames",
    "chrJapMulti.dcm": "holds no pixels",
    "chrJapMultiExplicitIR6.dcm": "holds no pixels",
    "chrKoreanMulti.dcm": "holds no pixels",
    "chrSQEncoding.dcm": NO_PICTURE,
    "chrSQEncoding1.dcm": NO_PICTURE,
    "empty_charset_LEI.dcm": NO_PICTURE,
    "meta_missing_tsyntax.dcm": NO_PICTURE,
    "nested_priv_SQ.dcm": NO_PICTURE,
    "no_meta.dcm": "is no DICOM file",  # without its first bytes
    "no_meta_group_length.dcm": NO_PICTURE,
    "priv_SQ.dcm": NO_PICTURE,
    "reportsi.dcm": NO_PICTURE,
    "reportsi_with_empty_number_tags.dcm": NO_PICTURE,
    "rtplan.dcm": NO_PICTURE,
    "rtplan_truncated.dcm": NO_PICTURE,
    "rtstruct.dcm": NO_PICTURE,
    "test-SR.dcm": NO_PICTURE,
    "waveform_ecg.dcm": NO_PICTURE,
}


def packaged() -> list[Path]:
    """All DICOM files of the wheel but the lists of contents; palettes and TINY_ALPHA hold no pictures."""
    found = [path for folder in ("test_files", "charset_files") for path in (PACKAGED / folder).rglob("*")]
    found = [path for path in found if path.is_file() and is_dicom(path) and "DICOMDIR" not in path.name]
    return sorted(path for path in found if "TINY_ALPHA" not in path.parts)


def by_pydicom(path: Path) -> NDArray[Any]:
    """``[F, H, W, C]`` as pydicom's own functions give it."""
    tags = pydicom.dcmread(path)
    stored = pixel_array(tags)
    if tags.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, tags)
    elif tags.PhotometricInterpretation == "MONOCHROME1":
        stored = 4095 - stored  # all packaged ones have 12 bits
    if "DoseGridScaling" in tags:
        stored = stored * float(tags.DoseGridScaling)
    elif "RescaleSlope" in tags:
        stored = apply_rescale(stored, tags)
    height, width = tags.Rows, tags.Columns
    return stored.reshape(-1, height, width, stored.size // (int(tags.get("NumberOfFrames") or 1) * height * width))


@pytest.mark.parametrize("path", packaged(), ids=lambda path: path.name)
def test_packaged_file_is_right_or_refused(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.name in REFUSED:
            with pytest.raises(ValueError, match=REFUSED[path.name]):
                read_series([read_header(path).path])
            return
        expected = by_pydicom(path)
    volume = read_series([read_header(path).path])
    found = volume.array.transpose(2, 1, 0, 3)
    assert found.shape == expected.shape
    assert found.dtype.name in ("uint8", "uint16", "int16", "float32")
    np.testing.assert_allclose(found, expected, rtol=1e-6)  # dose and 32-bit colours become float32


def test_no_packaged_file_is_forgotten() -> None:
    names = [path.name for path in packaged()]
    assert set(REFUSED) <= set(names)
    assert len(names) - len(REFUSED) >= 90


def test_ct_small_is_in_hounsfield_units() -> None:
    volume = read_series([PACKAGED / "test_files/CT_small.dcm"])
    assert volume.array.dtype == np.int16
    assert (volume.array.min(), volume.array.max()) == (-896, 1167)
    assert volume.unit == "HU"
    assert volume.spacing == pytest.approx((0.661468, 0.661468, 5.0))
    # ImagePositionPatient is -158.135803, -179.035797, -75.699997 in LPS.
    assert volume.affine[:3, 3] == pytest.approx((158.135803, 179.035797, -75.699997))


def stored(rows: int = 3, columns: int = 4, start: int = 1000) -> NDArray[np.int16]:
    return (start + np.arange(rows * columns)).astype(np.int16).reshape(rows, columns)


def series_of(folder: Path) -> Any:
    (found,), problems = find_series([folder])
    assert not problems
    return found


def test_series_is_sorted_by_place_and_rescaled_once(tmp_path: Path) -> None:
    for name, z in (("IM2", 4.0), ("IM1", 1.0), ("IM3", -2.0)):  # numbers and names go against the places
        write_dicom(tmp_path / name, stored(start=1000 + int(z)), z, number=int(z) + 3)
    volume, grid = series_of(tmp_path).load(), series_of(tmp_path).grid()
    assert volume.shape == grid.shape == (4, 3, 3)  # columns, rows, slices
    assert volume.array.dtype == np.int16
    assert volume.array[0, 0, :, 0].tolist() == [998 - 1024, 1001 - 1024, 1004 - 1024]
    # Columns 0.25 mm, rows 0.5 mm, slices 3 mm apart; LPS (10, 20, -2) is RAS (-10, -20, -2).
    expected = [[-0.25, 0, 0, -10], [0, -0.5, 0, -20], [0, 0, 3, -2], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.affine, expected)
    np.testing.assert_allclose(grid.affine, expected)
    assert (volume.unit, volume.modality, volume.oriented, volume.uneven) == ("HU", "CT", True, "")
    assert (grid.oriented, grid.uneven, grid.array.max()) == (True, "", 0)


def test_unsigned_and_signed_twelve_bits(tmp_path: Path) -> None:
    values = np.array([[0, 4095, 2048]], np.uint16)
    twelve: dict[str, Any] = {"BitsStored": 12, "HighBit": 11, "RescaleIntercept": -1000}
    plain = read_series([write_dicom(tmp_path / "u", values, **twelve)])
    assert plain.array[:, 0, 0, 0].tolist() == [-1000, 3095, 1048]
    # Bits above the twelfth are an overlay, no part of the value; of signed numbers the twelfth is the sign.
    signed = read_series([write_dicom(tmp_path / "s", values | 0xF000, **twelve, PixelRepresentation=1)])
    assert signed.array[:, 0, 0, 0].tolist() == [-1000, -1001, -3048]


def test_padding_is_nodata_in_the_unit_of_the_rest(tmp_path: Path) -> None:
    values = np.array([[-2000, 0, 24, -2000]], np.int16)
    volume = read_series([write_dicom(tmp_path / "a", values, PixelPaddingValue=-2000)])
    assert volume.nodata == -3024
    assert volume.array[:, 0, 0, 0].tolist() == [-3024, -1024, -1000, -3024]
    limited = np.array([[-2000, -1990, 24, 0]], np.int16)
    tags: dict[str, Any] = {"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1500}
    assert read_series([write_dicom(tmp_path / "b", limited, **tags)]).array[:, 0, 0, 0].tolist() == [
        *(-3024, -3024, -1000, -1024),
    ]
    unused = read_series([write_dicom(tmp_path / "c", np.array([[5, 6]], np.int16), PixelPaddingValue=-2000)])
    assert unused.nodata is None


def test_monochrome1_is_turned_over_but_no_quantity_is(tmp_path: Path) -> None:
    values = np.array([[0, 1, 4095]], np.uint16)
    tags: dict[str, Any] = {"BitsStored": 12, "HighBit": 11, "PhotometricInterpretation": "MONOCHROME1"}
    plain = {"RescaleSlope": None, "RescaleIntercept": None}
    xray = read_series([write_dicom(tmp_path / "x", values, **tags, **plain, Modality="CR")])
    assert xray.array[:, 0, 0, 0].tolist() == [4095, 4094, 0]
    ct = read_series([write_dicom(tmp_path / "c", values, **tags)])
    assert ct.array[:, 0, 0, 0].tolist() == [-1024, -1023, 3071]


def test_slope_per_slice_of_a_pet(tmp_path: Path) -> None:
    for z, slope in ((0.0, 0.5), (3.0, 2.0)):
        tags: dict[str, Any] = {"RescaleSlope": slope, "RescaleIntercept": 0, "Modality": "PT", "Units": "BQML"}
        write_dicom(tmp_path / f"{z}", np.array([[3, 5]], np.uint16), z, **tags)
    volume = series_of(tmp_path).load()
    assert volume.unit == "Bq/ml"
    assert volume.array[:, 0, :, 0].T.tolist() == [[1.5, 2.5], [6, 10]]


def test_enhanced_file_has_its_places_in_its_groups(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.uint16).reshape(2, 2, 3)
    tags = slice_tags(values[0], 0.0, NumberOfFrames=2, RescaleSlope=None, RescaleIntercept=None)
    for name in ("PixelSpacing", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient"):
        delattr(tags, name)
    tags.PixelData = values.tobytes()
    shared, frames = pydicom.Dataset(), []
    measures, plane, rescale = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    measures.PixelSpacing, measures.SliceThickness = [2.0, 1.0], 9.0
    plane.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]  # sagittal: columns to the back, rows down
    rescale.RescaleSlope, rescale.RescaleIntercept = 2, -10
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    shared.PixelValueTransformationSequence = [rescale]
    for x in (5.0, 8.0):
        frame, place = pydicom.Dataset(), pydicom.Dataset()
        place.ImagePositionPatient = [x, 1.0, 2.0]
        frame.PlanePositionSequence = [place]
        frames.append(frame)
    tags.SharedFunctionalGroupsSequence, tags.PerFrameFunctionalGroupsSequence = [shared], frames
    pydicom.dcmwrite(tmp_path / "e", tags, enforce_file_format=True)
    volume = read_series([tmp_path / "e"])
    assert volume.array[:, 0, 0, 0].tolist() == [-10, -8, -6]
    for each in (volume, read_series([tmp_path / "e"], voxels=False)):
        assert each.shape == (3, 2, 2)
        np.testing.assert_allclose(each.affine[:3], [[0, 0, -3, -5], [-1, 0, 0, -1], [0, -2, 0, 2]], atol=1e-12)


def test_missing_slice_and_tilted_gantry_are_said(tmp_path: Path) -> None:
    for z in (0.0, 1.0, 3.0, 4.0):
        write_dicom(tmp_path / "gap" / str(z), stored(), z)
    assert series_of(tmp_path / "gap").load().uneven == "its slices are 1 to 2 mm apart"
    for number in range(3):
        place = [0.0, 0.5 * number, 2.0 * number]
        write_dicom(tmp_path / "tilt" / str(number), stored(), ImagePositionPatient=place)
    assert "tilted gantry" in series_of(tmp_path / "tilt").load().uneven


def test_series_is_split_by_direction_size_and_echo(tmp_path: Path) -> None:
    for z in (0.0, 1.0):
        for echo in (1, 2):
            write_dicom(tmp_path / f"a{z}{echo}", stored(), z, EchoTime=echo)
        sagittal = {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1], "ImagePositionPatient": [z, 0, 0]}
        write_dicom(tmp_path / f"l{z}", stored(), EchoTime=1, **sagittal)
    shutil.copy(tmp_path / "a0.01", tmp_path / "copy")
    found, problems = sort_into_series(read_header(path) for path in sorted(tmp_path.iterdir()))
    assert not problems
    assert sorted(sorted(header.path.name for header in group) for group in found) == [
        ["a0.01", "a1.01"],
        ["a0.02", "a1.02"],
        ["l0.0", "l1.0"],
    ]


def test_pictures_of_one_place_that_no_tag_tells_apart_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_dicom(tmp_path / name, stored(), 0.0)
    found, (problem,) = sort_into_series(read_header(path) for path in sorted(tmp_path.iterdir()))
    assert not found
    assert "2 pictures of one series lie in 1 place, and" in problem


def test_compressed_and_big_endian_are_the_same_volume(tmp_path: Path) -> None:
    values = np.arange(64, dtype=np.int16).reshape(8, 8) - 9
    plain = read_series([write_dicom(tmp_path / "plain", values)])
    tags = slice_tags(values, 0.0)
    tags.compress(RLELossless)
    tags.save_as(tmp_path / "rle")
    big = slice_tags(values.astype(">i2"), 0.0)
    big.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    big["PixelData"].VR = "OW"
    pydicom.dcmwrite(tmp_path / "big", big, little_endian=False, implicit_vr=False)
    for name in ("rle", "big"):
        assert (read_series([tmp_path / name]).array == plain.array).all()


def test_file_without_preamble_is_read_by_its_suffix(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a", stored())
    pydicom.dcmwrite(tmp_path / "old.IMA", pydicom.Dataset(pydicom.dcmread(path)), implicit_vr=True, little_endian=True)
    assert (tmp_path / "old.IMA").read_bytes()[128:132] != b"DICM"
    assert read_series([tmp_path / "old.IMA"]).array[0, 0, 0, 0] == 1000 - 1024


@pytest.mark.parametrize("kept", [0, 100, 200, 600])
def test_cut_file_is_refused_in_one_line(tmp_path: Path, kept: int) -> None:
    whole = write_dicom(tmp_path / "a", np.zeros((40, 40), np.int16)).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[:kept])
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        read_series([read_header(tmp_path / "cut.dcm").path])


def test_more_frames_than_memory_holds_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("util.memory.free_memory", lambda: 2**30)
    path = write_dicom(tmp_path / "a", stored(), NumberOfFrames=40_000_000)
    with pytest.raises(ValueError, match=r"needs 5\.4 GB of memory, but 1\.0 GB are free"):
        read_series([path])


def test_broken_type_of_a_tag_is_one_line(tmp_path: Path) -> None:
    whole = write_dicom(tmp_path / "a", stored()).read_bytes()
    assert b"\x10\x00\x20\x00LO" in whole  # PatientID
    (tmp_path / "a").write_bytes(whole.replace(b"\x10\x00\x20\x00LO", b"\x10\x00\x20\x00LC"))
    found, (problem,) = find_series([tmp_path])
    assert not found
    assert "cannot be read as DICOM" in problem


def test_series_whose_path_names_no_patient_is_one_line(tmp_path: Path) -> None:
    write_dicom(tmp_path / "case1/a", stored())
    write_dicom(tmp_path / "other/a", stored(), SeriesInstanceUID="1.9")
    (found,), (problem,) = find_series([tmp_path], "(case[0-9]+)")
    assert found.patient == "case1"
    assert "finds no patient in its path" in problem

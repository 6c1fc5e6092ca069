"""Upright slices of every orientation, other spacings, equal grids: by coordinates counted by hand."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from util.volumes.grid import (
    Volume,
    difference,
    from_slices,
    on_grid,
    resampled,
    select_bands,
    slices_of,
    view_of,
    windowed,
)

R, A, S = 3, 4, 5  # voxels from left to Right, from back to front (Anterior), from feet to head (Superior)


def coded() -> NDArray[np.int16]:
    """``[R, A, S]``: the number of a voxel says where it lies: 100 * right + 10 * front + up."""
    return (100 * np.arange(R)[:, None, None] + 10 * np.arange(A)[:, None] + np.arange(S)).astype(np.int16)


def stored_as(order: tuple[int, ...], flips: tuple[bool, ...]) -> Volume:
    """``coded`` with axes in another order and direction, and the affine that says so."""
    array, affine = coded(), np.eye(4)
    for axis, flip in enumerate(flips):
        if flip:
            array = np.flip(array, axis)
            affine[axis, axis], affine[axis, 3] = -1, array.shape[axis] - 1
    turned = np.eye(4)
    turned[:3, :3] = affine[:3, list(order)]
    turned[:3, 3] = affine[:3, 3]
    return Volume(array.transpose(order)[..., None], turned)


ORIENTATIONS = list(itertools.product(itertools.permutations(range(3)), itertools.product([False, True], repeat=3)))


@pytest.mark.parametrize(("order", "flips"), ORIENTATIONS)
def test_slices_are_upright_whatever_the_file_stores(order: tuple[int, ...], flips: tuple[bool, ...]) -> None:
    volume = stored_as(order, flips)
    axial, coronal, sagittal = (slices_of(volume, view)[..., 0] for view in ("axial", "coronal", "sagittal"))
    assert (axial.shape, coronal.shape, sagittal.shape) == ((S, A, R), (A, S, R), (R, S, A))
    for up, front, right in itertools.product(range(S), range(A), range(R)):
        code = 100 * right + 10 * front + up
        # The patient's right is on the left of the picture, the front up; slices go from the feet to the head.
        assert axial[up, A - 1 - front, R - 1 - right] == code
        # Head up, the patient's right on the left; slices go from the front to the back.
        assert coronal[A - 1 - front, S - 1 - up, R - 1 - right] == code
        # Head up, the face on the left; slices go from the patient's right to the left.
        assert sagittal[R - 1 - right, S - 1 - up, A - 1 - front] == code
    for view in ("axial", "coronal", "sagittal", "stored"):
        assert (from_slices(slices_of(volume, view), volume, view) == volume.array).all()


def test_stored_view_has_rows_and_columns_of_the_file() -> None:
    volume = Volume(coded()[..., None], np.eye(4), oriented=False)
    assert slices_of(volume, "stored")[2, 1, 0, 0] == 12  # slice 2, row 1, column 0


def test_view_that_a_file_does_not_have_is_refused() -> None:
    unknown = Volume(coded()[..., None], np.eye(4), oriented=False)
    assert view_of(unknown, "") == "stored"
    with pytest.raises(ValueError, match="how the patient lies"):
        view_of(unknown, "coronal")
    uneven = Volume(coded()[..., None], np.eye(4), uneven="its slices are 1 to 3 mm apart")
    assert view_of(uneven, "") == "axial"
    with pytest.raises(ValueError, match="1 to 3 mm apart: it has no sagittal view, only --view axial"):
        view_of(uneven, "sagittal")
    one = Volume(coded()[:, :, :1, None], np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]]))
    with pytest.raises(ValueError, match="one slice: it has no axial view, only --view sagittal"):
        view_of(one, "")


def test_resampling_averages_and_keeps_the_place() -> None:
    ramp = np.arange(8, dtype=np.float32)[:, None, None, None] * np.ones((1, 4, 4, 1), np.float32)
    volume = Volume(ramp, np.diag([1.0, 2.0, 2.0, 1.0]))
    small = resampled(volume, 2)
    assert small.shape == (4, 4, 4)
    assert small.spacing == (2, 2, 2)
    # New centres lie between voxels 0 and 1, 2 and 3, ...; a ramp keeps its values there, but for the ends.
    assert small.affine[0, 3] == 0.5
    np.testing.assert_allclose(small.array[1:3, 0, 0, 0], [2.5, 4.5])
    np.testing.assert_allclose(on_grid(small.array, small.affine, volume)[3:5, 0, 0, 0], [3.0, 4.0])
    assert on_grid(small.array, small.affine, volume).shape == volume.array.shape


def test_resampling_cuts_less_than_a_voxel_evenly() -> None:
    volume = Volume(np.zeros((10, 1, 1, 1), np.int16), np.diag([1.0, 3.0, 3.0, 1.0]))
    small = resampled(volume, 3)  # 3 voxels of 3 mm in 10 mm: half a millimetre is left on both sides
    assert small.shape == (3, 1, 1)
    assert small.affine[0, 3] == pytest.approx(1.5)  # -0.5 + 0.5 + 3 / 2
    with pytest.raises(ValueError, match="thinner than --resample 4 mm"):
        resampled(volume, 4)


def test_resampling_labels_makes_no_new_ones() -> None:
    labels = np.random.default_rng(0).choice([0, 7, 40], (9, 9, 9, 1)).astype(np.int16)
    small = resampled(Volume(labels, np.eye(4)), 2, nearest=True)
    assert small.array.dtype == np.int16
    assert set(np.unique(small.array)) <= {0, 7, 40}


def test_what_was_not_measured_is_not_mixed_into_the_rest() -> None:
    array = np.full((8, 8, 8, 1), 100, np.int16)
    array[:4] = -3024
    small = resampled(Volume(array, np.eye(4), nodata=-3024), 2)
    assert set(np.unique(small.array)) == {-3024, 100}
    assert (small.array[:2] == -3024).all()
    assert (small.array[2:] == 100).all()
    clipped = windowed(Volume(array, np.eye(4), nodata=-3024), (-50.5, 40.2))
    assert set(np.unique(clipped.array)) == {-3024, 40}
    assert clipped.array.dtype == np.int16


def test_bands_are_counted_from_one() -> None:
    array = np.arange(4, dtype=np.int16) * np.ones((2, 2, 2, 1), np.int16)
    volume = Volume(array, np.eye(4), unnamed_bands="4 time points")
    assert select_bands(volume, (4, 1)).array[0, 0, 0].tolist() == [3, 0]
    with pytest.raises(ValueError, match=r"has 4 time points: choose which become channels, e\.g\. --bands 1"):
        select_bands(volume, ())
    with pytest.raises(ValueError, match="has 4 bands: --bands 5 does not exist"):
        select_bands(volume, (5,))


@pytest.mark.parametrize(("order", "flips"), ORIENTATIONS[::7])
def test_equal_grids_are_found_whatever_the_order_of_axes(order: tuple[int, ...], flips: tuple[bool, ...]) -> None:
    assert difference(stored_as((0, 1, 2), (False,) * 3), stored_as(order, flips)) == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"affine": np.diag([1, 1, 1, 1.0]) + np.eye(4, k=3) * 0.5}, "up to 0.5 mm apart"),
        ({"affine": np.diag([1, 1, 2, 1.0])}, "3x4x5 voxels of 1x1x1 mm, and 3x4x5 voxels of 1x1x2 mm"),
        ({"array": np.zeros((3, 4, 6, 1), np.int16)}, "3x4x5 voxels of 1x1x1 mm, and 3x4x6 voxels"),
        ({"oriented": False}, "does not say how the patient lies"),
    ],
)
def test_other_grids_are_described(changes: dict[str, Any], message: str) -> None:
    volume = Volume(coded()[..., None], np.eye(4))
    assert re.search(message, difference(volume, Volume(**{**vars(volume), **changes})))


def test_rounded_headers_are_the_same_grid() -> None:
    volume = Volume(coded()[..., None], np.diag([0.9765625, 0.9765625, 3, 1]))
    assert difference(volume, Volume(volume.array, np.diag([0.976562, 0.976562, 3.0001, 1]))) == ""

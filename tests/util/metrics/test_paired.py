"""PSNR, SSIM and L1 of known pairs, by hand and by the published formula; pairs that are none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from tests.measuring import draw, save_drawings
from util.metrics.images import FolderImages, MadeImages
from util.metrics.paired import paired

ALL = ("psnr", "ssim", "l1")


def grey(value, size=16):
    return np.full((size, size, 3), value, np.uint8)


def of(fakes, reals, names=ALL):
    sides = [MadeImages(label, images) for label, images in (("fakes", fakes), ("reals", reals))]
    return paired(*sides, names, progress=False)


@pytest.mark.parametrize(("a", "b"), [(100, 101), (100, 130), (0, 255), (40, 8)])
def test_constant_images(a, b):
    """PSNR 20 log10(255 / d); L1 d / 255; SSIM without variance (2ab + c1) / (a^2 + b^2 + c1), c1 = (0.01 255)^2."""
    found = of({"x": grey(a)}, {"x": grey(b)})
    difference = abs(a - b)
    assert found["psnr"].value == pytest.approx(20 * math.log10(255 / difference), abs=1e-5)
    assert found["l1"].value == pytest.approx(difference / 255, rel=1e-6)
    c1 = (0.01 * 255) ** 2
    assert found["ssim"].value == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1), abs=1e-9)


def test_means_and_spreads_are_over_the_pairs():
    """Mean absolute differences of 10 and 40; PSNR is the mean of both, not that of the pooled error."""
    found = of({"x": grey(60), "y": grey(100)}, {"y": grey(140), "x": grey(70)})
    decibels = [20 * math.log10(255 / 10), 20 * math.log10(255 / 40)]
    assert found["psnr"].value == pytest.approx(np.mean(decibels), abs=1e-5)
    assert found["psnr"].std == pytest.approx((decibels[0] - decibels[1]) / 2, abs=1e-5)
    assert found["l1"].value == pytest.approx(25 / 255) and found["l1"].std == pytest.approx(15 / 255)
    assert found["l1"].protocol["pairs"] == 2 and found["psnr"].protocol["data_range"] == 255


def test_l1_of_one_channel_that_differs():
    fake = grey(50)
    fake[:4, :, 1] = 80  # a quarter of one of three channels by 30
    assert of({"x": fake}, {"x": grey(50)}, ["l1"])["l1"].value == pytest.approx(30 / 4 / 3 / 255)


def published_ssim(a, b):
    """Wang et al. 2004: an 11x11 Gaussian window of sigma 1.5 wherever it fits, the mean over places and channels."""
    offsets = np.arange(11) - 5
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def smooth(plane):
        return np.einsum("yxij,ij->yx", np.lib.stride_tricks.sliding_window_view(plane, (11, 11)), window)

    values = []
    for x, y in zip(np.moveaxis(a.astype(float), 2, 0), np.moveaxis(b.astype(float), 2, 0)):
        mx, my = smooth(x), smooth(y)
        vx, vy, vxy = smooth(x * x) - mx**2, smooth(y * y) - my**2, smooth(x * y) - mx * my
        values.append(((2 * mx * my + c1) * (2 * vxy + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return np.mean(values)


@pytest.mark.parametrize(("height", "width"), [(40, 40), (11, 30), (33, 12), (11, 11)])
def test_ssim_is_the_published_formula(height, width):
    real = draw("boxes", 3, 40)[:height, :width]
    fake = np.clip(real + np.random.default_rng(0).integers(-40, 41, real.shape), 0, 255).astype(np.uint8)
    expected = published_ssim(fake, real)
    assert of({"x": fake}, {"x": real})["ssim"].value == pytest.approx(expected, abs=1e-9)
    assert 0.05 < expected < 0.95


def test_equal_images():
    found = of({"x": draw("boxes", 1), "y": draw("discs", 1)}, {"x": draw("boxes", 1), "y": draw("discs", 1)})
    assert found["ssim"].value == pytest.approx(1, abs=1e-6) and found["l1"].value == 0 == found["l1"].std
    assert found["psnr"].value == math.inf and found["psnr"].std is None
    assert found["psnr"].notes == ("every image equals its target",) and found["ssim"].notes == ()


def test_one_equal_image_does_not_make_the_mean_infinite():
    found = of({"x": grey(3), "y": grey(20)}, {"x": grey(3), "y": grey(25)})
    assert found["psnr"].value == pytest.approx(20 * math.log10(255 / 5), abs=1e-5)
    assert "1 of 2" in found["psnr"].notes[0] and found["l1"].notes == ()


def test_sixteen_bits_are_not_rounded():
    """A difference of 0.5 of 255."""
    found = of({"x": grey(60).astype(float) + 0.5}, {"x": grey(60)})
    assert found["l1"].value == pytest.approx(0.5 / 255)
    assert found["psnr"].value == pytest.approx(20 * math.log10(255 / 0.5), abs=1e-4)


def test_pairs_are_found_by_name_not_by_place(tmp_path):
    """Other suffixes, other order, folders within: ``sub/7.bmp`` is the target of ``sub/7_fake_B.png``."""
    for side, suffix, kind in (("f", "_fake_B", "png"), ("r", "", "bmp")):
        for number in (7, 10, 9):
            file = tmp_path / side / ("sub" if number == 7 else ".") / f"{number}{suffix}.{kind}"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(grey(10 * number + (4 if side == "f" else 0))).save(file)
    sides = FolderImages(tmp_path / "f", "--fake", suffix="fake_B"), FolderImages(tmp_path / "r", "--real")
    found = paired(*sides, ["l1"], progress=False)["l1"]
    assert found.value == pytest.approx(4 / 255) and found.std == pytest.approx(0, abs=1e-9)


def test_images_without_a_partner_are_named():
    with pytest.raises(ValueError) as error:
        of({"a": grey(1), "b": grey(1), "only": grey(1)}, {"a": grey(1), "b": grey(1), "lonely": grey(1), "z": grey(2)})
    message = str(error.value)
    assert "1 of 3 have no target (only)" in message and "2 of 4 targets have no image (lonely, z)" in message
    assert "fakes" in message and "reals" in message and "kid" in message


def test_many_without_a_partner_are_counted():
    with pytest.raises(ValueError, match=r"6 of 6 have no target \(0, 1, 2, \.\.\.\)"):
        of({str(number): grey(1) for number in range(6)}, {"x": grey(1)})


def test_different_sizes_are_refused_with_the_remedy(tmp_path):
    save_drawings(tmp_path / "f", "boxes", 2, size=20)
    save_drawings(tmp_path / "r", "boxes", 2, size=32)
    with pytest.raises(ValueError, match=r"0 is 20x20, its target 32x32; --resize N"):
        paired(FolderImages(tmp_path / "f", "--fake"), FolderImages(tmp_path / "r", "--real"), ALL, progress=False)
    sides = (FolderImages(tmp_path / name, "--fake", resize=24) for name in ("f", "r"))
    assert paired(*sides, ALL, progress=False)["ssim"].protocol["pairs"] == 2


def test_too_small_for_the_window():
    with pytest.raises(ValueError, match="x has 10 pixels; ssim needs 11"):
        of({"x": grey(1, 10)}, {"x": grey(2, 10)}, ["psnr", "ssim"])
    assert of({"x": grey(1, 10)}, {"x": grey(2, 10)}, ["psnr"])["psnr"].value == pytest.approx(
        20 * math.log10(255), abs=1e-5
    )


def test_windows_with_missing_pixels_are_left_out_of_ssim():
    """Rows that are missing at the border leave the SSIM of the picture without them; a hole that of the places whose
    window of 11 pixels does not reach it."""
    fake, real = (draw(kind, 4, 40).astype(float) for kind in ("boxes", "discs"))
    cut = published_ssim(fake[6:], real[6:])
    gone = real.copy()
    gone[:6] = np.nan
    found = of({"x": fake}, {"x": gone}, ["ssim"])["ssim"]
    assert found.value == pytest.approx(cut, abs=1e-9)
    assert found.notes == ("missing pixels (nodata) of 1 pair are left out, with the windows that hold some",)
    hole = fake.copy()
    hole[20, 12] = np.nan
    # Places are windows' corners: the hole is in those of rows 10..20 and columns 2..12 of 30 x 30.
    parts = [(slice(0, 20), slice(None)), (slice(21, None), slice(None)), (slice(10, 31), slice(13, None))]
    parts += [(slice(10, 31), slice(0, 12))]
    sizes = [np.zeros((40, 40))[part].shape for part in parts]
    counts = [(h - 10) * (w - 10) for h, w in sizes]
    wanted = sum(published_ssim(fake[part], real[part]) * count for part, count in zip(parts, counts)) / sum(counts)
    assert sum(counts) == 30 * 30 - 11 * 11
    assert of({"x": hole}, {"x": real}, ["ssim"])["ssim"].value == pytest.approx(wanted, abs=1e-9)


def test_a_pair_without_a_whole_window_is_left_out():
    fake, real = draw("boxes", 4, 16).astype(float), draw("discs", 4, 16).astype(float)
    real[8] = np.nan
    with pytest.raises(ValueError, match=r"ssim: every window of every pair has missing pixels \(nodata\)"):
        of({"x": fake}, {"x": real}, ["ssim"])
    found = of({"x": fake, "y": grey(7)}, {"x": real, "y": grey(7)}, ["ssim", "l1"])
    assert found["ssim"].protocol["pairs"] == 1 and found["l1"].protocol["pairs"] == 2

"""Which files are measured, in which order, and with which values."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch_fidelity.utils import glob_samples_paths

from tests.measuring import CPU, draw, save_drawings, tiny_extractor
from util.images.io import save_array, write_image
from util.metrics.features import features_of
from util.metrics.images import FolderImages, MadeImages, as_rgb, as_stored


def picture(folder, name, pixels):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)
    return file


def solid(value, size=(6, 6), channels=3):
    return np.full((size[1], size[0], channels), value, np.uint8)


def features(images):
    return features_of(images, tiny_extractor(), CPU, progress=False)["2048"]


def test_order_is_that_of_torch_fidelity(tmp_path):
    for name in ("b.png", "10.png", "9.png", "B.png", "a/z.png", "a0.png", "a/b/1.jpg", "2.PNG"):
        picture(tmp_path, name, solid(1))
    theirs = glob_samples_paths(str(tmp_path), True, "png,jpg,jpeg", verbose=False)
    found = FolderImages(tmp_path, "--fake")
    assert [str(tmp_path.resolve() / path) for path in found.paths] == theirs and len(found) == 8
    assert [found.names[place] for place in (0, 2, 4)] == ["10", "9", "a/b/1"]


def test_hidden_files_and_other_kinds_are_left_out(tmp_path):
    picture(tmp_path, "a.png", solid(1))
    picture(tmp_path, ".b.png", solid(1))
    picture(tmp_path, ".c/d.png", solid(1))
    (tmp_path / "notes.txt").write_text("x")
    assert FolderImages(tmp_path, "--fake").names == ["a"]


def test_suffix_chooses_files_and_leaves_the_name(tmp_path):
    others = ("x_fake_B_2", "x_fake_B_12", "x_fake_B_mean", "x_fake_B_std")  # of test.py --num_samples
    for name in ("x_fake_B", "x_real_B", "sub/y_fake_B", "fake_B", "z_Fake_B", "v1.5_fake_B", "w_fake_B_old", *others):
        picture(tmp_path, f"{name}.png", solid(1))
    assert FolderImages(tmp_path, "--fake", suffix="fake_B").names == ["sub/y", "v1.5", "x"]


def test_what_is_about_a_fake_is_not_measured(tmp_path):
    """Heat maps lie beside the fakes; an image may be called so all the same."""
    for name in ("x_fake_B", "x_heat_fake_B", "x_rec_fake_B", "my_heat_fake_B"):
        picture(tmp_path, f"{name}.png", solid(1))
    assert FolderImages(tmp_path, "--fake", suffix="fake_B").names == ["my_heat", "x"]


def test_of_two_files_of_one_name_that_with_the_values_is_measured(tmp_path):
    """test.py writes a TIFF with the values beside the PNG for the eye."""
    for kind in ("tif", "png"):
        save_array(tmp_path / f"x_fake_B.{kind}", solid(1))
    assert [path.rsplit(".", 1)[1] for path in FolderImages(tmp_path, "--fake", suffix="fake_B").paths] == ["tif"]
    both = FolderImages(tmp_path, "--fake")
    assert len(both) == 2 and len(set(both.names)) == 2, "without a suffix nothing is left out"


@pytest.mark.parametrize(
    ("flag", "example"),
    [("--fake", "--fake_suffix fake_B"), ("--real", "--real_suffix real_B"), ("--source", "of one kind")],
)
def test_folder_of_a_test_is_refused_without_a_suffix(flag, example, tmp_path):
    for kind in ("real_A", "fake_B", "real_B"):
        picture(tmp_path, f"1_{kind}.png", solid(1))
    picture(tmp_path, "2_fake_B.png", solid(1))
    with pytest.raises(ValueError) as error:
        FolderImages(tmp_path, flag)
    message = str(error.value)
    assert "2 fake_B, 1 real_A, 1 real_B" in message and example in message and message.startswith(f"{flag} {tmp_path}")


def test_one_kind_alone_is_a_folder_like_any_other(tmp_path):
    picture(tmp_path, "1_fake_B.png", solid(1))
    picture(tmp_path, "2_fake_B.png", solid(1))
    assert FolderImages(tmp_path, "--fake").names == ["1_fake_B", "2_fake_B"]


def test_missing_folder_and_no_images(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"--real .*nowhere: there is no such folder"):
        FolderImages(tmp_path / "nowhere", "--real")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no images in it; .* is empty"):
        FolderImages(tmp_path / "empty", "--real")
    picture(tmp_path, "x_real_A.png", solid(1))
    with pytest.raises(FileNotFoundError, match="no image whose name ends in _fake_B in it"):
        FolderImages(tmp_path, "--name run", suffix="fake_B")


def test_halves(tmp_path):
    pixels = np.concatenate([solid(10, (7, 4)), solid(99, (1, 4)), solid(200, (7, 4))], axis=1)
    picture(tmp_path, "x.png", pixels)
    left, right = (FolderImages(tmp_path, "--real", half=half) for half in ("left", "right"))
    assert left.read(0).shape == right.read(0).shape == (4, 7, 3)
    assert (left.read(0) == 10).all() and (right.read(0) == 200).all()
    assert left.look()["size"] == "7x4" and left.label.endswith("left half")


def test_sixteen_bits_span_the_same_range(tmp_path):
    wide = np.array([[0, 1, 257, 65535]], np.uint16)[..., None].repeat(3, 2)
    save_array(tmp_path / "x.png", wide)
    values = FolderImages(tmp_path, "--fake").read(0)
    np.testing.assert_allclose(values[0, :, 0], [0, 1 / 257, 1, 255])
    assert FolderImages(tmp_path, "--fake").look() == {"size": "4x1", "depth": "uint16"}


def test_a_picture_in_8_and_in_16_bits_has_the_same_features(tmp_path):
    for number in range(3):
        pixels = draw("boxes", number, 32)
        save_array(tmp_path / "eight" / f"{number}.png", pixels)
        save_array(tmp_path / "sixteen" / f"{number}.png", pixels.astype(np.uint16) * 257)
    eight, sixteen = (FolderImages(tmp_path / name, "--fake") for name in ("eight", "sixteen"))
    assert torch.equal(features(eight), features(sixteen)) and sixteen.read(0).dtype == np.float64


def test_grey_stays_grey_and_networks_see_three_equal_channels(tmp_path):
    picture(tmp_path, "x.png", draw("boxes", 1, 8)[:, :, 0])
    save_array(tmp_path / "y.png", draw("boxes", 1, 8)[:, :, :1].astype(np.uint16) * 257)
    images = FolderImages(tmp_path, "--fake")
    for index in range(2):
        assert images.read(index).shape == (8, 8, 1)
        shown = as_rgb(images.read(index))
        assert shown.shape == (8, 8, 3)
        np.testing.assert_array_equal(shown[:, :, 2], draw("boxes", 1, 8)[:, :, 0])


@pytest.mark.parametrize(("alpha", "expected"), [("drop", 40), ("white", 40 * 0.2 + 255 * 0.8)])
def test_alpha(alpha, expected, tmp_path):
    picture(tmp_path, "x.png", np.concatenate([solid(40), solid(51, channels=1)], axis=2))
    picture(tmp_path, "y.png", solid(40))
    images = FolderImages(tmp_path, "--fake", alpha=alpha)
    assert (images.read(0) == round(expected)).all() and (images.read(1) == 40).all()
    assert images.look()["alpha"] == ("ignored" if alpha == "drop" else "on white") + " in 1 files"


def test_transparent_palette_and_turned_photos(tmp_path):
    """As a viewer shows them: the palette's colours, and the side that the camera says is up."""
    palette = Image.fromarray(draw("boxes", 1, 8)).quantize(4)
    palette.save(tmp_path / "p.png", transparency=0)
    turned = Image.fromarray(draw("boxes", 1, 16)[:8])
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "t.jpg", exif=exif)
    images = FolderImages(tmp_path, "--fake")
    np.testing.assert_array_equal(images.read(0), np.asarray(palette.convert("RGB")))
    assert images.read(1).shape == (16, 8, 3) and images.look()["size"] == "8x8 to 8x16 (2 sizes)"


def test_networks_see_the_first_three_bands():
    bands = np.arange(12.0).reshape(1, 2, 6) * 30
    assert as_rgb(bands).tolist() == [[[0, 30, 60], [180, 210, 240]]]
    assert as_rgb(bands[:, :, :2]).tolist() == [[[0, 0, 0], [180, 180, 180]]]


def test_floating_point_needs_a_range_and_many_bands_are_read(tmp_path):
    tifffile.imwrite(tmp_path / "f.tif", np.zeros((8, 8), np.float32))
    np.save(tmp_path / "g.npy", np.zeros((8, 8, 3)))
    np.save(tmp_path / "h.npy", np.zeros((8, 8, 5), np.uint8))
    np.save(tmp_path / "i.npy", solid(7))
    images = FolderImages(tmp_path, "--fake")
    for index, part in ((0, r"f\.tif: its float32"), (1, r"g\.npy: its float32")):
        with pytest.raises(ValueError, match=part):
            images.read(index)
    assert images.read(2).shape == (8, 8, 5) and (images.read(3) == 7).all()
    assert images.look()["bands"] == 5
    results = FolderImages(tmp_path, "--name", of_run=True)
    assert (results.read(0) == 0).all() and results.read(0).shape == (8, 8, 1)


def test_resize(tmp_path):
    """As Pillow does it for 8 bits; 16 bits are not cut to 8 for it."""
    pixels = draw("boxes", 2, 40)[:30]
    picture(tmp_path / "e", "x.png", pixels)
    save_array(tmp_path / "s" / "x.png", pixels.astype(np.uint16) * 257)
    eight, sixteen = (FolderImages(tmp_path / name, "--fake", resize=16).read(0) for name in "es")
    np.testing.assert_array_equal(eight, np.asarray(Image.fromarray(pixels).resize((16, 16), Image.Resampling.BICUBIC)))
    assert np.abs(sixteen - eight).max() < 1 and (sixteen % 1 != 0).any() and 0 <= sixteen.min() <= sixteen.max() <= 255
    assert FolderImages(tmp_path / "e", "--fake", resize=16).look()["size"] == "16x16"


def test_range_of_values(tmp_path):
    """Of a 12 bit scanner whose files have 16: 1000 is black, 3000 is white."""
    save_array(tmp_path / "x.png", np.array([[500, 1000, 2000, 3000, 9000]], np.uint16)[..., None])
    values = FolderImages(tmp_path, "--fake", value_range=(1000, 3000)).read(0)
    # What lies outside keeps its distance: (500 - 1000) / 2000 * 255 and (9000 - 1000) / 2000 * 255.
    np.testing.assert_allclose(values[0, :, 0], [-63.75, 0, 127.5, 255, 1020])
    assert as_rgb(values)[0, :, 0].tolist() == [0, 0, 127.5, 255, 255]


@pytest.mark.parametrize("channels", [1, 3, 4, 5])
@pytest.mark.parametrize("depth", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("value_range", [(), (50, 200), (-1000, 2000)])
def test_what_a_model_made_is_what_its_file_holds(channels, depth, value_range, tmp_path):
    values = torch.rand(channels, 9, 7, generator=torch.Generator().manual_seed(0)) * 2.2 - 1.1
    write_image(tmp_path / "x.png", values, depth, value_range=value_range or None)
    read = FolderImages(tmp_path, "--fake", value_range=value_range, of_run=True).read(0)
    assert read.shape == (9, 7, channels)
    np.testing.assert_array_equal(as_stored(values, depth, value_range), read)


@pytest.mark.parametrize("content", [b"", b"this is text", None])
def test_unreadable_file_is_named(content, tmp_path):
    save_drawings(tmp_path, "boxes", 3, size=16)
    file = tmp_path / "1.png"
    file.write_bytes(file.read_bytes()[:150] if content is None else content)
    with pytest.raises(ValueError, match=r"1\.png"):
        features(FolderImages(tmp_path, "--fake"))


def test_different_sizes_are_no_problem_for_features(tmp_path):
    for number, size in enumerate((8, 16, 16, 8, 24)):
        picture(tmp_path, f"{number}.png", solid(10 * number, (size, size)))
    images = FolderImages(tmp_path, "--fake")
    np.testing.assert_allclose(features(images)[:, 0] * 64, [0, 10, 20, 30, 40], rtol=1e-6)
    assert images.look()["size"] == "8x8 to 24x24 (3 sizes)"


def test_digest_is_of_the_content_and_of_what_is_done_to_it(tmp_path):
    save_drawings(tmp_path / "a", "boxes", 3, size=16)
    save_drawings(tmp_path / "b", "boxes", 3, size=16)
    first = FolderImages(tmp_path / "a", "--fake").digest()
    settings = [{"half": "left"}, {"half": "right"}, {"alpha": "white"}, {"resize": 8}, {"value_range": (0, 99)}]
    digests = [FolderImages(tmp_path / "a", "--fake", **each).digest() for each in settings]
    assert len({first, *digests}) == 6
    for number in range(3):
        (tmp_path / "b" / f"{number}.png").rename(tmp_path / "b" / f"x{number}.png")
    assert FolderImages(tmp_path / "b", "--real").digest() == first, "names and flags are no content"
    (tmp_path / "b" / "x0.png").rename(tmp_path / "b" / "z.png")
    assert FolderImages(tmp_path / "b", "--real").digest() != first, "the order is"
    save_drawings(tmp_path / "a", "discs", 1, size=16)
    assert FolderImages(tmp_path / "a", "--fake").digest() != first


def test_made_images():
    images = MadeImages("made", {"x": draw("boxes", 1, 8), "y": draw("boxes", 2, 16).astype(np.float64) / 3})
    assert images.facts() == {
        "n": 2,
        "from": "made",
        "sha256": images.digest(),
        "size": "8x8 to 16x16 (2 sizes)",
        "depth": "uint16 and uint8",
    }
    same = MadeImages("other label", {"a": draw("boxes", 1, 8), "b": draw("boxes", 2, 16).astype(np.float64) / 3})
    other = MadeImages("made", {"x": draw("boxes", 1, 8), "y": draw("boxes", 3, 16).astype(np.float64) / 3})
    assert images.digest() == same.digest() != other.digest()

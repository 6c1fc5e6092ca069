"""Depth, channels, orientation, transparency: what a file holds is what is read, and the way back."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageOps

from util.images.io import (
    Format,
    fitting_format,
    missing_values,
    read_header,
    read_image,
    save_array,
    short_name,
    to_display,
    to_uint8,
    write_image,
    written_path,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "atme_transforms" / "golden_misc.npz"


def noise(*shape: int, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype is np.float32:
        return rng.uniform(0, 1, shape).astype(np.float32)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def test_published_conversion_to_8_bit() -> None:
    stored = np.load(GOLDEN)
    found = to_uint8(torch.from_numpy(stored["tensor2im_in"])[0])
    np.testing.assert_array_equal(np.repeat(found.transpose(1, 2, 0), 3, axis=2), stored["tensor2im_out"])
    np.testing.assert_array_equal(to_display(torch.from_numpy(stored["tensor2im_in"])[0]), stored["tensor2im_out"])


def test_8_bit_conversion_clips() -> None:
    values = torch.tensor([-7.0, -1.0, 0.0, 1.0, 1.5, float("inf"), float("nan")])
    assert to_uint8(values).tolist() == [0, 0, 127, 255, 255, 255, 0]  # 127.5 is cut


@pytest.mark.parametrize(
    ("channels", "shown"), [(1, [0, 0, 0]), (2, [0, 0, 0]), (3, [0, 1, 2]), (4, [0, 1, 2]), (9, [0, 1, 2])]
)
def test_display_of_any_number_of_channels(channels: int, shown: list[int]) -> None:
    values = torch.rand(channels, 4, 6) * 2 - 1
    picture = to_display(values.to(torch.bfloat16))
    assert picture.shape == (4, 6, 3) and picture.dtype == np.uint8
    expected = to_uint8(values.to(torch.bfloat16))
    np.testing.assert_array_equal(picture, expected[shown].transpose(1, 2, 0))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_written_arrays_are_read_back_equal(dtype: type, channels: int, tmp_path: Path) -> None:
    array = noise(13, 11, channels, dtype=dtype)
    file = save_array(tmp_path / "new" / "picture.png", array)
    assert file.suffix == (".png" if channels in (1, 3) and dtype in (np.uint8, np.uint16) else ".tif")
    assert file == written_path(tmp_path / "new" / "picture.png", channels, np.dtype(dtype).name)  # type: ignore[arg-type]
    picture = read_image(file, alpha="keep")
    assert picture.format == np.dtype(dtype).name
    np.testing.assert_array_equal(picture.array, array)
    header = read_header(file)
    assert (header.width, header.height, header.channels, header.format) == (11, 13, channels, picture.format)
    assert [each.name for each in file.parent.iterdir()] == [file.name]  # no temporary file is left


@pytest.mark.parametrize(("dtype", "full"), [("uint8", 255), ("uint16", 65535)])
def test_every_level_survives_the_way_to_the_model_and_back(dtype: str, full: int, tmp_path: Path) -> None:
    levels = np.arange(full + 1, dtype=dtype).reshape(1, 256, -1)
    unit = torch.from_numpy(levels.astype(np.float32)).div(full).sub(0.5).div(0.5)
    file = write_image(tmp_path / "levels.png", unit, dtype)  # type: ignore[arg-type]
    np.testing.assert_array_equal(read_image(file).array[:, :, 0], levels[0])


def test_value_range_gives_the_units_of_the_file(tmp_path: Path) -> None:
    values = torch.tensor([-2.0, -1.0, -0.5, 1.0]).reshape(1, 1, 4)
    deep = write_image(tmp_path / "deep.png", values, "uint16", value_range=(0.0, 4000.0))
    assert read_image(deep).array.flatten().tolist() == [0, 0, 1000, 4000]
    real = write_image(tmp_path / "real.png", values, "float32", value_range=(-10.0, 10.0))
    assert real.name == "real.tif"
    assert read_image(real).array.flatten().tolist() == [-10, -10, -5, 10]
    plain = write_image(tmp_path / "plain.npy", values, "float32")
    assert read_image(plain).array.flatten().tolist() == [0, 0, 0.25, 1]


def test_a_dot_in_a_name_is_no_suffix(tmp_path: Path) -> None:
    assert write_image(tmp_path / "frame.001", torch.zeros(3, 4, 4)).name == "frame.001.png"


def test_refused_values_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x\.png: .*NaN"):
        write_image(tmp_path / "x.png", torch.full((3, 4, 4), float("nan")))
    with pytest.raises(ValueError, match="choose one of uint8, uint16, int16, float32"):
        write_image(tmp_path / "x.png", torch.zeros(3, 4, 4), "int8")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_image(tmp_path / "x.png", torch.ones(3, 4, 4))

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        write_image(file, torch.zeros(3, 4, 4))
    assert read_image(file).array.min() == 255
    assert [each.name for each in tmp_path.iterdir()] == ["x.png"]


def png16(array: np.ndarray, filters: list[int]) -> bytes:
    """A 16-bit PNG written by the letter of the specification: one filter a row, byte by byte."""
    height, width, channels = array.shape
    step = 2 * channels
    rows = [bytearray(row.astype(">u2").tobytes()) for row in array]
    packed = b""
    for y, row in enumerate(rows):
        above = rows[y - 1] if y else bytes(len(row))
        out = bytearray([filters[y % len(filters)]])
        for x, value in enumerate(row):
            left = row[x - step] if x >= step else 0
            corner = above[x - step] if x >= step else 0
            guess = left + above[x] - corner
            paeth = min((left, above[x], corner), key=lambda each: abs(guess - each))
            out.append((value - (0, left, above[x], (left + above[x]) // 2, paeth)[out[0]]) % 256)
        packed += out
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(packed)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_with_all_filters(channels: int, tmp_path: Path) -> None:
    array = noise(10, 7, channels, dtype=np.uint16)
    (tmp_path / "x.png").write_bytes(png16(array, [0, 1, 2, 3, 4]))
    picture = read_image(tmp_path / "x.png", alpha="keep")
    assert picture.format == "uint16"
    np.testing.assert_array_equal(picture.array, array)
    header = read_header(tmp_path / "x.png")
    assert (header.channels, header.alpha, header.format) == (channels, channels in (2, 4), "uint16")


def test_written_16_bit_png_is_read_by_pillow(tmp_path: Path) -> None:
    array = noise(9, 8, 3, dtype=np.uint16)
    with Image.open(save_array(tmp_path / "x.png", array)) as image:
        np.testing.assert_array_equal(np.asarray(image), (array >> 8).astype(np.uint8))  # Pillow keeps the high byte


@pytest.mark.parametrize(
    ("mode", "alpha", "expected"),
    [
        ("1", "drop", [255]),
        ("L", "drop", [80]),
        ("P", "drop", [250, 20, 10]),
        ("RGBA", "drop", [200, 100, 0]),
        ("RGBA", "keep", [200, 100, 0, 51]),
        ("RGBA", "white", [244, 224, 204]),  # 255 - 0.2 * (255 - v)
        ("LA", "drop", [100]),
        ("LA", "keep", [100, 51]),
        ("LA", "white", [224]),
    ],
)
def test_modes_and_transparency(mode: str, alpha: str, expected: list[int], tmp_path: Path) -> None:
    colour = {"1": 1, "L": 80, "RGBA": (200, 100, 0, 51), "LA": (100, 51)}.get(mode)
    image = Image.new(mode, (3, 2), colour) if colour else Image.new("RGB", (3, 2), (250, 20, 10)).quantize()
    image.save(tmp_path / "x.png")
    array = read_image(tmp_path / "x.png", alpha=alpha).array  # type: ignore[arg-type]
    assert array.shape == (2, 3, len(expected))
    assert array[1, 2].tolist() == expected


def test_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    image.save(tmp_path / "x.png", transparency=0)
    read: Callable[[str], list[list[int]]] = lambda alpha: read_image(tmp_path / "x.png", alpha=alpha).array[0].tolist()  # type: ignore[arg-type]  # noqa: E731
    assert read("drop") == [[10, 20, 30], [200, 100, 50]]
    assert read("white") == [[255, 255, 255], [200, 100, 50]]
    assert read("keep") == [[10, 20, 30, 0], [200, 100, 50, 255]]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int, suffix: str, tmp_path: Path) -> None:
    image = Image.fromarray(np.kron(noise(3, 5, 3), np.ones((8, 8, 1), np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / f"x.{suffix}", exif=exif)
    with Image.open(tmp_path / f"x.{suffix}") as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored))
    found = read_image(tmp_path / f"x.{suffix}").array
    np.testing.assert_array_equal(found, expected)
    header = read_header(tmp_path / f"x.{suffix}")
    assert (header.height, header.width) == found.shape[:2]
    if suffix != "tif" or orientation == 1:  # Pillow turns a TIFF by itself and forgets the tag
        assert header.orientation == orientation


def test_float_tiff_and_16_bit_tiff_through_pillow(tmp_path: Path) -> None:
    real = noise(6, 5, dtype=np.float32)
    Image.fromarray(real).save(tmp_path / "real.tif")
    deep = noise(6, 5, dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.tiff")
    for name, array, kind in (("real.tif", real, "float32"), ("deep.tiff", deep, "uint16")):
        picture = read_image(tmp_path / name)
        assert picture.format == kind and read_header(tmp_path / name).format == kind
        np.testing.assert_array_equal(picture.array[:, :, 0], array)


@pytest.mark.parametrize("shape", [(3, 6, 5), (6, 5, 3), (8, 6, 5), (6, 5, 8), (6, 5)])
@pytest.mark.parametrize("dtype", [np.uint16, np.float64, np.uint8])
def test_tiff_of_other_programs(shape: tuple[int, ...], dtype: type, tmp_path: Path) -> None:
    array = (noise(*shape, dtype=np.float32) * 200).astype(dtype)
    first = len(shape) == 3 and shape[0] in (3, 8)
    colour = {"photometric": "rgb"} if 3 in shape else {"photometric": "minisblack"}
    plan = {"planarconfig": "separate" if first else "contig"} if len(shape) == 3 else {}
    tifffile.imwrite(tmp_path / "x.tif", array, **colour, **plan)
    picture = read_image(tmp_path / "x.tif")
    last = array.transpose(1, 2, 0) if first else array.reshape(6, 5, -1)
    assert picture.array.dtype == {np.uint16: np.uint16, np.uint8: np.uint8}.get(dtype, np.float32)
    np.testing.assert_allclose(picture.array, last, rtol=1e-6)
    header = read_header(tmp_path / "x.tif")
    assert (header.height, header.width, header.channels) == last.shape


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.bool_, np.int32])
def test_npy(dtype: type, tmp_path: Path) -> None:
    array = (noise(4, 5) % 2).astype(dtype)
    np.save(tmp_path / "x.npy", array)
    picture = read_image(tmp_path / "x.npy")
    kind = {np.uint8: "uint8", np.uint16: "uint16", np.bool_: "uint8"}.get(dtype, "float32")
    assert picture.format == kind and picture.array.shape == (4, 5, 1)
    assert picture.array.max() == (255 if dtype is np.bool_ else 1)
    assert read_header(tmp_path / "x.npy").format == kind


def broken_files() -> dict[str, bytes]:
    out: dict[str, bytes] = {"empty.png": b"", "text.jpg": b"this is no picture at all"}
    for kind in ("PNG", "JPEG", "TIFF", "BMP", "WEBP"):
        stream = io.BytesIO()
        Image.fromarray(noise(40, 40, 3)).save(stream, kind)
        out[f"cut.{kind.lower()}"] = stream.getvalue()[: len(stream.getvalue()) // 2]
    whole = png16(noise(12, 12, 3, dtype=np.uint16), [0])
    out["cut16.png"] = whole[: len(whole) // 2]
    out["changed16.png"] = whole[:100] + bytes([whole[100] ^ 255]) + whole[101:]
    stream = io.BytesIO()
    np.save(stream, noise(8, 8))
    out["cut.npy"] = stream.getvalue()[:150]
    stream = io.BytesIO()
    np.save(stream, noise(2, 2, 2, 2))
    out["four.npy"] = stream.getvalue()
    stream = io.BytesIO()
    np.save(stream, np.array([[0, np.nan]], np.float32))
    out["nan.npy"] = stream.getvalue()
    return out


@pytest.mark.parametrize("name", broken_files())
def test_broken_files_are_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(broken_files()[name])
    with pytest.raises(ValueError, match=f"{name}: .*check_data") as error:
        read_image(tmp_path / name)
    assert "\n" not in str(error.value) and "BytesIO" not in str(error.value)


def test_a_missing_file(tmp_path: Path) -> None:
    for read in (read_image, read_header):
        with pytest.raises(FileNotFoundError, match=r"gone\.png: there is no such file"):
            read(tmp_path / "gone.png")
    (tmp_path / "empty.tif").touch()
    with pytest.raises(ValueError, match=r"empty\.tif: the file is empty"):
        read_header(tmp_path / "empty.tif")


# --- units, ranges, missing values ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "values", "fitting"),
    [
        ("uint8", (0, 255), "uint8"),
        ("uint8", (0, 4095), "uint16"),
        ("uint16", (-1000, 2000), "int16"),
        ("uint16", (-1, 65535), "float32"),
        ("int16", (-32768, 32767), "int16"),
        ("int16", (0, 65535), "uint16"),
        ("float32", (0, 1), "float32"),
        ("uint8", (0, 255, float("nan")), "float32"),
    ],
)
def test_the_format_that_holds_a_range(format: Format, values: tuple[float, ...], fitting: Format) -> None:
    assert fitting_format(format, *values) == fitting


def test_a_range_below_0_is_not_cut_by_the_type(tmp_path: Path) -> None:
    values = torch.tensor([-1.0, -0.5, 0.0, 1.0]).reshape(1, 1, 4)
    file = write_image(tmp_path / "fake_B.png", values, "uint16", value_range=(-1000, 2000))
    assert file.name == "fake_B.tif" and read_image(file).format == "int16"
    assert read_image(file).array.ravel().tolist() == [-1000, -250, 500, 2000]
    wide = write_image(tmp_path / "wide.png", values, "uint8", value_range=(0, 4000))
    assert read_image(wide).array.ravel().tolist() == [0, 1000, 2000, 4000] and read_image(wide).format == "uint16"


def test_every_level_of_int16_comes_back(tmp_path: Path) -> None:
    for low, high in ((-32768, 32767), (-1024, 3071)):
        levels = np.arange(low, high + 1, dtype=np.int16).reshape(64, -1)
        unit = torch.from_numpy(((levels.astype(np.float32) - low) / (high - low) - 0.5) / 0.5)[None]
        file = write_image(tmp_path / f"{high}.tif", unit, "int16", value_range=(low, high))
        np.testing.assert_array_equal(read_image(file).array[:, :, 0], levels)


def test_int16_without_a_range_has_no_full_scale(tmp_path: Path) -> None:
    file = write_image(tmp_path / "x.tif", torch.tensor([-1.0, 0.5, 1.0]).reshape(1, 1, 3), "int16")
    assert read_image(file).format == "float32" and read_image(file).array.ravel().tolist() == [0, 0.75, 1]


def test_missing_values_are_written_as_nodata(tmp_path: Path) -> None:
    values, gap = torch.zeros(2, 2, 3), np.zeros((2, 3), np.bool_)
    gap[0, 1] = True
    file = write_image(tmp_path / "a.tif", values, "uint16", value_range=(0, 100), nodata=-9999, missing=gap)
    picture = read_image(file)
    assert (picture.format, picture.nodata) == ("int16", -9999)
    assert picture.array[0, 1].tolist() == [-9999, -9999] and picture.array[1, 1].tolist() == [50, 50]
    np.testing.assert_array_equal(missing_values(picture.array, -9999)[:, :, 1], gap)
    one = np.stack([gap, ~gap])
    file = write_image(tmp_path / "b.tif", values, "float32", nodata=float("nan"), missing=one)
    picture = read_image(file, allow_nonfinite=True)
    assert picture.nodata is not None and np.isnan(picture.nodata)
    np.testing.assert_array_equal(missing_values(picture.array, picture.nodata), one.transpose(1, 2, 0))
    with pytest.raises(ValueError, match=r"b\.tif: holds NaN or infinite values: .*--nodata_A nan"):
        read_image(file)


@pytest.mark.parametrize(
    ("array", "nodata", "missing"),
    [
        (np.array([0, 7, 255], np.uint8), 0.0, [True, False, False]),
        (np.array([0, 7, 255], np.uint8), -9999.0, [False] * 3),
        (np.array([0, 7, 255], np.uint8), 7.5, [False] * 3),
        (np.array([0, 7, 255], np.uint8), float("nan"), [False] * 3),
        (np.array([0, -3.4028234663852886e38], np.float32), -3.40282346638529e38, [False, True]),
        (np.array([0, -np.inf], np.float32), -1.7976931348623157e308, [False, True]),
        (np.array([0, np.nan], np.float32), float("nan"), [False, True]),
        (np.array([0.1, 0.2], np.float32), 0.1, [True, False]),
    ],
)
def test_which_values_are_missing(array: np.ndarray, nodata: float, missing: list[bool]) -> None:
    assert missing_values(array.reshape(1, -1, 1), nodata).ravel().tolist() == missing


def test_float64_beyond_float32_is_not_silently_infinite(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[0.0, 1e300]]))
    with pytest.raises(ValueError, match=r"x\.npy: holds NaN or infinite"):
        read_image(tmp_path / "x.npy")


def test_numbers_that_no_file_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x\.png: int64 cannot be written; convert it to one of uint8"):
        save_array(tmp_path / "x.png", np.zeros((2, 2, 1), np.int64))
    assert not list(tmp_path.iterdir())


# --- long names, large pictures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["n" * 217, "n" * 251, "図" * 83 + "ab"])
def test_names_of_up_to_255_bytes(name: str, tmp_path: Path) -> None:
    file = write_image(tmp_path / f"{name}.png", torch.zeros(1, 2, 2))
    assert file.name == f"{name}.png" and [each.name for each in tmp_path.iterdir()] == [file.name]


def test_longer_names_are_cut_and_stay_apart() -> None:
    assert short_name("a/" + "n" * 244, 11) == "a/" + "n" * 244
    one, other = short_name("a/b/" + "n" * 245 + "1", 11), short_name("a/b/" + "n" * 245 + "2", 11)
    assert one != other and one.startswith("a/b/nnn") and len(one) == len("a/b/") + 244
    cut = short_name("図" * 90, 11)
    assert len(cut.encode()) <= 244 and cut.startswith("図" * 78 + "-") and cut == short_name("図" * 90, 11)


def test_a_picture_of_more_than_179_megapixels(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    with Image.new("1", (13400, 13400)) as image:
        image.putpixel((13399, 13399), 1)
        image.save(tmp_path / "x.png")
    header = read_header(tmp_path / "x.png")
    assert (header.width, header.height, header.channels) == (13400, 13400, 1)
    array = read_image(tmp_path / "x.png").array
    assert array.shape == (13400, 13400, 1) and array[-1, -1, 0] == 255 and array[-1, :-1].max() == 0
    assert not recwarn.list


@pytest.mark.parametrize("suffix", ["png", "jp2", "jxl", "tif"])
def test_a_picture_beyond_the_memory_says_how_to_cut_it(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = np.zeros((300, 500), np.uint16)
    encode = {
        "png": lambda: imagecodecs.png_encode(flat),
        "jp2": lambda: imagecodecs.jpeg2k_encode(flat),
        "jxl": lambda: imagecodecs.jpegxl_encode(flat),
    }
    if suffix == "tif":
        tifffile.imwrite(tmp_path / "x.tif", flat, compression="lzw", photometric="miniswhite")
    else:
        (tmp_path / f"x.{suffix}").write_bytes(encode[suffix]())
    monkeypatch.setattr("util.memory._CHECKED_FROM", 0)
    monkeypatch.setattr("util.memory.free_memory", lambda: 1000)
    with pytest.raises(ValueError, match=rf"x\.{suffix}: has 500x300 pixels .*cut it into tiles .*-crop") as error:
        read_image(tmp_path / f"x.{suffix}")
    assert "attack" not in str(error.value) and "replace the file" not in str(error.value)
    monkeypatch.undo()
    assert read_image(tmp_path / f"x.{suffix}").array.shape == (300, 500, 1)


def test_webp_of_quality_100_loses_no_colour_below_full_transparency(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (9, 11, 4), dtype=np.uint8)
    array[:, :6, 3] = 0
    save_array(tmp_path / "x.webp", array, alpha=True, quality=100)
    np.testing.assert_array_equal(read_image(tmp_path / "x.webp", alpha="keep").array, array)

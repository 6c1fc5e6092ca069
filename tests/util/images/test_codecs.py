"""JPEG 2000, JPEG XL, AVIF, deep PNG and PPM, and the kinds that Pillow reads: the numbers of the file."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from util.images.io import IMAGE_SUFFIXES, read_header, read_image


def drawn(*shape: int, top: int = 4095, dtype: Any = np.uint16) -> NDArray[Any]:
    return (np.random.default_rng(3).random(shape) * top).astype(dtype)


def check(path: Path, expected: NDArray[Any], *, alpha: bool = False, bits: int = 0) -> None:
    picture, header = read_image(path, alpha="keep"), read_header(path)
    assert picture.array.dtype == expected.dtype and picture.format == header.format == expected.dtype.name
    np.testing.assert_array_equal(picture.array, expected if expected.ndim == 3 else expected[:, :, None])
    assert (header.height, header.width, header.channels) == picture.array.shape
    assert header.alpha == picture.alpha == alpha and header.bits == (bits or 8 * expected.dtype.itemsize)


@pytest.mark.parametrize("shape", [(11, 14), (11, 14, 2), (11, 14, 3), (11, 14, 4), (11, 14, 6)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_jpeg_2000_bands_are_no_opacity(shape: tuple[int, ...], dtype: Any, tmp_path: Path) -> None:
    array = drawn(*shape, top=255, dtype=dtype) - (dtype(100) if dtype is np.int16 else dtype(0))
    (tmp_path / "x.jp2").write_bytes(imagecodecs.jpeg2k_encode(array, level=0, reversible=True))
    check(tmp_path / "x.jp2", array)


def test_jpeg_2000_of_12_bits_and_as_a_bare_stream(tmp_path: Path) -> None:
    array = drawn(11, 14, 3)
    options = {"level": 0, "reversible": True, "bitspersample": 12}
    (tmp_path / "x.jp2").write_bytes(imagecodecs.jpeg2k_encode(array, **options))
    check(tmp_path / "x.jp2", array, bits=12)
    (tmp_path / "y.jp2").write_bytes(imagecodecs.jpeg2k_encode(array, codecformat="j2k", **options))
    check(tmp_path / "y.jp2", array, bits=12)


@pytest.mark.parametrize(("mode", "alpha"), [("L", False), ("LA", True), ("RGB", False), ("RGBA", True)])
def test_jpeg_2000_with_opacity(mode: str, alpha: bool, tmp_path: Path) -> None:
    image = Image.fromarray(drawn(11, 14, 4, top=255, dtype=np.uint8)).convert(mode)
    image.save(tmp_path / "x.jp2", irreversible=False)
    check(tmp_path / "x.jp2", np.asarray(image), alpha=alpha)


@pytest.mark.parametrize("shape", [(11, 14), (11, 14, 2), (11, 14, 3), (11, 14, 4), (300, 7), (300, 600, 3), (64, 128)])
@pytest.mark.parametrize(("dtype", "boxes"), [(np.uint8, False), (np.uint16, True)])
def test_jpeg_xl(shape: tuple[int, ...], dtype: Any, boxes: bool, tmp_path: Path) -> None:
    array = drawn(*shape, top=255, dtype=dtype)
    (tmp_path / "x.jxl").write_bytes(imagecodecs.jpegxl_encode(array, lossless=True, usecontainer=boxes))
    check(tmp_path / "x.jxl", array, alpha=shape[2:] in ((2,), (4,)))


def test_jpeg_xl_of_floats(tmp_path: Path) -> None:
    array = drawn(11, 14, top=1, dtype=np.float32)
    (tmp_path / "x.jxl").write_bytes(imagecodecs.jpegxl_encode(array, lossless=True))
    check(tmp_path / "x.jxl", array)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_avif(channels: int, bits: int, tmp_path: Path) -> None:
    array = drawn(11, 14, channels, top=2**bits - 1, dtype=np.uint8 if bits == 8 else np.uint16)
    plain = array[:, :, 0] if channels == 1 else array
    (tmp_path / "x.avif").write_bytes(imagecodecs.avif_encode(plain, level=100, bitspersample=bits))
    check(tmp_path / "x.avif", array, alpha=channels == 4, bits=bits)


def test_avif_that_is_to_be_turned(tmp_path: Path) -> None:
    image = Image.fromarray(np.repeat(np.repeat(np.array([[0, 60, 120], [180, 240, 30]], np.uint8), 32, 0), 32, 1))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "x.avif", quality=100, exif=exif)
    array, header = read_image(tmp_path / "x.avif").array, read_header(tmp_path / "x.avif")
    assert array[16::32, 16::32, 0].tolist() == [[180, 0], [240, 60], [30, 120]]
    assert (header.width, header.height, header.orientation) == (64, 96, 6)


@pytest.mark.parametrize("most", [256, 1023, 4095, 65535])
@pytest.mark.parametrize("kind", [b"P2", b"P3", b"P5", b"P6"])
def test_deep_ppm_keeps_its_numbers(kind: bytes, most: int, tmp_path: Path) -> None:
    array = drawn(5, 7, 3 if kind in (b"P3", b"P6") else 1, top=most + 1)
    body = array.astype(">u2").tobytes() if kind in (b"P5", b"P6") else b" ".join(b"%d" % v for v in array.ravel())
    path = tmp_path / ("x.ppm" if kind in (b"P3", b"P6") else "x.pgm")
    path.write_bytes(b"%b\n# by a camera\n7 5\n%d\n%b" % (kind, most, body))
    check(path, array, bits=most.bit_length())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"P5 4 4 4095\n" + bytes(31), "15 of 16 numbers: the file is truncated"),
        (b"P5 1 1 4095\n\x10\x00", "a number above the maximum of 4095"),
        (b"P2 2 1 4095\n7", "1 of 2 numbers"),
        (b"P5 1 1 70000\n\0\0", "a maximum of 70000"),
    ],
)
def test_broken_deep_ppm(data: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "x.ppm").write_bytes(data)
    with pytest.raises(ValueError, match=rf"x\.ppm: cannot be read as an image \({reason}"):
        read_image(tmp_path / "x.ppm")


def deep_png(array: NDArray[np.uint16], before: bytes = b"", after: bytes = b"") -> bytes:
    """A 16-bit PNG without filters, with chunks of other kinds around its pixels."""
    height, width, channels = array.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in array))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", packed) + after + chunk(b"IEND", b"")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_deep_png_with_a_transparent_colour(tmp_path: Path) -> None:
    array = np.array([[[1, 2, 3], [400, 500, 65535]]], np.uint16)
    (tmp_path / "x.png").write_bytes(deep_png(array, chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))))
    check(tmp_path / "x.png", np.dstack([array, np.array([[0, 65535]], np.uint16)]), alpha=True)
    np.testing.assert_array_equal(read_image(tmp_path / "x.png").array, array)


@pytest.mark.parametrize("late", [False, True])
def test_deep_png_with_an_orientation(late: bool, tmp_path: Path) -> None:
    array = drawn(5, 7, 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    extra = chunk(b"eXIf", exif.tobytes()[6:])
    (tmp_path / "x.png").write_bytes(deep_png(array, b"" if late else extra, extra if late else b""))
    check(tmp_path / "x.png", np.ascontiguousarray(array[::-1].swapaxes(0, 1)))


def test_kinds_that_pillow_reads(tmp_path: Path) -> None:
    image = Image.fromarray(drawn(16, 16, 3, top=255, dtype=np.uint8)).quantize(32).convert("RGB")
    for suffix in ("gif", "tga", "ppm", "pnm", "bmp", "png", "webp"):
        image.save(tmp_path / f"x.{suffix}", *(["PPM"] if suffix == "pnm" else []), lossless=True)
        check(tmp_path / f"x.{suffix}", np.asarray(image))
    image.save(tmp_path / "x.jfif", "JPEG")
    check(tmp_path / "x.jfif", np.asarray(Image.open(tmp_path / "x.jfif")))
    image.convert("L").save(tmp_path / "x.pgm")
    check(tmp_path / "x.pgm", np.asarray(image.convert("L")))
    assert {".gif", ".tga", ".ppm", ".pnm", ".pgm", ".jfif", ".jp2", ".avif", ".jxl"} <= set(IMAGE_SUFFIXES)


def test_palette_as_indices(tmp_path: Path) -> None:
    indices = np.arange(12, dtype=np.uint8).reshape(3, 4) % 5
    image = Image.fromarray(indices).convert("P")
    image.putpalette([number for index in range(5) for number in (index * 40, 255 - index, 7)])
    for suffix in ("png", "bmp", "gif"):
        image.save(tmp_path / f"x.{suffix}")
        picture = read_image(tmp_path / f"x.{suffix}", palette="indices")
        assert picture.format == "uint8" and read_header(tmp_path / f"x.{suffix}").palette
        if suffix != "gif":  # GIF sorts its table
            np.testing.assert_array_equal(picture.array[:, :, 0], indices)
        assert picture.array.shape == (3, 4, 1) and picture.array.max() == 4
    assert read_image(tmp_path / "x.png").array[0, 3].tolist() == [120, 252, 7]
    image.convert("RGB").save(tmp_path / "y.png")
    assert read_image(tmp_path / "y.png", palette="indices").array.shape == (3, 4, 3)


def test_cmyk_is_converted_and_said_so(tmp_path: Path) -> None:
    inks = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    inks.save(tmp_path / "x.tif")
    assert read_image(tmp_path / "x.tif").array[0, 0].tolist() == [0, 255, 255]
    remark = read_header(tmp_path / "x.tif").remark
    assert remark == "CMYK colours are converted to RGB without a profile, so that they may be off"
    # A profile that is not one of inks cannot be applied: as without one.
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    inks.save(tmp_path / "y.tif", icc_profile=profile)
    assert read_image(tmp_path / "y.tif").array[0, 0].tolist() == [0, 255, 255]
    assert read_header(tmp_path / "y.tif").remark == remark
    # Of the header of a profile only the colour space says CMYK: it is one of inks, but broken.
    inks.save(tmp_path / "z.tif", icc_profile=profile[:16] + b"CMYK" + profile[20:])
    assert "by the file's profile" in read_header(tmp_path / "z.tif").remark
    with pytest.raises(ValueError, match=r"z\.tif: cannot be read as an image"):
        read_image(tmp_path / "z.tif")


@pytest.mark.parametrize("kind", ["jp2", "jxl", "avif"])
def test_truncated_files(kind: str, tmp_path: Path) -> None:
    stream = io.BytesIO()
    array = drawn(40, 50, 3)
    if kind == "jp2":
        stream.write(imagecodecs.jpeg2k_encode(array, level=0, reversible=True))
    elif kind == "jxl":
        stream.write(imagecodecs.jpegxl_encode(array, lossless=True))
    else:
        stream.write(imagecodecs.avif_encode(array >> 2, level=100, bitspersample=10))
    (tmp_path / f"x.{kind}").write_bytes(stream.getvalue()[: len(stream.getvalue()) // 2])
    with pytest.raises(ValueError, match=rf"x\.{kind}: cannot be read as an image \(.+\): replace the file") as error:
        read_image(tmp_path / f"x.{kind}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "start", [b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51", b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"]
)
def test_files_that_end_after_their_signature(start: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.jp2").write_bytes(start)
    for read in (read_image, read_header):
        with pytest.raises(ValueError, match=r"x\.jp2: cannot be read as an image"):
            read(tmp_path / "x.jp2")

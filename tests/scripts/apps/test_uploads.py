"""What visitors send: depth is kept, and what is too large, broken or no picture is refused in plain words."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from scripts.apps.palettes import palette_of
from scripts.apps.uploads import Limits, decode_upload, label_ids, read_upload
from tests.app_runs import LABELS, colours_of, facade_map

LIMITS = Limits(max_pixels=10_000, max_mb=0.1)
PALETTE = palette_of("test", LABELS)


def huge_png(side: int) -> bytes:
    """A PNG of a few hundred bytes whose header says ``side x side`` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def png(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_depth_is_kept(tmp_path, dtype):
    array = (np.arange(48).reshape(6, 8) * 1000 % np.iinfo(dtype).max).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", array)
    picture = read_upload(tmp_path / "a.tif", LIMITS)
    assert picture.array.dtype == dtype and np.array_equal(picture.array[:, :, 0], array)


def test_float_arrays(tmp_path):
    array = np.linspace(-3, 7, 12, dtype=np.float32).reshape(3, 4)
    np.save(tmp_path / "a.npy", array)
    assert np.array_equal(read_upload(tmp_path / "a.npy", LIMITS).array[:, :, 0], array)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "The PNG file cannot be read"),
        (
            "a.png",
            png(np.random.default_rng(1).integers(0, 255, (40, 40), dtype=np.uint8))[:900],
            "The PNG file cannot be read",
        ),
        ("a.png", huge_png(14_143), "14143 x 14143 = 200.0 megapixels; this app takes 0.01 at most"),
        ("a.png", np.random.default_rng(0).bytes(90_000), "no picture of a kind that this app reads"),
        ("a.png", np.random.default_rng(0).bytes(1_000_000), r"1\.0 MB; this app takes 0\.1 MB"),
        ("a.png", b"", "no picture of a kind that this app reads"),
        ("a.svg", b"<svg onload='alert(1)'>", "no picture of a kind that this app reads"),
        ("a.npy", png(np.zeros((8, 8), np.uint8)), "name of a NumPy file"),
        ("a.jpg", b"\xff\xd8\xff\xe0junk", "The JPEG file cannot be read"),
        ("a.tif", b"II*\0\xff\xff\xff\xff", "The TIFF file cannot be read"),
    ],
)
def test_bad_files_are_refused_in_words(tmp_path, name, data, says):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=says) as raised:
        read_upload(tmp_path / name, LIMITS)
    assert str(tmp_path) not in str(raised.value) and "\n" not in str(raised.value)


def test_pickles_are_not_opened(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="cannot be read"):
        read_upload(tmp_path / "a.npy", LIMITS)


def test_missing_values_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.full((3, 3), np.nan, np.float32))
    with pytest.raises(ValueError, match="NaN or infinite"):
        read_upload(tmp_path / "a.npy", LIMITS)


def test_upload_that_is_gone(tmp_path):
    with pytest.raises(ValueError, match="Upload it again"):
        read_upload(tmp_path / "gone.png", LIMITS)


@pytest.mark.parametrize("mode", ["colours", "palette", "grey ids", "palette ids"])
def test_label_maps_of_every_kind(tmp_path, mode):
    ids = facade_map()
    image = Image.fromarray(colours_of(ids)) if mode == "colours" else Image.fromarray(ids)
    if mode.startswith("palette"):
        image = Image.frombytes("P", ids.shape[::-1], ids.tobytes())
        own = [bytes.fromhex(colour) for colour in LABELS.values()]
        others = [bytes((200, 20 * number, 0)) for number in range(4)]  # an index map in colours of its own
        image.putpalette(b"".join(own if mode == "palette" else others))
    image.save(tmp_path / "map.png")
    assert np.array_equal(label_ids(tmp_path / "map.png", PALETTE, LIMITS), ids)


def test_base64_with_and_without_its_head():
    text = base64.b64encode(png(facade_map())).decode()
    for each in (text, "data:image/png;base64," + text):
        assert np.array_equal(decode_upload(each, LIMITS).array[:, :, 0], facade_map())


@pytest.mark.parametrize(("text", "says"), [("%%%", "no file in base64"), ("A" * 200_000, "more than 0.1 MB")])
def test_bad_base64(text, says):
    with pytest.raises(ValueError, match=says):
        decode_upload(text, LIMITS)

"""Palettes: snapping to the nearest colour, files of names and colours, and which one fits label maps."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from scripts.apps.palettes import BUILT_IN, fitting_palette, palette_in, palette_of, read_palette
from tests.app_runs import LABELS, colours_of, facade_map

PALETTE = palette_of("test", LABELS)


def test_nearest_colour_by_squared_distance():
    # background 0000de, facade 002fff, window 0080ff, door 00cfff
    pixels = np.array([[[0, 0, 222], [0, 87, 255], [0, 88, 255], [0, 255, 255]]], np.uint8)
    assert PALETTE.ids(pixels).tolist() == [[0, 1, 2, 3]]  # between 47 and 128 the middle is 87.5
    assert PALETTE.snap(pixels)[0, 3].tolist() == [0, 0xCF, 0xFF]


def test_snapping_keeps_what_is_snapped():
    image = colours_of(facade_map())
    assert np.array_equal(PALETTE.snap(image), image) and PALETTE.distance(image) == 0


def test_jpeg_map_gets_its_classes_back():
    """The thousands of colours of a JPEG become the four of the map, everywhere but at some edges."""
    table = np.kron(np.random.default_rng(4).integers(0, 4, (6, 6)), np.ones((11, 11), int))
    ids = table.astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(colours_of(ids)).save(out, "JPEG", quality=85, subsampling=0)
    broken = np.asarray(Image.open(out))
    assert len(np.unique(broken.reshape(-1, 3), axis=0)) > 100
    found = PALETTE.ids(broken)
    inside = np.ones_like(ids, bool)
    for axis in (0, 1):
        for shift in (-2, -1, 1, 2):
            inside &= np.roll(ids, shift, axis) == ids
    assert np.array_equal(found[inside], ids[inside])


def test_published_colours():
    facades, cityscapes = BUILT_IN["facades"], BUILT_IN["cityscapes"]
    assert len(facades.names) == 12 and facades.hex_colours[facades.names.index("shop")] == "#ae0000"
    assert cityscapes.names[:3] == ("road", "sidewalk", "building") and cityscapes.names[18] == "bicycle"
    assert cityscapes.hex_colours[cityscapes.names.index("sky")] == "#4682b4"


def test_palette_file(tmp_path):
    (tmp_path / "palette.json").write_text(json.dumps({"sky": "#4682B4", "road": "804080"}))
    palette = palette_in(tmp_path)
    assert palette.names == ("sky", "road") and palette.hex_colours == ["#4682b4", "#804080"]
    assert palette_in(tmp_path / "none") is None


def test_palette_of_the_demo_data(tmp_path):
    (tmp_path / "demo.json").write_text(json.dumps({"drawn_by": "make_demo.py", "palette": LABELS}))
    assert palette_in(tmp_path).names == tuple(LABELS)


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        ('{"sky": "4682b4"}', "1 class: give 2 to 64"),
        ('{"sky": "blue", "road": "804080"}', "'blue': write six hexadecimal digits"),
        ('{"sky": "804080", "road": "804080"}', "road has the colour of another class"),
        ('{"": "804080", "road": "804081"}', "no name of a class"),
        ('["804080"]', "write names and colours"),
        ("{", "is no readable JSON file"),
    ],
)
def test_bad_palette_file(tmp_path, classes, says):
    file = tmp_path / "palette.json"
    file.write_text(classes)
    with pytest.raises(ValueError, match=says) as raised:
        read_palette(file)
    assert str(file) in str(raised.value) and "\n" not in str(raised.value)


def test_missing_palette_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_palette(tmp_path / "none.json")


def test_palette_is_found_by_the_maps():
    facades = BUILT_IN["facades"]
    drawn = facades.colours[np.random.default_rng(0).integers(0, 12, (16, 16))]
    noisy = np.clip(drawn.astype(int) + np.random.default_rng(1).integers(-6, 7, drawn.shape), 0, 255).astype(np.uint8)
    assert fitting_palette([noisy]).name == "facades"


def test_unknown_maps_give_their_own_colours_and_photographs_none():
    few = np.array([[[250, 250, 10], [10, 250, 10]], [[250, 250, 10], [250, 10, 250]]], np.uint8)
    assert fitting_palette([few]).hex_colours == ["#0afa0a", "#fa0afa", "#fafa0a"]
    photo = np.random.default_rng(2).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert fitting_palette([photo]) is None and fitting_palette([]) is None

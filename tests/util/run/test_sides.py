"""How a visual is stored: like its domain, wherever its file is."""

from __future__ import annotations

import pytest

from util.run.sides import SideFormat, Storage, exchanged, read_sides, write_sides
from util.types import Visual

REAL_A, FAKE_B, REAL_B = Visual("real", "A"), Visual("fake", "B"), Visual("real", "B")
RANGES = {"A": (), "B": (29000.0, 31000.0)}
PHOTO_TO_THERMAL = {"A": SideFormat("uint8"), "B": SideFormat("uint16", (29000.0, 31000.0), 1, "cK")}


def formats(storage, batch, *kinds):
    return [storage.of(kind, batch, 0).format for kind in kinds]


def test_what_was_written_is_read(tmp_path):
    assert read_sides(tmp_path) == {}
    write_sides(tmp_path, PHOTO_TO_THERMAL)
    assert read_sides(tmp_path) == PHOTO_TO_THERMAL
    assert read_sides(tmp_path)["B"].value_range == (29000.0, 31000.0)


@pytest.mark.parametrize("content", ["", "[]", '{"A": 1}', '{"A": {"format": "uint8"}}', '{"A": {"value_range": 3}}'])
def test_a_damaged_file_is_named_with_the_remedy(content, tmp_path):
    (tmp_path / "sides.json").write_text(content)
    with pytest.raises(ValueError, match=r"sides\.json: cannot be read .*delete it"):
        read_sides(tmp_path)


def test_a_visual_is_stored_like_the_files_of_its_domain():
    batch = {"A_format": ["uint8"], "B_format": ["uint16"]}
    storage = Storage(RANGES)
    assert formats(storage, batch, REAL_A, FAKE_B, REAL_B, Visual("rec", "A", "A")) == [
        "uint8",
        "uint16",
        "uint16",
        "uint8",
    ]
    assert storage.of(FAKE_B, batch, 0).value_range == (29000.0, 31000.0)
    assert storage.of(REAL_A, batch, 0).value_range == ()


def test_what_is_for_the_eye_has_8_bits():
    storage = Storage({"A": (0.0, 9.0), "B": (0.0, 9.0)})
    for kind in (Visual("about", ""), Visual("fake", "B", colours=True)):
        assert storage.of(kind, {"A_format": ["float32"], "B_format": ["float32"]}, 0) == SideFormat("uint8")


def test_without_a_file_of_the_domain_the_run_remembers():
    """test.py --model test, and --test_direction BtoA, whose only files are those of domain B."""
    inputs = {"A_format": ["uint8"]}
    assert formats(Storage(RANGES, PHOTO_TO_THERMAL), inputs, REAL_A, FAKE_B) == ["uint8", "uint16"]
    back = Storage(RANGES, PHOTO_TO_THERMAL, source="B")
    assert formats(back, {"A_format": ["uint16"]}, REAL_B, Visual("fake", "A")) == ["uint16", "uint8"]
    suffix_B = Storage({}, exchanged(PHOTO_TO_THERMAL))
    assert formats(suffix_B, {"A_format": ["uint16"]}, REAL_A, FAKE_B) == ["uint16", "uint8"]


def test_a_run_of_an_earlier_version_takes_the_depth_of_the_inputs():
    assert formats(Storage(), {"A_format": ["uint16"]}, REAL_A, FAKE_B) == ["uint16", "uint16"]
    assert formats(Storage(), {}, FAKE_B) == ["uint8"]

"""Names of a test's results: unique, and after the file of the side that a picture belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest

from util.run.inference import ResultNames
from util.types import Visual

BATCHES = [("rain/1.png", "/b/day.png"), ("rain/1.jpg", "/b/day.png"), ("rain/1.jpg", "/b/other/day.png")]


def kinds(of_B: tuple[str, ...]) -> dict[str, Visual]:
    return {name: Visual("real", "B", "B") for name in of_B}


def named(of_B: tuple[str, ...]) -> list[list[tuple[str, dict[str, int]]]]:
    names = ResultNames(Path("/a"), kinds(of_B))
    visuals = {"real_A": 1, "fake_B": 2, "real_B": 3, "fake_A": 4}
    batches = [{"A_paths": ["/a/0.png", f"/a/{a}"], "B_paths": ["/b/0.png", b]} for a, b in BATCHES]
    return [[(name, part) for _, name, part in names.parts(batch, 1, visuals)] for batch in batches]


def test_pictures_of_B_are_named_after_its_files() -> None:
    of_A, of_B = {"real_A": 1, "fake_B": 2}, {"real_B": 3, "fake_A": 4}
    assert named(("real_B", "fake_A")) == [
        [("rain/1", of_A), ("day", of_B)],
        [("rain/1_jpg", of_A)],  # day.png comes again
        [("day_png", of_B)],  # 1.jpg comes again; another day.png has another name
    ]


def test_other_models_name_everything_after_A() -> None:
    assert [[name for name, _ in parts] for parts in named(())] == [["rain/1"], ["rain/1_jpg"], []]


def test_without_a_file_of_B_there_is_one_name() -> None:
    parts = ResultNames(Path("/a"), kinds(("real_B",))).parts({"A_paths": ["/a/x.png"]}, 0, {"real_B": 1, "fake_A": 2})
    assert list(parts) == [("A", "x", {"real_B": 1, "fake_A": 2})]


def test_names_too_long_to_be_extended_are_shortened(caplog: pytest.LogCaptureFixture) -> None:
    names = ResultNames(Path("/a"))
    assert names(Path("/a/b") / ("n" * 219 + ".png")) == "b/" + "n" * 219 and not caplog.records
    for stem in ("n" * 244, "n" * 251, "図" * 80):
        name = names(Path("/a") / f"{stem}.png")
        assert len(f"{name}_fake_B_mean.tif".encode()) <= 255 and name[:60] == stem[:60]
        assert caplog.records[-1].getMessage().endswith(f": {name}_*")
    assert len(caplog.records) == 3

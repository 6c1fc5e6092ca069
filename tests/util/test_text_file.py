"""Files that survive a kill."""

from __future__ import annotations

from pathlib import Path

import pytest

from util.files import LineFile, replace_text


def test_replace_text_replaces_the_whole_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a much longer text than the new one")
    replace_text(path, ["ü\n", "b"])
    assert path.read_bytes() == b"\xc3\xbc\nb"
    assert list(tmp_path.iterdir()) == [path]


def test_replace_text_keeps_the_old_file_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def pieces():  # type: ignore[no-untyped-def]
        yield "new"
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_text(path, pieces())
    assert path.read_text() == "old"


def test_replace_text_writes_file_names_that_are_no_unicode(tmp_path: Path) -> None:
    replace_text(tmp_path / "a.txt", ["x\udcff"])
    assert (tmp_path / "a.txt").read_text() == "x\\udcff"


def test_a_line_is_in_the_file_before_append_returns(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("1\n")
    lines = LineFile(path)
    lines.append("2")
    assert path.read_text() == "1\n2\n"
    lines.close()

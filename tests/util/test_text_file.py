"""Files that survive a kill."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from util.files import LineFile, replace_text, replacing


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


def test_what_stops_a_write_is_reported_with_the_name_of_the_file(tmp_path):
    """The system does not say which file a full disk stopped."""
    (tmp_path / "x.png").write_text("before")
    with pytest.raises(OSError) as found, replacing(tmp_path / "x.png") as draft:
        draft.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(found.value) == f"[Errno {errno.ENOSPC}] No space left on device: '{tmp_path / 'x.png'}'"
    assert [file.read_text() for file in tmp_path.iterdir()] == ["before"]

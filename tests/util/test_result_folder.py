"""Results appear as a whole, and nothing of anybody else is lost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from util.files import drafted


def write(folder: Path, text: str) -> None:
    (folder / "images").mkdir(exist_ok=True)
    (folder / "images" / f"{text}.png").write_text(text)
    (folder / "index.html").write_text(text)


def test_new_results_take_the_place_of_old_ones(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with drafted(tmp_path / "out", "--results_dir x") as draft:
            write(draft, text)
    assert [file.name for file in (tmp_path / "out" / "images").iterdir()] == ["new.png"]
    assert (tmp_path / "out" / "index.html").read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    with drafted(tmp_path / "out", "--results_dir x") as draft:
        write(draft, "old")
    with pytest.raises(RuntimeError), drafted(tmp_path / "out", "--results_dir x") as draft:
        write(draft, "half")
        raise RuntimeError
    assert (tmp_path / "out" / "index.html").read_text() == "old" and not (tmp_path / "out.partial").exists()


def test_what_a_killed_run_left_is_cleared_and_what_is_not_ours_is_not(tmp_path: Path) -> None:
    (tmp_path / "out.partial" / "images").mkdir(parents=True)
    (tmp_path / "out.partial" / "images" / "stale.png").write_text("stale")
    with drafted(tmp_path / "out", "--output out") as draft:
        write(draft, "new")
    assert not (tmp_path / "out.partial").exists()
    assert [file.name for file in (tmp_path / "out" / "images").iterdir()] == ["new.png"]
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "thesis.txt").write_text("mine")
    with (
        pytest.raises(ValueError, match=r"--output out: .*out\.partial is in the way"),
        drafted(tmp_path / "out", "--output out"),
    ):
        pass
    assert (tmp_path / "out.partial" / "thesis.txt").read_text() == "mine"


@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be locked there")
def test_two_that_write_the_same_results(tmp_path: Path) -> None:
    with drafted(tmp_path / "out", "--output out") as draft:
        write(draft, "first")
        with (
            pytest.raises(ValueError, match=r"--output out: another process is writing .*out; wait for it"),
            drafted(tmp_path / "out", "--output out"),
        ):
            pass
    assert [file.name for file in (tmp_path / "out" / "images").iterdir()] == ["first.png"]
    with drafted(tmp_path / "out", "--output out") as draft:  # free again
        write(draft, "second")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("file")
    with pytest.raises(ValueError, match="is a file; name a folder"), drafted(tmp_path / "out", "--output out"):
        pass

"""Where links lead, also those that lead nowhere."""

from pathlib import Path

from util.files import real_path


def test_links_are_followed_and_a_circle_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "circle").symlink_to("circle")
    assert real_path(tmp_path / "link" / "b") == real_path(tmp_path) / "a" / "b"
    assert real_path(tmp_path / "circle").name == "circle"

"""Tables in Markdown."""

from __future__ import annotations

import pytest

from util.pages.markdown import markdown_table, with_block


def test_a_table_has_a_rule_and_its_cells_stay_cells():
    rows = [["a|b", "1"], ["two\nlines", "2"]]
    assert markdown_table(["name", "number"], rows, right=[1]) == [
        "| name | number |",
        "| --- | ---: |",
        "| a\\|b | 1 |",
        "| two lines | 2 |",
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_block_is_replaced_and_the_rest_stays(tmp_path, end):
    page = tmp_path / "page.md"
    lines = ["before", "<!-- table a: begin -->", "old", "<!-- table a: end -->", "after", ""]
    page.write_bytes(end.join(lines).encode())
    expected = ["before", "<!-- table a: begin -->", "", "new", "", "<!-- table a: end -->", "after", ""]
    assert with_block(page, "a", "new\n") == end.join(expected)


def test_a_block_of_what_is_no_text(tmp_path):
    page = tmp_path / "page.md"
    page.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=f"--block a: {page} is no text in UTF-8"):
        with_block(page, "a", "new\n")

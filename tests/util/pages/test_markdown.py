"""Tables in Markdown."""

from __future__ import annotations

from util.pages.markdown import markdown_table


def test_a_table_has_a_rule_and_its_cells_stay_cells():
    rows = [["a|b", "1"], ["two\nlines", "2"]]
    assert markdown_table(["name", "number"], rows, right=[1]) == [
        "| name | number |",
        "| --- | ---: |",
        "| a\\|b | 1 |",
        "| two lines | 2 |",
    ]

"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[int] = ()) -> list[str]:
    """The lines of a table, without line ends.

    Args:
        heads: of the columns.
        rows: their cells; a ``|`` or a line end in one does not end it.
        right: columns, from 0, that are set flush right.
    """
    rule = ["---:" if column in right else "---" for column in range(len(heads))]
    return [_row(cells) for cells in (heads, rule, *rows)]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

"""Tables in Markdown, and the blocks of a page that a command writes: the lines between two comments that name one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path


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


def with_block(file: Path, name: str, text: str) -> str:
    """The text of a page with one block replaced; the file itself is left as it is, and so are its line ends.

    Args:
        file: the page; it holds ``<!-- table NAME: begin -->`` and ``<!-- table NAME: end -->``, in this order.
        name: of the block.
        text: what is to stand in it; ends with a line break.

    Raises:
        ValueError: the page has no such block, or more than one, or is no text in UTF-8.
    """
    begin, end = f"<!-- table {name}: begin -->", f"<!-- table {name}: end -->"
    try:
        before = file.read_bytes().decode("utf-8") if file.is_file() else ""
    except UnicodeDecodeError:
        raise ValueError(f"--block {name}: {file} is no text in UTF-8; convert it, or name another file") from None
    found = re.findall(f"{re.escape(begin)}\r?\n.*?{re.escape(end)}", before, re.S)
    if len(found) != 1:
        raise ValueError(f"--block {name}: {file} holds it {len(found)} times; put two lines there: {begin} {end}")
    block = f"{begin}\n\n{text}\n{end}"
    return before.replace(found[0], block.replace("\n", "\r\n") if "\r\n" in found[0] else block)

"""Blocks of a Markdown page that a command writes: the lines between two comments that name the block."""

from __future__ import annotations

import re
from pathlib import Path


def with_block(file: Path, name: str, text: str) -> str:
    """The text of a page with one block replaced; the file itself is left as it is.

    Args:
        file: the page; it holds ``<!-- table NAME: begin -->`` and ``<!-- table NAME: end -->``, in this order.
        name: of the block.
        text: what is to stand in it; ends with a line break.

    Raises:
        ValueError: the page has no such block, or more than one.
    """
    begin, end = f"<!-- table {name}: begin -->", f"<!-- table {name}: end -->"
    before = file.read_text(encoding="utf-8") if file.is_file() else ""
    found = re.findall(f"{re.escape(begin)}\n.*?{re.escape(end)}", before, re.S)
    if len(found) != 1:
        raise ValueError(f"--block {name}: {file} holds it {len(found)} times; put two lines there: {begin} {end}")
    return before.replace(found[0], f"{begin}\n\n{text}\n{end}")

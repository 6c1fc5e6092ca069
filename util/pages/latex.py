"""A table of metrics as LaTeX (package booktabs), the best of each column bold."""

from __future__ import annotations

from collections.abc import Sequence

from util.metrics import METRICS
from util.metrics.measurement import Measurement
from util.pages.comparison import Column, doubts

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def escaped(text: str) -> str:
    r"""Text that LaTeX sets as it is.

    >>> escaped("a_b 5%")
    'a\\_b 5\\%'
    """
    return "".join(_ESCAPES.get(character, character) for character in text)


def latex_table(
    names: Sequence[str], numbers: Sequence[Column], *, caption: str = "", label: str = "", spread: bool = False
) -> str:
    r"""A ``table`` with a row per run.

    Args:
        names: of the runs, as they are to be called.
        numbers: as ``util.pages.comparison.compare_numbers`` gives them for these runs. What must not be compared has
            no bold number, and a comment says why.
        caption: above the table; none where empty.
        label: for ``\ref``; none where empty.
        spread: with the spread of each number.

    Returns:
        the table, ended by a newline; it needs ``\usepackage{booktabs}``.
    """
    heads = [_title(each) + (r" $\uparrow$" if each.higher_is_better else r" $\downarrow$") for each in numbers]
    lines = [f"% {text}" for text in ("needs \\usepackage{booktabs}", *map(_not_comparable, doubts(numbers)))]
    lines += ["\\begin{table}[t]", "  \\centering"]
    lines += [f"  \\caption{{{escaped(caption)}}}"] if caption else []
    lines += [f"  \\label{{{label}}}"] if label else []
    lines += [f"  \\begin{{tabular}}{{l{'r' * len(numbers)}}}", "    \\toprule", _row(["Method", *heads])]
    lines += ["    \\midrule"]
    for place, name in enumerate(names):
        cells = [_cell(column.cells[place], place in column.best, spread) for column in numbers]
        lines.append(_row([escaped(name), *cells]))
    lines += ["    \\bottomrule", "  \\end{tabular}", "\\end{table}"]
    return "\n".join(lines) + "\n"


def _not_comparable(doubt: str) -> str:
    return "NOT COMPARABLE: " + " ".join(doubt.split())


def _row(cells: Sequence[str]) -> str:
    return "    " + " & ".join(cells) + r" \\"


def _title(column: Column) -> str:
    scale = METRICS[column.short].scale
    factor = f" x{scale:.0f}"
    if scale != 1 and factor in column.title:
        head, tail = column.title.split(factor, 1)
        return escaped(head) + rf" $\times {scale:.0f}$" + escaped(tail)
    return escaped(column.title)


def _cell(each: Measurement | None, is_best: bool, spread: bool) -> str:
    if each is None:
        return "--"
    value, _, std = each.shown.partition(" +/- ")
    shown = value.replace("-", "$-$", 1) if value.startswith("-") else value
    shown = rf"\textbf{{{shown}}}" if is_best else shown
    return shown + (rf" $\pm$ {std}" if spread and std else "")

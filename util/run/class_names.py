"""The two published text files about classes: which label a folder has, and what a label is called."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from util.files import replace_text

CLASSES_FILE = "label_to_classname.txt"
"""In the folder of a run: the names of the classes that it was trained with, for whoever draws samples later."""

_LITERAL = re.compile(r"[0-9]+: ")  # how a row of label_to_classname.txt begins


def class_folder(label: int, names: Sequence[str]) -> str:
    """Name of the folder with the pictures of a class, such as ``0153_maltese_dog``."""
    word = re.sub(r"[^a-z0-9]+", "_", names[label].split(",")[0].lower()).strip("_")[:40]
    return f"{label:04d}_{word}" if word and word != str(label) else f"{label:04d}"


def read_label_map(path: Path) -> dict[str, int]:
    """Folder name -> label of a file like ``dirname_to_label.txt``, by rising label.

    A row is ``SYNSET LABEL``: the name of the folder, a space, and the label; the last space counts. Empty rows are
    passed over.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a row has no label, a folder or a label comes twice, or the labels are not 0, 1, 2, ...
    """
    found: dict[str, int] = {}
    rows: dict[int, int] = {}
    for row, line in _rows(path):
        if not line.strip():
            continue
        name, _, label = line.rpartition(" ")
        if not name.strip() or not _is_number(label):
            raise ValueError(f"{path}: row {row} is {line!r}: write the name of a folder, a space, and its label")
        if name in found:
            raise ValueError(f"{path}: row {row}: the folder {name} has a label already: take one of the rows out")
        _note_label(path, rows, int(label), row)
        found[name] = int(label)
    _check_complete(path, rows)
    return dict(sorted(found.items(), key=lambda item: item[1]))


def write_label_map(path: Path, names: Sequence[str]) -> None:
    """Write a file that ``read_label_map`` reads; the labels count the names.

    Raises:
        ValueError: a name has a line end.
        OSError: the file cannot be written.
    """
    for name in names:
        if name.splitlines() != [name]:
            raise ValueError(f"{path}: the folder name {name!r} does not fit into one row: rename the folder")
    replace_text(path, (f"{name} {label}\n" for label, name in enumerate(names)))


def read_class_names(path: Path) -> tuple[str, ...]:
    """Names of the classes by label.

    Args:
        path: rows ``LABEL: 'name, synonym'`` like ``label_to_classname.txt``, in any order, the name a Python string;
            or one plain name per row, for the labels 0, 1, 2, ...

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a row is empty or neither, a label comes twice or is missing.
    """
    lines = list(_rows(path))
    while lines and not lines[-1][1].strip():
        lines.pop()
    if not lines:
        raise ValueError(f"{path}: holds no names: write one class a row")
    for row, line in lines:
        if not line.strip():
            raise ValueError(f"{path}: row {row} is empty: every label from 0 on needs a name")
    if not _LITERAL.match(lines[0][1]):
        return tuple(line.strip() for _, line in lines)
    found: dict[int, str] = {}
    rows: dict[int, int] = {}
    for row, line in lines:
        label, separator, text = line.partition(": ")
        if not separator or not _is_number(label):
            raise ValueError(f"{path}: row {row} is {line!r}: write a label, a colon and a quoted name, as 0: 'tench'")
        _note_label(path, rows, int(label), row)
        found[int(label)] = _literal(path, row, text)
    _check_complete(path, rows)
    return tuple(found[label] for label in range(len(found)))


def write_class_names(path: Path, names: Sequence[str]) -> None:
    """Write ``LABEL: 'name'`` a row, as published; ``read_class_names`` gives the same names back.

    Raises:
        OSError: the file cannot be written.
    """
    replace_text(path, (f"{label}: {name!r}\n" for label, name in enumerate(names)))


def check_labels(path: Path, now: Sequence[str]) -> None:
    """Refuse data whose labels mean other classes than those that a run was trained with.

    Names that are new altogether may be other captions of the same classes; more or fewer classes at the end leave the
    others where they were.

    Args:
        path: with the names that the run was trained with; it need not be there.
        now: names of the classes of the data.

    Raises:
        ValueError: a class has moved to another label.
    """
    was = read_class_names(path) if path.is_file() else ()
    for label, (before, after) in enumerate(zip(was, now)):
        if before != after and (before in now or after in was):
            raise ValueError(
                f"{path}: label {label} was {before}, and in these data it is {after}: a class folder was added, "
                "removed or renamed; restore the folders, or say which label each has by --class_map FILE"
            )


def _rows(path: Path) -> Iterator[tuple[int, str]]:
    """Row number and text of every row.

    Raises:
        FileNotFoundError, ValueError: no such file, or no text.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise FileNotFoundError(f"{path}: there is no such file") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ValueError(f"{path}: is no text file in UTF-8: give a file with one class a row")
    return enumerate(text.splitlines(), start=1)


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdecimal()


def _note_label(path: Path, rows: dict[int, int], label: int, row: int) -> None:
    if label in rows:
        raise ValueError(f"{path}: row {row}: label {label} is that of row {rows[label]} already: give another one")
    rows[label] = row


def _check_complete(path: Path, rows: dict[int, int]) -> None:
    """The labels are 0, 1, 2, ...: a gap would be a class without images, a highest label too much a row too little."""
    if not rows:
        raise ValueError(f"{path}: holds no labels: write one class a row")
    missing = next((label for label in range(len(rows)) if label not in rows), None)
    if missing is not None:
        last = max(rows)
        raise ValueError(
            f"{path}: row {rows[last]} has label {last}, but no row has label {missing}: "
            f"number the {len(rows)} classes from 0 to {len(rows) - 1}"
        )


def _literal(path: Path, row: int, text: str) -> str:
    try:
        name = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        name = None
    if not isinstance(name, str):
        raise ValueError(
            f"{path}: row {row}: {text.strip()!r} is no quoted name: write it as 'tench' or \"hen-of-the-woods\""
        )
    return name

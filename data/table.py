"""A table of images: which files belong together, to which phase, and how often each comes."""

from __future__ import annotations

import csv
import json
import math
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from options.base_options import DataOptions
from options.schema import Given, arg

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl")
_COLUMNS = ("A", "B", "phase", "weight", "group")
_DELIMITERS = (",", ";", "\t")
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class TableOptions(DataOptions):
    """Which table."""

    table: str = arg(
        "",
        metavar="FILE",
        help="table of the images, .csv, .tsv or .jsonl, below --dataroot (default: the only such file there); "
        "--dataroot may name it too",
    )

    @classmethod
    def derive(cls, values: Mapping[str, Any], given: Given) -> Mapping[str, Any]:
        """``--dataroot data/pairs.csv`` means the table of that name in ``data``."""
        values = super().derive(values, given)
        root, table = table_place(values["dataroot"], values["table"])
        return {**values, "dataroot": root, "table": table}


def table_place(dataroot: str, table: str = "") -> tuple[str, str]:
    """``--dataroot`` and ``--table`` where the first may be a table: its folder and its name."""
    path = Path(dataroot)
    if not table and path.suffix.lower() in TABLE_SUFFIXES:
        return str(path.parent), path.name
    return dataroot, table


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        line: its number in the file, counted from 1.
        A: path of the image of side A; empty where there is none.
        B: path of the image of side B.
        phase: ``train`` where the table has no such column.
        weight: how often it comes, relative to the others.
        group: what must not be in two phases, e.g. a patient; empty where the table does not say.
    """

    line: int
    A: str
    B: str
    phase: str
    weight: float
    group: str


def find_table(options: TableOptions) -> Path:
    """The file of the table.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are several, or it is of another kind.
    """
    root = Path(options.dataroot)
    if options.table:
        file = root / options.table
        if file.suffix.lower() not in TABLE_SUFFIXES:
            raise ValueError(f"--table {options.table}: give a file that ends in .csv, .tsv or .jsonl")
        if not file.is_file():
            raise FileNotFoundError(f"--table {options.table}: {file} does not exist")
        return file
    found = sorted(file for file in root.iterdir() if file.suffix.lower() in TABLE_SUFFIXES)
    if not found:
        raise FileNotFoundError(f"--dataroot {options.dataroot}: has no .csv, .tsv or .jsonl file; name one by --table")
    if len(found) > 1:
        names = ", ".join(file.name for file in found[:_SHOWN])
        raise ValueError(f"--dataroot {options.dataroot}: has {len(found)} tables ({names}); choose one by --table")
    return found[0]


def read_table(file: Path) -> list[Row]:
    """The rows of a table in their order; paths are relative to its folder.

    A ``.csv`` or ``.tsv`` has a first line with the names of the columns, separated by comma, semicolon or tab; a
    ``.jsonl`` has an object in each line. Columns ``A``, ``B``, ``phase``, ``weight``, ``group``; A or B must be there,
    others are ignored.

    Raises:
        ValueError: it is no such table, or a value is wrong; the message names the line.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: cannot be read as a table in UTF-8 ({error})") from error
    entries = list(_objects(file, text) if file.suffix.lower() == ".jsonl" else _records(file, text))
    if not entries:
        raise ValueError(f"{file}: the table has no rows")
    return [_row(file, line, entry) for line, entry in entries]


def _records(file: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=lambda each: len(set(first.strip().split(each)) & set(_COLUMNS)))
    reader = csv.DictReader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
    names = [name.strip() for name in reader.fieldnames or ()]
    if not {"A", "B"} & set(names):
        raise ValueError(f"{file}: its first line must name the columns, A or B among them; found {', '.join(names)}")
    if len(set(names)) < len(names):
        raise ValueError(f"{file}: two columns have one name: {', '.join(names)}")
    reader.fieldnames = names
    for entry in reader:
        if None in entry:
            raise ValueError(f"{file} line {reader.line_num}: has more fields than the first line has columns")
        if any(value for value in entry.values()):
            yield reader.line_num, entry


def _objects(file: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{file} line {number}: is no JSON ({error})") from error
        if not isinstance(entry, dict):
            raise ValueError(f'{file} line {number}: give an object such as {{"A": "a.png", "B": "b.png"}}')
        yield number, entry


def _row(file: Path, line: int, entry: Mapping[str, Any]) -> Row:
    A, B = (_path(file, entry.get(side)) for side in "AB")
    if not A and not B:
        raise ValueError(f"{file} line {line}: has neither A nor B")
    given = entry.get("weight")
    try:
        weight = 1.0 if given in (None, "") else float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        weight = math.nan
    if not (math.isfinite(weight) and weight >= 0):
        raise ValueError(f"{file} line {line}: weight {given}: give a number of 0 or more")
    phase, group = (str(entry.get(name) or "").strip() for name in ("phase", "group"))
    return Row(line, A, B, phase or "train", weight, group)


def _path(file: Path, given: object) -> str:
    text = str(given or "").strip()
    return str(file.parent / text) if text else ""


def rows_of(file: Path, rows: Sequence[Row], phase: str) -> list[Row]:
    """The rows of one phase.

    Raises:
        FileNotFoundError: there are none, or a file of theirs does not exist.
        ValueError: all weights are 0.
    """
    found = [row for row in rows if row.phase == phase]
    if not found:
        there = ", ".join(sorted({row.phase for row in rows}))
        raise FileNotFoundError(f"--phase {phase}: {file} has only the phases {there}")
    missing = [(row, path) for row in found for path in (row.A, row.B) if path and not Path(path).is_file()]
    if missing:
        row, path = missing[0]
        more = f"; so it is with {len(missing)} files" if len(missing) > 1 else ""
        raise FileNotFoundError(f"{file} line {row.line}: {path} does not exist{more}; paths are relative to the table")
    if not any(row.weight for row in found):
        raise ValueError(f"{file}: all weights of phase {phase} are 0, so that nothing is left")
    return found


def shared_groups(rows: Sequence[Row]) -> list[str]:
    """One line on groups, e.g. patients, that are in several phases; none where there are none."""
    phases: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.group:
            phases[row.group].add(row.phase)
    shared = {group: sorted(names) for group, names in phases.items() if len(names) > 1}
    if not shared:
        return []
    group, names = next(iter(shared.items()))
    return [
        f"group {group} is in the phases {' and '.join(names)} ({len(shared)} of {len(phases)} groups are in several): "
        "a test on images of a group that was trained on flatters the model; keep each group in one phase"
    ]


def weighted_order(rng: random.Random, weights: Sequence[float]) -> list[int]:
    """As many indices as there are weights, each about as often as its weight says, shuffled.

    An index of the expected number e comes floor(e) or ceil(e) times (systematic resampling); equal weights give every
    index once.

    Args:
        rng: random numbers of the epoch.
        weights: of 0 or more, not all 0.
    """
    count, total = len(weights), math.fsum(weights)
    if len(set(weights)) == 1:
        order = list(range(count))
    else:
        order, reached, tick = [], 0.0, rng.random()
        for index, weight in enumerate(weights):
            reached += weight * count / total
            while tick < reached and len(order) < count:
                order.append(index)
                tick += 1.0
        last = max(index for index, weight in enumerate(weights) if weight)
        order += [last] * (count - len(order))  # the sum may end a rounding below the last tick
    rng.shuffle(order)
    return order

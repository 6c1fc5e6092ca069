"""Pairs, or inputs alone, that a table names."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import ClassVar

from data import DATASETS
from data.base_dataset import BaseDataset
from data.table import TableOptions, find_table, read_table, rows_of, shared_groups, weighted_order
from data.transforms import Prepared
from options.base_options import DataOptions


@DATASETS.register("table")
class TableDataset(BaseDataset):
    """Pairs of a table: DATAROOT/*.csv or .jsonl with the columns A and B, and phase, weight, group if wanted.

    Paths are relative to the table. Weights say how often a pair comes in an epoch of training, which has as many
    samples as the table has rows of the phase. Both sides of a pair get the same crop and flip. A table without B gives
    inputs alone, for ``--model test``.
    """

    Options: ClassVar[type[DataOptions]] = TableOptions
    paired: ClassVar[bool] = True
    options: TableOptions

    def __init__(self, options: TableOptions, *, input_nc: int, output_nc: int, seed: int = 0) -> None:
        super().__init__(options, input_nc=input_nc, output_nc=output_nc, seed=seed)
        file = find_table(options)
        table = read_table(file)
        rows = rows_of(file, table, options.phase)
        self._rows = rows[: int(min(len(rows), options.max_dataset_size))]
        self._sides = "AB" if rows[0].A and rows[0].B else "A"
        for row in self._rows:
            sides = "".join(side for side in "AB" if getattr(row, side))
            if sides != self._sides:
                wanted = "an A and a B, as those before it" if self._sides == "AB" else "an A alone, as those before it"
                raise ValueError(
                    f"{file} line {row.line}: has {' and '.join(sides)}, but needs {wanted}; images without partners "
                    "are read by --dataset_mode unaligned_table"
                )
        self.remarks = shared_groups(table)
        self.root = common_folder([row.A if options.direction == "AtoB" or not row.B else row.B for row in self._rows])

    def __len__(self) -> int:
        return len(self._rows)

    def counts(self) -> dict[str, int]:
        return {"pairs" if self._sides == "AB" else "images": len(self)}

    def unit_paths(self, unit: int) -> tuple[str, ...]:
        return tuple(getattr(self._rows[unit], side) for side in self._sides)

    def decode(self, unit: int) -> dict[str, Prepared]:
        return self.decode_files(*self.unit_paths(unit))

    def epoch_order(self, rng: random.Random) -> list[int]:
        return weighted_order(rng, [row.weight for row in self._rows])

    @classmethod
    def phases(cls, options: DataOptions) -> tuple[str, ...]:
        return table_phases(options)


def table_phases(options: DataOptions) -> tuple[str, ...]:
    """The phases that the rows of a table have, in their order."""
    assert isinstance(options, TableOptions)
    return tuple(dict.fromkeys(row.phase for row in read_table(find_table(options))))


def common_folder(paths: list[str]) -> Path:
    """The deepest folder that holds all of these files."""
    return Path(os.path.commonpath([os.path.dirname(path) or "." for path in paths]))

"""Two collections of images without pairs that a table names."""

from __future__ import annotations

import random
from itertools import accumulate
from pathlib import Path
from typing import ClassVar

from data import DATASETS
from data.base_dataset import Side
from data.table import Row, TableOptions, find_table, read_table, rows_of, shared_groups, weighted_order
from data.table_dataset import common_folder, table_phases
from data.unaligned_dataset import UnalignedDataset
from options.base_options import DataOptions


@DATASETS.register("unaligned_table")
class UnalignedTableDataset(UnalignedDataset):
    """Unpaired images of a table: DATAROOT/*.csv or .jsonl whose rows have A or B, or both, which are no pairs then.

    An epoch has as many samples as the side with more images. Weights say how often an image comes: those of A in their
    turn, those of B when they are drawn.
    """

    Options: ClassVar[type[DataOptions]] = TableOptions
    layout: ClassVar[str] = ""
    options: TableOptions

    def __init__(self, options: TableOptions, *, input_nc: int, output_nc: int, seed: int = 0) -> None:
        self._rows: dict[Side, list[Row]] = {}
        super().__init__(options, input_nc=input_nc, output_nc=output_nc, seed=seed)
        self.remarks = shared_groups(read_table(find_table(options)))
        self._reached = list(accumulate(row.weight for row in self._rows["B"]))

    def find_side(self, side: Side) -> tuple[Path, list[str]]:
        file = find_table(self.options)
        rows = [row for row in rows_of(file, read_table(file), self.options.phase) if (row.A if side == "A" else row.B)]
        if not rows:
            raise FileNotFoundError(f"{file}: no row of phase {self.options.phase} has {side}")
        if not any(row.weight for row in rows):
            raise ValueError(f"{file}: all weights of side {side} in phase {self.options.phase} are 0")
        self._rows[side] = rows[: int(min(len(rows), self.options.max_dataset_size))]
        paths = [row.A if side == "A" else row.B for row in self._rows[side]]
        return common_folder(paths), paths

    def epoch_order(self, rng: random.Random) -> list[int]:
        """Indices as often as the weight says of the image of A that each of them leads to."""
        weights = [row.weight for row in self._rows["A"]]
        return weighted_order(rng, [weights[index % len(weights)] for index in range(len(self))])

    def _partners(self, index: int, rng: random.Random) -> tuple[int, int]:
        if self.options.serial_batches:
            return super()._partners(index, rng)
        drawn = rng.choices(range(len(self._reached)), cum_weights=self._reached)[0]
        return index % len(self._a_paths), drawn

    @classmethod
    def phases(cls, options: DataOptions) -> tuple[str, ...]:
        return table_phases(options)

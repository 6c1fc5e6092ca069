"""Batch size: pix2pix with 1, 4, 16 and 64 images per step.

Makes again the table of a student experiment with pix2pix on the facades (400 training pairs, 200 epochs each):

    batch size           1      1      4     16     64
    published FID      185    185    183    181    191
    published IS      3.37   3.45   3.37   3.32   3.49

These numbers are history, no target. They compared a folder that holds inputs, outputs and targets of 50 test images
with the undivided pairs, so about the same came out of everything; each is one seed (why batch 1 is there twice is not
said: probably a downloaded model and their own). Here generated images are compared with real ones.

--equal epochs, as published: every row sees every image equally often, so a larger batch makes fewer updates (400
images, 200 epochs: 80000, 20000, 5000 and 1400). A difference may come from the batch size or from the updates.
--equal updates: every row makes as many updates as the first of --batch_sizes makes in the epochs asked for, or as
--n_iters and --n_iters_decay say. Then batch 64 sees 64 times the images of batch 1, and takes about as much longer.

    python scripts/experiments/batch_size.py --dataroot datasets/facades --direction BtoA --display_id 0
    python scripts/experiments/batch_size.py --dataroot datasets/facades --equal updates --n_iters 20000

How long: a row of the published table took about an hour on a GPU of 2020. To know what yours takes, run the command of
a row (--dry_run shows them all) with --dry_run added: it measures a step. The same command goes on after a stop.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

from data import DATASETS
from options.parse import Options
from options.schema import arg
from scripts.experiments.grid import run_table
from scripts.experiments.runs import Row, Table, TableOptions, words_of

CAUTIONS = (
    "Equal epochs give a larger batch fewer updates, equal updates show it more images: see both columns.",
    "Batch norm in a test uses the statistics of the one image that is tested (`--eval`: those of the training). A "
    "network that was trained with batch 1 knows no others; one that was trained with batch 64 does not know these.",
)


@dataclass(frozen=True, kw_only=True)
class BatchSizeTable(TableOptions):
    """Which batch sizes are compared, and how."""

    name: str = "batch_size"
    batch_sizes: str = arg("1,4,16,64", help="the rows of the table")
    equal: str = arg("epochs", choices=("epochs", "updates"), help="what the rows have in common")


def rows(args: BatchSizeTable, base: Options) -> list[Row]:
    """A row for each batch size, with the number of its steps where these are to be equal.

    Raises:
        ValueError: no whole number, or flags that contradict each other.
    """
    words = words_of(args.batch_sizes)
    if not words or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise ValueError(f"--batch_sizes {args.batch_sizes}: give whole numbers above 0, e.g. 1,4,16")
    s = base.schedule
    by_steps = s.n_iters + s.n_iters_decay > 0
    if by_steps and args.equal == "epochs":
        raise ValueError(f"--n_iters {s.n_iters}: gives all rows the same number of updates; say so by --equal updates")
    steps = {}
    if args.equal == "updates" and not by_steps:
        per_epoch = math.ceil(_num_images(base) / int(words[0]))
        steps = {"n_iters": str(s.n_epochs * per_epoch), "n_iters_decay": str(s.n_epochs_decay * per_epoch)}
    return [Row(str(int(word)), {"batch_size": str(int(word)), **steps}) for word in words]


def _num_images(base: Options) -> int:
    m = base.model
    dataset = DATASETS.get(base.run.dataset_mode)(base.data, input_nc=m.input_nc, output_nc=m.output_nc)
    return len(dataset)


TABLE = Table(BatchSizeTable, "Batch size", "batch size", __doc__ or "", rows, CAUTIONS)

if __name__ == "__main__":
    sys.exit(run_table(TABLE))

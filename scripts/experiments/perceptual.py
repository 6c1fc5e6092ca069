"""L1 against the perceptual loss: pix2pix by pixels, by the features of a VGG, and by both.

Makes again the table of a student experiment with pix2pix on the facades (400 training pairs, 200 epochs each):

    row          --lambda_L1   --lambda_perceptual   published IS   published FID
    L1                   100                     0           3.37             186
    perceptual             0                    10           3.36             186
    both                 100                    10              -               -

These numbers are history, no target. They compared a folder that holds inputs, outputs and targets of 50 test images
with the undivided pairs, so about the same came out of everything; each is one seed. What was seen on the Cityscapes:
L1 grey and washed out, better textures with the perceptual loss, which made training about five times slower. The
column s/image is that price. Here generated images are compared with real ones; --metrics psnr,l1 favours the row that
is trained by pixels, and lpips the rows that are trained by such features.

The published code gave the VGG images in [-1, 1], as --vgg_norm none does. The weights of the VGG are torchvision's,
downloaded once, or --vgg_weights FILE; see docs/perceptual.md, also for weights whose features have another scale.

    python scripts/experiments/perceptual.py --dataroot datasets/facades --direction BtoA --display_id 0
    python scripts/experiments/perceptual.py --dataroot datasets/facades --rows L1,both --seeds 0,1,2 --vgg_norm none

How long: a row of the published table took one to five hours on a GPU of 2020. To know what yours takes, run the
command of a row (--dry_run shows them all) with --dry_run added: it measures a step. The same command goes on after a
stop.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

from options.parse import Options
from options.schema import arg
from scripts.experiments.grid import run_table
from scripts.experiments.runs import Row, Table, TableOptions, known_words
from scripts.experiments.table import Column, RunEnd, epoch_values

ROWS = {"L1": (True, False), "perceptual": (False, True), "both": (True, True)}
"""Which of the two terms a row has."""

CAUTIONS = (
    "G_L1 and G_perceptual are different quantities, and so is their balance with G_GAN; compare the metrics and the "
    "pictures.",
)


@dataclass(frozen=True, kw_only=True)
class PerceptualTable(TableOptions):
    """Which losses are compared."""

    name: str = "perceptual"
    rows: str = arg(",".join(ROWS), help="the rows of the table")
    lambda_L1: str = arg("100", help="weight of L1 in the rows that have it")
    lambda_perceptual: str = arg(
        "10", aliases=("lambda_vgg",), help="weight of the perceptual term in the rows that have it"
    )


def rows(args: PerceptualTable, base: Options) -> list[Row]:
    """A row for each choice of terms.

    Raises:
        ValueError: an unknown one.
    """
    names = known_words("--rows", args.rows, tuple(ROWS))
    weights = {"lambda_L1": args.lambda_L1, "lambda_perceptual": args.lambda_perceptual}
    return [
        Row(name, {flag: weights[flag] if has else "0" for flag, has in zip(weights, ROWS[name], strict=True)})
        for name in names
    ]


def seconds_per_image(end: RunEnd) -> float | None:
    """The median over the epochs of a run, evaluations left out; None for a run without an epoch."""
    ends = epoch_values(end.checkpoints, "total_iters")
    images = [after - before for before, after in zip([0.0, *ends], ends)]
    found = [seconds / count for seconds, count in zip(epoch_values(end.checkpoints, "seconds"), images) if count > 0]
    return statistics.median(found) if found else None


COLUMNS = (
    Column(
        "s_per_image",
        "s/image",
        seconds_per_image,
        note="s/image: seconds of training an image took, the median over the epochs; comparable where the rows had "
        "the same machine to themselves.",
    ),
)

TABLE = Table(
    PerceptualTable,
    "L1 against the perceptual loss",
    "loss",
    __doc__ or "",
    rows,
    CAUTIONS,
    model="perceptual",
    columns=COLUMNS,
)

if __name__ == "__main__":
    sys.exit(run_table(TABLE))

"""Noise in the generator: stronger dropout, noise in feature maps, noise in weights; several draws of an image.

Makes again a student experiment with pix2pix on the facades, as far as it was published. Its model is pix2pix whose
dropout stays on in a test; the rate was changed in the source: 0.5, then 0.9, then 0.95. No numbers were published,
only pictures, and that quality falls much with the rate: at 0.95 they show a grid. (Which rate made which pictures has
to be guessed from the dates; the two sets of pictures of the same inputs are 34 of 255 apart in the mean.)

It also changed the weights themselves: after every epoch one random weight of every convolution, by adding up to 10,
which gave dark red blobs, or by multiplying by 10 or -10, which gave NaN after 25 epochs. Its own conclusion is the row
weight here: relative noise, small, on many weights, drawn again for every image and never stored. The row feature is
noise in the feature maps of the decoder, with strengths that are learned; L1 teaches them to fall, so read it beside a
run with --lambda_div 1 --lambda_L1 10, and another --name.

Every image is drawn --num_samples times; diversity is the mean distance of two draws. More of it is no better in
itself: a grid or a flicker counts too, and psnr, ssim and l1 of the first draw get worse as the draws go apart.

    python scripts/experiments/stochastic.py --dataroot datasets/facades --direction BtoA --display_id 0
    python scripts/experiments/stochastic.py --dataroot datasets/facades --dropouts 0.5 --noises feature --seeds 0,1,2

How long: a row of the published table took about an hour on a GPU of 2020. To know what yours takes, run the command of
a row (--dry_run shows them all) with --dry_run added: it measures a step. The same command goes on after a stop.
"""

from __future__ import annotations

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
from scripts.experiments.runs import Row, Table, TableOptions, words_of

CAUTIONS = (
    "Diversity says how far the draws of an image are apart, not whether they are good; look at the pictures.",
    "The other metrics are those of the first draw.",
)


@dataclass(frozen=True, kw_only=True)
class StochasticTable(TableOptions):
    """Which noises are compared."""

    name: str = "stochastic"
    metrics: tuple[str, ...] = ("kid", "psnr", "ssim", "l1", "diversity")
    dropouts: str = arg("0.5,0.9,0.95", help="dropout rates of the rows with dropout")
    noises: str = arg("feature,weight", help="noises of the rows without dropout")
    num_samples: int = arg(4, help="draws of each test image")


def rows(args: StochasticTable, base: Options) -> list[Row]:
    """A row for each rate of dropout, then one for each other noise.

    Raises:
        ValueError: one draw has no diversity.
    """
    if args.num_samples < 2:
        raise ValueError(f"--num_samples {args.num_samples}: give 2 or more, diversity compares the draws of an image")
    rates = [Row(f"dropout {rate}", {"noise": "dropout", "dropout": rate}) for rate in words_of(args.dropouts)]
    return rates + [Row(noise, {"noise": noise}) for noise in words_of(args.noises)]


TABLE = Table(
    StochasticTable,
    "Noise in the generator",
    "noise",
    __doc__ or "",
    rows,
    CAUTIONS,
    model="stochastic",
    test_words=lambda args: ["--num_samples", str(args.num_samples)],
)

if __name__ == "__main__":
    sys.exit(run_table(TABLE))

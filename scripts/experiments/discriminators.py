"""Discriminators: pix2pix without one, with the classic one, and with those of several scales.

Makes again the table of a student experiment with pix2pix on the facades (400 training pairs, 200 epochs each); the
numbers were read off a bar chart:

    discriminator            no D   classic   classic multiscale   SESAME multiscale
    --netDs                  none     basic           multiscale               sesam
    published FID           191.6     185.5                183.2               183.0
    published IS            3.479     3.390                3.399               3.489

These numbers are history, no target. They compared a folder that holds inputs, outputs and targets of 50 test images
with the undivided pairs, so about the same came out of everything; each is one seed, and the commands that were
published give three of the runs the same name, so that they overwrite each other. Here every row has its own name, and
generated images are compared with real ones.

The row "none" is --lambda_GAN 0: no discriminator is built, and L1 alone is left. sesam is the SESAME of the student
project; the row sesame, which that table did not have, is the published one: four groups of layers, spectral norm.
Other rows may be named: n_layers (--n_layers_D says how many), pixel, ms3 (three scales), pix2pixhd.

    python scripts/experiments/discriminators.py --dataroot datasets/facades --direction BtoA --display_id 0
    python scripts/experiments/discriminators.py --dataroot datasets/facades --netDs basic,pixel --seeds 0,1,2

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

from models.networks.factory import DISCRIMINATOR_NAMES, is_discriminator
from options.parse import Options
from options.schema import arg
from scripts.experiments.grid import run_table
from scripts.experiments.runs import Row, Table, TableOptions, words_of
from util.registry import unknown

CAUTIONS = (
    "The discriminators differ in size and in what they see; their losses are not comparable, the metrics and the "
    "pictures are.",
)


@dataclass(frozen=True, kw_only=True)
class DiscriminatorTable(TableOptions):
    """Which discriminators are compared."""

    name: str = "discriminators"
    netDs: str = arg("none,basic,multiscale,sesam,sesame", help="the rows of the table")


def rows(args: DiscriminatorTable, base: Options) -> list[Row]:
    """A row for each discriminator, and ``none``.

    Raises:
        ValueError: an unknown one.
    """
    names = words_of(args.netDs)
    for name in names:
        if name != "none" and not is_discriminator(name):
            raise unknown(f"--netDs {name}", name, ("none", *DISCRIMINATOR_NAMES))
    return [Row(name, {"lambda_GAN": "0"} if name == "none" else {"netD": name}) for name in names]


TABLE = Table(DiscriminatorTable, "Discriminators", "discriminator", __doc__ or "", rows, CAUTIONS)

if __name__ == "__main__":
    sys.exit(run_table(TABLE))

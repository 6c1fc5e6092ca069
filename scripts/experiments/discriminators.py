"""Discriminators: pix2pix with every --netD there is.

Makes again the table of a student experiment with pix2pix on the facades (400 training pairs, 200 epochs each); the
numbers were read off a bar chart:

    discriminator            no D   classic   classic multiscale   SESAME multiscale
    --netD                      -     basic           multiscale              sesame
    published FID           191.6     185.5                183.2               183.0
    published IS            3.479     3.390                3.399               3.489

These numbers are history, no target. They compared a folder that holds inputs, outputs and targets of 50 test images
with the undivided pairs, so about the same came out of everything; each is one seed, and the commands that were
published give three of the runs the same name, so that they overwrite each other. Here generated images are compared
with real ones.

The rows are the names of the table DISCRIMINATORS in models/networks/factory.py: a discriminator that is added there is
a row of the next table, also multiscale and sesame once they are there. There is no row "no D": no option trains
pix2pix without its adversarial loss. n_layers with 3 layers is basic, so its row has --n_layers_D 1 (patches of 16x16
pixels); 5 gives patches of 286x286.

    python scripts/experiments/discriminators.py --dataroot datasets/facades --direction BtoA --display_id 0
    python scripts/experiments/discriminators.py --dataroot datasets/facades --netDs basic,pixel --seeds 0,1,2

How long: a row of the published table took about an hour on a GPU of 2020. To know what yours takes, run the command of
a row (--dry_run shows them all) with --dry_run added: it measures a step. The same command goes on after a stop.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from options.parse import Options
from scripts.experiments.grid import run_table
from scripts.experiments.table_runs import Row, Table, words_of
from util.suggest import unknown

CAUTIONS = (
    "The discriminators differ in size and in what they see; their losses are not comparable, the metrics and the "
    "pictures are.",
)


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--netDs", default="", help="the rows, e.g. basic,pixel (default: all there are)")
    parser.add_argument("--n_layers_D", default="1", help="layers of the row n_layers (default: %(default)s)")


def rows(args: argparse.Namespace, base: Options) -> list[Row]:
    """A row for each discriminator.

    Raises:
        ValueError: an unknown one.
    """
    from models.networks.factory import DISCRIMINATOR_NAMES

    names = words_of(args.netDs) or list(DISCRIMINATOR_NAMES)
    for name in names:
        if name not in DISCRIMINATOR_NAMES:
            raise unknown(f"--netDs {name}", name, DISCRIMINATOR_NAMES)
    layers = {"n_layers_D": args.n_layers_D}
    return [Row(name, {"netD": name, **(layers if name == "n_layers" else {})}) for name in names]


TABLE = Table("discriminators", "Discriminators", "discriminator", __doc__ or "", rows, _add_flags, CAUTIONS)

if __name__ == "__main__":
    sys.exit(run_table(TABLE))

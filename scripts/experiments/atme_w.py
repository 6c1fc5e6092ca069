"""The block W of ATME: does it matter what turns D's map into the noise of the generator's input?

The authors leave open what block (g) of their model does: the small network W that makes W_t, as large as the image,
from the discriminator's map. There is no published table.

    --atme_w        block         three blocks of convolutions, learned (published)
                    bilinear      2 sigmoid(D) - 1, resized smoothly: what D thought, nothing learned
                    identity      the same with its patches as they are
                    none          zeros: the generator sees the clean image, as pix2pix's does
                    noise         noise that knows nothing of D

none and noise are the controls: where they do as well as block, what D thought is not what helps.

Every row is trained with every --init_types and every --seeds. The table has:

    collapsed       how many of these runs collapsed: a loss was not finite, or one of the last 3 epochs is marked
                    `collapsed` in checkpoints/RUN/loss_log.csv. An epoch is marked when D_real and D_fake have been
                    below 0.001 for 3 epochs, or when more than 99 % of the generated pixels are at the end of their
                    range while those of the targets are not. A run whose training failed for another reason (memory...)
                    counts neither way. So does one that failed on several GPUs, where the reason is not known here: see
                    its messages.
    D_sum           D_real + D_fake in the last epoch: log 4 = 1.386 in equilibrium
    D_entropy       entropy of D's maps in the last epoch: log 2 = 0.693 in equilibrium

and the metrics, all as means over the runs.

    python scripts/experiments/atme_w.py --dataroot datasets/facades --direction BtoA --display_id 0
    python scripts/experiments/atme_w.py --dataroot datasets/facades --atme_ws block,none,noise --seeds 0,1,2

How long: 5 blocks and 2 initialisations are 10 runs a seed. To know what one takes, run the command of a run (--dry_run
shows them all) with --dry_run added: it measures a step. The same command goes on after a stop.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from options.parse import Options
from scripts.experiments.atme_rows import CAUTIONS, COLUMNS, add_init_types, rows_of_choices
from scripts.experiments.grid import run_table
from scripts.experiments.table_runs import Row, Table


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--atme_ws", default="", help="the rows, e.g. block,none,noise (default: all there are)")
    add_init_types(parser)


def rows(args: argparse.Namespace, base: Options) -> list[Row]:
    """A row for each W.

    Raises:
        ValueError: an unknown W or initialisation.
    """
    from models.networks.w_block import W_BLOCK_NAMES

    return rows_of_choices(args, "atme_w", W_BLOCK_NAMES)


TABLE = Table("atme_w", "Blocks W of ATME", "W", __doc__ or "", rows, _add_flags, CAUTIONS, "atme", COLUMNS)

if __name__ == "__main__":
    sys.exit(run_table(TABLE))

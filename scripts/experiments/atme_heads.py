"""The head of ATME's generator: does the published one lead to collapse?

The authors leave open what block (f) of their generator does: the residual block, 1x1 convolution and tanh at its
end, where the diffusion U-Net that it descends from has a 1x1 convolution only. There is no published table.

    --atme_head     resnet        residual block, 1x1 convolution, tanh (published)
                    conv          1x1 convolution, tanh
                    conv_clamp    1x1 convolution, clamped to -1..1 in such a way that a pixel can come back

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

    python scripts/experiments/atme_heads.py --dataroot datasets/facades --direction BtoA --display_id 0
    python scripts/experiments/atme_heads.py --dataroot datasets/facades --atme_heads resnet,conv --seeds 0,1,2

How long: 3 heads and 2 initialisations are 6 runs a seed. To know what one takes, run the command of a run (--dry_run
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
    parser.add_argument("--atme_heads", default="", help="the rows, e.g. resnet,conv (default: all there are)")
    add_init_types(parser)


def rows(args: argparse.Namespace, base: Options) -> list[Row]:
    """A row for each head.

    Raises:
        ValueError: an unknown head or initialisation.
    """
    from models.networks.ddm_unet import HEAD_NAMES

    return rows_of_choices(args, "atme_head", HEAD_NAMES)


TABLE = Table("atme_heads", "Heads of ATME", "head", __doc__ or "", rows, _add_flags, CAUTIONS, "atme", COLUMNS)

if __name__ == "__main__":
    sys.exit(run_table(TABLE))

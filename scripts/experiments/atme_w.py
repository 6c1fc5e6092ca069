"""The block W of ATME: does it matter what turns D's map into the noise of the generator's input?

The authors leave open what block (g) of their model does: the small network W that makes W_t, as large as the image,
from the discriminator's map. There is no published table.

    --atme_w        block         three blocks of convolutions, learned (published)
                    bilinear      2 sigmoid(D) - 1, resized smoothly: what D thought, nothing learned
                    identity      the same with its patches as they are
                    none          zeros: the generator sees the clean image, as pix2pix's does
                    noise         noise that knows nothing of D

none and noise are the controls: where they do as well as block, what D thought is not what helps.

    python scripts/experiments/atme_w.py --dataroot datasets/facades --direction BtoA --display_id 0
    python scripts/experiments/atme_w.py --dataroot datasets/facades --atme_ws block,none,noise --seeds 0,1,2

How long: 5 blocks and 2 initialisations are 10 runs a seed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

from models.atme.w_block import W_BLOCK_NAMES
from options.schema import arg
from scripts.experiments.atme_rows import ATMETable, table_of_choices
from scripts.experiments.grid import run_table


def choices() -> Sequence[str]:
    """The values of --atme_w."""
    return W_BLOCK_NAMES


@dataclass(frozen=True, kw_only=True)
class BlockTable(ATMETable):
    """Which rows are compared."""

    name: str = "atme_w"
    atme_ws: str = arg("", help="the rows of the table, e.g. block,none,noise (default: all there are)")


TABLE = table_of_choices(BlockTable, "Blocks W of ATME", "W", __doc__ or "", flag="atme_w", choices=choices)

if __name__ == "__main__":
    sys.exit(run_table(TABLE))

"""The head of ATME's generator: does the published one lead to collapse?

The authors leave open what block (f) of their generator does: the residual block, 1x1 convolution and tanh at its
end, where the diffusion U-Net that it descends from has a 1x1 convolution only. There is no published table.

    --atme_head     resnet        residual block, 1x1 convolution, tanh (published)
                    conv          1x1 convolution, tanh
                    conv_clamp    1x1 convolution, clamped to -1..1 in such a way that a pixel can come back

    python scripts/experiments/atme_heads.py --dataroot datasets/facades --direction BtoA --display_id 0
    python scripts/experiments/atme_heads.py --dataroot datasets/facades --atme_heads resnet,conv --seeds 0,1,2

How long: 3 heads and 2 initialisations are 6 runs a seed.
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

from models.atme.unet import HEAD_NAMES
from options.schema import arg
from scripts.experiments.atme_rows import ATMETable, table_of_choices
from scripts.experiments.grid import run_table


def choices() -> Sequence[str]:
    """The values of --atme_head."""
    return HEAD_NAMES


@dataclass(frozen=True, kw_only=True)
class HeadTable(ATMETable):
    """Which rows are compared."""

    name: str = "atme_heads"
    atme_heads: str = arg("", help="the rows of the table, e.g. resnet,conv (default: all there are)")


TABLE = table_of_choices(HeadTable, "Heads of ATME", "head", __doc__ or "", flag="atme_head", choices=choices)

if __name__ == "__main__":
    sys.exit(run_table(TABLE))

"""Adversarial losses: pix2pix with cross entropy, hinge, least squares and two Wasserstein objectives.

Makes again the table of a student experiment with pix2pix on the facades (400 training pairs, 200 epochs each):

    loss             --gan_mode   published IS   published FID
    cross entropy    vanilla             3.508          184.89
    hinge            hinge               3.380          184.24
    least squares    lsgan               3.518          189.69
    Wasserstein      wgan                3.415          181.28

These numbers are history, no target. They compared a folder that holds inputs, outputs and targets of 50 test images
with the undivided pairs, so about the same came out of everything; each is one seed. Their Wasserstein row had the
best FID and visibly wrong colours. Here generated images are compared with real ones.

wgan is as published: nothing bounds the critic, so its losses may grow until one is not finite; the table then calls
the row failed and goes on. wgangp is a row that was not in the published table: the same objective with the gradient
penalty that bounds the critic. It computes second derivatives, so its updates are slower; on several GPUs it needs
--norm instance.

    python scripts/experiments/adversarial_losses.py --dataroot datasets/facades --direction BtoA --display_id 0
    python scripts/experiments/adversarial_losses.py --dataroot datasets/facades --gan_modes vanilla,lsgan --seeds 0,1,2

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

from models.networks.names import GAN_MODE_ALIASES, GAN_MODES
from options.parse import Options
from options.schema import arg
from scripts.experiments.grid import run_table
from scripts.experiments.runs import Row, Table, TableOptions, known_words

LABELS = {
    "vanilla": "cross entropy",
    "hinge": "hinge",
    "lsgan": "least squares",
    "wgan": "Wasserstein",
    "wgangp": "Wasserstein with gradient penalty",
}
"""The rows in the published order; a mode that is not here is called by its name."""

CAUTIONS = (
    "All rows have the same --lambda_L1, but their adversarial gradients differ in size, and so does the balance.",
    "The losses of different rows are different quantities; compare the metrics and the pictures.",
)


@dataclass(frozen=True, kw_only=True)
class LossTable(TableOptions):
    """Which objectives are compared."""

    name: str = "adversarial_losses"
    gan_modes: str = arg(",".join(LABELS), help="the rows of the table")


def rows(args: LossTable, base: Options) -> list[Row]:
    """A row for each objective.

    Raises:
        ValueError: an unknown one.
    """
    modes = known_words("--gan_modes", args.gan_modes, (*GAN_MODES, *GAN_MODE_ALIASES))
    return [Row(LABELS.get(mode, mode), {"gan_mode": mode}) for mode in modes]


TABLE = Table(LossTable, "Adversarial losses", "loss", __doc__ or "", rows, CAUTIONS)

if __name__ == "__main__":
    sys.exit(run_table(TABLE))

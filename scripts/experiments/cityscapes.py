"""Cityscapes: photos from segmentations, by pix2pix with L1 and with a perceptual loss.

Makes again what a student experiment trained on Cityscapes (label map to photo, 256 x 256 pixels, 200 epochs each):

    loss          --losses      options of --model perceptual              what was published
    L1            L1            --lambda_perceptual 0 --lambda_L1 100      grey, washed-out pictures
    perceptual    perceptual    --lambda_perceptual 10 --lambda_L1 0       sharper, better textures; about 5x slower

Pictures and loss curves were published, no numbers; their G_L1 (weight 100) was still falling at the end, and their
G_perceptual (weight 10) stayed about 6 to 10. For the facades there were numbers (IS 3.37 and FID 186 for L1, 3.36 and
186 for the perceptual loss), but they compared a folder that holds inputs, outputs and targets with the undivided
pairs, so about the same came out of everything: history, no target. Here generated images are compared with photos.

The row L1 builds no VGG and is pix2pix. The published VGG saw images in [-1, 1] as they are: --vgg_norm none does so
again. The row perceptual comes first, so that missing weights of the VGG are reported at once: see --vgg_weights.

The data may not be handed on, and are free for research only: their licence is at
https://www.cityscapes-dataset.com/license. Register there, get gtFine_trainvaltest.zip and
leftImg8bit_trainvaltest.zip, unpack them, and make 2975 pairs to train on and 500 to test on (their val), photo left:

    python datasets/prepare_cityscapes_dataset.py --gtFine_dir gtFine --leftImg8bit_dir leftImg8bit \\
        --output_dir datasets/cityscapes

The scores usual for label-to-photo (FCN scores) need a network that reads segmentations off the generated photos; this
table has image metrics only. scripts/segmentation_score.py makes such scores of what a network has read.

    python scripts/experiments/cityscapes.py --dataroot datasets/cityscapes --direction BtoA --display_id 0
    python scripts/experiments/cityscapes.py --dataroot datasets/cityscapes --direction BtoA --losses L1 --seeds 0,1,2

How long: 2975 pairs and 200 epochs are 595,000 steps per row. To know what that takes, run the command of a row
(--dry_run shows them all) with --dry_run added: it measures a step. The same command goes on after a stop.
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
from scripts.experiments.runs import Row, Table, TableOptions, known_words

LOSSES = {
    "perceptual": {"lambda_perceptual": "10", "lambda_L1": "0"},
    "L1": {"lambda_perceptual": "0", "lambda_L1": "100"},
}
"""Name of a row -> its weights."""

CAUTIONS = (
    "L1 is small where pictures are blurred, and PSNR and SSIM reward that; KID and the pictures show textures.",
    "The losses of different rows are different quantities; compare the metrics and the pictures.",
)


@dataclass(frozen=True, kw_only=True)
class CityscapesTable(TableOptions):
    """Which losses are compared."""

    name: str = "cityscapes"
    losses: str = arg(",".join(LOSSES), help="the rows of the table")


def rows(args: CityscapesTable, base: Options) -> list[Row]:
    """A row for each reconstruction loss.

    Raises:
        ValueError: an unknown one.
    """
    return [Row(name, LOSSES[name]) for name in known_words("--losses", args.losses, tuple(LOSSES))]


TABLE = Table(CityscapesTable, "Cityscapes", "loss", __doc__ or "", rows, CAUTIONS, model="perceptual")

if __name__ == "__main__":
    sys.exit(run_table(TABLE))

#!/usr/bin/env bash
# Downloads one of the unpaired CycleGAN data sets:  bash datasets/download_cyclegan_dataset.sh NAME [DIR]   (or --help)
set -euo pipefail

# The names are read in download.sh.
# shellcheck disable=SC2034
{
    script="download_cyclegan_dataset.sh"
    base_url="http://efrosgans.eecs.berkeley.edu/cyclegan/datasets"
    extension="zip"
    names="ae_photos apple2orange summer2winter_yosemite horse2zebra monet2photo cezanne2photo ukiyoe2photo"
    names="$names vangogh2photo maps cityscapes facades iphone2dslr_flower mini mini_pix2pix mini_colorization"
    train_command="python train.py --dataroot DATAROOT --name NAME --dataset_mode unaligned --model MODEL (one for unpaired images)"
}

# shellcheck source=datasets/download.sh
. "$(dirname "${BASH_SOURCE[0]}")/download.sh"
download_dataset "$@"

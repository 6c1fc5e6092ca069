#!/usr/bin/env bash
# Downloads a data set of the CycleGAN paper: folders trainA, trainB, testA, testB. --help tells the rest.
set -euo pipefail

names="ae_photos apple2orange cezanne2photo cityscapes facades horse2zebra iphone2dslr_flower maps mini"
names="$names mini_colorization mini_pix2pix monet2photo summer2winter_yosemite ukiyoe2photo vangogh2photo"

# shellcheck source=datasets/download.sh
. "$(dirname "${BASH_SOURCE[0]}")/download.sh"
download_main cyclegan zip "$names" "$@"

#!/usr/bin/env bash
# Downloads a generator of the CycleGAN paper, as its authors published it, and makes a run of it. --help tells the rest.
set -euo pipefail

names="apple2orange cityscapes_label2photo cityscapes_photo2label facades_label2photo facades_photo2label horse2zebra"
names="$names iphone2dslr_flower map2sat monet2photo orange2apple sat2map style_cezanne style_monet style_ukiyoe"
names="$names style_vangogh summer2winter_yosemite winter2summer_yosemite zebra2horse"

# shellcheck source=scripts/download_model.sh
. "$(dirname "${BASH_SOURCE[0]}")/download_model.sh"
download_model cyclegan cyclegan/pretrained_models "$names" "$@"

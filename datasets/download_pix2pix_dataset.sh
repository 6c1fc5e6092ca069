#!/usr/bin/env bash
# Downloads one of the aligned pix2pix data sets:  bash datasets/download_pix2pix_dataset.sh NAME [DIR]   (or --help)
set -euo pipefail

# The names are read in download.sh.
# shellcheck disable=SC2034
{
    script="download_pix2pix_dataset.sh"
    base_url="http://efrosgans.eecs.berkeley.edu/pix2pix/datasets"
    extension="tar.gz"
    names="cityscapes night2day edges2handbags edges2shoes facades maps"
    train_command="python train.py --dataroot DATAROOT --name NAME_pix2pix --model pix2pix"
    [ "${1:-}" != facades ] || train_command="$train_command --direction BtoA"
}

# shellcheck source=datasets/download.sh
. "$(dirname "${BASH_SOURCE[0]}")/download.sh"
download_dataset "$@"

#!/usr/bin/env bash
# Downloads a generator of the pix2pix paper, as its authors published it, and makes a run of it. --help tells the rest.
set -euo pipefail

names="day2night edges2shoes facades_label2photo map2sat sat2map"

# In the published pairs the photo of facades and maps is on side A, and so is the night.
direction_of() {
    case "$1" in
    day2night | facades_label2photo | map2sat) echo BtoA ;;
    *) echo AtoB ;;
    esac
}

# shellcheck source=scripts/download_model.sh
. "$(dirname "${BASH_SOURCE[0]}")/download_model.sh"
download_model pix2pix pix2pix/models-pytorch "$names" "$@"

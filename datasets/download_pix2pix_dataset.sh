#!/usr/bin/env bash
# Downloads a data set of the pix2pix paper: pairs side by side, A left and B right. --help tells the rest.
set -euo pipefail

names="cityscapes edges2handbags edges2shoes facades maps night2day"

# shellcheck source=datasets/download.sh
. "$(dirname "${BASH_SOURCE[0]}")/download.sh"
download_main pix2pix tar.gz "$names" "$@"

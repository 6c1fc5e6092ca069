#!/usr/bin/env bash
# Downloads a data set of the pix2pix paper: pairs side by side, A left and B right. --help tells the rest.
set -euo pipefail

script="${BASH_SOURCE[0]}"
collection=pix2pix
suffix=tar.gz
names="cityscapes edges2handbags edges2shoes facades maps night2day"

. "$(dirname "$script")/download.sh"
download_main "$@"

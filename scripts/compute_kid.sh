#!/usr/bin/env bash
# KID of a run's test images, read where they are: bash scripts/compute_kid.sh PROJECT [DOMAIN=B] [options]
#
#   PROJECT   name of the run: results/PROJECT/test_latest, or the only result folder that is there
#   DOMAIN    B: fake_B against real_B (default); A: fake_A against real_A
#   options   of scripts/evaluate.py, e.g. --epoch 100 --phase val --feature_extractor efficientnet_lite0
#
# The protocol is the published one: 100 subsets of 50 images, polynomial kernel of degree 3. Prints
# "KID x100: mean +/- std" and writes results/PROJECT/metrics.json.
set -euo pipefail

if [ $# -eq 0 ] || [ "$1" = --help ] || [ "$1" = -h ]; then
    sed -n '2,/^set -e/{/^set -e/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
    [ $# -gt 0 ] && exit 0
    exit 2
fi
project="$1"
shift
domain=B
if [ $# -gt 0 ] && [ "${1#--}" = "$1" ]; then
    domain="${1#DOMAIN=}"
    shift
fi

# The active environment, else the .venv that scripts/setup.sh makes, else whatever python there is.
repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python=python
if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && [ -x "$repo/.venv/bin/python" ]; then
    python="$repo/.venv/bin/python"
elif ! command -v python >/dev/null; then
    python=python3
fi
exec "$python" "$repo/scripts/evaluate.py" --name "$project" --domain "$domain" --metrics kid "$@"

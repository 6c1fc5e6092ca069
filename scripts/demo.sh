#!/usr/bin/env bash
# From nothing to translated pictures: sets up, draws a small data set of facades, trains pix2pix on it (on the GPU if
# there is one), translates the test images and prints the path of the page that shows them.
#
#   bash scripts/demo.sh [flags for train.py, e.g. --precision bf16]
#
# The settings below can be changed from outside, e.g.  DEMO_SIZE=256 DEMO_NETG=unet_256 bash scripts/demo.sh
# A second call keeps the data and replaces the run.
set -euo pipefail

name="${DEMO_NAME:-demo}"                  # name of the run
size="${DEMO_SIZE:-128}"                   # width and height of the images (pixels)
n_train="${DEMO_N_TRAIN:-200}"             # images to train on
n_test="${DEMO_N_TEST:-40}"                # images to translate afterwards
net="${DEMO_NETG:-unet_128}"               # generator; its number must divide the size
width="${DEMO_WIDTH:-32}"                  # its first layer's channels; published: 64, four times the weights
n_epochs="${DEMO_N_EPOCHS:-7}"             # epochs at the initial learning rate
n_epochs_decay="${DEMO_N_EPOCHS_DECAY:-7}" # epochs over which it falls
minutes="${DEMO_MINUTES:-6}"               # of training at most: on a slow machine the schedule is finished early

repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
data="datasets/demo_facades"
page="results/$name/test_latest/index.html"
began=$SECONDS

step() { printf '\n== %s\n' "$*"; }

python="$(bash "$repo/scripts/setup.sh" --print-python)"
cd "$repo"

step "data: $n_train + $n_test drawn facades of $size px in $data"
"$python" datasets/make_demo.py facades --out "$data" --n_train "$n_train" --n_test "$n_test" --size "$size" --seed 0

step "training pix2pix for $((n_epochs + n_epochs_decay)) epochs, $minutes minutes at most"
"$python" train.py --dataroot "$data" --name "$name" --model pix2pix --direction BtoA --overwrite \
    --netG "$net" --ngf "$width" --load_size "$((size * 286 / 256))" --crop_size "$size" --resample_B nearest \
    --n_epochs "$n_epochs" --n_epochs_decay "$n_epochs_decay" --max_minutes "$minutes" --save_epoch_freq 1000 --display_id 0 "$@"

step "translating the test images"
"$python" test.py --name "$name"
[ -f "$page" ] || { echo "test.py wrote no $page" >&2 && exit 1; }

step "done in $(((SECONDS - began) / 60)) min $(((SECONDS - began) % 60)) s"
echo "result page:   $repo/$page"
echo "training page: $repo/checkpoints/$name/web/index.html"

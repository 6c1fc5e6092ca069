#!/usr/bin/env bash
# torch 2.14.1: the moving average of a generator in bfloat16 or float16 never leaves its first value.
#
# A good guess:  AveragedModel with get_ema_multi_avg_fn(0.999) of a half precision model follows it with some rounding
#                noise; after 5000 steps it has arrived.
# What happens:  it has not moved at all. A step adds a thousandth of the difference to the average. bfloat16 has 8
#                significant bits and float16 has 11, so that a weight near 1 only changes by 1/128 or 1/1024 at least:
#                what is added is rounded away at every step. Weights that went from 1 to 1.25 keep an average of 1; in
#                float32 it is 1.248. The averaged generator that is evaluated is the one of the first step, without a
#                warning. Keep the weights in float32 and use autocast.
# Versions:      torch 2.14.1
# Source:        torch/optim/swa_utils.py, get_ema_multi_avg_fn
#
# Run it: bash findings/torch_average_of_bfloat16_stands_still.sh
#         (exit 0: as described; 1: the behaviour has changed)
# It installs torch, about 6 GB.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import sys

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

print("torch", torch.__version__)
seen = {}
for dtype in (torch.float32, torch.float16, torch.bfloat16):
    net = nn.Linear(4, 4, bias=False).to(dtype)
    nn.init.constant_(net.weight, 1.0)
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.999))
    average.update_parameters(net)  # the first call copies
    nn.init.constant_(net.weight, 1.25)
    for _ in range(5000):
        average.update_parameters(net)
    seen[dtype] = round(float(average.module.weight.detach().mean()), 3)
    print(f"{dtype}: the weights went from 1 to 1.25, their average to {seen[dtype]}")
sys.exit(0 if list(seen.values()) == [1.248, 1.0, 1.0] else "the behaviour has changed")
PY

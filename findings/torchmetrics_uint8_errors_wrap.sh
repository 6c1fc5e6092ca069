#!/usr/bin/env bash
# torchmetrics 1.9.0 subtracts 8-bit images in 8 bits: the mean absolute error of two nearly equal pictures is over 100.
#
# A good guess:  mean_absolute_error and mean_squared_error of uint8 tensors are those of the numbers in them, or are
#                refused, as StructuralSimilarityIndexMeasure refuses them; PeakSignalNoiseRatio takes uint8 and is right.
# What happens:  0 - 10 is 246 in uint8. An image that is brighter by 10 at 0 and darker by 5 at 255 has a mean absolute
#                error of 125.5 instead of 7.5, and one that is brighter by 16 everywhere has a mean squared error of 0.
#                Nothing warns. PSNR of the same tensors is right: it alone converts to float before it subtracts.
# Versions:      torchmetrics 1.9.0, torch 2.14.1
# Source:        torchmetrics/functional/regression/mae.py and mse.py; Lightning-AI/torchmetrics issue 2787, in which PSNR
#                was mended
#
# Run it: bash findings/torchmetrics_uint8_errors_wrap.sh     (exit 0: as described; 1: the behaviour has changed)
# It installs torch, about 6 GB.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchmetrics==1.9.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import sys

import torch
import torchmetrics
from torchmetrics.image import PeakSignalNoiseRatio
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError

target = torch.tensor([[0, 255], [64, 100]], dtype=torch.uint8)
near = torch.tensor([[10, 250], [64, 100]], dtype=torch.uint8)  # absolute errors 10, 5, 0, 0
brighter = target.clamp(max=200) + torch.tensor(16, dtype=torch.uint8)
seen = {}
for name, metric, image, reference in (
    ("mean absolute error", MeanAbsoluteError, near, target),
    ("mean squared error", MeanSquaredError, brighter, target.clamp(max=200)),
    ("PSNR", lambda: PeakSignalNoiseRatio(data_range=255.0), near, target),
):
    seen[name] = [round(float(metric()(*(kind(each) for each in (image, reference)))), 2) for kind in (torch.Tensor.byte, torch.Tensor.float)]
    print(f"{name}: {seen[name][0]} of uint8, {seen[name][1]} of float")
print("torchmetrics", torchmetrics.__version__, "torch", torch.__version__)
as_described = (
    seen["mean absolute error"] == [62.75, 3.75]
    and seen["mean squared error"] == [0.0, 256.0]
    and seen["PSNR"][0] == seen["PSNR"][1]
)
sys.exit(0 if as_described else "the behaviour has changed")
PY

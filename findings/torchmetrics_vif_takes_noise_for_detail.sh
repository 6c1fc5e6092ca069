#!/usr/bin/env bash
# torchmetrics 1.9.0: VisualInformationFidelity of pictures in [0, 1] puts a noisy one before a slightly blurred one.
#
# A good guess:  VIF takes pictures in [0, 1], as LPIPS, PSNR and SSIM of torchmetrics do, and has the same value in
#                [0, 255]: the measure has no unit, and there is no argument for a range.
# What happens:  the variance of the eye's noise is a fixed 2.0, on a scale of 0 to 255. In [0, 1] it is far above
#                everything in the picture: noise costs next to nothing, and contrast counts by its square. A picture
#                under heavy noise has 0.92 there and 0.15 in [0, 255]; the same picture blurred by a 3x3 mean has 0.91
#                and 0.97, and with half of its contrast 0.25 and 0.78. So the order of two models changes with the
#                range. Multiply by 255 before.
# Versions:      torchmetrics 1.9.0, torch 2.14.1
# Source:        torchmetrics/functional/image/vif.py; Sheikh and Bovik, Image information and visual quality, 2006
#
# Run it: bash findings/torchmetrics_vif_takes_noise_for_detail.sh
#         (exit 0: as described; 1: the behaviour has changed)
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
from torch.nn.functional import avg_pool2d
from torchmetrics.image import VisualInformationFidelity

y, x = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
picture = (0.5 + 0.25 * torch.sin(x / 3) * torch.cos(y / 5) + 0.15 * torch.sin(x * y / 300))[None, None]
noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
made = {
    "the picture itself": picture,
    "noise of 0.2": (picture + 0.2 * noise).clamp(0, 1),
    "blurred by 3x3": avg_pool2d(picture, 3, 1, 1),
    "half of the contrast": 0.5 + 0.5 * (picture - 0.5),
}
print("torchmetrics", torchmetrics.__version__, "torch", torch.__version__)
seen = {}
for name, other in made.items():
    seen[name] = [float(VisualInformationFidelity()(other * scale, picture * scale)) for scale in (1, 255)]
    print(f"{name}: VIF {seen[name][0]:.2f} in [0, 1], {seen[name][1]:.2f} in [0, 255]")
same, noisy, blurred, weak = seen.values()
as_described = (
    max(abs(each - 1) for each in same) < 1e-3
    and noisy[0] > blurred[0] > 0.85
    and noisy[1] < 0.3 < 0.9 < blurred[1]
    and weak[0] < 0.3 < 0.7 < weak[1]
)
sys.exit(0 if as_described else "the behaviour has changed")
PY

#!/usr/bin/env bash
# torch 2.14.1: the usual initialisation of a GAN does nothing to layers with the newer spectral norm or weight norm.
#
# A good guess:  net.apply(init) with nn.init.normal_(layer.weight.data, 0.0, 0.02), as GAN code does after building a
#                network, sets the weights whichever spectral norm the layers have; or it fails.
# What happens:  with torch.nn.utils.parametrizations the attribute weight is computed at every access. The numbers are
#                drawn into that copy, which is thrown away; the stored weight keeps torch's default, and biases are
#                set, so that it looks done. With the older torch.nn.utils.spectral_norm the same line works, as long
#                as no forward pass came before. Replacing the old name by the new one, as its documentation
#                recommends, changes the start of every run. Initialise before the norm is added, or assign:
#                layer.weight = values.
# Versions:      torch 2.14.1
# Source:        torch/nn/utils/parametrize.py; pytorch issue 180968
#
# Run it: bash findings/torch_init_misses_parametrized_weights.sh
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
from torch.nn.utils import parametrizations, parametrize, spectral_norm


def init(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d):
        nn.init.normal_(layer.weight.data, 0.0, 0.02)
        nn.init.constant_(layer.bias.data, 0.0)


def stored(layer: nn.Module) -> torch.Tensor:
    if parametrize.is_parametrized(layer):
        return layer.parametrizations.weight[0].right_inverse(layer.parametrizations.weight.original).detach()
    return dict(layer.named_parameters()).get("weight_orig", layer.weight).detach()


torch.manual_seed(0)
print("torch", torch.__version__)
seen = {}
for name, norm in {
    "no norm": nn.Identity,
    "torch.nn.utils.spectral_norm": spectral_norm,
    "parametrizations.spectral_norm": parametrizations.spectral_norm,
}.items():
    layer = nn.Conv2d(3, 64, 4)
    layer = layer if norm is nn.Identity else norm(layer)
    before = float(stored(layer).std())
    layer.apply(init)
    seen[name] = (round(before, 3), round(float(stored(layer).std()), 3), float(layer.bias.detach().abs().max()))
    print(f"{name}: standard deviation of the stored weight {seen[name][0]}, then {seen[name][1]}")
weight = parametrizations.weight_norm(nn.Conv2d(3, 64, 4))
kept = {key: value.clone() for key, value in weight.named_parameters()}
weight.apply(init)
unchanged = [key for key, value in weight.named_parameters() if torch.equal(value, kept[key])]
print(f"parametrizations.weight_norm: unchanged {unchanged}")
assigned = parametrizations.spectral_norm(nn.Conv2d(3, 64, 4))
assigned.weight = torch.randn(64, 3, 4, 4) * 0.02
print(f"assigned to layer.weight: {float(stored(assigned).std()):.3f}")
as_described = (
    all(seen[name][1] == 0.02 for name in list(seen)[:2])
    and seen["parametrizations.spectral_norm"][0] == seen["parametrizations.spectral_norm"][1] > 0.05
    and all(each[2] == 0 for each in seen.values())
    and len(unchanged) == 2
)
sys.exit(0 if as_described else "the behaviour has changed")
PY

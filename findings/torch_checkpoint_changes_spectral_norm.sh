#!/usr/bin/env bash
# torch 2.14.1: with torch.utils.checkpoint, layers with spectral norm have other gradients, and batch norm counts twice.
#
# A good guess:  checkpoint computes a block a second time instead of storing its activations: the loss, the gradients and
#                the buffers are those of a step without it.
# What happens:  each computation in training mode makes a step of the power iteration, so that the second one has other
#                weights than the first: the loss is the same, the gradients are not, as they belong to a network that never
#                made that loss. At the start of a training, where the iteration is far from its end, they are off by
#                several per cent. Batch norm updates its running statistics twice a step. Nothing warns. Discriminators of
#                SAGAN, U-GAT-IT and many others are made of such layers.
# Versions:      torch 2.14.1
# Source:        torch.utils.checkpoint and torch.nn.utils.parametrizations.spectral_norm; pytorch/pytorch issue 96136 (batch
#                norm)
#
# Run it: bash findings/torch_checkpoint_changes_spectral_norm.sh     (exit 0: as described; 1: the behaviour has changed)
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
from torch.nn.utils import spectral_norm as by_hooks
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.checkpoint import checkpoint


def step(block, again):
    """Loss and gradients of a step from equal weights."""
    torch.manual_seed(0)
    net = block()
    images = torch.randn(4, 3, 16, 16, requires_grad=True)
    loss = (checkpoint(net, images, use_reentrant=False) if again else net(images)).square().mean()
    loss.backward()
    return float(loss), torch.cat([each.grad.flatten() for each in net.parameters()]), net


def critic(norm):
    return nn.Sequential(norm(nn.Conv2d(3, 32, 4, 2, 1)), nn.LeakyReLU(0.2), norm(nn.Conv2d(32, 1, 4, 2, 1)))


blocks = {
    "no norm": lambda: critic(lambda layer: layer),
    "parametrizations.spectral_norm": lambda: critic(spectral_norm),
    "spectral_norm": lambda: critic(by_hooks),
}
seen = {}
for name, block in blocks.items():
    (loss, gradient, _), (other_loss, other, _) = step(block, False), step(block, True)
    seen[name] = (loss == other_loss, float((gradient - other).norm() / gradient.norm()))
    print(f"{name}: equal losses {seen[name][0]}, gradients differ by {seen[name][1]:.2%}")
batches = [int(step(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), again)[2][1].num_batches_tracked) for again in (False, True)]
print(f"batches that batch norm has seen: {batches[0]} without checkpoint, {batches[1]} with it")
print("torch", torch.__version__)
as_described = all(same for same, _ in seen.values()) and seen["no norm"][1] < 1e-6 and batches == [1, 2]
as_described = as_described and all(seen[name][1] > 1e-3 for name in seen if name != "no norm")
sys.exit(0 if as_described else "the behaviour has changed")
PY

#!/usr/bin/env bash
# torch 2.14.1: with one seed, the first latent vector of a batch of two is not that of a batch of one.
#
# A good guess:  torch.randn fills a tensor in order, so that with the same seed z of a batch of 1 is the first row of
#                z of a batch of 2, as in torch.rand and in numpy; noise of sample 0 stays the same when the batch
#                grows.
# What happens:  on the CPU the numbers come in blocks of 16, and where the size is no multiple of 16 the last 16
#                numbers are drawn again. For latent vectors of 100 numbers the last 16 of the first row depend on how
#                many rows follow; those of 128 numbers do not. Tensors of fewer than 16 numbers are drawn in another
#                way and share not one number with the start of a larger one. So pictures of "the same seed" differ by
#                batch size, by the number of processes and by the last smaller batch. A generator for each sample does
#                not.
# Versions:      torch 2.14.1
# Source:        normal_fill in aten/src/ATen/native/cpu/DistributionTemplates.h; pytorch issue 80202
#
# Run it: bash findings/torch_randn_depends_on_the_batch.sh     (exit 0: as described; 1: the behaviour has changed)
# It installs torch, about 6 GB.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import sys
from collections.abc import Callable

import torch
from torch import Tensor


def kept(draw: Callable[..., Tensor], length: int, rows: int) -> int:
    """How many numbers of the first row are those of a single row with the same seed."""
    one, more = (draw(each, length, generator=torch.Generator().manual_seed(0)) for each in (1, rows))
    return int((one[0] == more[0]).sum())


print("torch", torch.__version__)
seen = {
    "randn, rows of 100, 1 and 2": kept(torch.randn, 100, 2),
    "randn, rows of 100, 1 and 8": kept(torch.randn, 100, 8),
    "randn, rows of 128, 1 and 2": kept(torch.randn, 128, 2),
    "randn, rows of 10, 1 and 2": kept(torch.randn, 10, 2),
    "rand, rows of 100, 1 and 2": kept(torch.rand, 100, 2),
}
for name, count in seen.items():
    print(f"{name}: {count} numbers of the first row are the same")
sys.exit(0 if list(seen.values()) == [84, 84, 128, 0, 100] else "the behaviour has changed")
PY

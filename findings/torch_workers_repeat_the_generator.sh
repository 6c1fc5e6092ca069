#!/usr/bin/env bash
# torch 2.14.1: a numpy Generator kept by a data set gives every worker, and every epoch, the same crops and flips.
#
# A good guess:  since the DataLoader seeds numpy in its workers, random augmentation differs by worker and by epoch;
#                np.random.default_rng in the data set, numpy's advice, does as well as np.random.
# What happens:  the DataLoader seeds only the global generators. A Generator (or a torch.Generator) that the data set
#                holds is copied as it is to each worker, at the start of each epoch. With four workers four samples at
#                a time have the same "random" numbers, and every epoch repeats the first: the augmentation is a fixed
#                one. np.random.randint in the same place is different in each. Without workers, where one tries it,
#                all is well.
# Versions:      torch 2.14.1, numpy 2.4.6
# Source:        torch/utils/data/_utils/worker.py, _worker_loop; "Randomness in multi-process data loading" in the
#                notes of torch.utils.data
#
# Run it: bash findings/torch_workers_repeat_the_generator.sh     (exit 0: as described; 1: the behaviour has changed)
# It installs torch, about 6 GB.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
cd "$folder"
cat >epochs.py <<'PY'
import sys
import warnings

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

SAMPLES, WORKERS = 8, 4


class Crops(Dataset):
    """The place of a random crop, by three generators."""

    def __init__(self) -> None:
        self.generator, self.torch_generator = np.random.default_rng(0), torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> torch.Tensor:
        own = int(self.generator.integers(10**6)), int(torch.randint(10**6, (), generator=self.torch_generator))
        return torch.tensor([*own, np.random.randint(10**6)])


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of machines with fewer processors than workers
    print("torch", torch.__version__, "numpy", np.__version__)
    seen = {}
    for workers in (0, WORKERS):
        torch.manual_seed(0)
        loader = DataLoader(Crops(), batch_size=1, num_workers=workers)
        drawn = torch.stack([torch.cat(list(loader)) for _ in range(2)])  # [epoch, sample, kind]
        for kind, name in enumerate(("numpy Generator", "torch.Generator", "np.random")):
            seen[workers, name] = len(drawn[:, :, kind].unique())
            print(f"{workers} workers, {name}: {seen[workers, name]} different numbers in {2 * SAMPLES} samples")
    expected = {(workers, name): 2 * SAMPLES for workers, name in seen}
    expected[WORKERS, "numpy Generator"] = expected[WORKERS, "torch.Generator"] = SAMPLES // WORKERS
    sys.exit(0 if seen == expected else "the behaviour has changed")
PY
venv/bin/python epochs.py

#!/usr/bin/env bash
# torch 2.14.1: after torchrun restarts its workers, they meet in the store of those that died, with all its keys.
#
# A good guess:  each start of the workers meets in an empty store; torch/distributed/rendezvous.py says in a comment
#                that each retry gets a new one.
# What happens:  with --standalone the launcher's TCPStore outlives the workers. A key that a worker of the first start
#                has set is there in the second, so that anything kept under a fixed name (a counter, the address of a
#                process, "who reports the error") is that of a dead process. A prefix with TORCHELASTIC_RESTART_COUNT
#                parts the starts.
# Versions:      torch 2.14.1
# Source:        torch.distributed.elastic, "Rendezvous"; torch/distributed/rendezvous.py
#
# Run it: bash findings/torchrun_restarts_keep_the_store.sh     (exit 0: as described; 1: the behaviour has changed)
# It installs torch, about 6 GB.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
cd "$folder"
cat >worker.py <<'PY'
import os
import sys

import torch
import torch.distributed as dist

attempt, rank = os.environ["TORCHELASTIC_RESTART_COUNT"], os.environ["RANK"]
store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
mine = dist.PrefixStore(f"start {attempt}", store)
before = [each.add("workers", 1) - 1 for each in (store, mine)]
mine.set(f"rank {rank} counted", "yes")
mine.get("rank 0 counted")
mine.get("rank 1 counted")
print(f"torch {torch.__version__} start {attempt} rank {rank}: counted before me {before[0]}, with a prefix {before[1]}", flush=True)
sys.exit(1 if attempt == "0" else 0)
PY
venv/bin/python -m torch.distributed.run --standalone --nproc_per_node 2 --max_restarts 1 worker.py 2>errors.txt | tee seen.txt
# The two workers of the second start see two, and then three; under a prefix none, and then one.
counted="$(grep "start 1" seen.txt | sed 's/.*before me //' | sort | tr '\n' ';')"
[ "$counted" = "2, with a prefix 0;3, with a prefix 1;" ] || { echo "the behaviour has changed"; exit 1; }

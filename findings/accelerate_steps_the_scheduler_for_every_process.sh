#!/usr/bin/env bash
# accelerate 1.15.0: with two processes scheduler.step() counts twice, so that a decay ends after half of its epochs.
#
# A good guess:  a scheduler that is stepped once an epoch (the linear decay of GANs) has the same rates with one
#                process and with several, as under plain DistributedDataParallel; accelerator.prepare only wraps it.
# What happens:  the wrapper steps it once for every process. A rate that shall fall to 0 over 10 epochs is 0 after 5
#                with two processes and after 3 with four, and the rest of the run trains nothing. It assumes that a
#                step is a batch and that the batch of all processes makes the loader shorter.
#                Accelerator(step_scheduler_with_optimizer=False), or a scheduler that is not prepared, counts as
#                written.
# Versions:      accelerate 1.15.0, torch 2.14.1
# Source:        accelerate/scheduler.py, AcceleratedScheduler.step
#
# Run it: bash findings/accelerate_steps_the_scheduler_for_every_process.sh
#         (exit 0: as described; 1: the behaviour has changed)
# It installs torch, about 6 GB.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet accelerate==1.15.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
cat >decay.py <<'PY'
import accelerate
import torch
from accelerate import Accelerator

for prepared in (True, False):
    accelerator = Accelerator(cpu=True)
    net = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(net.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=10)  # to 0 in 10 epochs
    net, optimizer = accelerator.prepare(net, optimizer)
    scheduler = accelerator.prepare(scheduler) if prepared else scheduler
    rates = []
    for _ in range(5):
        optimizer.zero_grad()
        accelerator.backward(net(torch.ones(1, 2)).sum())
        optimizer.step()
        scheduler.step()
        rates.append(round(scheduler.get_last_lr()[0], 2))
    if accelerator.is_main_process:
        print(f"accelerate {accelerate.__version__} processes {accelerator.num_processes} prepared {prepared}: {rates}")
PY
for processes in 1 2; do
    OMP_NUM_THREADS=1 venv/bin/python -m torch.distributed.run --standalone --nproc_per_node "$processes" decay.py \
        2>>errors.txt
done | tee seen.txt
cat >expected.txt <<'TEXT'
accelerate 1.15.0 processes 1 prepared True: [0.9, 0.8, 0.7, 0.6, 0.5]
accelerate 1.15.0 processes 1 prepared False: [0.9, 0.8, 0.7, 0.6, 0.5]
accelerate 1.15.0 processes 2 prepared True: [0.8, 0.6, 0.4, 0.2, 0.0]
accelerate 1.15.0 processes 2 prepared False: [0.9, 0.8, 0.7, 0.6, 0.5]
TEXT
diff expected.txt seen.txt || { echo "the behaviour has changed"; exit 1; }

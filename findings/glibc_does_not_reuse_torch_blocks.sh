#!/usr/bin/env bash
# glibc 2.36 with torch 2.14.1: whether memory that torch has freed on the CPU is used again hangs on small objects.
#
# A good guess:  ten tensors of 16 MB that are freed make room for the next ten of 16 MB, so that a loop which makes and
#                frees the same tensors in every round needs no more memory after the first rounds.
# What happens:  torch asks for blocks aligned to 64 bytes. glibc cuts each out of a piece that is a little larger, and
#                hands the bits before and behind it to the next small requests. Where such a small object stays, the
#                hole that the block leaves may be too small for an aligned block of the same size. With a few tensors
#                of three numbers kept for every block, the heap stays small for some counts; for others it grows by up
#                to all ten blocks in every round, while what is in use does not grow.
# Versions:      glibc 2.36 (Debian 12), torch 2.14.1
# Source:        c10::alloc_cpu in c10/core/impl/alloc_cpu.cpp (posix_memalign); glibc bug 14581, memalign
#
# Run it: bash findings/glibc_does_not_reuse_torch_blocks.sh       (exit 0: as described; 1: the behaviour has changed)
# It installs torch, about 6 GB, and needs Linux with glibc.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
cd "$folder"
cat >rounds.py <<'PY'
import ctypes
import platform
import sys

import torch


class Mallinfo2(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]


mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Mallinfo2
small = int(sys.argv[1])
if small == 1:
    print(f"torch {torch.__version__}, {' '.join(platform.libc_ver())}; MB of the heap after each round")
kept, heap, used = [], [], []
for _ in range(8):
    blocks = []
    for _ in range(10):
        blocks.append(torch.empty(2**22))
        kept += [torch.empty(3) for _ in range(small)]
    now = mallinfo2()
    heap.append(round(now.arena / 2**20))
    used.append(round(now.uordblks / 2**20))
    del blocks
grown, more = heap[-1] - heap[1], used[-1] - used[1]  # after the first round glibc takes the blocks from the heap
print(f"{small} small tensors for each block:", *heap, f"  heap {grown:+d} MB, in use {more:+d} MB")
PY
for small in 1 2 3 4 5 6 7 8; do
    venv/bin/python rounds.py "$small" 2>errors.txt
done | tee seen.txt
venv/bin/python - <<'PY'
import re

changes = re.findall(r"heap ([+-]\d+) MB, in use ([+-]\d+) MB", open("seen.txt").read())
heaps, used = ([int(each) for each in column] for column in zip(*changes))
if max(heaps) < 400 or max(used) > 4:
    raise SystemExit("the behaviour has changed")
PY

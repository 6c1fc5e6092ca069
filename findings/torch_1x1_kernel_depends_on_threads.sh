#!/usr/bin/env bash
# torch 2.14.1: which program computes a 1x1 convolution depends on the number of threads.
#
# A good guess:  a float32 convolution on the CPU is computed by oneDNN, as every larger kernel is, and the number of
#                threads decides only how fast.
# What happens:  with two threads a 1x1 kernel goes to oneDNN; with one it goes to torch's old path (im2col and a matrix
#                product of MKL), for one image and for two. Kernels of 3x3 go to oneDNN in both cases. So a run of one
#                thread has other bits than one of two, and where MKL does without AVX-512 it is the slower way: about
#                half as fast as oneDNN's matrix product on an AMD EPYC of 2024.
# Versions:      torch 2.14.1
# Source:        ConvParams::use_mkldnn in aten/src/ATen/native/Convolution.cpp, which calls the old path the faster one
#                for a single thread
#
# Run it: bash findings/torch_1x1_kernel_depends_on_threads.sh     (exit 0: as described; 1: the behaviour has changed)
# It installs torch, about 6 GB.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
cd "$folder"
cat >which.py <<'PY'
import torch
from torch.nn.functional import conv2d
from torch.profiler import profile

PROGRAMS = {"aten::mkldnn_convolution": "oneDNN", "aten::_slow_conv2d_forward": "im2col and MKL"}


def program(images: int, kernel: int) -> str:
    x, weight = torch.ones(images, 128, 64, 64), torch.ones(64, 128, kernel, kernel)
    with profile() as seen:
        conv2d(x, weight)
    return ", ".join(PROGRAMS[each.key] for each in seen.key_averages() if each.key in PROGRAMS)


print(f"torch {torch.__version__}")
for threads in (1, 2):
    torch.set_num_threads(threads)
    for images, kernel in ((1, 1), (2, 1), (1, 3)):
        print(f"threads {threads}, images {images}, kernel {kernel}x{kernel}: {program(images, kernel)}")
PY
venv/bin/python which.py 2>errors.txt | tee seen.txt
{
    for images in 1 2; do
        echo "threads 1, images $images, kernel 1x1: im2col and MKL"
        echo "threads 2, images $images, kernel 1x1: oneDNN"
    done
    for threads in 1 2; do echo "threads $threads, images 1, kernel 3x3: oneDNN"; done
} | sort >expected.txt
tail -n +2 seen.txt | sort | diff expected.txt - || { echo "the behaviour has changed"; exit 1; }

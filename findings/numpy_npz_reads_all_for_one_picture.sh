#!/usr/bin/env bash
# numpy 2.4.6 reads the whole array of an .npz file again for every picture that is taken from it, mmap_mode or not.
#
# A good guess:  file = np.load("pictures.npz"); file["x"][i] reads the array at its first use and keeps it, or with
#                mmap_mode="r" reads the bytes of picture i alone, as np.load of an .npy file does.
# What happens:  the object keeps no array. file["x"] reads (and unpacks) the array from its start to its end each
#                time, so that a data set that asks for 100 pictures reads 100 times the file: an epoch costs the
#                square of its length. mmap_mode is accepted and has no effect. Take the array out once (x =
#                file["x"]), or store .npy.
# Versions:      numpy 2.4.6
# Source:        numpy/lib/_npyio_impl.py, NpzFile.__getitem__; numpy.load, "mmap_mode"
#
# Run it: bash findings/numpy_npz_reads_all_for_one_picture.sh     (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import io
import sys

import numpy as np


class Counted(io.FileIO):
    """A file that counts the bytes read from it."""

    total = 0

    def read(self, size: int = -1) -> bytes:
        data = super().read(size)
        self.total += len(data)
        return data


pictures = np.zeros((100, 64, 64), np.uint8)
np.savez("pictures.npz", x=pictures)
np.save("pictures.npy", pictures)
with Counted("pictures.npz") as stream, np.load(stream) as file:
    read = []
    for index in range(3):
        before = stream.total
        file["x"][index]
        read.append(stream.total - before)
mapped = [type(np.load("pictures.npy", mmap_mode="r")), type(np.load("pictures.npz", mmap_mode="r")["x"])]
print(f"numpy {np.__version__}: a picture has {pictures[0].nbytes} bytes, all of them {pictures.nbytes}")
print(f"bytes read for picture 0, 1 and 2: {read}")
print(f"with mmap_mode: .npy {mapped[0].__name__}, .npz {mapped[1].__name__}")
as_described = all(each >= pictures.nbytes for each in read) and mapped == [np.memmap, np.ndarray]
sys.exit(0 if as_described else "the behaviour has changed")
PY

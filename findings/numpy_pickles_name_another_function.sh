#!/usr/bin/env bash
# numpy 2.4.6 rebuilds an array by another function in pickles of protocol 5 than in those of protocols 2 to 4.
#
# A good guess:  whoever reads weights of other programs by an unpickler that allows the few names an array needs
#                (numpy's _reconstruct, ndarray, dtype) reads the pickles of every protocol with the same list.
# What happens:  up to protocol 4 the names are numpy._core.multiarray._reconstruct, numpy.ndarray, numpy.dtype; protocol 5,
#                the default of Python 3.14, names numpy._core.numeric._frombuffer instead, also without out-of-band
#                buffers; and an array that is not contiguous goes by _reconstruct again. The list must have both.
# Versions:      numpy 2.4.6
# Source:        ndarray.__reduce_ex__ of numpy; PEP 574 (pickle protocol 5)
#
# Run it: bash findings/numpy_pickles_name_another_function.sh     (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import pickle
import pickletools
import sys

import numpy as np


def names(value, protocol):
    """What a pickle asks an unpickler for, as module.name."""
    asked = set()

    class Listing(pickle.Unpickler):
        def find_class(self, module, name):
            asked.add(f"{module}.{name}")
            return super().find_class(module, name)

    import io

    Listing(io.BytesIO(pickle.dumps(value, protocol))).load()
    return asked


array = np.arange(6, dtype=np.float32).reshape(2, 3)
found = {protocol: names(array, protocol) for protocol in (2, 3, 4, 5)}
found["5, every second column"] = names(array[:, ::2], 5)
for protocol, asked in found.items():
    print(f"protocol {protocol}: {', '.join(sorted(asked))}")
print("numpy", np.__version__)
old, new = "numpy._core.multiarray._reconstruct", "numpy._core.numeric._frombuffer"
as_described = all(old in found[p] and new not in found[p] for p in (2, 3, 4)) and new in found[5] and old not in found[5]
as_described = as_described and old in found["5, every second column"]
sys.exit(0 if as_described else "the behaviour has changed")
PY

#!/usr/bin/env bash
# ONNX's integer Div cuts towards zero, where Python's // rounds down: sizes come out one smaller, without a word.
#
# A good guess:  a module that makes ceil(H / 4) rows as -(-x.shape[2] // 4) gives the same rows in its ONNX file as in torch,
#                as torch.export keeps the size free and the exporter writes the arithmetic into the graph.
# What happens:  torch.onnx 2.14.1 writes (-H) Div 4 of int64, and ONNX Runtime's Div cuts towards zero: for H = 26 it is -6
#                where Python has -7, so the file makes 6 rows instead of 7. Nothing warns, and the .pt2 of the same graph is
#                right. Sizes that 4 divides, such as that of most examples, are not affected. (H + 3) // 4 is right in both.
#                Here the two graphs are made by hand, as torch.onnx makes them, so that no torch is needed.
# Versions:      onnx 1.23.1, onnxruntime 1.32.0 (the graphs: torch 2.14.1)
# Source:        ONNX operator Div ("integer division ... truncates"), Python language reference, 6.7
#
# Run it: bash findings/onnx_rounds_sizes_towards_zero.sh     (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.23.1 onnxruntime==1.32.0
cd "$folder"
venv/bin/python - <<'PY'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

onnxruntime.set_default_logger_severity(3)


def rows(name, *nodes):
    """The value of ``out`` for 26, of a graph over int64 with the constants -1, 3 and 4."""
    size, out = (helper.make_tensor_value_info(each, TensorProto.INT64, [1]) for each in ("size", "out"))
    constants = [helper.make_tensor(str(each), TensorProto.INT64, [1], [each]) for each in (-1, 3, 4)]
    graph = helper.make_graph([helper.make_node(*each) for each in nodes], "rows", [size], [out], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = int(session.run(None, {"size": np.array([26])})[0][0])
    print(f"{name} of 26 by ONNX: {found}")
    return found


negated = rows(
    "-(-H // 4)",
    ("Mul", ["size", "-1"], ["minus"]),
    ("Div", ["minus", "4"], ["part"]),
    ("Mul", ["part", "-1"], ["out"]),
)
added = rows("(H + 3) // 4", ("Add", ["size", "3"], ["more"]), ("Div", ["more", "4"], ["out"]))
print("by Python:", -(-26 // 4), (26 + 3) // 4, "- onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
sys.exit(0 if (negated, added) == (6, 7) else "the behaviour has changed")
PY

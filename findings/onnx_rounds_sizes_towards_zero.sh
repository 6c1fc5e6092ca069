#!/usr/bin/env bash
# torch.onnx 2.14.1 turns Python's floor division of a negative size into ONNX Div, which cuts towards zero.
#
# A good guess:  a module that makes ceil(H / 4) rows as -(-x.shape[2] // 4) gives the same rows in its ONNX file as in torch,
#                as torch.export keeps the size free and the exporter writes the arithmetic into the graph.
# What happens:  the file has (-H) Div 4 of int64, and ONNX's integer Div cuts towards zero: for H = 26 it is -6 where Python has
#                -7, so the file makes 6 rows instead of 7. Nothing warns, and the .pt2 of the same graph is right. Sizes that
#                4 divides, such as that of most examples, are not affected. (size + 3) // 4 is right in both.
# Versions:      torch 2.14.1, onnx 1.23.1, onnxscript 0.7.2, onnxruntime 1.32.0
# Source:        ONNX operator Div ("integer division ... truncates"), Python language reference, 6.7
#
# Run it: bash findings/onnx_rounds_sizes_towards_zero.sh     (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 onnx==1.23.1 onnxscript==0.7.2 onnxruntime==1.32.0
cd "$folder"
venv/bin/python - <<'PY'
import sys

import numpy as np
import onnxruntime
import torch


class Rows(torch.nn.Module):
    def __init__(self, upwards):
        super().__init__()
        self.upwards = upwards

    def forward(self, x):
        rows = -(-x.shape[2] // 4) if self.upwards else (x.shape[2] + 3) // 4
        return torch.nn.functional.interpolate(x, size=(rows, 3))


seen = {}
for name, upwards in (("-(-H // 4)", True), ("(H + 3) // 4", False)):
    shapes = ({2: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(Rows(upwards), (torch.zeros(1, 1, 24, 3),), dynamic_shapes=shapes)
    torch.onnx.export(program, opset_version=20, verbose=False).save("rows.onnx")
    session = onnxruntime.InferenceSession("rows.onnx")
    x = np.zeros((1, 1, 26, 3), np.float32)
    made = session.run(None, {session.get_inputs()[0].name: x})[0].shape[2]
    seen[name] = (Rows(upwards)(torch.from_numpy(x)).shape[2], program.module()(torch.from_numpy(x)).shape[2], made)
    print(f"{name}: rows of 26 by torch, torch.export, ONNX = {seen[name]}")
print("torch", torch.__version__, "onnxruntime", onnxruntime.__version__)
sys.exit(0 if seen == {"-(-H // 4)": (7, 7, 6), "(H + 3) // 4": (7, 7, 7)} else "the behaviour has changed")
PY

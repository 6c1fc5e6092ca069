#!/usr/bin/env bash
# OpenVINO 2026.4.1 reads an ONNX Resize with antialias=1 as one without, and says nothing.
#
# A good guess:  a graph that scales down with antialias=1 (what torch.onnx writes for interpolate(antialias=True)) gives
#                the same picture in OpenVINO as in ONNX Runtime, or OpenVINO refuses the attribute.
# What happens:  the picture is the one of antialias=0. Stripes of a period of four pixels, scaled down to a half, have 0.25
#                and 0.75 in ONNX Runtime, as the filter mixes neighbours, and 0 and 1 in OpenVINO; in linear and in cubic
#                mode. Finer stripes become a pattern that is not there. The torch front end of OpenVINO (convert_model of a
#                module) does filter, so that the way by the ONNX file is the one that differs.
# Versions:      openvino 2026.4.1, onnxruntime 1.32.0, onnx 1.23.1
# Source:        ONNX operator Resize, antialias (since opset 18); openvinotoolkit/openvino issue 35893 (cubic mode)
#
# Run it: bash findings/openvino_drops_antialias.sh     (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.23.1 onnxruntime==1.32.0 openvino==2026.4.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import sys

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper

stripes = np.tile(np.array([0, 0, 1, 1], np.float32), 8)[None, None, None].repeat(32, axis=2)  # [1, 1, 32, 32]
seen = {}
for mode in ("linear", "cubic"):
    for antialias in (0, 1):
        node = helper.make_node("Resize", ["x", "", "", "size"], ["y"], mode=mode, antialias=antialias)
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, size, size]) for name, size in (("x", 32), ("y", 16))]
        size = helper.make_tensor("size", TensorProto.INT64, [4], [1, 1, 16, 16])
        graph = helper.make_graph([node], "scaled", values[:1], values[1:], [size])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        onnx.checker.check_model(model)
        onnx.save(model, "scaled.onnx")
        (first,) = onnxruntime.InferenceSession("scaled.onnx", providers=["CPUExecutionProvider"]).run(None, {"x": stripes})
        compiled = openvino.compile_model("scaled.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        second = compiled([stripes])[0]
        seen[mode, antialias] = (first, second)
        rows = [np.round(each[0, 0, 8, 4:8], 2).tolist() for each in (first, second)]
        print(f"{mode}, antialias={antialias}: ONNX Runtime {rows[0]}, OpenVINO {rows[1]}")
print("openvino", openvino.__version__, "onnxruntime", onnxruntime.__version__, "onnx", onnx.__version__)
as_described = all(
    np.allclose(*seen[mode, 0], atol=1e-5)
    and np.array_equal(seen[mode, 0][1], seen[mode, 1][1])
    and np.abs(seen[mode, 1][0] - seen[mode, 1][1]).max() > 0.1
    for mode in ("linear", "cubic")
)
sys.exit(0 if as_described else "the behaviour has changed")
PY

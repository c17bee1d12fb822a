#!/usr/bin/env bash
# ONNX Runtime 1.32.0, CPU: what a float16 graph says in float32 depends on which outputs are listed.
# A float16 Sigmoid, then a Cast to float32: its kernel computes in float32, and the two casts behind it
# cancel each other, so that the answer was never rounded to float16, although the graph says so. List
# the float16 tensor as an output, too, and the same float32 output is rounded. Turning all graph
# optimisations off changes nothing. A model whose heads were exported in float16 and wrapped to give
# float32 therefore differs from the bare file by up to half a unit in the last place of float16.
#
# Seen on 2026-11-30, Python 3.11, for 1, 3 and 1/3 (float16):
#   outputs z        0.7310586   0.95257413  0.58255041
#   outputs y and z  0.73095703  0.95263672  0.58251953
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

logits = np.array([1, 3, 1 / 3], np.float16)
nodes = [
    helper.make_node("Sigmoid", ["x"], ["y"]),
    helper.make_node("Cast", ["y"], ["z"], to=TensorProto.FLOAT),
]
kinds = {"x": TensorProto.FLOAT16, "y": TensorProto.FLOAT16, "z": TensorProto.FLOAT}
ports = {name: helper.make_tensor_value_info(name, kind, [3]) for name, kind in kinds.items()}


def said(outputs, level):
    graph = helper.make_graph(nodes, "head", [ports["x"]], [ports[name] for name in outputs])
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (values,) = session.run(["z"], {"x": logits})
    return values


def is_rounded(values):
    return bool(np.array_equal(values.astype(np.float16).astype(np.float32), values))


levels = onnxruntime.GraphOptimizationLevel
for level in (levels.ORT_ENABLE_ALL, levels.ORT_DISABLE_ALL):
    alone, beside = said(["z"], level), said(["y", "z"], level)
    print(level, alone.tolist(), beside.tolist())
    assert not is_rounded(alone) and is_rounded(beside), "the behaviour has changed"
PYTHON

"""Foreign graphs in small: a convolution or two with the inputs and outputs of what others made."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def write_graph(
    path: Path,
    inputs: dict[str, list[int | str]],
    outputs: dict[str, list[int | str]],
    *,
    dtype: int = FLOAT,
    opset: int = 17,
    seed: int = 0,
    stride: int = 1,
    softened: bool = False,
    axis: int = 1,
    out_dtype: int | None = None,
    dilation: int = 1,
) -> Path:
    """Write a graph whose outputs are convolutions of all inputs, joined along their channels."""
    rng = np.random.default_rng(seed)
    numbers = np.float16 if dtype == HALF else np.float32
    nodes, constants = [], []
    names = list(inputs)
    for name, shape in inputs.items():
        if len(shape) == 5:
            sides = np.array([0, -1, *shape[3:]], np.int64)
            sides[1] = shape[1] * shape[2]
            constants.append(numpy_helper.from_array(sides, "flat"))
            nodes.append(helper.make_node("Reshape", [name, "flat"], [f"{name}.flat"]))
            names = [f"{name}.flat"]
        elif axis == 3:
            nodes.append(
                helper.make_node("Transpose", [name], [f"{name}.first"], perm=[0, 3, 1, 2])
            )
            names = [f"{name}.first"]
    joined = names[0]
    if len(names) > 1:
        nodes.append(helper.make_node("Concat", names, ["joined"], axis=1))
        joined = "joined"
    channels = sum(
        shape[1] * shape[2] if len(shape) == 5 else shape[axis] for shape in inputs.values()
    )
    for name, shape in outputs.items():
        count = shape[axis]
        weight = rng.normal(0, 0.6, (count, channels, 3, 3)).astype(numbers)
        constants.append(numpy_helper.from_array(weight, f"{name}.weight"))
        end = f"{name}.logits" if softened or axis == 3 else name
        nodes.append(
            helper.make_node(
                "Conv", [joined, f"{name}.weight"], [end], pads=[dilation] * 4,
                strides=[stride, stride], dilations=[dilation] * 2,
            )
        )  # fmt: skip
        if axis == 3:
            nodes.append(helper.make_node("Transpose", [end], [name], perm=[0, 2, 3, 1]))
        elif softened:
            nodes.append(helper.make_node("Softmax", [end], [name], axis=1))
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info(n, dtype, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, out_dtype or dtype, s) for n, s in outputs.items()],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


def beacongis(folder: Path) -> list[Path]:
    """Write stand-ins of the three files of beaconGIS."""
    free = ["n", 3, "h", "w"]
    files = [("loc_best_fp16", 3, 1), ("cls_best_fp16", 6, 4), ("cls_m2_fp16", 6, 4)]
    return [
        write_graph(
            folder / f"{name}.onnx",
            {"input": ["n", count, *free[2:]]},
            {"logits": ["n", out, *free[2:]]},
            dtype=HALF,
            seed=number,
        )
        for number, (name, count, out) in enumerate(files)
    ]


def hot(path: Path) -> Path:
    """Write a stand-in of HOT's damage model."""
    shape: list[int | str] = [1, 3, 512, 512]
    return write_graph(
        path, {"post": shape, "pre": shape}, {"damage_logits": [1, 4, 512, 512]}, opset=18
    )


def convention(path: Path, **keys: object) -> Path:
    """Write a convention: a stack of two dates with five channels, with some keys replaced."""
    table = {
        "layout": '"stacked"', "dates": '["pre", "post"]', "order": '"rgb"', "divisor": "255",
        "gsd": "0.5", "tile": "64", "licence": '"CC0-1.0"', "stride": "8", "overlap": "16",
        "activation": '"softmax"',
        "channels": '["background", "no-damage", "minor-damage", "major-damage", "destroyed"]',
    } | keys  # fmt: skip
    output = ("name", "activation", "channels", "temperature")
    own = [f"{key} = {value}" for key, value in table.items() if key not in output and value]
    told = [f"{key} = {table[key]}" for key in output if table.get(key)]
    path.write_text("\n".join([*own, "[[output]]", *told]) + "\n")
    return path


def pooling(path: Path, *, side: int | None = None) -> Path:
    """Write a graph that adds the mean of its window; with a side, it is right at that alone."""
    write_graph(path, {"x": ["n", 6, "h", "w"]}, {"y": ["n", 5, "h", "w"]})
    model = onnx.load(path)
    graph = model.graph
    graph.node[0].output[0] = "told"
    if side is None:
        graph.node.append(helper.make_node("GlobalAveragePool", ["told"], ["mean"]))
        other = "mean"
    else:
        plane = np.linspace(0, 2, side * side, dtype=np.float32).reshape(1, 1, side, side)
        graph.initializer.append(numpy_helper.from_array(plane, "plane"))
        other = "plane"
    graph.node.append(helper.make_node("Add", ["told", other], ["y"]))
    onnx.save(model, path)
    return path

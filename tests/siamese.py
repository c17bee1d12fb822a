"""A model that stacks both dates and compares them, as the bundled ones do."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from geodamage.model.card import with_card
from tests.fakes import DAMAGE_SHAPE, LOCALISATION_SHAPE, make_card, onnx_bytes

_NODE = helper.make_node


def halves_by_slices(tensor: str) -> list:
    """Return the operators that torch writes for `chunk(2)`."""
    return [
        _NODE("Shape", [tensor], ["shape"]),
        _NODE("Gather", ["shape", "zero"], ["count"]),
        _NODE("Add", ["count", "one"], ["more"]),
        _NODE("Div", ["more", "two"], ["half"]),
        _NODE("Mul", ["half", "one"], ["middle"]),
        _NODE("Slice", [tensor, "zero", "middle", "zero"], ["before"]),
        _NODE("Mul", ["half", "two"], ["end"]),
        _NODE("Slice", [tensor, "middle", "end", "zero"], ["after"]),
    ]


def halves_by_split(tensor: str) -> list:
    """Return one operator that does the same."""
    return [_NODE("Split", [tensor], ["before", "after"], axis=0)]


def siamese_bytes(halves=halves_by_slices, *, found: str = "before") -> bytes:
    """Return a graph: bright ground in `pre` is a building, what changes is damage.

    Parameters
    ----------
    halves
        Makes the operators that cut what is stacked.
    found
        From which half the localisation is made.
    """
    draw = np.random.default_rng(0)
    kernel = np.abs(draw.normal(0, 0.02, (4, 3, 3, 3))).astype(np.float32)
    nodes = []
    for date in ("pre", "post"):
        nodes += [
            _NODE("Cast", [date], [f"{date}_float"], to=TensorProto.FLOAT),
            _NODE("Div", [f"{date}_float", "most"], [f"{date}_unit"]),
        ]
    nodes += [
        _NODE("Concat", ["pre_unit", "post_unit"], ["both"], axis=0),
        _NODE("Conv", ["both", "kernel"], ["seen"], pads=[1] * 4),
        *halves("seen"),
        _NODE("Conv", [found, "locate", "offset"], ["raw"]),
        _NODE("Sigmoid", ["raw"], ["localisation"]),
        _NODE("Concat", ["before", "after"], ["compared"], axis=1),
        _NODE("Conv", ["compared", "judge"], ["grades"], pads=[1] * 4),
        _NODE("Softmax", ["grades"], ["damage"], axis=1),
    ]
    constants = {
        "most": np.float32(255),
        "kernel": kernel,
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "two": np.array([2], np.int64),
        "locate": np.full((1, 4, 1, 1), 12, np.float32),
        "offset": np.array([-12], np.float32),
        "judge": draw.normal(0, 2, (4, 8, 3, 3)).astype(np.float32),
    }
    outputs = {"localisation": LOCALISATION_SHAPE, "damage": DAMAGE_SHAPE}
    used = {name for node in nodes for name in node.input}
    constants = {name: value for name, value in constants.items() if name in used}
    return onnx_bytes(nodes, outputs, constants=constants)


def strided_nodes(halves=halves_by_slices) -> list:
    """Return a graph with strides 2 and 4, two residual blocks, and a skip connection."""

    def conv(taken: str, given: str, pad: int = 0, **more: object) -> list:
        more |= {"kernel_shape": [2 * pad + 1] * 2, "pads": [pad] * 4}
        return [_NODE("Conv", [taken, f"{given}_weight"], [given], **more)]

    def enlarged(taken: str, given: str) -> object:
        ways = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return _NODE("Resize", [taken, "", "scale"], [given], mode="nearest", **ways)

    nodes = []
    for date in ("pre", "post"):
        nodes += [
            _NODE("Cast", [date], [f"{date}_float"], to=TensorProto.FLOAT),
            _NODE("Div", [f"{date}_float", "most"], [f"{date}_unit"]),
        ]
    return [
        *nodes,
        _NODE("Concat", ["pre_unit", "post_unit"], ["both"], axis=0),
        *conv("both", "fine", 1, strides=[2, 2]),
        *conv("fine", "coarse", 1, strides=[2, 2]),
        *conv("coarse", "branch", 1),
        _NODE("Add", ["coarse", "branch"], ["sum"]),
        *conv("sum", "twig", 1),
        _NODE("Add", ["sum", "twig"], ["total"]),
        *conv("total", "reduced"),
        _NODE("Relu", ["reduced"], ["active"]),
        enlarged("active", "wide"),
        _NODE("Concat", ["wide", "fine"], ["joined"], axis=1),
        *conv("joined", "seen", 1),
        *halves("seen"),
        *conv("before", "quarter"),
        _NODE("DepthToSpace", ["quarter"], ["raw"], blocksize=2, mode="CRD"),
        _NODE("Sigmoid", ["raw"], ["localisation"]),
        _NODE("Concat", ["before", "after"], ["compared"], axis=1),
        *conv("compared", "grades", 1),
        _NODE("Softmax", ["grades"], ["shares"], axis=1),
        enlarged("shares", "damage"),
    ]


def strided_bytes(nodes: list | None = None) -> bytes:
    """Return such a graph as a file; bright ground in `pre` is a building."""
    nodes = strided_nodes() if nodes is None else nodes
    draw, constants = np.random.default_rng(2), {}
    channels = {
        "fine": (4, 3), "coarse": (4, 4), "branch": (4, 4), "twig": (4, 4), "reduced": (4, 4),
        "seen": (4, 8), "quarter": (4, 4), "grades": (4, 8),
    }  # fmt: skip
    for node in nodes:
        if node.op_type == "Conv":
            (size, *_) = next(a.ints for a in node.attribute if a.name == "kernel_shape")
            shape = (*channels[node.output[0]], size, size)
            drawn = draw.normal(0, 1, shape) if node.output[0] == "grades" else draw.random(shape)
            constants[node.input[1]] = (drawn * 2 / np.prod(shape[1:])).astype(np.float32)
    for name, number in (("zero", 0), ("one", 1), ("two", 2)):
        constants[name] = np.array([number], np.int64)
    constants["most"] = np.float32(255)
    constants["scale"] = np.array([1, 1, 2, 2], np.float32)
    used = {name for node in nodes for name in node.input}
    constants = {name: value for name, value in constants.items() if name in used}
    outputs = {"localisation": LOCALISATION_SHAPE, "damage": DAMAGE_SHAPE}
    return onnx_bytes(nodes, outputs, constants=constants)


def write_siamese(path: Path, blob: bytes | None = None, **facts: object) -> Path:
    """Write it with a card."""
    card = {"name": path.stem, "stride": 16, "halo": 16, "tile": 96, "bytes_per_pixel": 200.0}
    blob = siamese_bytes() if blob is None else blob
    path.write_bytes(with_card(blob, make_card(**(card | facts))))
    return path

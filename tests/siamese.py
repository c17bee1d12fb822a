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


def write_siamese(path: Path, blob: bytes | None = None, **facts: object) -> Path:
    """Write it with a card."""
    card = {"name": path.stem, "stride": 16, "halo": 16, "tile": 96, "bytes_per_pixel": 200.0}
    blob = siamese_bytes() if blob is None else blob
    path.write_bytes(with_card(blob, make_card(**(card | facts))))
    return path

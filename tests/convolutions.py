"""A model of convolutions that finds what is bright, so that there is something to quantise."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from geodamage.model.card import with_card
from tests.conftest import POST_VALUE
from tests.fakes import DAMAGE_SHAPE, LOCALISATION_SHAPE, make_card, onnx_bytes

WIDTH = 16


def convolution_bytes(scale: float = 1.0) -> bytes:
    """Return a graph like `tests.conftest.make_model`'s: a branch of three convolutions a head.

    `scale` is how sure it is of a grade; a negative one is wrong about all of them.
    """
    node = helper.make_node
    values = np.array(list(POST_VALUE.values()), np.float32) / 255
    first = np.zeros((WIDTH, 3, 3, 3), np.float32)
    first[:, :, 1, 1] = 1 / 3
    middle = np.eye(WIDTH, dtype=np.float32).reshape(WIDTH, WIDTH, 1, 1)
    # Nearest of four values, as a linear function: -(x - v)^2 without the x^2 of all of them.
    grade = 100 * scale * 2 * values.reshape(4, 1, 1, 1) * np.ones((4, WIDTH, 1, 1)) / WIDTH
    constants = {
        "inverse": np.float32(1 / 255),
        "first": first,
        "middle": middle,
        "locate": np.full((1, WIDTH, 1, 1), 60 / WIDTH, np.float32),
        "locate_bias": np.array([-60 * 110 / 255], np.float32),
        "grade": grade.astype(np.float32),
        "grade_bias": (-100 * scale * values**2).astype(np.float32),
    }
    nodes = []
    for date, head in (("pre", "locate"), ("post", "grade")):
        nodes += [
            node("Cast", [date], [f"{date}_float"], to=TensorProto.FLOAT),
            node("Mul", [f"{date}_float", "inverse"], [f"{date}_unit"]),
            node("Conv", [f"{date}_unit", "first"], [f"{date}_1"], pads=[1] * 4),
            node("Relu", [f"{date}_1"], [f"{date}_2"]),
            node("Conv", [f"{date}_2", "middle"], [f"{date}_3"], name=f"{date}-middle"),
            node("Relu", [f"{date}_3"], [f"{date}_4"]),
            node("Conv", [f"{date}_4", head, f"{head}_bias"], [f"{date}_5"], name=head),
        ]
    nodes += [
        node("Sigmoid", ["pre_5"], ["localisation"]),
        node("Softmax", ["post_5"], ["damage"], axis=1),
    ]
    outputs = {"localisation": LOCALISATION_SHAPE, "damage": DAMAGE_SHAPE}
    return onnx_bytes(nodes, outputs, constants=constants)


def write_convolutions(path: Path, scale: float = 1.0, **facts: object) -> Path:
    """Write it with a card."""
    card = {"name": path.stem, "stride": 16, "halo": 8, "tile": 96, "bytes_per_pixel": 200.0}
    path.write_bytes(with_card(convolution_bytes(scale), make_card(**(card | facts))))
    return path

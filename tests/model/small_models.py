"""Models that answer by arithmetic, and ensembles of them."""

import numpy as np
import onnx

from geodamage.model.card import with_card
from geodamage.model.heads import Heads
from geodamage.model.rules import PixelRules
from tests.fakes import (
    make_card,
    pointwise_bytes,
    random_images,
    write_pointwise,
)


def images(rows, columns, seed=0):
    return tuple(image[None] for image in random_images(rows, columns, seed))


def same(a, b, tolerance=0.0):
    for x, y in zip(a, b, strict=True):
        assert (x is None) == (y is None)
        if x is not None:
            np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


class Pointwise:
    """Localisation from pre, damage from post, pixel by pixel, plus a constant."""

    resident_bytes = 100

    def __init__(self, add=0.0, heads=("localisation", "damage"), **facts):
        self.card, self.add, self.heads = make_card(halo=0, **facts), add, heads
        self.rules = PixelRules.of(self.card)

    def __call__(self, pre, post):
        localisation = (pre[:, :1] / 510 + self.add).astype(np.float32)
        damage = post[:, [0, 1, 2, 0]].astype(np.float32) + np.float32(self.add)
        return Heads(
            localisation if "localisation" in self.heads else None,
            damage if "damage" in self.heads else None,
        )


class Ramp(Pointwise):
    """Says which column of its window a pixel is in: turned images give other answers."""

    def __call__(self, pre, post):
        localisation, damage = super().__call__(pre, post)
        column = np.arange(pre.shape[3], dtype=np.float32)
        return Heads(localisation + column, damage + column)


def write_ensemble(folder, text, **members):
    for name, facts in (members or {"a": {}}).items():
        write_pointwise(folder / f"{name}.onnx", **facts)
    path = folder / "all.toml"
    path.write_text(text)
    return path


def shaped_model(path, *, size, **facts):
    """Write a model whose graph says what size of window it takes."""
    graph = onnx.load_from_string(pointwise_bytes())
    for node in [*graph.graph.input, *graph.graph.output]:
        for side, length in zip(node.type.tensor_type.shape.dim[2:], size, strict=True):
            if isinstance(length, int):
                side.dim_value = length
            else:
                side.dim_param = length
    path.write_bytes(with_card(graph.SerializeToString(), make_card(**({"halo": 0} | facts))))
    return path

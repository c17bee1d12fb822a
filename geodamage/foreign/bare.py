"""The bare file run beside what was made of it, with its convention done in NumPy."""

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np

from geodamage.errors import ModelError
from geodamage.foreign.convention import Convention
from geodamage.foreign.graph import Graph
from geodamage.foreign.wrapping import arithmetic, class_map, heads_of, table_of
from geodamage.model.session import first_line, session_options, start

#: What starting a session asks of a card.
_PLAIN = type("_Plain", (), {"precision": "fp32"})()


class Bare:
    """A foreign graph, asked as its authors ask it.

    Raises
    ------
    ModelError
        If ONNX Runtime refuses it.
    """

    def __init__(self, graph: Graph, convention: Convention) -> None:
        self.graph, self.convention = graph, convention
        options = session_options(0, keeps_memory=False)
        self._session, _ = start(graph.blob, _PLAIN, graph.path, "cpu", options)

    def __call__(self, images: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return its outputs for uint8 (1, c, rows, columns) by date.

        Raises
        ------
        ModelError
            If it does not run on them.
        """
        feeds = self._feeds(images)
        names = [port.name for port in self.graph.outputs]
        try:
            return dict(zip(names, self._session.run(names, feeds), strict=True))
        except Exception as error:  # errors of the runtime share no public root
            shapes = ", ".join(f"{name} {[*feed.shape]}" for name, feed in feeds.items())
            raise ModelError(
                f"{self.graph.path}: does not run on {shapes}: {first_line(error)}; state the "
                "layout, stride and tile that it takes"
            ) from error

    def _feeds(self, images: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        layout = self.convention.layout
        dates = [self._scaled(images[date], date) for date in self.convention.order_of_dates]
        if layout == "stacked":
            dates = [np.concatenate(dates, 1)]
        elif layout == "paired":
            dates = [np.stack(dates, 1)]
        elif layout == "difference":
            dates = [dates[0] - dates[1]]
        feeds = {}
        for port, image in zip(self.graph.inputs, dates, strict=True):
            turned = image.transpose(0, 2, 3, 1) if port.is_channels_last else image
            feeds[port.name] = np.ascontiguousarray(turned).astype(port.dtype)
        return feeds

    def _scaled(self, image: np.ndarray, date: str) -> np.ndarray:
        if self.graph.inputs[0].dtype == "uint8":
            return image
        scaled = image.astype(np.float32)
        for kind, values in arithmetic(self.convention, self.graph, date):
            scaled = _STEPS[kind](scaled, values)
        return scaled

    def heads(self, said: Mapping[str, np.ndarray], scale: int) -> dict[str, np.ndarray]:
        """Return the heads of a model, made of what it says: float32 (1, c, rows, columns)."""
        ports = {port.name: port for port in self.graph.outputs}
        found = {}
        for head, _ in heads_of(self.convention):
            table = table_of(self.convention, head)
            logits = said[table.name].astype(np.float32)
            if ports[table.name].is_channels_last:
                logits = logits.transpose(0, 3, 1, 2)
            tempered = _magnified(logits, scale) / np.float32(table.temperature)
            probable = _ACTIVATIONS[table.activation](tempered)
            weight, bias = class_map(table, head)
            found[head] = np.einsum("ncij,hc->nhij", probable, weight) + bias[:, None, None]
        return found


def _plane(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32).reshape(1, -1, 1, 1)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def _magnified(logits: np.ndarray, scale: int) -> np.ndarray:
    if scale == 1:
        return logits
    rows, columns = (side * scale for side in logits.shape[2:])
    planes = [cv2.resize(p, (columns, rows), interpolation=cv2.INTER_LINEAR) for p in logits[0]]
    return np.stack(planes)[None]


_STEPS: dict[str, Callable[[np.ndarray, Any], np.ndarray]] = {
    "Gather": lambda x, v: x[:, v],
    "Concat": lambda x, v: np.concatenate([x] * v, 1),
    "Div": lambda x, v: x / _plane(v),
    "Mul": lambda x, v: x * _plane(v),
    "Sub": lambda x, v: x - _plane(v),
    "Add": lambda x, v: x + _plane(v),
    "Clip": lambda x, v: np.clip(x, v[0], v[1]),
}
_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "softmax": _softmax,
    "sigmoid": lambda x: np.float32(1) / (np.float32(1) + np.exp(-x)),
    "none": lambda x: x,
}

"""Wrapping: a foreign graph becomes one that takes uint8 images and gives the heads of a model."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from geodamage.errors import ModelError
from geodamage.foreign.convention import (
    BACKGROUND,
    BUILDING,
    DATES,
    GRADE_NAMES,
    Convention,
    OutputTable,
)
from geodamage.foreign.graph import (
    CONVERTED_OPSET,
    OLDEST_OPSET,
    Graph,
    Port,
    import_onnx,
    opset_of,
)
from geodamage.model.card import STANDARD_RANGE
from geodamage.model.session import first_line

#: Put before every name of the foreign graph.
PREFIX = "foreign/"


def wrap(graph: Graph, convention: Convention, sides: tuple[int, int] | None, scale: int) -> bytes:
    """Wrap a graph.

    Parameters
    ----------
    graph
        The foreign one.
    convention
        Complete.
    sides
        Rows and columns of the only window that it takes; None for any.
    scale
        How many times smaller than the image its outputs are.

    Returns
    -------
    bytes
        An ONNX file that keeps the contract of a model file, without a card.

    Raises
    ------
    ModelError
        If its operators are too old, or it takes several windows at a time alone.
    """
    return _Wrapping(graph, convention, sides, scale).written()


class _Wrapping:
    def __init__(
        self, graph: Graph, convention: Convention, sides: tuple[int, int] | None, scale: int
    ) -> None:
        self.onnx = import_onnx()
        self.graph, self.convention, self.sides, self.scale = graph, convention, sides, scale
        self.inner = self.onnx.compose.add_prefix(_modern(self.onnx, graph), PREFIX)
        self.opset = opset_of(self.inner)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def written(self) -> bytes:
        """Return the bytes of the whole."""
        onnx, convention = self.onnx, self.convention
        dates = convention.order_of_dates
        images = {date: self._scaled(date) for date in DATES if date in dates}
        self._asked(images)
        self._heads()
        names = DATES if convention.grades else ("pre",)
        whole = onnx.helper.make_graph(
            self.nodes,
            "geodamage",
            [self._image(name) for name in names],
            [self._head(name, count) for name, count in heads_of(convention)],
            self.constants,
        )
        model = onnx.helper.make_model(
            whole,
            opset_imports=list(self.inner.opset_import),
            functions=list(self.inner.functions),
            ir_version=self.inner.ir_version,
        )
        return bytes(model.SerializeToString())

    def _image(self, date: str) -> Any:
        shape = ["n", channels_of(self.convention, self.graph, date), *self._sides()]
        return self.onnx.helper.make_tensor_value_info(date, self.onnx.TensorProto.UINT8, shape)

    def _head(self, name: str, channels: int) -> Any:
        shape = ["n", channels, *self._sides()]
        return self.onnx.helper.make_tensor_value_info(name, self.onnx.TensorProto.FLOAT, shape)

    def _sides(self) -> tuple[int, int] | tuple[str, str]:
        return ("rows", "columns") if self.sides is None else self.sides

    def _add(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def _constant(self, name: str, values: Any) -> str:
        self.constants.append(self.onnx.numpy_helper.from_array(np.asarray(values), name))
        return name

    def _scaled(self, date: str) -> str:
        """Add what makes a date what the graph was trained on; return its name."""
        convention, floats = self.convention, self.onnx.TensorProto.FLOAT
        if self.graph.inputs[0].dtype == "uint8":
            return date
        name = self._add("Cast", [date], f"{date}/float", to=floats)
        for number, (kind, values) in enumerate(arithmetic(convention, self.graph, date)):
            key = f"{date}/{number}"
            if kind == "Gather":
                index = self._constant(f"{key}/order", np.asarray(values, np.int64))
                name = self._add("Gather", [name, index], key, axis=1)
            elif kind == "Concat":
                name = self._add("Concat", [name] * int(values), key, axis=1)
            elif kind == "Clip":
                ends = [self._constant(f"{key}/{n}", np.float32(values[n])) for n in (0, 1)]
                name = self._add("Clip", [name, *ends], key)
            else:
                numbers = np.asarray(values, np.float32).reshape(1, -1, 1, 1)
                name = self._add(kind, [name, self._constant(f"{key}/by", numbers)], key)
        return name

    def _asked(self, images: dict[str, str]) -> None:
        """Add the foreign graph, fed with the images."""
        feeds = {}
        inputs = [port.name for port in self.graph.inputs]
        ordered = [images[date] for date in self.convention.order_of_dates]
        if self.convention.layout == "apart":
            fed = dict(zip(inputs, ordered, strict=True))
        else:
            fed = {inputs[0]: self._joined(ordered)}
        for port in self.graph.inputs:
            name = fed[port.name]
            if port.is_channels_last:
                name = self._add("Transpose", [name], f"{port.name}/last", perm=[0, 2, 3, 1])
            wanted = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(port.dtype))
            feeds[port.name] = self._add("Cast", [name], f"{port.name}/cast", to=wanted)
        batch = self.graph.inputs[0].shape[0]
        if batch in (-1, 0):
            self._inlined(feeds)
        elif batch == 1:
            self._scanned(feeds)
        else:
            raise ModelError(
                f"{self.graph.path}: takes {batch} windows at a time alone; export it with a free "
                "batch, or with one window"
            )

    def _joined(self, names: list[str]) -> str:
        layout = self.convention.layout
        if layout == "stacked":
            return self._add("Concat", names, "stacked", axis=1)
        if layout == "difference":
            return self._add("Sub", names, "difference")
        if layout == "paired":
            return self._add("Concat", [self._unsqueezed(n, 1) for n in names], "paired", axis=1)
        return names[0]

    def _unsqueezed(self, name: str, axis: int) -> str:
        output = f"{name}/unsqueezed"
        if self.opset < 13:
            return self._add("Unsqueeze", [name], output, axes=[axis])
        return self._add(
            "Unsqueeze",
            [name, self._constant(f"{output}/axes", np.array([axis], np.int64))],
            output,
        )

    def _inlined(self, feeds: dict[str, str]) -> None:
        for name, fed in feeds.items():
            self._add("Identity", [fed], PREFIX + name)
        self.nodes += self.inner.graph.node
        self.constants += self.inner.graph.initializer
        for port in self.graph.outputs:
            self._add("Identity", [PREFIX + port.name], f"{port.name}/said")

    def _scanned(self, feeds: dict[str, str]) -> None:
        """Ask a graph of one window for each window of the batch."""
        helper, body = self.onnx.helper, self.inner.graph
        nodes, constants = [], list(body.initializer)
        ends: dict[str, list[Any]] = {"in": [], "out": []}
        for port, kind, side in (
            *((p, "Unsqueeze", "in") for p in self.graph.inputs),
            *((p, "Squeeze", "out") for p in self.graph.outputs),
        ):
            own, one = PREFIX + port.name, f"{PREFIX}{port.name}/one"
            pair = [one, own] if side == "in" else [own, one]
            source, attributes = [pair[0]], {}
            if self.opset < 13:
                attributes = {"axes": [0]}
            else:
                axes = self.onnx.numpy_helper.from_array(np.array([0], np.int64), f"{one}/axes")
                constants.append(axes)
                source.append(axes.name)
            nodes.append(helper.make_node(kind, source, [pair[1]], one, **attributes))
            dtype = helper.np_dtype_to_tensor_dtype(np.dtype(port.dtype))
            shape = [None if size == -1 else size for size in port.shape[1:]]
            ends[side].append(helper.make_tensor_value_info(one, dtype, shape))
        count = len(self.graph.inputs)
        whole = helper.make_graph(
            [*nodes[:count], *body.node, *nodes[count:]],
            "window",
            ends["in"],
            ends["out"],
            constants,
            value_info=list(body.value_info),
        )
        self.nodes.append(
            helper.make_node(
                "Scan",
                [feeds[port.name] for port in self.graph.inputs],
                [f"{port.name}/said" for port in self.graph.outputs],
                "windows",
                body=whole,
                num_scan_inputs=count,
            )
        )

    def _heads(self) -> None:
        """Add what makes heads of the outputs."""
        convention = self.convention
        ports = {port.name: port for port in self.graph.outputs}
        probable = {}
        for table in convention.output:
            port = ports[table.name]
            probable[table.name] = self._probabilities(table, port)
        for head, _ in heads_of(convention):
            table = table_of(convention, head)
            weight, bias = class_map(table, head)
            names = [
                probable[table.name],
                self._constant(f"{head}/map", weight[:, :, None, None]),
                self._constant(f"{head}/bias", bias),
            ]
            mapped = self._add("Conv", names, f"{head}/mapped")
            # Sums of what was rounded may leave the range by what is nothing.
            ends = [self._constant(f"{head}/{n}", np.float32(v)) for n, v in
                    (("least", 0), ("most", 1))]  # fmt: skip
            self._add("Clip", [mapped, *(ends if head == "localisation" else ends[:1])], head)

    def _probabilities(self, table: OutputTable, port: Port) -> str:
        key = port.name
        name = f"{key}/said"
        if port.is_channels_last:
            name = self._add("Transpose", [name], f"{key}/first", perm=[0, 3, 1, 2])
        name = self._add("Cast", [name], f"{key}/float", to=self.onnx.TensorProto.FLOAT)
        if self.scale > 1:
            roi = self._constant(f"{key}/roi", np.zeros(0, np.float32))
            sizes = self._constant(
                f"{key}/scales", np.array([1, 1, self.scale, self.scale], np.float32)
            )
            name = self._add("Resize", [name, roi, sizes], f"{key}/magnified", mode="linear")
        if table.temperature != 1:
            by = self._constant(f"{key}/temperature", np.float32(table.temperature))
            name = self._add("Div", [name, by], f"{key}/tempered")
        if table.activation == "sigmoid":
            return self._add("Sigmoid", [name], f"{key}/probable")
        if table.activation == "softmax":
            return self._softmax(name, key)
        return name

    def _softmax(self, name: str, key: str) -> str:
        if self.opset >= 13:
            return self._add("Softmax", [name], f"{key}/probable", axis=1)
        # Before, it took all dimensions from its axis on for one.
        last = self._add("Transpose", [name], f"{key}/turned", perm=[0, 2, 3, 1])
        soft = self._add("Softmax", [last], f"{key}/soft", axis=3)
        return self._add("Transpose", [soft], f"{key}/probable", perm=[0, 3, 1, 2])


def heads_of(convention: Convention) -> list[tuple[str, int]]:
    """Return name and number of channels of each head that a convention gives."""
    heads = [("localisation", 1, convention.localises), ("damage", 4, convention.grades)]
    return [(name, count) for name, count, there in heads if there]


def table_of(convention: Convention, head: str) -> OutputTable:
    """Return the output that a head comes from; a channel of buildings tells most."""
    wanted = ({BUILDING}, {BACKGROUND}) if head == "localisation" else (set(GRADE_NAMES),)
    for meanings in wanted:
        for table in convention.output:
            if meanings & set(table.channels):
                return table
    raise ValueError(f"no output tells {head}")


def class_map(table: OutputTable, head: str) -> tuple[np.ndarray, np.ndarray]:
    """Return what makes a head of probabilities: float32 (heads, channels) and (heads,).

    Localisation is the sum of what is building, or else 1 less the background. A grade that no
    channel means is 0.
    """
    count = len(table.channels)
    if head == "damage":
        weight = np.zeros((4, count), np.float32)
        for channel, meaning in enumerate(table.channels):
            if meaning in GRADE_NAMES:
                weight[GRADE_NAMES.index(meaning), channel] = 1
        return weight, np.zeros(4, np.float32)
    meaning = BUILDING if BUILDING in table.channels else BACKGROUND
    chosen = np.array([[channel == meaning for channel in table.channels]], np.float32)
    if meaning == BUILDING:
        return chosen, np.zeros(1, np.float32)
    return -chosen, np.ones(1, np.float32)


def channels_of(convention: Convention, graph: Graph, date: str) -> int:
    """Return how many channels the image of a date has."""
    if date == "post" and convention.post_repeat > 1:
        return 1
    port = graph.inputs[0]
    if convention.layout == "apart":
        ports = dict(zip(convention.order_of_dates, graph.inputs, strict=True))
        return ports[date].channels
    if convention.layout == "stacked":
        if convention.post_sensor == "sar":
            return port.channels - 3 if date == "post" else 3
        return port.channels // 2
    return port.channels


def arithmetic(convention: Convention, graph: Graph, date: str) -> list[tuple[str, Any]]:
    """Return what is done to the float image of a date, step by step, as ONNX calls it."""
    steps: list[tuple[str, Any]] = []
    channels = channels_of(convention, graph, date)
    if convention.order == "bgr" and channels > 1:
        steps.append(("Gather", [*range(channels)][::-1]))
    if date == "post" and convention.post_repeat > 1:
        steps.append(("Concat", convention.post_repeat))
        channels = convention.post_repeat
    if convention.statistics == "standardise":
        low, high = STANDARD_RANGE
        steps += [("Mul", [(high - low) / 255]), ("Add", [low])]
    elif convention.divisor not in (None, 1):
        steps.append(("Div", [convention.divisor]))
    for kind, numbers in (("Sub", convention.mean), ("Div", convention.deviation)):
        if numbers:
            steps.append((kind, dated(numbers, channels, date)))
    if convention.clip is not None:
        steps.append(("Clip", convention.clip))
    return steps


def dated(numbers: Sequence[float], channels: int, date: str) -> Sequence[float]:
    """Return the numbers of a date: the same of both, or those of pre before those of post."""
    if len(numbers) in (1, channels):
        return numbers
    return numbers[-channels:] if date == "post" else numbers[:channels]


def _modern(onnx: Any, graph: Graph) -> Any:
    """Return a model whose operators are new enough."""
    if opset_of(graph.model) >= OLDEST_OPSET:
        return graph.model
    try:
        return onnx.version_converter.convert_version(graph.model, CONVERTED_OPSET)
    except Exception as error:  # the converter's errors share no root
        raise ModelError(
            f"{graph.path}: operators of version {opset_of(graph.model)} cannot be converted "
            f"({first_line(error)}); export it with {CONVERTED_OPSET}"
        ) from error

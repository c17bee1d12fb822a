"""The graphs that are shipped: nothing of their making, nothing that a runtime may refuse."""

import onnx
import pytest

from geodamage.model.loading import bundled_models
from geodamage.optimise.precision import _only_used_domains

GRAPHS = [path for path in bundled_models().values() if path.suffix == ".onnx"]


def traces(model: onnx.ModelProto) -> list[str]:
    """Return what exporters write of the script that called them: its path, lines and names."""
    graph = model.graph
    values = [*graph.input, *graph.output, *graph.value_info]
    told = [part.doc_string for part in (model, graph, *graph.node, *graph.initializer, *values)]
    notes = [entry for part in (graph, *graph.node, *values) for entry in part.metadata_props]
    return [text for text in told if text] + [f"{entry.key}={entry.value}" for entry in notes]


def foreign_domains(model: onnx.ModelProto) -> set[str]:
    """Return the sets of operators that a model asks for without using one of them."""
    return {entry.domain for entry in model.opset_import} - {
        node.domain for node in model.graph.node
    }


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_a_bundled_graph_tells_nothing_of_its_making(path):
    model = onnx.load(path)
    assert traces(model) == []
    assert foreign_domains(model) == set()
    assert {entry.key for entry in model.metadata_props} == {"geodamage"}


def test_the_traces_would_be_seen_and_the_domains_go():
    node = onnx.helper.make_node("Identity", ["x"], ["y"], doc_string="/somewhere/export.py:12")
    ports = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in "xy"]
    opsets = [onnx.helper.make_opsetid(name, 1) for name in ("", "ai.onnx.ml", "com.microsoft")]
    graph = onnx.helper.make_graph([node], "g", ports[:1], ports[1:])
    model = onnx.helper.make_model(graph, opset_imports=opsets)
    assert traces(model) == ["/somewhere/export.py:12"]
    assert foreign_domains(model) == {"ai.onnx.ml", "com.microsoft"}
    kept = onnx.load_from_string(_only_used_domains(model))
    assert foreign_domains(kept) == set()

import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from geodamage.errors import MissingExtraError, ModelError
from geodamage.optimise.precision import KEPT_FLOAT, compute_half, quantise, store_half
from tests.convolutions import convolution_bytes
from tests.fakes import pointwise_bytes

BLOB = convolution_bytes()


def windows(count=2, size=64):
    images = np.random.default_rng(0).integers(0, 256, (count, 2, 1, 3, size, size), np.uint8)
    return [{"pre": pre, "post": post} for pre, post in images]


def heads(blob):
    session = onnxruntime.InferenceSession(blob, providers=["CPUExecutionProvider"])
    return session.run(["localisation", "damage"], windows(1)[0])


def apart(blob):
    pairs = zip(heads(BLOB), heads(blob), strict=True)
    return max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs)


def kinds(blob):
    return [node.op_type for node in onnx.load_from_string(blob).graph.node]


def test_stored_in_half_it_says_nearly_the_same_in_fewer_bytes():
    made = store_half(BLOB, "m")
    assert 0 < apart(made) < 2e-2
    stored = {t.name: t.data_type for t in onnx.load_from_string(made).graph.initializer}
    assert stored["middle.half"] == onnx.TensorProto.FLOAT16
    assert stored["grade_bias"] == onnx.TensorProto.FLOAT
    assert len(made) < len(BLOB)
    onnx.checker.check_model(onnx.load_from_string(made))


def test_computed_in_half_it_takes_and_gives_the_same_types():
    made = onnx.load_from_string(compute_half(BLOB, "m"))
    assert {v.type.tensor_type.elem_type for v in made.graph.input} == {onnx.TensorProto.UINT8}
    assert {v.type.tensor_type.elem_type for v in made.graph.output} == {onnx.TensorProto.FLOAT}
    weights = {t.name: t for t in made.graph.initializer}
    assert weights["first"].data_type == onnx.TensorProto.FLOAT16
    assert apart(made.SerializeToString()) < 0.1


@pytest.mark.parametrize("value", [1e6, np.inf, np.nan])
def test_a_weight_beyond_half_precision_is_refused(value):
    model = onnx.load_from_string(BLOB)
    (middle,) = (t for t in model.graph.initializer if t.name == "middle")
    weights = numpy_helper.to_array(middle).copy()
    weights[0, 0] = value
    middle.CopyFrom(numpy_helper.from_array(weights, "middle"))
    with pytest.raises(ModelError, match=r"m: middle reaches .*, too large for half"):
        store_half(model.SerializeToString(), "m")


@pytest.mark.parametrize("kept", KEPT_FLOAT)
def test_integers_take_over_between_the_first_and_the_last_layers(kept):
    made = quantise(BLOB, windows(), kept, "m")
    model = onnx.load_from_string(made)
    of_int8 = {
        node.output[0]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and "middle" in node.input[0]
    }
    assert of_int8
    types = {t.name: t.data_type for t in model.graph.initializer}
    plain = [n for n in model.graph.node if n.op_type == "Conv" and n.input[1] in types]
    assert len(plain) == 4
    assert {"locate", "grade"} <= {node.name for node in plain}
    assert 0 < apart(made) < 0.2
    assert {entry.domain for entry in model.opset_import} == {""}


def test_weights_are_signed_by_channel_and_activations_unsigned():
    model = onnx.load_from_string(quantise(BLOB, windows(), "ends", "m"))
    of = {tensor.name: tensor for tensor in model.graph.initializer}
    (weights,) = (of[name] for name in of if name.startswith("middle") and "quantized" in name)
    assert weights.data_type == onnx.TensorProto.INT8
    (scales,) = (of[name] for name in of if name.startswith("middle") and name.endswith("scale"))
    assert list(scales.dims) == [16]
    points = {of[n.input[2]].data_type for n in model.graph.node if n.op_type == "QuantizeLinear"}
    assert points == {onnx.TensorProto.UINT8}


def test_what_has_no_products_cannot_become_integers():
    with pytest.raises(ModelError, match=r"m: .*use fp16"):
        quantise(pointwise_bytes(), windows(), "others", "m")


def test_what_is_no_graph_is_one_line():
    with pytest.raises(ModelError, match="m: cannot be converted to int8") as caught:
        quantise(b"\x08\x08", windows(), "ends", "m")
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    for make in (
        lambda: store_half(BLOB, "m"),
        lambda: compute_half(BLOB, "m"),
        lambda: quantise(BLOB, windows(), "ends", "m"),
    ):
        with pytest.raises(MissingExtraError, match=r'pip install "\.\[optimise\]"'):
            make()


def test_integers_can_be_made_of_what_is_stored_in_half():
    made = quantise(store_half(BLOB, "m"), windows(), "ends", "m")
    assert "QuantizeLinear" in kinds(made)
    assert 0 < apart(made) < 0.2


def test_a_model_of_one_image_takes_what_it_wants_of_the_windows():
    model = onnx.load_from_string(BLOB)
    graph = model.graph
    kept = [node for node in graph.node if "post" not in "".join([*node.input, *node.output])]
    kept = [node for node in kept if node.output[0] != "damage"]
    for name, values in (("node", kept), ("input", graph.input[:1]), ("output", graph.output[:1])):
        chosen = [*values]
        del getattr(graph, name)[:]
        getattr(graph, name).extend(chosen)
    assert "QuantizeLinear" in kinds(quantise(model.SerializeToString(), windows(), "ends", "m"))

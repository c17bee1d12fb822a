import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from geodamage.errors import DeviceError, ModelError, ModelNotFoundError
from geodamage.model.card import with_card
from geodamage.model.ensemble import with_ways
from geodamage.model.loading import load_model
from geodamage.model.onnx import Model
from geodamage.model.rules import PixelRules
from tests.conftest import make_model
from tests.fakes import (
    CONSTANTS,
    DAMAGE_SHAPE,
    LOCALISATION_SHAPE,
    LOCALISE,
    make_card,
    onnx_bytes,
    pointwise_bytes,
    write_pointwise,
)
from tests.model.small_models import images, same, shaped_model

# one file


def test_a_model_gives_its_heads(tmp_path):
    model = Model(write_pointwise(tmp_path / "m.onnx"), device="cpu")
    pre, post = images(20, 28)
    localisation, damage = model(pre, post)
    np.testing.assert_allclose(localisation, pre[:, :1] / 255, rtol=1e-6)
    np.testing.assert_array_equal(damage[:, 3], post[:, 0].astype(np.float32) + 9)
    assert model.card.name == "fake"
    assert model.provider.startswith("CPU, ONNX Runtime")


@pytest.mark.parametrize("task", ["localisation", "damage"])
def test_a_model_with_one_head_leaves_the_other_out(tmp_path, task):
    heads = Model(write_pointwise(tmp_path / "m.onnx", task), device="cpu")(*images(8, 8))
    assert (heads.localisation is None) == (task == "damage")
    assert (heads.damage is None) == (task == "localisation")


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ModelNotFoundError, match="no such model file"):
        Model(tmp_path / "m.onnx")


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_what_is_no_regular_file_is_refused(tmp_path, kind):
    path = tmp_path / "m.onnx"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(ModelNotFoundError, match="not a regular file"):
        Model(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.truncate(2**31 + 1)
    with pytest.raises(ModelError, match=r"2\.1 GB"):
        Model(path)


def constant_model(path, localisation, damage=1.0, **facts):
    """Write a model that says a constant; what it says may be no probability."""
    nodes = [
        *LOCALISE[:2],
        helper.make_node("Mul", ["pre_float", "nothing"], ["zero"]),
        helper.make_node("Add", ["zero", "localised"], ["localisation"]),
        helper.make_node("Concat", ["zero"] * 4, ["zeros"], axis=1),
        helper.make_node("Add", ["zeros", "damaged"], ["damage"]),
    ]
    constants = {
        "first": CONSTANTS["first"],
        "nothing": np.float32(0),
        "localised": np.float32(localisation),
        "damaged": np.float32(damage),
    }
    outputs = {"localisation": LOCALISATION_SHAPE, "damage": DAMAGE_SHAPE}
    path.write_bytes(with_card(onnx_bytes(nodes, outputs, constants=constants), make_card(**facts)))
    return path


@pytest.mark.parametrize(
    ("localisation", "damage", "head"),
    [
        (float("nan"), 1, "localisation"),
        (-0.1, 1, "localisation"),
        (1.1, 1, "localisation"),
        (float("inf"), 1, "localisation"),
        (0.5, -1, "damage"),
        (0.5, float("nan"), "damage"),
    ],
)
def test_a_head_that_leaves_its_range_is_refused(tmp_path, localisation, damage, head):
    path = constant_model(tmp_path / "m.onnx", localisation, damage)
    with pytest.raises(ModelError, match=f"{head} has values outside 0 to 1"):
        Model(path, device="cpu")


def test_damage_needs_not_sum_to_one(tmp_path):
    Model(constant_model(tmp_path / "m.onnx", 0.5, 100), device="cpu")


def refused(tmp_path, blob, message, **facts):
    path = tmp_path / "m.onnx"
    path.write_bytes(with_card(blob, make_card(halo=0, **facts)))
    with pytest.raises(ModelError, match=message) as caught:
        Model(path, device="cpu")
    assert "\n" not in str(caught.value)


def test_other_inputs_are_refused(tmp_path):
    nodes = [helper.make_node("Gather", ["image", "first"], ["g"], axis=1)]
    nodes += [helper.make_node("Cast", ["g"], ["localisation"], to=TensorProto.FLOAT)]
    blob = onnx_bytes(
        nodes,
        {"localisation": LOCALISATION_SHAPE},
        inputs={"image": ["n", 3, "h", "w"]},
        constants={"first": CONSTANTS["first"]},
    )
    refused(tmp_path, blob, "inputs .* are not pre and post", task="localisation")


@pytest.mark.parametrize(
    ("task", "said"), [("localisation", "assess"), ("assess", "damage"), ("damage", "localisation")]
)
def test_outputs_must_be_those_of_the_task(tmp_path, task, said):
    refused(tmp_path, pointwise_bytes(task), "outputs .* are not", task=said)


def test_other_shapes_are_refused(tmp_path):
    nodes = [
        *LOCALISE[:2],
        helper.make_node("Div", ["pre_float", "most"], ["ratio"]),
        helper.make_node(
            "AveragePool", ["ratio"], ["localisation"], kernel_shape=[2, 2], strides=[2, 2]
        ),
    ]
    constants = {name: CONSTANTS[name] for name in ("first", "most")}
    outputs = {"localisation": ["n", 1, "a", "b"]}
    blob = onnx_bytes(nodes, outputs, inputs={"pre": ["n", 3, "h", "w"]}, constants=constants)
    refused(tmp_path, blob, r"localisation is float32 \(1, 1, 8, 8\) for 16", task="localisation")


def test_other_channels_are_refused(tmp_path):
    card = {"pre_channels": ("red",), "post_channels": ("red",)}
    refused(tmp_path, pointwise_bytes(), "does not run on", **card)


def test_floats_for_bytes_are_refused(tmp_path):
    model = onnx.load_from_string(pointwise_bytes())
    for node in model.graph.input:
        node.type.tensor_type.elem_type = TensorProto.FLOAT
    refused(tmp_path, model.SerializeToString(), "does not run on")


def test_a_custom_operator_is_refused(tmp_path):
    nodes = [helper.make_node("Shell", ["pre"], ["localisation"], domain="com.example")]
    blob = onnx_bytes(
        nodes,
        {"localisation": LOCALISATION_SHAPE},
        inputs={"pre": ["n", 3, "h", "w"]},
        domains=["com.example"],
    )
    refused(tmp_path, blob, "refused by ONNX Runtime", task="localisation")


@pytest.mark.parametrize("location", ["weights.bin", "{folder}/weights.bin", "../weights.bin"])
def test_weights_in_another_file_are_refused(tmp_path, monkeypatch, location):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for place in (folder, tmp_path):
        (place / "weights.bin").write_bytes(np.float32([1, 2, 3, 9]).tobytes())
    model = onnx.load_from_string(pointwise_bytes())
    tensor = next(t for t in model.graph.initializer if t.name == "offset")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location.format(folder=folder), "length": "16"}.items():
        tensor.external_data.add(key=key, value=value)
    refused(folder, model.SerializeToString(), "ONNX Runtime|other file")


def test_a_graph_that_is_none_is_refused(tmp_path):
    refused(tmp_path, b"\x08\x08", "refused by ONNX Runtime")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:0", "cuda:-1", "auto:1", "", "CPU"])
def test_an_unknown_device_is_refused(tmp_path, device):
    with pytest.raises(DeviceError, match="unknown; give auto, cpu, cuda or cuda:N"):
        Model(write_pointwise(tmp_path / "m.onnx"), device=device)


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_missing_gpu_is_said(tmp_path, device):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("there is a CUDA provider")
    with pytest.raises(DeviceError, match="no CUDA provider"):
        Model(write_pointwise(tmp_path / "m.onnx"), device=device)


def test_auto_takes_what_is_there(tmp_path):
    same(
        Model(write_pointwise(tmp_path / "m.onnx"), device="auto")(*images(8, 8)),
        Model(tmp_path / "m.onnx", device="cpu")(*images(8, 8)),
    )


def probed(monkeypatch, path):
    """Load a model; return it and the sizes of the windows it was tried on."""
    asked = []
    run = Model.__call__

    def noted(self, pre, post):
        asked.append(pre.shape[2:])
        return run(self, pre, post)

    monkeypatch.setattr(Model, "__call__", noted)
    return Model(path, device="cpu"), asked


def test_a_global_model_of_free_size_is_tried_on_a_small_window(tmp_path, monkeypatch):
    facts = {"context": "global", "tile": 1024, "stride": 32}
    model, asked = probed(monkeypatch, shaped_model(tmp_path / "m.onnx", size="hw", **facts))
    assert asked == [(128, 128)]
    assert model.fixed_size is None


def test_a_graph_of_one_size_is_tried_at_it(tmp_path, monkeypatch):
    path = shaped_model(tmp_path / "m.onnx", size=(32, 32), context="global", tile=32)
    model, asked = probed(monkeypatch, path)
    assert asked == [model.fixed_size] == [(32, 32)]


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"context": "local", "tile": 32}, "32 x 32 pixels alone.*says that it is local"),
        ({"context": "global", "tile": 64}, "32 x 32 pixels alone.*says 64"),
    ],
)
def test_a_graph_of_one_size_that_its_card_denies_is_refused(tmp_path, facts, message):
    path = shaped_model(tmp_path / "m.onnx", size=(32, 32), **facts)
    with pytest.raises(ModelError, match=message):
        Model(path, device="cpu")


def test_a_model_says_how_large_it_is_and_has_the_rules_of_its_card(tmp_path):
    path = write_pointwise(tmp_path / "m.onnx", threshold=0.3)
    model = Model(path, device="cpu")
    assert model.resident_bytes == path.stat().st_size
    assert model.rules == PixelRules((0.3,) * 4)
    assert not model.has_pixel_rules


@pytest.mark.parametrize(
    ("pre", "found"),
    [
        (np.zeros((64, 64, 3), np.uint8), r"pre is uint8 \(64, 64, 3\)"),
        (np.zeros((1, 64, 64, 3), np.uint8), r"pre is uint8 \(1, 64, 64, 3\)"),
        (np.zeros((1, 3, 64, 64), np.float32), r"pre is float32 \(1, 3, 64, 64\)"),
        (np.zeros((0, 3, 64, 64), np.uint8), r"pre is uint8 \(0, 3, 64, 64\)"),
        (np.zeros((1, 4, 64, 64), np.uint8), r"pre is uint8 \(1, 4, 64, 64\)"),
    ],
)
def test_a_wrong_array_is_named_with_what_to_give(tmp_path, pre, found):
    model = load_model(make_model(tmp_path / "m.onnx"))
    with pytest.raises(ModelError, match=rf"{found}; give uint8 \(n, 3, rows, columns\)"):
        model(pre, pre)


def test_dates_of_other_windows_are_named(tmp_path):
    model = load_model(make_model(tmp_path / "m.onnx"))
    pre, post = np.zeros((1, 3, 64, 64), np.uint8), np.zeros((2, 3, 64, 64), np.uint8)
    with pytest.raises(ModelError, match=r"pre \(1, 3, 64, 64\) and post \(2, .* differ"):
        model(pre, post)


def test_sides_that_no_stride_fits_are_named():
    pre = np.zeros((1, 3, 100, 100), np.uint8)
    with pytest.raises(ModelError, match="multiples of 16"):
        load_model("fast")(pre, pre)


def test_models_cards_and_ensembles_say_what_they_are(tmp_path):
    model = load_model(make_model(tmp_path / "m.onnx"))
    name = f"{model.card.name} {model.card.version}: assess"
    assert repr(model).startswith(f"<Model {name}, CPU, ONNX Runtime")
    assert repr(model.card).startswith(f"<Card {name}, 0.")
    assert repr(with_ways(model, "flips", (1.0,))).startswith(f"<Ensemble {name}, 1 members, CPU")

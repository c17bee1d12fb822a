import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from geodamage.errors import DeviceError, ModelError, ModelNotFoundError, OptionError
from geodamage.model.card import with_card
from geodamage.model.ensemble import FLIPS, Ensemble, Member, SavedMap, with_flips, with_ways
from geodamage.model.heads import Heads, building_probabilities, probabilities
from geodamage.model.loading import DEFAULT_MODEL, bundled_models, find_model, load_model
from geodamage.model.onnx import Model
from geodamage.model.rules import PixelRules
from geodamage.plan import make_plan
from geodamage.windows import Window
from tests.fakes import (
    CONSTANTS,
    DAMAGE_SHAPE,
    LOCALISATION_SHAPE,
    LOCALISE,
    BoxModel,
    make_card,
    onnx_bytes,
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


# probabilities


def test_probabilities_join_the_heads():
    localisation = np.array([0.8, 0.25], np.float32).reshape(1, 1, 1, 2)
    damage = np.array([[2, 1], [2, 0], [4, 0], [0, 3]], np.float32).reshape(1, 4, 1, 2)
    joined = probabilities(Heads(localisation, damage))
    assert joined.dtype == np.float32
    assert joined[0, :, 0, 0] == pytest.approx([0.2, 0.2, 0.2, 0.4, 0])
    assert joined[0, :, 0, 1] == pytest.approx([0.75, 0.0625, 0, 0, 0.1875])


def test_no_localisation_leaves_the_grades_to_be_told():
    damage = np.array([1, 2, 3, 4], np.float32).reshape(1, 4, 1, 1)
    joined = probabilities(Heads(np.zeros((1, 1, 1, 1), np.float32), damage))
    assert joined[0, 0] == 1
    assert joined[0, 1:].sum() < 1e-6
    assert (joined[0, 1:] / joined[0, 1:].sum()).ravel() == pytest.approx([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("lacking", ["localisation", "damage"])
def test_a_missing_head_is_named(lacking):
    heads = Heads(np.zeros((1, 1, 2, 2)), np.zeros((1, 4, 2, 2)))._replace(**{lacking: None})
    with pytest.raises(ModelError, match=f"no {lacking} head"):
        probabilities(heads)


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
    with pytest.raises(ModelError, match=f"{head} leaves its range"):
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


# ensembles


def test_heads_are_averaged_over_their_own_members():
    members = [
        Member(Pointwise(0.1, ("localisation",)), 1),
        Member(Pointwise(0.3, ("localisation",)), 3),
        Member(Pointwise(5, ("damage",)), 2),
    ]
    found = Ensemble(make_card(), members)(*images(6, 8))
    plain = Pointwise()(*images(6, 8))
    np.testing.assert_allclose(found.localisation, plain.localisation + 0.25, rtol=1e-5)
    np.testing.assert_allclose(found.damage, plain.damage + 5, rtol=1e-5)


def test_a_head_nobody_has_stays_out():
    assert (
        Ensemble(make_card(), [Member(Pointwise(0, ("damage",)))])(*images(4, 4)).localisation
        is None
    )


def test_a_member_gives_only_the_heads_that_count():
    members = [
        Member(Pointwise(0.1), heads=("localisation",)),
        Member(Pointwise(5), heads=("damage",)),
        Member(Pointwise(7), weight=3),
    ]
    found = Ensemble(make_card(), members)(*images(6, 8))
    plain = Pointwise()(*images(6, 8))
    np.testing.assert_allclose(found.localisation, plain.localisation + (0.1 + 21) / 4, rtol=1e-5)
    np.testing.assert_allclose(found.damage, plain.damage + (5 + 21) / 4, rtol=1e-5)


def test_rules_and_size_of_an_ensemble():
    one, two = Pointwise(), Pointwise()
    members = [Member(one), Member(one, weight=2), Member(two)]
    rules = PixelRules((0.4, 0.3, 0.2, 0.1), 5)
    ensemble = Ensemble(make_card(threshold=0.6), members, rules=rules)
    assert ensemble.resident_bytes == 200
    assert ensemble.rules == with_flips(ensemble).rules == rules
    assert ensemble.has_pixel_rules
    assert with_flips(ensemble).has_pixel_rules
    plain = Ensemble(make_card(threshold=0.6), members)
    assert plain.rules == with_flips(plain).rules == PixelRules((0.6,) * 4)
    assert not plain.has_pixel_rules
    assert not with_flips(one).has_pixel_rules


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("transpose", [False, True])
def test_what_is_turned_is_turned_back(flip, transpose):
    # Neither square nor symmetric: undone in another order the answer would differ.
    pre, post = images(6, 10)
    for model in (Pointwise(), BoxModel(1)):
        ensemble = Ensemble(model.card, [Member(model, flips=(flip,), transpose=transpose)])
        same(ensemble(pre, post), model(pre, post), 1e-6)


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shape", [(8, 8), (6, 10)])
def test_a_mark_in_one_corner_comes_back_to_it(flip, turned, shape):
    # The published code undoes a flip before a transposition that was done first: of one flip
    # alone that leaves the map turned by 180 degrees (reference system 003, two of ten members).
    pre = np.zeros((1, 3, *shape), np.uint8)
    pre[..., 1, 2] = 255
    axes = FLIPS[flip]
    shown = np.flip(np.swapaxes(pre, 2, 3) if turned else pre, axes)
    asked = []

    class Noting(Pointwise):
        def __call__(self, pre, post):
            asked.append(pre)
            return super().__call__(pre, post)

    member = Member(Noting(), flips=(flip,), transpose=turned)
    found = Ensemble(make_card(), [member])(pre, pre).localisation[0, 0]
    assert np.array_equal(asked[-1], shown)
    assert np.argwhere(found > 0.1).tolist() == [[1, 2]]


@pytest.mark.parametrize("flip", ["horizontal", "vertical"])
def test_the_published_order_would_turn_the_map(flip):
    # Shows that the test above can fail.
    mark = np.zeros((1, 1, 6, 6))
    mark[..., 1, 2] = 1
    answer = np.flip(np.swapaxes(mark, 2, 3), FLIPS[flip])
    published = np.swapaxes(np.flip(np.swapaxes(answer, 2, 3), FLIPS[flip]), 2, 3)
    right = np.swapaxes(np.flip(answer, FLIPS[flip]), 2, 3)
    assert np.array_equal(right, mark)
    assert not np.array_equal(published, mark)


def test_full_tta_asks_all_eight_ways():
    model = BoxModel(1)
    pre, post = images(6, 9)
    found = with_ways(model, "full")(pre, post)
    shown = {asked[0].tobytes() for asked in model.asked}
    assert len(shown) == len(model.asked) == 8
    same(found, BoxModel(1)(pre, post), 1e-6)


def test_sizes_widen_the_halo_and_keep_windows_on_whole_pixels():
    model = BoxModel(1)
    card = with_ways(model, "none", (1.0, 0.5, 1.5)).card
    assert card.halo > model.card.halo
    assert card.stride % model.card.stride == 0
    assert card.tile % card.stride == 0
    assert with_ways(model, "full").card == model.card


def test_flips_show_the_model_mirror_images():
    model = BoxModel(1)
    pre, post = images(5, 7)
    with_flips(model)(pre, post)
    shown = [asked[0] for asked in model.asked]
    for image, axes in zip(shown, FLIPS.values(), strict=True):
        assert np.array_equal(image, np.flip(pre, axes))


def test_flips_average_what_differs():
    pre, post = images(6, 9)
    plain = Pointwise()(pre, post)
    found = with_flips(Ramp())(pre, post)
    np.testing.assert_allclose(found.localisation, plain.localisation + 4, rtol=1e-5)
    np.testing.assert_allclose(found.damage, plain.damage + 4, rtol=1e-5)


def test_a_transposed_ramp_runs_down_the_rows():
    pre, post = images(6, 9)
    found = Ensemble(make_card(), [Member(Ramp(), transpose=True)])(pre, post)
    ramp = (np.arange(9) + np.arange(6)[:, None]) / 2
    np.testing.assert_allclose(found.damage, Pointwise()(pre, post).damage + ramp, rtol=1e-5)


@pytest.mark.parametrize("scale", [0.5, 2.0, 1.5])
def test_a_scale_keeps_shape_and_flat_values(scale):
    model = BoxModel(1)
    flat = np.full((2, 3, 16, 24), 90, np.uint8)
    found = Ensemble(model.card, [Member(model, scales=(scale,))])(flat, flat)
    assert model.asked[0][0].shape == (2, 3, round(16 * scale), round(24 * scale))
    same(found, model(flat, flat), 1e-5)


# ensemble files


def write_ensemble(folder, text, **members):
    for name, facts in (members or {"a": {}}).items():
        write_pointwise(folder / f"{name}.onnx", **facts)
    path = folder / "all.toml"
    path.write_text(text)
    return path


def test_an_ensemble_file_loads_like_a_model(tmp_path):
    text = """
    threshold = 0.4
    grade_weights = [1, 1, 2, 1]
    [[member]]
    file = "a.onnx"
    weight = 2
    flips = ["none", "horizontal"]
    [[member]]
    file = "b.onnx"
    transpose = true
    scales = [1.0, 2.0]
    """
    path = write_ensemble(
        tmp_path,
        text,
        a={"task": "localisation", "stride": 4, "halo": 3, "licence": "MIT"},
        b={"task": "damage", "stride": 8, "halo": 5, "context": "global"},
    )
    ensemble = load_model(path, device="cpu")
    card = ensemble.card
    assert (card.name, card.task, card.threshold) == ("all", "assess", 0.4)
    assert card.grade_weights == (1, 1, 2, 1)
    assert (card.stride, card.context, card.licence) == (8, "global", "CC0-1.0 AND MIT")
    assert card.tile % card.stride == 0
    assert card.halo >= 5
    pre, post = images(16, 24)
    found = ensemble(pre, post)
    np.testing.assert_allclose(found.localisation, pre[:, :1] / 255, rtol=1e-5)
    assert found.damage.shape == (1, 4, 16, 24)


@pytest.mark.parametrize("scale", [0.5, 1.5, 2.0])
@pytest.mark.parametrize("radius", [0, 2])
def test_the_halo_of_an_ensemble_holds_all_it_sees(tmp_path, scale, radius):
    text = f'[[member]]\nfile = "a.onnx"\nscales = [{scale}]\n'
    path = write_ensemble(tmp_path, text, a={"halo": radius, "tile": 64, "stride": 4})
    card = load_model(path, device="cpu").card
    ensemble = Ensemble(card, [Member(BoxModel(radius), scales=(scale,))])
    size, core = 96, slice(36, 60)
    pre, _ = images(size, size)
    other = np.random.default_rng(9).integers(0, 256, pre.shape, np.uint8)
    kept = slice(core.start - card.halo, core.stop + card.halo)
    other[..., kept, kept] = pre[..., kept, kept]
    same(
        [head[..., core, core] for head in ensemble(pre, pre)],
        [head[..., core, core] for head in ensemble(other, other)],
    )


PIXELS = "[pixels]\nthresholds = [0.38, 0.13, 0.13, 0.14]\n"


@pytest.mark.parametrize("context", ["local", "global"])
@pytest.mark.parametrize(("dilation", "reach"), [(0, 0), (5, 2), (31, 15)])
def test_rules_for_pixels_widen_the_halo_by_what_they_look_at(tmp_path, context, dilation, reach):
    text = PIXELS + f'dilation = {dilation}\n[[member]]\nfile = "a.onnx"\n'
    path = write_ensemble(tmp_path, text, a={"halo": 6, "tile": 64, "context": context})
    ensemble = load_model(path, device="cpu")
    assert ensemble.rules == PixelRules((0.38, 0.13, 0.13, 0.14), dilation)
    assert ensemble.has_pixel_rules
    assert ensemble.card.halo == (6 + reach if context == "local" else max(6, reach))
    assert load_model(path, device="cpu", tta="flips").rules == ensemble.rules


def test_rules_that_leave_no_core_are_refused(tmp_path):
    text = PIXELS + 'dilation = 31\n[[member]]\nfile = "a.onnx"\n'
    with pytest.raises(ModelError, match="leaves no core inside halo 15"):
        load_model(write_ensemble(tmp_path, text), device="cpu")


def test_a_member_may_give_one_of_its_heads(tmp_path):
    text = """
    [[member]]
    file = "a.onnx"
    heads = ["localisation"]
    [[member]]
    file = "a.onnx"
    heads = ["damage"]
    flips = ["both"]
    """
    ensemble = load_model(write_ensemble(tmp_path, text), device="cpu")
    assert ensemble.card.task == "assess"
    assert ensemble.resident_bytes == (tmp_path / "a.onnx").stat().st_size
    same(ensemble(*images(8, 12)), Model(tmp_path / "a.onnx", device="cpu")(*images(8, 12)), 1e-6)
    alone = write_ensemble(tmp_path, '[[member]]\nfile = "a.onnx"\nheads = ["damage"]')
    ensemble = load_model(alone, device="cpu")
    assert ensemble.card.task == "damage"
    assert ensemble(*images(8, 12)).localisation is None


def test_every_file_of_an_ensemble_is_loaded_once(tmp_path, monkeypatch):
    text = '[[member]]\nfile = "a.onnx"\n[[member]]\nfile = "b.onnx"\nheads = ["damage"]\n'
    text += '[[member]]\nfile = "a.onnx"\nflips = ["both"]\n'
    loaded = []
    start = Model.__init__

    def noted(self, path, **options):
        loaded.append((path.name, options["keeps_memory"]))
        start(self, path, **options)

    monkeypatch.setattr(Model, "__init__", noted)
    path = write_ensemble(tmp_path, text, a={}, b={})
    ensemble = load_model(path, device="cpu")
    # Several sessions at rest must not each keep the memory of their last call.
    assert loaded == [("a.onnx", False), ("b.onnx", False)]
    sizes = [(tmp_path / name).stat().st_size for name in ("a.onnx", "b.onnx")]
    assert ensemble.resident_bytes == sum(sizes)


def test_nothing_is_loaded_before_all_is_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(Model, "__init__", lambda *_, **__: pytest.fail("loaded"))
    text = '[[member]]\nfile = "a.onnx"\n[[member]]\nfile = "a.onnx"\nweight = -1'
    for bad in (text, "colour = 1\n" + text[:26], "pixels = 3\n" + text[:26]):
        with pytest.raises(ModelError, match=r"weight of|unknown keys|is no table"):
            load_model(write_ensemble(tmp_path, bad), device="cpu")


def test_a_global_ensemble_has_its_window_and_refuses_another(tmp_path):
    text = 'tile = 96\nhalo = 12\n[[member]]\nfile = "a.onnx"\n[[member]]\nfile = "b.onnx"\n'
    path = write_ensemble(tmp_path, text, a={"context": "global"}, b={"stride": 16, "tile": 64})
    card = load_model(path, device="cpu").card
    plan = make_plan(Window(0, 0, 500, 500), card, memory=1e10)
    assert (plan.window, plan.core, plan.halo) == ((96, 96), (64, 64), 16)
    with pytest.raises(OptionError, match=r"--tile 64: .* sees its whole window at once"):
        make_plan(Window(0, 0, 500, 500), card, tile=64)


@pytest.mark.parametrize(
    ("options", "good"), [("", True), ("scales = [1.0, 2.0]", False), ("tile", False)]
)
def test_a_member_of_one_size_is_asked_for_no_other(tmp_path, options, good):
    shaped_model(tmp_path / "s.onnx", size=(32, 32), context="global", tile=32)
    text = '[[member]]\nfile = "s.onnx"\n'
    text = "tile = 64\n" + text if options == "tile" else text + options
    path = write_ensemble(tmp_path, text)
    if good:
        load_model(path, device="cpu")
    else:
        with pytest.raises(ModelError, match=r"windows of 32 pixels alone.*asked for 64"):
            load_model(path, device="cpu")


def test_tta_asks_an_ensemble_as_well(tmp_path):
    path = write_ensemble(tmp_path, '[[member]]\nfile = "a.onnx"\n')
    plain, flipped = load_model(path, device="cpu"), load_model(path, device="cpu", tta="flips")
    same(plain(*images(8, 12)), flipped(*images(8, 12)), 1e-6)
    assert flipped.card == plain.card


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one"),
        ("member = 3", "at least one"),
        ("member = [3]", "member"),
        ("[[member", "not TOML"),
        ('[[member]]\nfile = "a.onnx"\ncolour = 1', r"unknown keys \['colour'\]"),
        ('colour = 1\n[[member]]\nfile = "a.onnx"', r"unknown keys \['colour'\]"),
        ("[[member]]\nweight = 1", "no file"),
        ('[[member]]\nfile = "../a.onnx"', "not beside the ensemble"),
        ('[[member]]\nfile = "/etc/a.onnx"', "not beside the ensemble"),
        ('[[member]]\nfile = "none.onnx"', "no such model file"),
        ('[[member]]\nfile = ".."', "regular file"),
        ('[[member]]\nfile = "a.onnx"\nflips = ["diagonal"]', "flips of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nflips = []', "flips of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nflips = 3', "flips of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nflips = [[]]', "flips of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nscales = [0]', "scales of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nscales = [nan]', "scales of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nscales = 2', "scales of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nweight = 0', "weight of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nweight = "1"', "weight of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nweight = nan', "weight of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\ntranspose = 1', "transpose of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nheads = []', "heads of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nheads = "damage"', "heads of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nheads = ["grade"]', "heads of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nheads = [1]', "heads of a.onnx"),
        ('pixels = 3\n[[member]]\nfile = "a.onnx"', "is no table"),
        (PIXELS + 'square = 5\n[[member]]\nfile = "a.onnx"', r"unknown keys \['square'\]"),
        (PIXELS + 'dilation = 4\n[[member]]\nfile = "a.onnx"', "dilation = 4 is neither"),
        ('[pixels]\n[[member]]\nfile = "a.onnx"', "no thresholds"),
        ('threshold = 2\n[[member]]\nfile = "a.onnx"', "threshold"),
        ('threshold = "a"\n[[member]]\nfile = "a.onnx"', "mend the ensemble"),
        ('grade_weights = 3\n[[member]]\nfile = "a.onnx"', "mend the ensemble"),
    ],
)
def test_an_ensemble_that_makes_no_sense_is_refused(tmp_path, text, message):
    with pytest.raises(ModelError, match=message):
        load_model(write_ensemble(tmp_path, text), device="cpu")


def test_a_head_that_a_member_lacks_is_refused(tmp_path):
    text = '[[member]]\nfile = "a.onnx"\nheads = ["damage"]\n'
    with pytest.raises(ModelError, match=r"heads of a\.onnx are damage, and .* has localisation"):
        load_model(write_ensemble(tmp_path, text, a={"task": "localisation"}), device="cpu")


# finding


def test_the_default_model_is_named_first():
    names = list(bundled_models())
    assert names[0] == DEFAULT_MODEL
    assert names[1:] == sorted(names[1:])
    assert "accurate" in names


def test_bundled_models_are_found_by_name_and_load():
    for name, path in bundled_models().items():
        assert find_model(name) == path
        load_model(name, device="cpu")


@pytest.mark.parametrize("source", ["slow", "weights.pth", "m.zip", ""])
def test_what_is_neither_a_name_nor_a_model_is_refused(source):
    with pytest.raises(
        ModelNotFoundError, match=r"no bundled model of that name .*no \.onnx or \.toml"
    ):
        find_model(source)


# saved maps and outliers


def codes_of(*shares):
    return np.stack([np.full((1, 4, 6), round(share * 250), np.uint8) for share in shares], 1)


def test_saved_maps_count_by_their_weight_and_where_they_know():
    pre, post = images(4, 6)
    own = Pointwise()(pre, post).localisation
    maps = codes_of(0.4, 0.8)
    maps[0, 1, 0] = 255
    members = [SavedMap(Path("a.tif")), SavedMap(Path("b.tif"), 2.0)]
    found = Ensemble(make_card(), [Member(Pointwise())], maps=members)(pre, post, maps)
    wanted = (own[0, 0] + np.float32(0.4 + 2 * 0.8)) / 4
    wanted[0] = ((own[0, 0] + np.float32(0.4)) / 2)[0]
    np.testing.assert_allclose(found.localisation[0, 0], wanted, atol=1e-6)
    np.testing.assert_array_equal(found.damage, Pointwise()(pre, post).damage)


def test_saved_maps_stay_beside_a_model_that_is_asked_in_more_ways():
    pre, post = images(4, 6)
    maps = codes_of(0.4)
    ensemble = Ensemble(make_card(), [Member(Pointwise())], maps=[SavedMap(Path("a.tif"))])
    turned = with_ways(ensemble, "full")
    assert turned.maps == ensemble.maps
    same(turned(pre, post, maps), ensemble(pre, post, maps), 1e-6)


def test_saved_maps_must_come_with_the_scene():
    ensemble = Ensemble(make_card(), [Member(Pointwise())], maps=[SavedMap(Path("a.tif"))])
    with pytest.raises(ModelError, match="reads saved maps, and none came with the scene"):
        ensemble(*images(4, 6))


class Saying(Pointwise):
    """Says the same whatever it is shown: the first window, then the second."""

    def __init__(self, *windows):
        super().__init__()
        self.windows = np.stack(windows)[:, None].astype(np.float32)

    def __call__(self, pre, post):
        return Heads(self.windows, None)


def test_an_outlier_is_left_out_of_its_own_window_alone():
    rng = np.random.default_rng(0)
    low = [rng.uniform(0.05, 0.3, (4, 6)) for _ in range(3)]
    odd = np.full((4, 6), 0.7)
    members = [Member(Saying(low[0], low[0])), Member(Saying(odd, low[1]), weight=2.0)]
    members.append(Member(Saying(low[2], low[2])))
    pre, post = (np.repeat(image, 2, 0) for image in images(4, 6))
    found = Ensemble(make_card(), members, drops_outliers=True)(pre, post).localisation[:, 0]
    np.testing.assert_allclose(found[0], (low[0] + low[2]) / 2, atol=1e-6)
    np.testing.assert_allclose(found[1], (low[0] + 2 * low[1] + low[2]) / 4, atol=1e-6)
    kept = Ensemble(make_card(), members)(pre, post).localisation[:, 0]
    np.testing.assert_allclose(kept[0], (low[0] + 2 * odd + low[2]) / 4, atol=1e-6)


def test_an_outlier_rule_makes_an_ensemble_global(tmp_path):
    text = '[[member]]\nfile = "a.onnx"\n'
    path = write_ensemble(tmp_path, "drop_outliers = true\n" + text)
    ensemble = load_model(path, device="cpu")
    assert ensemble.drops_outliers
    assert ensemble.card.context == "global"
    assert load_model(path, device="cpu", tta="full").drops_outliers
    assert load_model(write_ensemble(tmp_path, text), device="cpu").card.context == "local"


def test_a_width_is_what_a_member_is_shown_of_a_tile(tmp_path):
    text = 'tile = 96\n[[member]]\nfile = "a.onnx"\nwidth = 64\n'
    path = write_ensemble(tmp_path, text, a={"context": "global", "stride": 16, "tile": 48})
    (member,) = load_model(path, device="cpu").members
    assert member.scales == (64 / 96,)


@pytest.mark.parametrize(
    ("entry", "context", "said"),
    [
        ("width = 60", "global", "windows of 60 pixels .* takes multiples of 16"),
        ("width = 64", "local", "is local; give scales"),
        ("width = 64\nscales = [1.0]", "global", "or beside scales"),
        ("width = -1", "global", "is no number of pixels"),
        ("width = 5", "global", "not a tenth to ten times"),
    ],
)
def test_a_width_that_does_not_fit_is_refused(tmp_path, entry, context, said):
    text = f'tile = 96\n[[member]]\nfile = "a.onnx"\n{entry}\n'
    path = write_ensemble(tmp_path, text, a={"context": context, "stride": 16, "tile": 96})
    with pytest.raises(ModelError, match=said):
        load_model(path, device="cpu")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[member]]\nfile = "m.tif"\nflips = ["both"]', "is a saved map and has the keys"),
        ('[[member]]\nfile = "gone.tif"', "no such probability map"),
        ('[[member]]\nfile = "../m.tif"', "is not beside the ensemble"),
        ('[[member]]\nfile = "m.tif"\nweight = 0', "weight of m.tif is not positive"),
        ('drop_outliers = 3\n[[member]]\nfile = "m.tif"', "neither true nor false"),
    ],
)
def test_a_saved_map_that_makes_no_sense_is_refused(tmp_path, text, said):
    (tmp_path / "m.tif").write_bytes(b"opened with the scene")
    with pytest.raises(ModelError, match=said):
        load_model(write_ensemble(tmp_path, text), device="cpu")


def test_a_model_without_localisation_finds_no_buildings():
    with pytest.raises(ModelError, match="no localisation head"):
        building_probabilities(Heads(None, np.ones((1, 4, 2, 2), np.float32)))

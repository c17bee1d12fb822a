"""Foreign files become model files that say what the original file says."""

import tomllib
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest

from geodamage.errors import GeodamageWarning, ModelError, OptionError, OutputExistsError
from geodamage.foreign import importing
from geodamage.foreign.importing import import_graphs
from geodamage.model.card import with_card
from geodamage.model.loading import load_model
from geodamage.model.onnx import Model
from tests.conftest import listing, make_model
from tests.fakes import make_card, pointwise_bytes
from tests.foreign.graphs import beacongis, convention, hot, write_graph

MEAN, DEVIATION = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
FIVE = {"y": ["n", 5, "h", "w"]}


@pytest.fixture(autouse=True)
def no_measuring(monkeypatch):
    monkeypatch.setattr(importing, "measure_memory", lambda path, size: 99.0)


def imported(source, name, *conventions, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeodamageWarning)
        (wrapped,) = import_graphs([source], name, conventions=conventions, **options)
    return wrapped


def pair(side=64, count=1, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(0, 256, (2, count, 3, side, side), np.uint8))


def bare(path, **feeds):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def planes(numbers):
    return np.asarray(numbers, np.float32).reshape(1, -1, 1, 1)


def imagenet(image):
    return (image.astype(np.float32) / 255 - planes(MEAN)) / planes(DEVIATION)


def softmax(logits):
    powers = np.exp(logits.astype(np.float64))
    return powers / powers.sum(1, keepdims=True)


def test_a_stack_of_two_dates_with_background(tmp_path):
    source = write_graph(tmp_path / "x.onnx", {"x": ["n", 6, "h", "w"]}, FIVE)
    told = convention(
        tmp_path / "c.toml", mean="[0.485, 0.456, 0.406]", deviation="[0.229, 0.224, 0.225]"
    )
    wrapped = imported(source, tmp_path / "model", str(told))
    assert (wrapped.card.task, wrapped.card.tile, wrapped.card.halo) == ("assess", 64, 8)
    assert wrapped.difference < 1e-5
    assert wrapped.card.scores["file_sha256"]
    model = Model(tmp_path / "model.onnx", device="cpu")
    pre, post = pair(count=2)
    said = softmax(bare(source, x=np.concatenate([imagenet(pre), imagenet(post)], 1))[0])
    heads = model(pre, post)
    np.testing.assert_allclose(heads.localisation, 1 - said[:, :1], atol=1e-5)
    np.testing.assert_allclose(heads.damage, said[:, 1:], atol=1e-5)


@pytest.mark.parametrize(
    ("keys", "feed"),
    [
        ({"dates": '["post", "pre"]'}, lambda a, b: np.concatenate([b / 255, a / 255], 1)),
        ({"order": '"bgr"'}, lambda a, b: np.concatenate([a[:, ::-1], b[:, ::-1]], 1) / 255),
        ({"divisor": "1", "mean": "[127.5]", "deviation": "[127.5]"},
         lambda a, b: np.concatenate([a, b], 1) / 127.5 - 1),
        ({"mean": "[0, 0, 0, 0.5, 0.5, 0.5]"},
         lambda a, b: np.concatenate([a / 255, b / 255 - 0.5], 1)),
        ({"mean": "[0.5]", "clip": "[0, 0.25]"},
         lambda a, b: np.clip(np.concatenate([a, b], 1) / 255 - 0.5, 0, 0.25)),
        ({"divisor": "", "statistics": '"standardise"'},
         lambda a, b: np.concatenate([a, b], 1) / 25.5 - 4),
    ],
)  # fmt: skip
def test_scaling_is_inside_the_graph(tmp_path, keys, feed):
    source = write_graph(tmp_path / "x.onnx", {"x": ["n", 6, "h", "w"]}, FIVE)
    imported(source, tmp_path / "model", str(convention(tmp_path / "c.toml", **keys)))
    pre, post = pair()
    model = Model(tmp_path / "model.onnx", device="cpu")
    fed = feed(pre.astype(np.float32), post.astype(np.float32)).astype(np.float32)
    np.testing.assert_allclose(
        model(pre, post).damage, softmax(bare(source, x=fed)[0])[:, 1:], atol=2e-5
    )
    assert model.card.scene_statistics == ("standardise" if "statistics" in keys else "none")


def test_a_difference_and_pairs_apart(tmp_path):
    pre, post = pair()
    a, b = pre.astype(np.float32) / 255, post.astype(np.float32) / 255
    layouts = {
        "difference": (["n", 3, "h", "w"], '["post", "pre"]', {"x": b - a}),
        "paired": (["n", 2, 3, 64, 64], '["pre", "post"]', {"x": np.stack([a, b], 1)}),
    }
    for layout, (shape, dates, feeds) in layouts.items():
        source = write_graph(tmp_path / f"{layout}.onnx", {"x": shape}, FIVE)
        told = convention(tmp_path / "c.toml", layout=f'"{layout}"', dates=dates)
        imported(source, tmp_path / f"{layout}-model", str(told))
        model = Model(tmp_path / f"{layout}-model.onnx", device="cpu")
        wanted = softmax(bare(source, **feeds)[0])[:, 1:]
        np.testing.assert_allclose(model(pre, post).damage, wanted, atol=1e-5)


def test_the_names_of_two_inputs_tell_their_dates(tmp_path):
    shape = ["n", 3, "h", "w"]
    source = write_graph(tmp_path / "x.onnx", {"image_after": shape, "image_before": shape}, FIVE)
    told = convention(tmp_path / "c.toml", layout="", dates="")
    imported(source, tmp_path / "model", str(told))
    pre, post = pair()
    fed = {"image_after": post / np.float32(255), "image_before": pre / np.float32(255)}
    wanted = softmax(bare(source, **fed)[0])[:, 1:]
    model = Model(tmp_path / "model.onnx", device="cpu")
    np.testing.assert_allclose(model(pre, post).damage, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("layout", "shape", "used"), [("pre", ["n", 3, "h", "w"], 0), ("post", ["n", 3, "h", "w"], 1)]
)
def test_one_date_is_enough(tmp_path, layout, shape, used):
    source = write_graph(tmp_path / "x.onnx", {"x": shape}, FIVE)
    told = convention(tmp_path / "c.toml", layout=f'"{layout}"', dates="")
    imported(source, tmp_path / "model", str(told))
    images = pair()
    wanted = softmax(bare(source, x=images[used] / np.float32(255))[0])[:, 1:]
    model = Model(tmp_path / "model.onnx", device="cpu")
    np.testing.assert_allclose(model(*images).damage, wanted, atol=1e-5)


def test_one_channel_is_buildings(tmp_path):
    source = write_graph(tmp_path / "x.onnx", {"x": ["n", 3, "h", "w"]}, {"y": ["n", 1, "h", "w"]})
    told = convention(
        tmp_path / "c.toml", layout='"pre"', dates="", channels="", activation='"sigmoid"'
    )
    imported(source, tmp_path / "model", str(told))
    model = Model(tmp_path / "model.onnx", device="cpu")
    pre, post = pair()
    logits = bare(source, x=pre / np.float32(255))[0]
    heads = model(pre, post)
    assert (model.card.task, heads.damage) == ("localisation", None)
    np.testing.assert_allclose(heads.localisation, 1 / (1 + np.exp(-logits)), atol=1e-5)


def test_channels_are_summed_left_out_and_missing(tmp_path):
    source = write_graph(tmp_path / "x.onnx", {"x": ["n", 6, "h", "w"]}, FIVE)
    told = convention(
        tmp_path / "c.toml",
        channels='["ignored", "no-damage", "background", "destroyed", "destroyed"]',
    )
    imported(source, tmp_path / "model", str(told))
    pre, post = pair()
    said = softmax(bare(source, x=np.concatenate([pre, post], 1) / np.float32(255))[0])
    heads = Model(tmp_path / "model.onnx", device="cpu")(pre, post)
    np.testing.assert_allclose(heads.localisation, 1 - said[:, 2:3], atol=1e-5)
    np.testing.assert_allclose(heads.damage[:, 0], said[:, 1], atol=1e-5)
    np.testing.assert_allclose(heads.damage[:, 3], said[:, 3] + said[:, 4], atol=1e-5)
    assert not heads.damage[:, 1:3].any()


def test_two_outputs_and_a_temperature(tmp_path):
    source = write_graph(
        tmp_path / "x.onnx",
        {"x": ["n", 6, "h", "w"]},
        {"loc": ["n", 1, "h", "w"], "dam": ["n", 4, "h", "w"]},
    )
    told = convention(tmp_path / "c.toml", name='"loc"', channels='["building"]',
                      activation='"sigmoid"')  # fmt: skip
    with told.open("a") as file:
        file.write('[[output]]\nname = "dam"\nactivation = "softmax"\ntemperature = 2.0\n')
        file.write('channels = ["no-damage", "minor-damage", "major-damage", "destroyed"]\n')
    imported(source, tmp_path / "model", str(told))
    pre, post = pair()
    loc, dam = bare(source, x=np.concatenate([pre, post], 1) / np.float32(255))
    heads = Model(tmp_path / "model.onnx", device="cpu")(pre, post)
    np.testing.assert_allclose(heads.localisation, 1 / (1 + np.exp(-loc)), atol=1e-5)
    np.testing.assert_allclose(heads.damage, softmax(dam / 2), atol=1e-5)


@pytest.mark.parametrize("opset", [11, 12, 13])
def test_old_operators_say_the_same(tmp_path, opset):
    shape = [1, 6, 64, 64]
    source = write_graph(tmp_path / "x.onnx", {"x": shape}, {"y": [1, 5, 64, 64]}, opset=opset)
    imported(source, tmp_path / "model", str(convention(tmp_path / "c.toml", tile="")))
    pre, post = pair(count=3)
    fed = np.concatenate([pre, post], 1) / np.float32(255)
    wanted = np.concatenate([softmax(bare(source, x=one[None])[0]) for one in fed])
    model = Model(tmp_path / "model.onnx", device="cpu")
    assert model.fixed_size == (64, 64)
    np.testing.assert_allclose(model(pre, post).damage, wanted[:, 1:], atol=1e-5)


def test_channels_may_be_last(tmp_path):
    source = write_graph(tmp_path / "x.onnx", {"x": ["n", 64, 64, 6]}, {"y": ["n", 64, 64, 5]},
                         axis=3)  # fmt: skip
    imported(source, tmp_path / "model", str(convention(tmp_path / "c.toml")))
    pre, post = pair()
    fed = np.concatenate([pre, post], 1).transpose(0, 2, 3, 1) / np.float32(255)
    wanted = softmax(bare(source, x=fed)[0].transpose(0, 3, 1, 2))
    heads = Model(tmp_path / "model.onnx", device="cpu")(pre, post)
    np.testing.assert_allclose(heads.damage, wanted[:, 1:], atol=1e-5)


def test_small_answers_are_magnified(tmp_path):
    source = write_graph(tmp_path / "x.onnx", {"x": ["n", 6, "h", "w"]}, {"y": ["n", 5, "r", "c"]},
                         stride=4)  # fmt: skip
    wrapped = imported(source, tmp_path / "model", str(convention(tmp_path / "c.toml")))
    assert wrapped.difference < 1e-5
    pre, post = pair()
    assert Model(wrapped.path, device="cpu")(pre, post).damage.shape == (1, 4, 64, 64)


def test_what_is_softened_already_stays_so(tmp_path):
    source = write_graph(tmp_path / "x.onnx", {"x": ["n", 6, "h", "w"]}, FIVE, softened=True)
    with pytest.raises(ModelError, match=r"sum to 1.*activation = \"none\""):
        imported(source, tmp_path / "model", str(convention(tmp_path / "c.toml")))
    imported(source, tmp_path / "model", str(convention(tmp_path / "c.toml", activation='"none"')))
    assert "model.onnx" in listing(tmp_path)


@pytest.mark.slow
def test_files_like_those_of_beacongis_become_an_ensemble(tmp_path):
    with pytest.warns(GeodamageWarning, match="not the file that its authors published"):
        members = [*import_graphs(beacongis(tmp_path), tmp_path / "beacon")]
    assert [m.card.task for m in members] == ["localisation", "damage", "damage"]
    assert {m.known_by for m in members} == {"its inputs and outputs"}
    assert all(m.difference <= 2e-3 and m.card.precision == "half" for m in members)
    table = tomllib.loads((tmp_path / "beacon.toml").read_text())
    assert (table["threshold"], len(table["member"])) == (0.4, 3)
    model = load_model(tmp_path / "beacon.toml", device="cpu")
    card = model.card
    assert (card.task, card.scene_statistics, card.tile, card.halo) == (
        "assess",
        "stretch",
        512,
        32,
    )
    pre, post = pair(side=512)
    heads = model(pre, post)
    halves = np.concatenate([imagenet(pre), imagenet(post)], 1).astype(np.float16)
    both = [softmax(bare(tmp_path / f"{name}.onnx", input=halves)[0])
            for name in ("cls_best_fp16", "cls_m2_fp16")]  # fmt: skip
    np.testing.assert_allclose(heads.damage, np.mean(both, axis=0), atol=4e-3)


@pytest.mark.slow
def test_a_file_like_that_of_hot_grades_windows_of_512(tmp_path):
    with pytest.warns(GeodamageWarning, match="not the file that its authors published"):
        (wrapped,) = import_graphs([hot(tmp_path / "hot.onnx")], tmp_path / "model")
    assert (wrapped.card.task, wrapped.card.tile, wrapped.card.halo) == ("damage", 512, 64)
    model = Model(wrapped.path, device="cpu")
    assert model.fixed_size == (512, 512)
    pre, post = pair(side=512, count=2)
    heads = model(pre, post)
    for number in (0, 1):
        fed = {"pre": imagenet(pre[number : number + 1]), "post": imagenet(post[number:][:1])}
        wanted = softmax(bare(tmp_path / "hot.onnx", **fed)[0] / np.float32(1.1719))
        np.testing.assert_allclose(heads.damage[number], wanted[0], atol=1e-5)


def test_a_published_file_is_known_by_its_hash(tmp_path, monkeypatch):
    source = write_graph(tmp_path / "x.onnx", {"x": ["n", 6, "h", "w"]}, FIVE)
    told = convention(tmp_path / "c.toml", sha256=f'["{importing.read_graph(source).sha256}"]')
    wrapped = imported(source, tmp_path / "model", str(told))
    assert wrapped.known_by == "--convention, the file as published"


def test_a_graph_that_keeps_the_contract_wants_a_card_alone(tmp_path):
    source = tmp_path / "own.onnx"
    source.write_bytes(pointwise_bytes())
    with pytest.raises(ModelError, match="says gsd, tile, licence; write"):
        imported(source, tmp_path / "model")
    told = tmp_path / "c.toml"
    told.write_text('gsd = 0.5\ntile = 64\nstride = 8\nlicence = "CC0-1.0"\n')
    wrapped = imported(source, tmp_path / "model", str(told))
    assert (wrapped.card.task, wrapped.difference) == ("assess", 0.0)


def test_a_model_file_is_taken_over(tmp_path):
    source = make_model(tmp_path / "one.onnx", halo=9)
    wrapped = imported(source, tmp_path / "model")
    assert (tmp_path / "model.onnx").read_bytes() == source.read_bytes()
    assert wrapped.known_by == "its card"


def test_a_model_of_the_house_joins_one_that_grades(tmp_path):
    four = {"y": ["n", 4, "h", "w"]}
    grades = write_graph(tmp_path / "grades.onnx", {"x": ["n", 6, "h", "w"]}, four)
    told = convention(
        tmp_path / "c.toml",
        channels='["no-damage", "minor-damage", "major-damage", "destroyed"]',
    )
    own = tmp_path / "own.onnx"
    own.write_bytes(with_card(pointwise_bytes(), make_card(halo=0)))
    [*import_graphs([own, grades], tmp_path / "both", conventions=[str(told)] * 2)]
    assert load_model(tmp_path / "both.toml", device="cpu").card.task == "assess"


def test_what_is_missing_is_listed_with_an_example(tmp_path):
    source = write_graph(tmp_path / "x.onnx", {"x": ["n", 6, "h", "w"]}, FIVE)
    with pytest.raises(ModelError) as refused:
        imported(source, tmp_path / "model")
    said = str(refused.value)
    assert "dates, order, divisor, gsd, tile, licence, [[output]] channels" in said
    assert 'such as: layout = "stacked"' in said
    assert "\n" not in said


def test_what_deepness_wrote_into_a_file_is_read(tmp_path):
    source = write_graph(tmp_path / "x.onnx", {"x": ["n", 3, "h", "w"]}, {"y": ["n", 1, "h", "w"]})
    model = onnx.load(source)
    for key, value in (("resolution", "30"), ("tiles_size", "64")):
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, source)
    told = convention(tmp_path / "c.toml", layout='"pre"', dates="", gsd="", tile="",
                      channels="", activation='"sigmoid"')  # fmt: skip
    card = imported(source, tmp_path / "model", str(told)).card
    assert (card.gsd_native, card.tile) == (0.3, 64)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"channels": '["background", "hut"]'}, r"channels \['hut'\] are not among"),
        ({"channels": '["background", "building"]'}, "has 5 channels and channels names 2"),
        ({"channels": '["ignored"]'}, "no channel is building or a grade"),
        ({"colour": "1"}, r"unknown keys \['colour'\]"),
        ({"divisor": '"255"'}, "divisor = '255' is not"),
        ({"dates": '["pre"]'}, "are not pre and post"),
        ({"mean": "[1, 2]"}, "mean or deviation has"),
        ({"clip": "[1, 0]"}, "clip has no range"),
        ({"gsd_min": "2"}, "gsd_min <= gsd <= gsd_max"),
        ({"layout": '"apart"'}, "takes x, and layout is apart"),
        ({"statistics": '"standardise"', "mean": "[1]"}, "no other mean"),
        ({"name": '"z"'}, "has no output z, but y"),
        ({"activation": '"none"'}, "so it holds logits"),
    ],
)
def test_a_convention_that_makes_no_sense_is_refused(tmp_path, keys, message):
    source = write_graph(tmp_path / "x.onnx", {"x": ["n", 6, "h", "w"]}, FIVE)
    told = convention(tmp_path / "c.toml", **keys)
    with pytest.raises(ModelError, match=message):
        imported(source, tmp_path / "model", str(told))
    assert listing(tmp_path) == ["c.toml", "x.onnx"]


def test_conventions_that_are_not_there_are_refused(tmp_path):
    source = write_graph(tmp_path / "x.onnx", {"x": ["n", 6, "h", "w"]}, FIVE)
    with pytest.raises(OptionError, match="neither one of beacongis-damage"):
        imported(source, tmp_path / "model", "nobody")
    with pytest.raises(ModelError, match="no such model file"):
        imported(source, tmp_path / "model", str(tmp_path / "absent.toml"))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ModelError, match="not a regular file"):
        imported(source, tmp_path / "model", str(tmp_path / "folder.toml"))
    (tmp_path / "c.toml").write_text("layout =")
    with pytest.raises(ModelError, match="not TOML"):
        imported(source, tmp_path / "model", str(tmp_path / "c.toml"))
    with pytest.raises(OptionError, match="2 conventions for 1 file;"):
        imported(source, tmp_path / "model", "own", "own")


def refused(source, tmp_path, message):
    told = convention(tmp_path / "c.toml")
    with pytest.raises(ModelError, match=message):
        imported(source, tmp_path / "model", str(told))
    assert "model.onnx" not in listing(tmp_path)


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    source = write_graph(tmp_path / "x.onnx", {"x": ["n", 6, "h", "w"]}, FIVE)
    whole = source.read_bytes()
    for share in (0.3, 0.9):
        source.write_bytes(whole[: int(len(whole) * share)])
        refused(source, tmp_path, "not an ONNX file, or cut off")
    source.write_bytes(b"<!DOCTYPE html>")
    refused(source, tmp_path, "not an ONNX file, or cut off")


def test_weights_in_another_file_are_refused(tmp_path):
    source = write_graph(tmp_path / "x.onnx", {"x": ["n", 6, "h", "w"]}, FIVE)
    onnx.save(onnx.load(source), source, save_as_external_data=True, size_threshold=0)
    refused(source, tmp_path, "lie in another file")


def test_custom_operators_are_refused(tmp_path):
    source = write_graph(tmp_path / "x.onnx", {"x": ["n", 6, "h", "w"]}, FIVE)
    model = onnx.load(source)
    model.graph.node[0].domain = "com.example"
    onnx.save(model, source)
    refused(source, tmp_path, "custom operators com.example.Conv")


def test_a_graph_of_another_family_is_refused(tmp_path):
    source = write_graph(tmp_path / "x.onnx", {"x": ["n", 6, "h", "w"]}, FIVE)
    for name, message in (
        ("hot-dinov3", "takes x, and layout is apart"),
        ("beacongis-localisation", "y has 5 channels and channels names 1"),
        ("own", "takes float32|says gsd, tile, licence"),
    ):
        with pytest.raises(ModelError, match=message):
            imported(source, tmp_path / "model", name)
    assert listing(tmp_path) == ["x.onnx"]


def test_half_of_a_known_graph_is_not_taken_for_it(tmp_path):
    # Inputs of HOT's model with another output, and the ports of beaconGIS with a fifth channel.
    shape = [1, 3, 512, 512]
    half = write_graph(
        tmp_path / "h.onnx", {"post": shape, "pre": shape}, {"logits": [1, 4, 512, 512]}
    )
    five = write_graph(
        tmp_path / "b.onnx", {"input": ["n", 6, "h", "w"]}, {"logits": ["n", 5, "h", "w"]}
    )
    for source in (half, five):
        with pytest.raises(ModelError, match="neither the file nor a convention says"):
            imported(source, tmp_path / "model")
    with pytest.raises(ModelError, match="logits has 5 channels and channels names 4"):
        imported(five, tmp_path / "model", "beacongis-damage")
    assert listing(tmp_path) == ["b.onnx", "h.onnx"]


@pytest.mark.parametrize("opset", [7, 10])
def test_operators_that_are_too_old_are_converted(tmp_path, opset):
    source = write_graph(tmp_path / "x.onnx", {"x": ["n", 6, "h", "w"]}, FIVE, opset=opset)
    imported(source, tmp_path / "model", str(convention(tmp_path / "c.toml")))
    pre, post = pair()
    wanted = softmax(bare(source, x=np.concatenate([pre, post], 1) / np.float32(255))[0])
    heads = Model(tmp_path / "model.onnx", device="cpu")(pre, post)
    np.testing.assert_allclose(heads.damage, wanted[:, 1:], atol=1e-5)


def test_operators_that_cannot_be_converted_are_refused(tmp_path, monkeypatch):
    source = write_graph(tmp_path / "x.onnx", {"x": ["n", 6, "h", "w"]}, FIVE, opset=9)

    def convert(model, version):
        raise RuntimeError("no adapter for Example")

    monkeypatch.setattr(onnx.version_converter, "convert_version", convert)
    refused(source, tmp_path, r"operators of version 9 cannot be converted \(no adapter")


def test_class_numbers_are_refused(tmp_path):
    source = write_graph(tmp_path / "x.onnx", {"x": ["n", 6, "h", "w"]}, FIVE)
    model = onnx.load(source)
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    onnx.save(model, source)
    refused(source, tmp_path, "holds classes and no probabilities")


def test_several_windows_at_a_time_are_refused(tmp_path):
    source = write_graph(tmp_path / "x.onnx", {"x": [4, 6, 64, 64]}, {"y": [4, 5, 64, 64]})
    refused(source, tmp_path, "does not run on|takes 4 windows at a time")


def test_an_empty_answer_is_said(tmp_path):
    source = write_graph(tmp_path / "x.onnx", {"x": ["n", 3, "h", "w"]}, {"y": ["n", 1, "h", "w"]})
    model = onnx.load(source)
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0])
    told = convention(
        tmp_path / "c.toml", layout='"pre"', dates="", channels="", activation='"sigmoid"'
    )
    for sign, found in ((-1, "nothing"), (1, "a building everywhere")):
        changed = onnx.numpy_helper.from_array(
            sign * np.abs(weight), model.graph.initializer[0].name
        )
        model.graph.initializer[0].CopyFrom(changed)
        onnx.save(model, source)
        with pytest.warns(GeodamageWarning, match=f"finds {found} in a synthetic pair"):
            [*import_graphs([source], tmp_path / found.split()[0], conventions=[str(told)])]


def test_nothing_is_replaced_unasked(tmp_path):
    source = write_graph(tmp_path / "x.onnx", {"x": ["n", 6, "h", "w"]}, FIVE)
    (tmp_path / "model.onnx").write_bytes(b"old")
    with pytest.raises(OutputExistsError):
        imported(source, tmp_path / "model", str(convention(tmp_path / "c.toml")))
    with pytest.raises(OptionError, match="no file was given"):
        [*import_graphs([], tmp_path / "model")]
    with pytest.raises(OptionError, match=r"1 file\(s\) become a .onnx"):
        [*import_graphs([source], tmp_path / "model.toml")]

import numpy as np
import onnx
import pytest

from geodamage.errors import ModelError
from geodamage.model import engines
from geodamage.model.engines import Verdict, keep, kept_verdict
from geodamage.model.loading import find_model, load_model
from geodamage.model.onnx import Model
from geodamage.model.openvino import has_bfloat16, openvino_version
from geodamage.model.parts import PartedSession, split_graph
from geodamage.model.session import session_options, start
from tests.convolutions import convolution_bytes
from tests.fakes import make_card, pointwise_bytes
from tests.model.small_models import images
from tests.siamese import halves_by_slices, halves_by_split, siamese_bytes, write_siamese

HEADS = ["localisation", "damage"]
ENGINES = [
    "onnxruntime",
    pytest.param(
        "openvino",
        marks=pytest.mark.skipif(openvino_version() is None, reason="openvino is not installed"),
    ),
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "cache_folder", lambda: tmp_path / "cache")


def whole(blob, path, pair):
    """Return the answers of the whole graph in ONNX Runtime."""
    session, _ = start(blob, make_card(), path, "cpu", session_options(1, True))
    return session.run(HEADS, dict(zip(("pre", "post"), pair, strict=True)))


@pytest.mark.parametrize("halves", [halves_by_slices, halves_by_split])
def test_both_parts_hold_what_they_need_and_no_more(halves):
    parts = split_graph(siamese_bytes(halves), "m.onnx")
    assert (parts.given, parts.taken) == (("seen",), ("before",))
    graphs = [onnx.load_from_string(blob).graph for blob in (parts.first, parts.second)]
    for blob in (parts.first, parts.second):
        onnx.checker.check_model(onnx.load_from_string(blob), full_check=True)
    ports = [([p.name for p in g.input], [p.name for p in g.output]) for g in graphs]
    assert ports == [(["pre"], ["localisation", "seen"]), (["post", "before"], ["damage"])]
    weights = [{tensor.name for tensor in graph.initializer} for graph in graphs]
    assert {"locate", "judge"} - weights[0] == {"judge"}
    assert {"locate", "judge"} - weights[1] == {"locate"}


def uneven(tensor):
    nodes = halves_by_slices(tensor)
    nodes[-1].input[1] = "one"  # begins at the second window, however many there are
    return nodes


def stacked_comes_out(tensor):
    return [onnx.helper.make_node("Identity", [tensor], [name]) for name in ("before", "after")]


@pytest.mark.parametrize(
    "blob",
    [
        pointwise_bytes(),
        convolution_bytes(),
        pointwise_bytes("damage"),
        siamese_bytes(uneven),
        siamese_bytes(stacked_comes_out),
        siamese_bytes(found="after"),
        siamese_bytes(found="seen"),
        b"",
        b"no model",
    ],
    ids=["alone", "two branches", "one head", "uneven", "whole", "post", "both", "empty", "text"],
)
def test_a_graph_that_does_not_fall_into_two_stays_whole(blob):
    assert split_graph(blob, "m.onnx") is None


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("halves", [halves_by_slices, halves_by_split])
def test_both_parts_say_what_the_whole_says(tmp_path, engine, halves):
    blob = siamese_bytes(halves)
    model = Model(write_siamese(tmp_path / "m.onnx", blob), engine=engine, threads=1)
    assert model.is_parted
    for count in (1, 3):
        pair = [np.repeat(image, count, 0) for image in images(48, 32)]
        pair[1][-1] = 255 - pair[1][-1]
        expected = whole(blob, model.path, pair)
        localisation, features = model.find(pair[0])
        answers = localisation, model.grade(pair[1], features)
        for ours, theirs in zip(answers, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)
        for ours, theirs in zip(model(*pair), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["fast", "accurate"])
def test_the_bundled_models_are_in_two_parts_and_say_the_same(name, engine):
    model = load_model(name, engine=engine, threads=1)
    assert model.is_parted
    pair = images(96, 128)
    expected = whole(find_model(name).read_bytes(), name, pair)
    for ours, theirs in zip(model(*pair), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_parts_that_answer_otherwise_are_not_taken(tmp_path, monkeypatch):
    grade = PartedSession.grade
    monkeypatch.setattr(
        PartedSession, "grade", lambda self, *given: np.roll(grade(self, *given), 1, 1)
    )
    path = write_siamese(tmp_path / "m.onnx")
    for _ in range(2):  # looked at, and then known
        model = Model(path, engine="onnxruntime")
        assert not model.is_parted
        assert not kept_verdict(model.card, "parts").is_right


@pytest.mark.skipif(not has_bfloat16(), reason="the processor has no bfloat16")
@pytest.mark.parametrize("in_parts", [True, False])
def test_in_bfloat16_the_card_says_whether_parts_may_be_taken(tmp_path, in_parts):
    parity = {"bfloat16": {"passed": True, "in_parts": in_parts}}
    model = Model(write_siamese(tmp_path / "m.onnx", parity=parity), precision="bfloat16")
    assert model.is_parted == in_parts
    assert model.card.precision == "bfloat16"


def test_what_is_known_to_be_right_is_not_compared_again(tmp_path, monkeypatch):
    path = write_siamese(tmp_path / "m.onnx")
    keep(Model(path, engine="onnxruntime").card, Verdict(0.0, precision="parts"))
    monkeypatch.setattr(engines, "difference", None)
    assert Model(path, engine="onnxruntime").is_parted


def test_a_wrong_image_is_one_line(tmp_path):
    model = Model(write_siamese(tmp_path / "m.onnx"), engine="onnxruntime")
    pre, post = images(32, 32)
    _, features = model.find(pre)
    for ask in (lambda: model.find(pre / 255), lambda: model.grade(post[:, :2], features)):
        with pytest.raises(ModelError, match=r"m\.onnx: (pre|post) is .*; give uint8"):
            ask()
    with pytest.raises(ModelError, match="does not run"):
        model.grade(images(64, 64)[1], features)

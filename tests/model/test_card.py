import dataclasses
import json

import onnx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from geodamage.errors import ChecksumError, ModelError
from geodamage.model.card import METADATA_KEY, Card, model_hash, read_card, with_card
from tests.fakes import FACTS, SMALL, make_card, pointwise_bytes

GRAPH = pointwise_bytes()
CARD = make_card(
    name="ümlaut",
    pre_channels=("red", "green"),
    grade_weights=(1.0, 2.0, 3.0, 4.0),
    scores={"f1": 0.5, "date": "2026-01-01"},
)
MODEL = with_card(GRAPH, CARD)


def card_json(**values):
    return json.dumps(json.loads(make_card().as_json()) | values)


def test_a_card_comes_back_from_its_json():
    assert Card.from_json(CARD.as_json(), "m.onnx") == CARD


def test_a_card_comes_back_from_the_file():
    card = read_card(MODEL, "m.onnx")
    assert card == dataclasses.replace(CARD, sha256=model_hash(GRAPH, "m.onnx"))


def test_a_model_with_a_card_is_still_an_onnx_model():
    model = onnx.load_from_string(MODEL)
    onnx.checker.check_model(model)
    assert [entry.key for entry in model.metadata_props] == [METADATA_KEY]
    assert model.graph == onnx.load_from_string(GRAPH).graph


def test_a_new_card_replaces_the_old_one():
    other = with_card(MODEL, make_card(name="other"))
    assert read_card(other, "m.onnx").name == "other"
    assert read_card(other, "m.onnx").sha256 == read_card(MODEL, "m.onnx").sha256


def test_other_metadata_does_not_change_the_hash():
    model = onnx.load_from_string(MODEL)
    entry = model.metadata_props.add()
    entry.key, entry.value = "note", "hello"
    assert read_card(model.SerializeToString(), "m.onnx").name == CARD.name


@SMALL
@given(st.integers(0, len(GRAPH) - 1), st.integers(1, 255))
def test_a_changed_byte_of_the_graph_is_noticed(position, change):
    # with_card puts the graph first
    changed = bytearray(MODEL)
    changed[position] ^= change
    with pytest.raises(ModelError):
        read_card(bytes(changed), "m.onnx")


def test_a_changed_weight_is_a_wrong_checksum():
    position = GRAPH.index(b"localisation")
    changed = MODEL[:position] + b"L" + MODEL[position + 1 :]
    with pytest.raises(ChecksumError, match="get the file again"):
        read_card(changed, "m.onnx")


def test_a_card_without_a_hash_is_refused():
    blob = onnx.load_from_string(GRAPH)
    entry = blob.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, make_card().as_json()
    with pytest.raises(ChecksumError, match="none"):
        read_card(blob.SerializeToString(), "m.onnx")


@SMALL
@given(st.integers(0, len(MODEL) - 1))
def test_a_file_cut_short_is_refused(length):
    with pytest.raises(ModelError):
        read_card(MODEL[:length], "m.onnx")


def test_an_onnx_file_without_a_card_is_told_what_it_lacks():
    with pytest.raises(ModelError, match="without a geodamage card"):
        read_card(GRAPH, "m.onnx")


@pytest.mark.parametrize(
    "blob", [b"PK\x03\x04" + bytes(40), b"\x80\x04.", b"{}", b"\x89PNG\r\n", b"II*\0"]
)
def test_what_is_no_onnx_file_is_refused(blob):
    with pytest.raises(ModelError, match=r"m\.onnx"):
        read_card(blob, "m.onnx")


HUGE = b"\xff" * 9 + b"\x01"


@SMALL
@given(st.binary(max_size=200))
@example(HUGE)
@example(b"\x72" + HUGE)
@example(b"\x72\x80")
@example(b"\x72\x02\x0a" + HUGE)
@example(b"\x70" * 2)
@example(b"\x71" + bytes(8))
@example(b"\x73\x74")
@example(b"\x00\x00")
@example(b"\x80" * 50)
def test_no_bytes_raise_anything_else(blob):
    with pytest.raises(ModelError):
        read_card(blob, "m.onnx")


@SMALL
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_no_metadata_raises_anything_else(key, value):
    for blob in (key, b"\x0a" + bytes([len(key)]) + key + b"\x12" + bytes([len(value)]) + value):
        with pytest.raises(ModelError):
            read_card(b"\x72" + bytes([len(blob)]) + blob, "m.onnx")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=6,
)


@pytest.mark.slow
@SMALL
@given(st.sampled_from([f.name for f in dataclasses.fields(Card)]), JSON)
@example("gsd_native", 10**400)
@example("grade_weights", [10**400, 1, 1, 1])
def test_any_value_of_any_key_is_a_card_or_a_model_error(name, value):
    try:
        card = Card.from_json(card_json(**{name: value}), "m.onnx")
    except ModelError:
        return
    assert Card.from_json(card.as_json(), "m.onnx") == card


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"colour": "red"}, r"unknown keys \['colour'\]"),
        ({"stride": "4"}, "stride = '4' on its card is of the wrong type"),
        ({"stride": 4.0}, "stride = 4.0"),
        ({"stride": True}, "stride = True"),
        ({"gsd_native": True}, "gsd_native = True"),
        ({"name": None}, "name = None"),
        ({"pre_channels": "red"}, "pre_channels = 'red'"),
        ({"pre_channels": [1]}, r"pre_channels = \[1\]"),
        ({"pre_channels": []}, "an image has no channels"),
        ({"grade_weights": ["1"] * 4}, "grade_weights"),
        ({"scores": []}, "scores"),
        ({"gsd_min": 0}, "0 < gsd_min"),
        ({"gsd_native": 2}, "gsd_min <= gsd_native <= gsd_max"),
        ({"task": "all"}, "task is not one of assess, localisation, damage"),
        ({"context": "wide"}, "context is not one of local, global"),
        ({"pre_sensor": "lidar"}, "sensor"),
        ({"precision": "int4"}, "precision is not one of fp32, fp16, half, int8"),
        ({"precision": None}, "precision = None"),
        ({"parity": []}, "parity"),
        ({"stride": 0}, "stride is below 1"),
        ({"stride": 2**31, "tile": 2**31}, "tile 2147483648 is above"),
        ({"stride": 4096, "tile": 8192, "halo": 0}, "stride 4096 is above"),
        ({"tile": 30}, "tile 30 is not a multiple of 4"),
        ({"halo": -1}, "halo is negative"),
        ({"halo": 16}, "tile 32 leaves no core inside halo 16"),
        ({"halo": 13, "stride": 16}, "tile 32 leaves no core inside halo 13"),
        ({"threshold": 1}, r"threshold is outside 0\.\.1"),
        ({"threshold": -0.1}, "threshold"),
        ({"seed_threshold": 1.0}, "threshold"),
        ({"damaged_threshold": 1.5}, "threshold"),
        ({"damaged_threshold": float("nan")}, "not finite"),
        ({"temperature": 0}, "temperature is not positive"),
        ({"temperature": float("inf")}, "not finite"),
        ({"bytes_per_pixel": float("nan")}, "not finite"),
        ({"bytes_per_pixel": -1}, "bytes_per_pixel"),
        ({"grade_weights": [1, 1, 1]}, "grade_weights"),
        ({"grade_weights": [1, 1, 1, 0]}, "grade_weights"),
        ({"grade_weights": [1, float("nan"), 1, 1]}, "not finite"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(values, message):
    with pytest.raises(ModelError, match=message):
        Card.from_json(card_json(**values), "m.onnx")


@pytest.mark.parametrize("name", sorted(FACTS.keys() - {"bytes_per_pixel"}))
def test_a_missing_key_is_named(name):
    values = json.loads(make_card().as_json())
    del values[name]
    with pytest.raises(ModelError, match=f"lacks \\['{name}'\\]"):
        Card.from_json(json.dumps(values), "m.onnx")


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "null", b"\xff", "[" * 100_000])
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(ModelError, match=r"m\.onnx: its card is no"):
        Card.from_json(text, "m.onnx")


def test_a_card_that_says_nothing_of_precision_is_of_single_precision():
    values = json.loads(make_card().as_json())
    for name in ("precision", "parent_sha256", "parity"):
        del values[name]
    card = Card.from_json(json.dumps(values), "m.onnx")
    assert (card.precision, card.parent_sha256, card.parity) == ("fp32", "", {})


def test_the_parity_of_a_variant_comes_back():
    facts = {"agreement": 0.995, "score": {"loss_points": 0.1}, "passed": True}
    card = make_card(precision="int8", parent_sha256="a" * 64, parity=facts)
    assert Card.from_json(card.as_json(), "m.onnx") == card


@pytest.mark.parametrize("depth", [40, 499, 900, 100_000])
def test_a_card_that_is_nested_too_deep_is_refused(depth):
    values = json.loads(make_card().as_json())
    text = json.dumps(values | {"scores": "HERE"})
    with pytest.raises(ModelError, match=r"m\.onnx: its card is"):
        Card.from_json(text.replace('"HERE"', '{"a":' * depth + "1" + "}" * depth), "m.onnx")


def robustness(*kappas, base=0.80):
    """Return the scores of a card of a model that was shifted by 4, 8, 16 and 32 pixels."""
    rows = {"as it is": base} | {
        f"shift of {n} pixels": kappa for n, kappa in zip((4, 8, 16, 32), kappas, strict=False)
    }
    names = ("footprints_quadratic_kappa", "footprints_binary_damaged_f1")
    return {"robustness": {row: dict.fromkeys(names, value) for row, value in rows.items()}}


@pytest.mark.parametrize(
    ("scores", "metres"),
    [
        (robustness(0.80, 0.79, 0.78, 0.70), 8.0),
        (robustness(0.81, 0.76, 0.80, 0.80), 2.0),
        (robustness(0.70), 0.0),
        ({}, None),
        ({"robustness": {"as it is": {"footprints_quadratic_kappa": "high"}}}, None),
        ({"robustness": 3}, None),
    ],
)
def test_a_card_says_which_shift_its_model_stands(scores, metres):
    assert make_card(scores=scores, gsd_native=0.5).stands_shift == metres


@pytest.mark.parametrize(
    ("scores", "share"),
    [({"test": {"precision_iou50": 0.48}}, 0.48), ({"test": 1}, None), ({}, None),
     ({"test": {"precision_iou50": 4}}, None)],
)  # fmt: skip
def test_a_card_says_how_many_candidates_are_buildings(scores, share):
    assert make_card(scores=scores).precision_iou50 == share

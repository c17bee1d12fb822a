"""A look at blocks says how a scene lies to what a model learnt from."""

from dataclasses import replace

import numpy as np
import pytest

from geodamage.adaptation.network import FeatureNetwork
from geodamage.familiarity.looking import (
    MOST,
    Familiarity,
    familiarity_of,
    features_of,
    find_reference,
)
from geodamage.familiarity.reference import NAME, learn
from geodamage.model.loading import bundled_models, load_model
from geodamage.scene.survey import Block
from geodamage.windows import Window
from tests.fakes import make_card
from tests.landscapes import landscape, later

SHAPE = 64, 64
SPLIT = "ab" * 32
CARD = make_card(scores={"training": {"split_sha256": SPLIT}})


@pytest.fixture(scope="module")
def network():
    return FeatureNetwork(device="cpu", threads=1)


def blocks_of(pre, post, valid=None):
    seen = np.ones(SHAPE, bool) if valid is None else valid
    return [
        Block(Window(row, column, *SHAPE), pre[:, row : row + 64, column : column + 64],
              post[:, row : row + 64, column : column + 64], seen, seen)
        for row in range(0, pre.shape[1], 64) for column in range(0, pre.shape[2], 64)
    ]  # fmt: skip


PLACES = [landscape(256, 320, seed=seed) for seed in range(8)]


@pytest.fixture(scope="module")
def reference(network):
    features = [
        features_of(blocks_of(place, later(place)), network, [[0, 1, 2]] * 2) for place in PLACES
    ]
    made = learn(np.concatenate(features))
    return replace(made, split_sha256=SPLIT, network_sha256=network.sha256, like=5.0, known=50.0)


@pytest.mark.slow
def test_the_same_kind_of_place_is_familiar_and_noise_is_not(network, reference):
    place = landscape(256, 320, seed=99)
    alike = familiarity_of(blocks_of(place, later(place)), reference, network, CARD)
    noise = np.random.default_rng(0).integers(0, 256, place.shape, np.uint8)
    strange = familiarity_of(blocks_of(noise, noise), reference, network, CARD)
    assert alike.distance < strange.distance
    assert alike.blocks == strange.blocks == 7  # a third of twenty
    assert len(features_of(blocks_of(place, place), network, [[0, 1, 2]] * 2)) == MOST


def test_verdicts_and_what_is_said_of_them():
    near, far = Familiarity(0.5, 9, 2.0), Familiarity(1.5, 9, 2.0)
    strange, unknown = Familiarity(3.0, 9, 2.0), Familiarity(reason="of fog")
    assert [one.verdict for one in (near, far, strange, unknown)] == [
        "like training", "unlike training", "unlike training", "unknown",
    ]  # fmt: skip
    assert "expect worse grades" in far.remarks()[0]
    assert "expect worse grades" not in near.remarks()[0]
    assert [one.doubts() for one in (near, far, unknown)] == [[], [], []]
    assert "is unknown" in strange.doubts()[0]
    assert unknown.remarks() == strange.remarks() == []
    assert unknown.facts() == {"verdict": "unknown", "why": "of fog", "blocks": 0}
    assert far.facts()["expect"].startswith("worse grades: in events that it had not seen")
    assert strange.facts()["expect"].startswith("unknown")
    assert "expect" not in near.facts()


def test_ground_that_is_not_whole_says_nothing(network, reference):
    place = PLACES[0]
    found = familiarity_of(blocks_of(place, place, np.zeros(SHAPE, bool)), reference, network, CARD)
    assert found.verdict == "unknown"
    assert "too little ground" in found.reason


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"post_sensor": "sar", "post_channels": ("vv",)}, "another sensor"),
        ({"pre_channels": ("nir", "red", "green")}, "does not take colour images"),
    ],
)
def test_what_cannot_be_compared_is_not(network, reference, facts, why):
    found = familiarity_of(blocks_of(PLACES[0], PLACES[0]), reference, network, make_card(**facts))
    assert why in found.reason


def test_a_reference_made_by_another_network_is_none(network, reference):
    other = replace(reference, network_sha256="other")
    for kept in (None, other):
        assert "no record of its training imagery" in familiarity_of([], kept, network, CARD).reason


def test_a_reference_is_for_the_pairs_that_the_model_learnt_from(tmp_path, reference):
    model = tmp_path / "model.onnx"
    assert find_reference(model, CARD) is None
    reference.save(tmp_path / NAME)
    assert find_reference(model, CARD).split_sha256 == SPLIT
    for scores in ({}, {"training": "xBD"}, {"training": {"split_sha256": "cd" * 32}}):
        assert find_reference(model, make_card(scores=scores)) is None


@pytest.mark.slow
def test_every_bundled_model_has_a_reference_by_the_bundled_network(network):
    for name, path in bundled_models().items():
        found = find_reference(path, load_model(name, threads=1).card)
        assert found is not None, name
        assert found.network_sha256 == network.sha256
        assert 0 < found.like < found.known

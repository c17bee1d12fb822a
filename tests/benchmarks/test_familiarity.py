"""Whether a doubt finds errors is measured by the area under its curve."""

import numpy as np

from benchmarks.familiarity import distances_without, populations, ranked
from training.familiarity import Table


def test_a_doubt_that_knows_all_errors_has_the_whole_area():
    wrong = np.array([False, True, False, True])
    assert ranked(wrong, np.array([0.1, 0.8, 0.2, 0.9])) == 1
    assert ranked(wrong, np.array([0.8, 0.1, 0.9, 0.2])) == 0
    assert ranked(wrong, np.full(4, 0.5)) == 0.5
    assert np.isnan(ranked(np.zeros(4, bool), np.arange(4.0)))


def test_a_building_is_held_against_those_of_other_groups():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 40)).astype(np.float32)
    features[200:] *= 0.2
    features[390:] += 6
    buildings = {"features": features, "scene": np.repeat([0, 1], 200)}
    found = distances_without(buildings, ["one event", "another"])
    assert found[390:].min() > found[200:390].max()


def test_networks_that_never_saw_an_event_take_the_place_of_stand_ins():
    rng = np.random.default_rng(0)
    events, places = ("storm", "fire") * 4, tuple(f"place {n}" for n in range(8))
    blocks = rng.normal(size=(320, 12)).astype(np.float32)
    table = Table(blocks, np.repeat(np.arange(8), 40), places, events, places)
    buildings = {
        "features": rng.normal(size=(160, 12)).astype(np.float32),
        "grades": rng.integers(1, 5, 160),
        "scene": np.repeat(np.arange(8), 20),
    }
    said, found = populations(buildings, table)
    assert [one.shape for one in said] == [(160, 4)] * 2
    assert [one.shape for one in found] == [(8,)] * 2
    unseen = np.eye(4)[buildings["grades"] - 1]
    said, found = populations(buildings | {"unseen": unseen}, table)
    assert len(said) == len(found) == 1
    assert said[0] is unseen

"""Whether a doubt finds errors is measured by the area under its curve."""

import numpy as np

from benchmarks.familiarity import distances_without, ranked


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

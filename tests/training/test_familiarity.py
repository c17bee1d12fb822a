"""A reference is made of a table of blocks, with what was measured by leaving some out."""

import numpy as np
import pytest

from training.familiarity import Table, made_of

RNG = np.random.default_rng(0)


def drawn(events=3, places=5, scenes=2, blocks=8):
    """Return a table whose events differ more than their places do."""
    features, numbers, names, event_of, place_of = [], [], [], [], []
    for event in range(events):
        middle = 3 * RNG.normal(size=40)
        for place in range(places):
            own = middle + 0.5 * RNG.normal(size=40)
            for _ in range(scenes):
                features.append(own + RNG.normal(size=(blocks, 40)))
                numbers += [len(names)] * blocks
                names.append(f"{len(names)}")
                event_of.append(f"event{event}")
                place_of.append(f"event{event} {place}")
    return Table(
        np.concatenate(features).astype(np.float32),
        np.array(numbers), tuple(names), tuple(event_of), tuple(place_of),
    )  # fmt: skip


def test_unseen_events_lie_farther_than_unseen_places():
    table = drawn()
    assert np.median(table.unseen_places()) < np.median(table.unseen_events())


def test_limits_are_those_of_unseen_places_and_events():
    table = drawn()
    reference, lines = made_of(table)
    places, events = table.unseen_places(), table.unseen_events()
    assert np.mean(places <= reference.like) == pytest.approx(0.9, abs=0.05)
    assert reference.known == events.max()
    assert reference.facts == {"scenes": 30, "blocks": 240}
    assert len(lines) == 2 + 3 + 1 + 1  # heads, events, all, the farthest


def test_a_scene_of_too_few_blocks_has_no_distance():
    table = drawn()
    few = np.ones(len(table.scene), bool)
    few[2:8] = False  # two blocks are left of the first
    cut = Table(table.features[few], table.scene[few], table.names, table.events, table.places)
    assert np.isnan(cut.unseen_places()[0])
    assert np.isfinite(cut.unseen_places()[1:]).all()

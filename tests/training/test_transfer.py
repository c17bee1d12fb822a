"""What events teach in common."""

import json

import numpy as np

from tests.adaptation.made_results import make_features, make_truth
from training.transfer import LEAST, learn_transfer, main

COUNT = 300


def drawn_events(*tells):
    """Return features, grades and events; each event has a scale and an offset of its own."""
    parts = []
    for number, told in enumerate(tells):
        truth = make_truth(COUNT, number)
        features = make_features(truth, told, seed=number).astype(np.float32)
        features = (features * (1 + number) + 3 * number).astype(np.float16)
        parts.append((features, truth, np.repeat(f"event{number}", COUNT)))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def test_the_change_that_tells_in_all_events_weighs_most():
    weights = learn_transfer(*drawn_events(2.0, 1.0, 2.0))
    assert weights.argmax() == 0
    assert np.abs(weights[1:]).max() < weights[0] / 4


def test_an_event_of_few_damaged_buildings_teaches_nothing():
    features, grades, event = drawn_events(2.0, -2.0)
    other = event == "event1"
    grades[np.flatnonzero(other & (grades > 1))[LEAST - 1 :]] = 1
    np.testing.assert_allclose(
        learn_transfer(features, grades, event),
        learn_transfer(features[~other], grades[~other], event[~other]),
    )


def test_the_file_says_what_it_was_learnt_from(tmp_path):
    features, grades, event = drawn_events(2.0, 2.0)
    np.savez(tmp_path / "t.npz", features=features, grades=grades, event=event)
    main([str(tmp_path / "t.npz"), "-o", str(tmp_path / "transfer.json")])
    facts = json.loads((tmp_path / "transfer.json").read_text())
    assert facts["licence"] == "CC BY-NC-SA 4.0"
    assert facts["damaged"]["event0"] == np.sum(grades[:COUNT] > 1)
    np.testing.assert_allclose(
        facts["weights"], learn_transfer(features, grades, event), rtol=1e-3, atol=1e-9
    )

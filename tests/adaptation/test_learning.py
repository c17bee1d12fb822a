"""Heads that start from what other events taught, beside those that do not."""

import numpy as np

from geodamage.adaptation.learning import learn
from geodamage.adaptation.validation import areas_under_curve
from tests.adaptation.made_results import make_features, make_said, make_truth

COUNT = 600
TRUTH = make_truth(COUNT)
#: A model that knows nothing, and one feature of many that tells.
SAID, FEATURES = make_said(TRUTH, 0.0), make_features(TRUTH, 1.0, width=80)
PLACE = np.column_stack([np.arange(COUNT) * 1e-4, np.zeros(COUNT)])
TELLING = np.eye(80)[0]


def auc_of(answers, transfer, seed=0):
    """Return the AUC of damaged on the other buildings, and what was learnt."""
    rows = np.random.default_rng(seed).permutation(COUNT)[:answers]
    learnt = learn(
        SAID, FEATURES, PLACE, SAID.argmax(1) + 1, 0.5, rows, TRUTH[rows], transfer=transfer
    )
    told = learnt.head.probabilities(SAID, learnt.basis.components(FEATURES))
    rest = np.setdiff1d(np.arange(COUNT), rows)
    score, damaged = told[rest, 1:].sum(1), TRUTH[rest] > 1
    return areas_under_curve(score, damaged, np.ones((1, len(rest))))[0], learnt


def test_what_other_events_taught_need_not_be_taught_again():
    with_it, without = ([auc_of(30, t, n)[0] for n in range(5)] for t in (TELLING, None))
    assert np.mean(with_it) > np.mean(without) + 0.1


def test_answers_unlearn_what_does_not_hold_here():
    told, learnt = auc_of(200, -TELLING)
    assert told > 0.6 or not learnt.transferred


def test_a_head_that_leaves_features_out_does_not_start_from_other_events():
    features = np.random.default_rng(7).normal(size=FEATURES.shape).astype(np.float16)
    rows = np.arange(0, COUNT, 15)
    learnt = learn(
        make_said(TRUTH, 3.0), features, PLACE, TRUTH, 0.5, rows, TRUTH[rows],
        transfer=np.ones(80),
    )  # fmt: skip
    assert not learnt.earned > 0
    assert not learnt.transferred
    assert not learnt.head.weights.any()
    assert learnt.facts()["starts_from_other_events"] is False

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodamage.adaptation.head import (
    LEAST,
    Basis,
    Head,
    Priors,
    fit,
    log_odds,
    softmax,
    standardised_changes,
)
from tests.adaptation.made_results import make_features, make_said, make_truth
from tests.fakes import SMALL

NOBODY = np.zeros(0, int)


def test_without_answers_the_model_comes_out_as_it_was():
    said = make_said(make_truth(30), 1.0)
    head = fit(said[:0], np.zeros((0, 5)), NOBODY)
    told = head.probabilities(said, np.random.default_rng(0).normal(size=(30, 5)))
    np.testing.assert_allclose(told, said, atol=4 * LEAST)


def test_priors_that_allow_nothing_leave_the_model_as_it_was():
    truth = make_truth(40)
    said, components = make_said(truth, 1.0), np.random.default_rng(0).normal(size=(40, 3))
    head = fit(said, components, truth, Priors(1e-4, 1e-4, 1e-4))
    np.testing.assert_allclose(head.probabilities(said, components), said, atol=4 * LEAST)


def test_features_that_tell_the_grade_are_learnt():
    truth = make_truth(200)
    said, features = make_said(truth, 0.0), make_features(truth, 2.0)
    components = Basis.of(features).components(features)
    head = fit(said[:60], components[:60], truth[:60])
    told = head.probabilities(said, components).argmax(1) + 1
    assert np.mean((told > 1) == (truth > 1)) > 0.8 > np.mean((said.argmax(1) > 0) == (truth > 1))


def test_the_maximum_is_a_maximum():
    truth = make_truth(50)
    said, components = make_said(truth, 1.0), np.random.default_rng(0).normal(size=(50, 2))
    head = fit(said, components, truth)

    def lost(scale, offsets, weights):
        told = Head(scale, offsets, weights).probabilities(said, components)
        away = ((scale - 1) / 0.5) ** 2 + (offsets**2).sum() + (weights**2).sum()
        return -np.log(told[np.arange(50), truth - 1]).sum() + away / 2

    least = lost(head.scale, head.offsets, head.weights)
    rng = np.random.default_rng(1)
    for _ in range(50):
        step = rng.normal(size=13) * 0.01
        near = head.offsets + step[1:5], head.weights + step[5:9].reshape(2, 2)
        assert lost(head.scale + step[0], *near) > least


def test_an_answer_that_counts_twice_is_two_answers():
    truth = make_truth(30)
    said, components = make_said(truth, 1.0), np.random.default_rng(0).normal(size=(30, 3))
    once = fit(said, components, truth, weights=np.r_[2.0, np.ones(29)])
    rows = np.r_[0, np.arange(30)]
    twice = fit(said[rows], components[rows], truth[rows])
    np.testing.assert_allclose(once.weights, twice.weights, atol=1e-6)


def test_components_have_a_mean_square_of_one_and_no_mean():
    features = make_features(make_truth(300), 1.0)
    components = Basis.of(features, 100).components(features)
    assert components.shape == (300, 6)
    assert np.abs(components.mean(0)).max() < 1e-9
    assert (components**2).sum(1).mean() == pytest.approx(1)


def test_only_changes_of_means_are_learnt_from():
    features = make_features(make_truth(300), 1.0)
    axes = Basis.of(features).axes
    pre, post = np.split(axes, 2)
    np.testing.assert_array_equal(pre, -post)
    of_parts = np.abs(post).reshape(4, 3, -1).max((1, 2))  # mean and spread, near and around
    assert (of_parts > 0).tolist() == [True, False, True, False]


def test_a_feature_that_never_changes_says_nothing():
    features = make_features(make_truth(50), 1.0)
    features[:, 3] = 7
    basis = Basis.of(features)
    assert np.isfinite(basis.axes).all()
    same = np.repeat(features[:1], 4, 0)
    assert Basis.of(same).components(same).shape == (4, 0)


def test_what_other_events_taught_is_the_last_component():
    features = make_features(make_truth(300), 1.0)
    transfer = np.linspace(-1, 1, 12)
    basis = Basis.of(features, 2, transfer)
    components = basis.components(features)
    assert basis.transferred
    wanted = standardised_changes(features)[0] @ transfer
    np.testing.assert_allclose(components[:, 2], wanted / wanted.std(), atol=1e-9)
    np.testing.assert_allclose(components[:, :2], Basis.of(features, 2).components(features))


def test_a_transfer_of_what_never_changes_is_none():
    same = np.repeat(make_features(make_truth(1), 1.0), 4, 0)
    assert not Basis.of(same, transfer=np.ones(12)).transferred
    assert not Basis.of(make_features(make_truth(9), 1.0)).transferred


def test_without_answers_a_head_says_what_other_events_taught():
    head = fit(np.zeros((0, 4)), np.zeros((0, 3)), NOBODY, transferred=True)
    mean = Priors().transferred[0]
    np.testing.assert_allclose(head.weights, [[0, 0, mean], [0, 0, 0]])
    assert (head.scale, *head.offsets) == (1, 0, 0, 0, 0)


@SMALL
@given(st.lists(st.lists(st.floats(-500, 500), min_size=4, max_size=4), min_size=1, max_size=8))
def test_probabilities_come_back_from_their_log_odds(rows):
    told = softmax(np.array(rows))
    assert np.abs(told.sum(1) - 1).max() < 1e-9
    believed = np.maximum(told, LEAST)
    np.testing.assert_allclose(
        softmax(log_odds(told)), believed / believed.sum(1, keepdims=True), atol=1e-9
    )

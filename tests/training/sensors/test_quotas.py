import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from geodamage.errors import OptionError
from training.sensors.quotas import assign_by_quota, parse_quotas


def softmax(seed, samples, classes):
    logits = np.random.default_rng(seed).normal(0, 2, (samples, classes))
    logits[:, 0] += 2  # a common class that is said too often
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def as_published(probabilities, classes, most):
    """The post-processing of CMKD, as its notebooks say it, step by step."""
    row = probabilities.copy()
    said = row.argmax(1)
    for number in classes:
        there = [n for n in range(len(row)) if said[n] == number]
        there.sort(key=lambda n: -probabilities[n, number])
        for n in there[most:]:
            row[n, list(range(number + 1))] = -100
            said[n] = row[n].argmax()
    return said


cases = st.tuples(st.integers(0, 10**6), st.integers(1, 40), st.integers(2, 6))


def test_four_samples_by_hand():
    probabilities = np.array([[0.9, 0.1, 0.0], [0.6, 0.3, 0.1], [0.5, 0.1, 0.4], [0.4, 0.35, 0.25]])
    found = assign_by_quota(probabilities, {0: 2})
    assert found.classes.tolist() == [0, 0, 2, 1]
    assert found.moved == {0: 2}
    assert found.cut_offs == {0: 0.6}


def test_a_moved_sample_may_have_to_move_again():
    probabilities = np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.1, 0.8, 0.1]])
    found = assign_by_quota(probabilities, {0: 1, 1: 1})
    assert found.classes.tolist() == [0, 2, 1]


@pytest.mark.slow
@given(cases, st.data())
@settings(max_examples=150, deadline=None)
def test_no_class_has_more_than_its_quota(case, data):
    seed, samples, classes = case
    probabilities = softmax(seed, samples, classes)
    some = data.draw(st.lists(st.integers(0, classes - 1), unique=True, max_size=classes - 1))
    quotas = {number: data.draw(st.integers(0, samples)) for number in some}
    found = assign_by_quota(probabilities, quotas)
    counts = np.bincount(found.classes, minlength=classes)
    assert counts.sum() == samples
    assert all(counts[number] <= most for number, most in quotas.items())


@given(cases)
@settings(max_examples=60, deadline=None)
def test_quotas_of_all_classes_that_are_just_enough_are_filled(case):
    seed, samples, classes = case
    quotas = {n: samples // classes + (n < samples % classes) for n in range(classes)}
    found = assign_by_quota(softmax(seed, samples, classes), quotas)
    assert np.bincount(found.classes, minlength=classes).tolist() == list(quotas.values())


@given(cases)
@settings(max_examples=60, deadline=None)
def test_quotas_that_nobody_reaches_change_nothing(case):
    seed, samples, classes = case
    probabilities = softmax(seed, samples, classes)
    found = assign_by_quota(probabilities, dict.fromkeys(range(classes), samples))
    assert (found.classes == probabilities.argmax(1)).all()
    assert not sum(found.moved.values())


@given(cases)
@settings(max_examples=60, deadline=None)
def test_the_surest_of_a_class_stay(case):
    seed, samples, classes = case
    probabilities = softmax(seed, samples, classes)
    likeliest = probabilities.argmax(1)
    among = int((likeliest == 0).sum())
    assume(among >= 2)  # some stay, and some have to leave
    most = among // 2
    found = assign_by_quota(probabilities, {0: most}).classes
    stayed = probabilities[(likeliest == 0) & (found == 0), 0]
    left = probabilities[(likeliest == 0) & (found != 0), 0]
    assert len(stayed) == most
    assert stayed.min() >= left.max()


@pytest.mark.slow
@given(st.integers(0, 10**6), st.integers(20, 60), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_where_every_class_overflows_it_is_as_published(seed, samples, most):
    probabilities = softmax(seed, samples, 8)
    found = assign_by_quota(probabilities, dict.fromkeys(range(3), most))
    assume(all(found.moved.values()))
    assert (found.classes == as_published(probabilities, range(3), most)).all()


def test_quotas_are_read_alone_and_in_ranges():
    assert parse_quotas(["0-3=85", "2=7"]) == {0: 85, 1: 85, 2: 7, 3: 85}
    assert parse_quotas([]) == {}


@pytest.mark.parametrize("text", ["85", "a=1", "1=", "1-x=2", "1=-2", "=3"])
def test_what_is_no_quota_is_refused(text):
    with pytest.raises(OptionError, match="CLASS=COUNT"):
        parse_quotas([text])


@pytest.mark.parametrize(
    ("quotas", "words"), [({3: 1}, "classes 0 to 2"), ({0: 1, 1: 1, 2: 0}, "leave 2 of 4")]
)
def test_quotas_that_cannot_be_kept_are_refused(quotas, words):
    with pytest.raises(OptionError, match=words):
        assign_by_quota(np.full((4, 3), 1 / 3), quotas)

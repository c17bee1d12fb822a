"""A reference says how far features lie from those of the training imagery."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodamage.errors import ModelError
from geodamage.familiarity.reference import FEWEST, learn, read_reference
from tests.fakes import SMALL

RNG = np.random.default_rng(0)
#: Features of 40 numbers, most of which vary together.
MIXING = RNG.normal(size=(6, 40))


def drawn(count, seed=1):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, 6)) @ MIXING + 0.1 * rng.normal(size=(count, 40))).astype(
        np.float32
    )


KNOWN = learn(drawn(200))


def test_what_is_drawn_alike_lies_nearer_than_what_is_not():
    alike, strange = drawn(50, seed=2), drawn(50, seed=3) + 4
    assert np.median(KNOWN.distances(alike)) < np.median(KNOWN.distances(strange)) / 2


@pytest.mark.slow
@SMALL
@given(st.floats(0.5, 20), st.floats(-50, 50))
def test_units_of_features_do_not_matter(gain, offset):
    others = drawn(20, seed=4)
    plain = KNOWN.distances(others)
    again = learn((drawn(200) * gain + offset).astype(np.float32))
    found = again.distances((others * gain + offset).astype(np.float32))
    np.testing.assert_allclose(found, plain, rtol=0.02)


def test_a_feature_that_runs_away_counts_for_no_more_than_a_strange_one():
    wild = drawn(2, seed=5)
    wild[:, 0] = 1e30
    assert np.isfinite(KNOWN.distances(wild)).all()


def test_what_is_saved_is_read_again(tmp_path):
    learn(drawn(200)).save(tmp_path / "familiarity.npz")
    again = read_reference(tmp_path / "familiarity.npz")
    assert (again.like, again.known, again.split_sha256) == (1.0, np.inf, "")
    others = drawn(20, seed=6)
    np.testing.assert_allclose(again.distances(others), KNOWN.distances(others), rtol=0.01)


def test_too_few_blocks_are_no_reference():
    with pytest.raises(ValueError, match="a reference needs"):
        learn(drawn(FEWEST - 1))


@pytest.mark.parametrize("damage", ["empty", "text", "other"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, damage):
    path = tmp_path / "familiarity.npz"
    if damage == "other":
        np.savez(path, mean=np.zeros(3))
    else:
        path.write_bytes(b"" if damage == "empty" else b"no archive at all")
    with pytest.raises(ModelError, match=r"python -m training\.familiarity") as caught:
        read_reference(path)
    assert "\n" not in str(caught.value)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geodamage.errors import ModelError
from geodamage.model.rules import PixelRules, one_hot
from tests.fakes import SMALL, make_card

#: Of the xView2 first place.
FIRST = (0.38, 0.13, 0.13, 0.14)


def heads_of(rows):
    """Return certain heads of rows of grades; 0 is no building."""
    grades = np.array(rows, np.uint8)
    damage = np.stack([(grades == g).astype(np.float32) for g in range(1, 5)])
    return (grades > 0).astype(np.float32), damage


def graded(rows, **options):
    return PixelRules(FIRST, **options).grades(*heads_of(rows)).tolist()


@pytest.mark.parametrize(
    ("localisation", "expected"),
    [
        (0.10, [0, 0, 0, 0]),
        (0.135, [0, 2, 3, 0]),
        (0.15, [0, 2, 3, 4]),
        (0.37, [0, 2, 3, 4]),
        (0.39, [1, 2, 3, 4]),
    ],
)
def test_every_grade_has_its_own_threshold(localisation, expected):
    damage = np.eye(4, dtype=np.float32)[:, None] + 0.1
    found = PixelRules(FIRST).grades(np.full((1, 4), localisation, np.float32), damage)
    assert found.dtype == np.uint8
    assert found.tolist() == [expected]


def test_a_threshold_must_be_exceeded():
    exact = np.array([[0.14, 0.38]], np.float32)
    damage = np.array([[[0, 1]], [[0, 0]], [[0, 0]], [[1, 0]]], np.float32)
    assert PixelRules(FIRST).grades(exact, damage).tolist() == [[0, 0]]
    above = np.nextafter(exact, np.float32(1))
    assert PixelRules(FIRST).grades(above, damage).tolist() == [[4, 1]]


def test_of_equal_grades_the_lowest_is_taken():
    same = np.ones((4, 1, 1), np.float32)
    assert PixelRules(FIRST).grades(np.ones((1, 1), np.float32), same).tolist() == [[1]]


ROW = [1, 1, 1, 1, 2, 1, 3, 1, 1, 0, 4]


def test_minor_damage_grows_over_no_damage_alone():
    assert graded([ROW], dilation=5) == [[1, 1, 2, 2, 2, 2, 3, 1, 1, 0, 4]]


def test_as_published_it_grows_over_major_damage_too():
    found = graded([ROW], dilation=5, dilation_covers="published")
    assert found == [[1, 1, 2, 2, 2, 2, 2, 1, 1, 0, 4]]


@pytest.mark.parametrize("covers", ["intended", "published"])
def test_neither_background_nor_the_destroyed_are_overwritten(covers):
    row = [0, 4, 2, 4, 0]
    assert graded([row], dilation=5, dilation_covers=covers) == [row]


def test_it_grows_by_a_square():
    grades = np.ones((7, 7), np.uint8)
    grades[3, 3] = 2
    expected = np.ones((7, 7), int)
    expected[1:6, 1:6] = 2
    assert graded(grades, dilation=5) == expected.tolist()
    expected[:] = 1
    expected[2:5, 2:5] = 2
    assert graded(grades, dilation=3) == expected.tolist()


@pytest.mark.parametrize("dilation", [0, 1])
def test_without_dilation_nothing_grows(dilation):
    assert graded([ROW], dilation=dilation) == [ROW]


def original(localisation, damage):
    """Grade as the published rule reads, word by word."""
    p, d = localisation, damage.argmax(0) + 1
    found = (p > 0.38) | ((p > 0.13) & (d > 1) & (d < 4)) | ((p > 0.14) & (d > 1))
    grades = (d * found).astype(np.uint8)
    if (grades == 2).any():
        grown = ndimage.binary_dilation(grades == 2, np.ones((5, 5)))
        grades[grown & grades == 1] = 2
    return grades


@SMALL
@given(st.integers(0, 10**6), st.floats(0.1, 1))
def test_the_rules_of_the_first_place_are_the_published_ones(seed, top):
    rng = np.random.default_rng(seed)
    localisation = rng.random((24, 30), dtype=np.float32) * np.float32(top)
    coarse = rng.random((4, 6, 6), dtype=np.float32).repeat(4, 1).repeat(5, 2)
    damage = coarse + rng.random((4, 24, 30), dtype=np.float32) / 2
    rules = PixelRules(FIRST, 5, "published")
    assert np.array_equal(rules.grades(localisation, damage), original(localisation, damage))


def test_a_card_alone_has_one_threshold():
    rules = PixelRules.of(make_card(threshold=0.4))
    assert rules == PixelRules((0.4,) * 4, 0)
    assert rules.reach == 0
    assert PixelRules(FIRST, 5).reach == 2


def test_grades_become_certain_probabilities():
    p = np.full((5, 2, 2), 0.3, np.float32)
    one_hot(np.array([[0, 1], [4, 2]], np.uint8), out=p)
    assert p.argmax(0).tolist() == [[0, 1], [4, 2]]
    assert (np.sort(p, axis=0) == np.array([0, 0, 0, 0, 1])[:, None, None]).all()


def test_a_table_gives_the_rules():
    table = {"thresholds": list(FIRST), "dilation": 5, "dilation_covers": "published"}
    assert PixelRules.from_table(table, "e.toml") == PixelRules(FIRST, 5, "published")
    whole = PixelRules.from_table({"thresholds": [0, 0, 0, 0.5]}, "e.toml")
    assert whole == PixelRules((0, 0, 0, 0.5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, r"unknown keys \['colour'\]"),
        ({"thresholds": None}, "not four numbers"),
        ({"thresholds": [0.1, 0.2, 0.3]}, "not four numbers"),
        ({"thresholds": [0.1, 0.2, 0.3, 1.0]}, "not four numbers"),
        ({"thresholds": [0.1, 0.2, 0.3, -0.1]}, "not four numbers"),
        ({"thresholds": [0.1, 0.2, 0.3, float("nan")]}, "not four numbers"),
        ({"thresholds": [0.1, 0.2, 0.3, True]}, "not four numbers"),
        ({"thresholds": ["0.1"] * 4}, "not four numbers"),
        ({"thresholds": 0.1}, "not four numbers"),
        ({"dilation": 4}, "neither 0 nor an odd number"),
        ({"dilation": -3}, "neither 0 nor an odd number"),
        ({"dilation": 5.0}, "neither 0 nor an odd number"),
        ({"dilation": True}, "neither 0 nor an odd number"),
        ({"dilation": False}, "neither 0 nor an odd number"),
        ({"dilation": 257}, "up to 255"),
        ({"dilation_covers": "both"}, "not one of intended, published"),
        ({"dilation_covers": 1}, "not one of intended, published"),
        ({"dilation_covers": []}, "not one of intended, published"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(ModelError, match=message) as caught:
        PixelRules.from_table({"thresholds": list(FIRST)} | change, "e.toml")
    assert str(caught.value).startswith("e.toml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("table", "message"), [({}, "no thresholds"), (3, "is not a table")])
def test_what_is_no_table_of_rules_is_refused(table, message):
    with pytest.raises(ModelError, match=message):
        PixelRules.from_table(table, "e.toml")


def test_background_may_be_the_largest_of_five():
    localisation = np.full((1, 4), 0.9, np.float32)
    #                  background .7  .1            .2           .5, a tie
    damage = np.array([[[0.1, 0.5, 0.0, 0.5]], [[0.1, 0.2, 0.0, 0.0]],
                       [[0.1, 0.1, 0.0, 0.0]], [[0.0, 0.1, 0.8, 0.0]]], np.float32)  # fmt: skip
    plain = PixelRules((0.5,) * 4).grades(localisation, damage)
    competing = PixelRules((0.5,) * 4, background_competes=True).grades(localisation, damage)
    assert plain.tolist() == [[1, 1, 4, 1]]
    assert competing.tolist() == [[0, 1, 4, 0]]
    assert PixelRules.of(make_card(background_competes=True)).background_competes
    with pytest.raises(ModelError, match="neither true nor false"):
        PixelRules((0.5,) * 4, background_competes=1)

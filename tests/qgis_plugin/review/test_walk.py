from itertools import pairwise

import pytest
from geodamage_qgis.results.journal import Review
from geodamage_qgis.review.walk import Building, Walk, least_certain_first
from hypothesis import given
from hypothesis import strategies as st


def building(name: str, confidence: float, area: float = 100.0) -> Building:
    return Building(int(name, 36), name, "minor-damage", confidence, area=area)


def review(name: str, damage: str = "destroyed") -> Review:
    return Review(name, damage, "me", "2026-11-21T10:00:00Z")


BUILDINGS = [building("a", 0.9), building("b", 0.4), building("c", 0.6), building("d", 0.5)]


def names(walk: Walk) -> list[str]:
    return [b.building_id for b in walk.buildings]


def current(walk: Walk) -> str:
    assert walk.current is not None
    return walk.current.building_id


@pytest.mark.slow
@given(st.lists(st.tuples(st.floats(0.25, 1.0), st.floats(1.0, 1e4)), max_size=30))
def test_confidence_never_falls_along_the_walk(pairs: list[tuple[float, float]]) -> None:
    found = [Building(i, str(i), "destroyed", c, area=a) for i, (c, a) in enumerate(pairs)]
    order = least_certain_first(found)
    assert sorted(b.feature_id for b in order) == list(range(len(found)))
    assert all(a.confidence <= b.confidence for a, b in pairwise(order))
    assert least_certain_first(reversed(found)) == order


def test_of_two_equal_ones_the_larger_comes_first() -> None:
    walk = Walk([building("a", 0.5, 20.0), building("b", 0.5, 500.0)], {})
    assert names(walk) == ["b", "a"]


def test_reviewed_buildings_are_skipped_and_can_be_visited() -> None:
    walk = Walk(BUILDINGS, {"b": review("b")})
    assert (names(walk), current(walk)) == (["b", "d", "c", "a"], "d")
    assert walk.previous()
    assert current(walk) == "b"
    walk.skip_reviewed = False
    assert walk.next()
    assert current(walk) == "d"


def test_what_was_passed_over_comes_again_after_the_last() -> None:
    walk = Walk(BUILDINGS, {})
    walk.next()
    for _ in range(3):
        walk.say(review(current(walk)))
        walk.next()
    assert current(walk) == "b"
    walk.say(review("b"))
    assert not walk.next()
    assert walk.reviewed == 4


def test_without_skipping_the_walk_ends_at_its_end() -> None:
    walk = Walk(BUILDINGS, {})
    walk.skip_reviewed = False
    assert [walk.next() for _ in range(4)] == [True, True, True, False]
    assert walk.position == 4


def test_undo_goes_back_to_what_held_before() -> None:
    walk = Walk(BUILDINGS, {"b": review("b", "no-damage")})
    walk.previous()
    walk.say(review("b", "destroyed"))
    walk.next()
    step = walk.undo()
    assert step is not None
    assert step.before == review("b", "no-damage")
    assert current(walk) == "b"
    assert walk.reviews == {"b": review("b", "no-damage")}
    assert walk.undo() is None


def test_a_review_of_another_building_is_an_error() -> None:
    with pytest.raises(ValueError, match="not the current"):
        Walk(BUILDINGS, {}).say(review("a"))


def test_a_walk_without_buildings_stands_still() -> None:
    walk = Walk([], {})
    assert walk.current is None
    assert not walk.next()
    assert not walk.previous()
    assert not walk.can_undo()


def test_a_sample_goes_in_its_own_order_and_hides_what_was_not_answered() -> None:
    sample = [Building(n, name, "destroyed", 0.9, order=n) for n, name in enumerate("cab", 1)]
    walk = Walk(reversed(sample), {"a": review("a")}, blind=True)
    assert names(walk) == ["c", "a", "b"]
    assert [walk.hides(building) for building in walk.buildings] == [True, False, True]
    assert walk.last is None
    walk.say(review("c", "no building"))
    assert walk.last == sample[0]
    assert not walk.hides(sample[0])
    assert walk.next()
    assert current(walk) == "b"
    walk.undo()
    assert walk.hides(sample[0])
    assert not Walk(sample, {}).hides(sample[0])

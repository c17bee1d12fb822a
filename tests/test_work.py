import inspect
from collections.abc import Generator

import pytest

from geodamage.errors import SceneError
from geodamage.work import Work, long_work


@long_work
def counted(end: int, closed: list) -> Generator[int, None, str]:
    """Count to a number."""
    try:
        yield from range(end)
        return f"{end} steps"
    finally:
        closed.append(end)


@long_work
def failing():
    yield "begun"
    raise SceneError("the sky is covered")


def test_it_is_iterated_for_its_progress_and_asked_for_its_result():
    work = counted(3, [])
    assert isinstance(work, Work)
    assert list(work) == [0, 1, 2]
    assert work.result() == work.result() == "3 steps"
    assert list(work) == []


def test_the_result_alone_does_what_is_left():
    work = counted(3, [])
    assert next(work) == 0
    assert work.result() == "3 steps"


def test_nothing_is_done_before_the_first_step():
    closed = []
    work = counted(3, closed)
    work.close()
    assert closed == []
    with pytest.raises(RuntimeError, match="closed before its end"):
        work.result()


def test_closing_stops_it():
    closed = []
    with counted(3, closed) as work:
        assert next(work) == 0
    assert closed == [3]
    assert list(work) == []
    with pytest.raises(RuntimeError, match="counted was closed before its end"):
        work.result()


def test_a_result_outlives_its_block():
    with counted(2, []) as work:
        assert list(work) == [0, 1]
    assert work.result() == "2 steps"


def test_an_error_within_the_block_stops_it():
    closed = []
    work = counted(3, closed)
    with pytest.raises(ZeroDivisionError), work:
        assert next(work) / 0
    assert closed == [3]


def test_work_that_fails_has_no_result():
    work = failing()
    with pytest.raises(SceneError, match="covered"):
        work.result()
    with pytest.raises(RuntimeError, match="SceneError"):
        work.result()


def test_a_generator_hands_on_progress_and_gets_the_result():
    def outer():
        found = yield from counted(2, [])
        assert found == "2 steps"
        yield "after"

    assert list(outer()) == [0, 1, "after"]


def test_closing_a_generator_closes_the_work_within():
    closed = []

    def outer():
        yield from counted(3, closed)

    steps = outer()
    next(steps)
    steps.close()
    assert closed == [3]


def test_an_error_reaches_the_place_where_the_work_stands():
    closed = []
    work = counted(3, closed)
    next(work)
    with pytest.raises(ValueError, match="now"):
        work.throw(ValueError("now"))
    assert closed == [3]


def test_it_keeps_name_and_documentation_and_says_how_far_it_is():
    assert counted.__name__ == "counted"
    assert counted.__doc__ == "Count to a number."
    assert inspect.signature(counted).return_annotation == Work[int, str]
    work = counted(1, [])
    assert repr(work) == "<Work: counted has not begun>"
    next(work)
    assert repr(work) == "<Work: counted is under way>"
    work.result()
    assert repr(work) == "<Work: counted is done>"

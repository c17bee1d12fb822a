import threading
import time
from itertools import count, islice

import pytest

from geodamage.ahead import ahead
from tests.fakes import workers

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


def test_items_come_in_order():
    assert list(ahead(iter(range(100)))) == list(range(100))
    assert list(ahead(iter([]))) == []


def test_a_missing_item_is_an_item():
    assert list(ahead(iter([0, "", [], False]))) == [0, "", [], False]


def test_items_before_an_error_come_first():
    def items():
        yield 1
        yield 2
        raise KeyError("three")

    found = []
    with pytest.raises(KeyError, match="three"):
        found.extend(ahead(items()))
    running = ahead(items())
    assert [next(running), next(running)] == [1, 2]
    with pytest.raises(KeyError):
        next(running)
    assert not workers()


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_than_the_depth_waits(depth):
    made = []

    def items():
        for number in count():
            made.append(number)
            yield number

    running = ahead(items(), depth)
    assert next(running) == 0
    time.sleep(0.15)
    # One handed over, `depth` waiting, one in the hands of the thread.
    assert len(made) <= depth + 2
    running.close()


def test_closing_ends_the_thread_and_closes_the_items():
    closed = threading.Event()

    def items():
        try:
            yield from count()
        finally:
            closed.set()

    running = ahead(items())
    assert list(islice(running, 3)) == [0, 1, 2]
    running.close()
    assert closed.is_set()
    assert not workers()


def test_what_never_begins_starts_no_thread():
    ahead(iter([1]))
    assert not workers()
